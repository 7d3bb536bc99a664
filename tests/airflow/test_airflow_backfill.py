"""What a backfill makes: the same intervals by Airflow's own and by the command line's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.encoders import coerce_to_core_timetable

from modelfleet import Data, FleetSpec, Regression, Schedule, SqlTable
from modelfleet.airflow.timetable import IntervalTimetable
from modelfleet.steps.backfilling import decide

ROOT = Path(__file__).parents[2]


def fleet(cron: str, timezone: str) -> FleetSpec:
    return FleetSpec(
        name="shops",
        owner="tests",
        data=Data(SqlTable("shops_db", "sales", time="sold_at")),
        partition_by=("shop",),
        problem=Regression(target="sales"),
        features=("visitors",),
        model="flights.delays:build",
        schedule=Schedule(ingest=cron),
        timezone=timezone,
    )


@pytest.mark.parametrize(
    "cron, timezone, first, last",
    [
        pytest.param("@daily", "UTC", "2013-09-29", "2013-10-01", id="daily"),
        pytest.param("0 5 * * *", "Europe/Berlin", "2013-03-29", "2013-04-02", id="daily at five, over 23 hours"),
        pytest.param("@daily", "America/New_York", "2013-11-01", "2013-11-05", id="daily, over 25 hours"),
        pytest.param("@daily", "America/Santiago", "2024-09-06", "2024-09-10", id="midnight is skipped"),
        pytest.param("@daily", "America/Havana", "2024-11-01", "2024-11-05", id="midnight comes twice"),
        pytest.param("@weekly", "UTC", "2013-09-01", "2013-10-15", id="weekly"),
        pytest.param("0 0 * * 1,4", "UTC", "2013-09-01", "2013-10-15", id="Mondays and Thursdays"),
        pytest.param("@monthly", "UTC", "2013-08-31", "2013-10-31", id="monthly"),
        pytest.param("@monthly", "UTC", "2013-09-01", "2013-10-15", id="monthly, bounds within months"),
        pytest.param("30 4 1 */3 *", "Asia/Tokyo", "2013-01-01", "2014-01-01", id="quarterly"),
        pytest.param("@hourly", "UTC", "2013-10-01T00", "2013-10-02T05", id="hourly"),
        pytest.param("@hourly", "America/New_York", "2013-11-02T22", "2013-11-03T05", id="hourly, one hour twice"),
        pytest.param("@hourly", "America/New_York", "2013-03-09T22", "2013-03-10T05", id="hourly, one hour skipped"),
        pytest.param("0 */6 * * *", "Europe/Berlin", "2013-10-01T00", "2013-10-03T05", id="every six hours"),
    ],
)
def test_airflow_and_command_line_make_the_same_intervals(cron: str, timezone: str, first: str, last: str) -> None:
    bounds = {"earliest": first, "latest": last}
    made = IntervalTimetable(cron, timezone=timezone).iter_partition_dagrun_infos(
        **{name: datetime.fromisoformat(text.replace("T", " ") + ":00" * ("T" in text)).replace(tzinfo=UTC)
           for name, text in bounds.items()}
    )  # fmt: skip

    planned = decide(fleet(cron, timezone), first, last, pipelines=["ingest"])

    assert [run.partition_key for run in made] == [each.interval for each in planned]
    assert planned


def test_scoring_and_promotion_are_started_by_events_not_by_a_backfill() -> None:
    """Airflow refuses ``backfill create`` for them: their runs follow those of ingest and train, under the same keys."""
    bag = DagBag(ROOT / "tests" / "dags")
    clocks = {name: bag.dags[f"shops_{name}"].timetable for name in ("ingest", "train", "promote", "score")}

    periodic = {name: bool(coerce_to_core_timetable(clock).periodic) for name, clock in clocks.items()}

    assert periodic == {"ingest": True, "train": True, "promote": False, "score": False}
