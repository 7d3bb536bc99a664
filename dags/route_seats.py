"""Seats from New York to each destination, a week ahead: one forecast per origin and destination. An Airflow DAG file."""

import modelfleet as mf
from modelfleet.airflow import many_models

many_models(
    mf.FleetSpec(
        name="route_seats",
        owner="network-planning",
        description="Seats offered on a route, each day of the coming week",
        timezone="America/New_York",
        data=mf.Data(
            flights=mf.SqlTable("flights_db", "flights", time="time_hour", timezone="UTC"),
            planes=mf.SqlTable("flights_db", "planes"),
            prepare="flights:seats.sql",
        ),
        partition_by=("origin", "dest"),
        problem=mf.Forecast(
            target="seats", time="day", freq="D", horizon=7, quantiles=(0.1, 0.9), missing="zero", intervals="residuals"
        ),
        features=mf.Features(
            past=(mf.Lag("seats", 7, 14, 21, 28), mf.Rolling("seats", "28D", "mean")),
            calendar=("weekday",),
            holidays="US",
        ),
        candidates=(
            mf.Candidate("statsforecast.models:SeasonalNaive", params={"season_length": 7}),
            mf.Candidate("flights.seats:ridge"),
            mf.Candidate("flights.seats:boosted", scope="fleet"),
        ),
        training=mf.Training(folds=4, fallback=("dest", "baseline")),
        gate=mf.Gate(each=("wape <= baseline.wape", "champion.wape IS NULL OR wape <= 1.1 * champion.wape")),
        schedule=mf.Schedule(ingest="@daily", train=mf.Weekly(when_ready="flights"), score="after ingest"),
        tags={"domain": "flights"},
    )
)
