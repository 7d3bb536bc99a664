-- Seats offered each day from an airport of New York to a destination. A day without flights has no row.
SELECT
    f.origin, f.dest,
    to_date(f.time_hour) AS day,
    sum(coalesce(p.seats, 150)) AS seats  -- the register does not know every plane
FROM flights f
LEFT JOIN planes p ON p.tailnum = f.tailnum
GROUP BY ALL
