"""Seats from New York to each destination, a week ahead: one forecast per origin and destination. An Airflow DAG file."""

from modelfleet import (
    Candidate,
    Data,
    Features,
    FleetSpec,
    Forecast,
    Gate,
    Lag,
    Rolling,
    Schedule,
    SqlTable,
    Training,
    Weekly,
)
from modelfleet.airflow import many_models

many_models(
    FleetSpec(
        name="route_seats",
        owner="network-planning",
        description="Seats offered on a route, each day of the coming week",
        timezone="America/New_York",
        data=Data(
            flights=SqlTable("flights_db", "flights", time="time_hour", timezone="UTC"),
            planes=SqlTable("flights_db", "planes"),
            prepare="flights:seats.sql",
        ),
        partition_by=("origin", "dest"),
        problem=Forecast(target="seats", time="day", freq="D", horizon=7, quantiles=(0.1, 0.5, 0.9), missing="zero"),
        features=Features(
            past=(Lag("seats", 7, 14, 21, 28), Rolling("seats", "28D", "mean")), calendar=("weekday",), holidays="US"
        ),
        candidates=(
            Candidate("statsforecast.models:SeasonalNaive", params={"season_length": 7}),
            Candidate("flights.seats:ridge"),
            Candidate("flights.seats:boosted", scope="fleet"),
        ),
        training=Training(folds=4, fallback=("dest", "baseline")),
        gate=Gate(each=("wape <= baseline.wape", "champion.wape IS NULL OR wape <= 1.1 * champion.wape")),
        schedule=Schedule(ingest="@daily", train=Weekly(when_ready="flights"), score="after ingest"),
        tags={"domain": "flights"},
    )
)
