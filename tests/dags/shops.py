"""A small fleet for the end-to-end tests: sales of twelve shops. An Airflow DAG file."""

from modelfleet import Data, FleetSpec, Gate, Monthly, Quality, Regression, Schedule, SqlTable, Training
from modelfleet.airflow import many_models

many_models(
    FleetSpec(
        name="shops",
        owner="tests",
        description="Sales of a shop, from its visitors.",
        data=Data(SqlTable("shops_db", "sales", time="sold_at")),
        partition_by=("shop",),
        problem=Regression(target="sales"),
        features=("visitors", "weekday"),
        model="flights.delays:build",
        training=Training(holdout="14D", min_rows=20),
        quality=Quality(between={"visitors": (0, 1000)}),
        gate=Gate(each=("mae < baseline.mae",), fleet=("promoted_share >= 0.5",)),
        schedule=Schedule(ingest="@daily", train=Monthly(when_ready="data"), deadline={"train": "3h"}),
        tags={"domain": "test"},
    )
)
