-- One row per flight: what is known at its departure, with the weather of that hour and the plane.
SELECT
    f.carrier, f.origin, f.dest, f.time_hour, f.flight,
    f.dep_delay, f.distance, f.hour,
    weekday(f.time_hour) AS weekday,
    w.wind_speed, w.precip, w.visib,
    coalesce(p.seats, 150) AS seats,  -- the register does not know every plane
    f.arr_delay,
    f.arr_delay > 15 AS late
FROM flights f
LEFT JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour
LEFT JOIN planes p ON p.tailnum = f.tailnum
WHERE f.dep_delay IS NOT NULL
