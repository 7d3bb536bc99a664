"""Arrival delay of every route out of New York: one model per carrier, origin and destination. An Airflow DAG file."""

from modelfleet import Data, FleetSpec, Gate, Monthly, Quality, Regression, Schedule, SqlTable
from modelfleet.airflow import many_models

many_models(
    FleetSpec(
        name="flight_delays",
        owner="ops-research",
        description="Minutes of delay at arrival, as known at departure",
        timezone="America/New_York",
        data=Data(
            flights=SqlTable("flights_db", "flights", time="time_hour", timezone="UTC"),
            weather=SqlTable("flights_db", "weather", time="time_hour", timezone="UTC"),
            planes=SqlTable("flights_db", "planes"),
            prepare="flights:features.sql",
        ),
        partition_by=("carrier", "origin", "dest"),
        id_columns=("flight",),
        problem=Regression(target="arr_delay", known_at="departure"),
        features=("dep_delay", "distance", "hour", "weekday", "wind_speed", "precip", "visib", "seats"),
        model="flights.delays:build",
        quality=Quality(
            not_null=("carrier", "dest", "dep_delay"), between={"distance": (0, 6000)}, warn=("not_null.dep_delay",)
        ),
        gate=Gate(
            each=("n_test >= 10", "mae < baseline.mae", "champion.mae IS NULL OR mae <= 1.02 * champion.mae"),
            fleet=("promoted_share >= 0.6",),
        ),
        schedule=Schedule(ingest="@daily", train=Monthly(when_ready="flights"), score="after ingest"),
        tags={"domain": "flights"},
    )
)
