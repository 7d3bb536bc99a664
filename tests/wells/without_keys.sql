SELECT * EXCEPT (pad) FROM data
