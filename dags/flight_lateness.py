"""Chance that a flight arrives over 15 minutes late: one model per carrier, origin and destination. An Airflow DAG file."""

from modelfleet import Classification, Data, FleetSpec, Gate, Monthly, Quality, Schedule, SqlTable
from modelfleet.airflow import many_models

many_models(
    FleetSpec(
        name="flight_lateness",
        owner="ops-research",
        description="Arrives more than 15 minutes late, as known at departure",
        timezone="America/New_York",
        data=Data(
            flights=SqlTable("flights_db", "flights", time="time_hour", timezone="UTC"),
            weather=SqlTable("flights_db", "weather", time="time_hour", timezone="UTC"),
            planes=SqlTable("flights_db", "planes"),
            prepare="flights:features.sql",
        ),
        partition_by=("carrier", "origin", "dest"),
        id_columns=("flight",),
        problem=Classification(target="late", known_at="departure"),
        features=("dep_delay", "distance", "hour", "weekday", "wind_speed", "precip", "visib", "seats"),
        model="flights.lateness:build",
        quality=Quality(not_null=("carrier", "dest"), between={"distance": (0, 6000)}),
        gate=Gate(
            each=("n_test >= 10", "accuracy >= 0.8", "log_loss < baseline.log_loss"),
            fleet=("promoted_share >= 0.5",),
        ),
        schedule=Schedule(ingest="@daily", train=Monthly(when_ready="flights"), score="after ingest"),
        tags={"domain": "flights"},
    )
)
