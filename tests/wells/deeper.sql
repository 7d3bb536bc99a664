SELECT *, depth * 2 AS double_depth FROM data
