"""What a backfill decides to run, before anything runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from chain_bench import wells
from modelfleet import Monthly, Schedule
from modelfleet.errors import DataError
from modelfleet.spec import FleetSpec
from modelfleet.steps.backfilling import Planned, decide

DAILY = Schedule(ingest="@daily", train=Monthly(when_ready="data"))


def fleet(schedule: Schedule = DAILY, timezone: str = "UTC") -> FleetSpec:
    return wells(schedule=schedule, timezone=timezone)


def told(planned: list[Planned]) -> list[str]:
    return [f"{each.pipeline} {each.interval}" for each in planned]


@pytest.mark.parametrize(
    "schedule, first, last, options, runs",
    [
        pytest.param(
            DAILY,
            "2024-03-30",
            "2024-03-31",
            {},
            ["ingest 2024-03-30", "score 2024-03-30", "ingest 2024-03-31", "score 2024-03-31"],
            id="as the schedule: each interval scored after it is ingested",
        ),
        pytest.param(
            DAILY,
            "2024-03-31",
            "2024-04-01",
            {"train": True},
            [
                *("ingest 2024-03-31", "train 2024-03-31", "promote 2024-03-31", "score 2024-03-31"),
                *("ingest 2024-04-01", "score 2024-04-01"),
            ],
            id="with training, at its own ticks, before the scoring",
        ),
        pytest.param(
            Schedule(ingest="@daily", score=None),
            "2024-03-30",
            "2024-03-31",
            {},
            ["ingest 2024-03-30", "ingest 2024-03-31"],
            id="no scoring where the schedule has none",
        ),
        pytest.param(
            DAILY,
            "2024-03-30",
            "2024-03-31",
            {"pipelines": ["score"]},
            ["score 2024-03-30", "score 2024-03-31"],
            id="one pipeline",
        ),
        pytest.param(
            DAILY,
            "2024-01-01",
            "2024-03-31",
            {"pipelines": ["promote", "train"]},
            [f"{name} {key}" for key in ("2024-01-31", "2024-02-29", "2024-03-31") for name in ("train", "promote")],
            id="months, in the order of the pipelines",
        ),
        pytest.param(
            Schedule(train=Monthly()),
            "2024-03-01",
            "2024-04-30",
            {"pipelines": ["train"]},
            ["train 2024-03-31", "train 2024-04-30"],
            id="a fleet that is ingested by hand can train by the clock",
        ),
        pytest.param(
            Schedule(ingest="@hourly"),
            "2024-03-31T22",
            "2024-04-01T00",
            {"pipelines": ["ingest"]},
            ["ingest 2024-03-31T22", "ingest 2024-03-31T23", "ingest 2024-04-01T00"],
            id="hours",
        ),
        pytest.param(
            Schedule(ingest="0 */8 * * *"),
            "2024-03-31",
            "2024-03-31",
            {"pipelines": ["ingest"]},
            ["ingest 2024-03-31T07", "ingest 2024-03-31T15", "ingest 2024-03-31T23"],
            id="a day's parts",
        ),
    ],
)
def test_runs_are_those_of_the_schedule_in_the_order_of_time(
    schedule: Schedule, first: str, last: str, options: dict[str, Any], runs: list[str]
) -> None:
    assert told(decide(fleet(schedule), first, last, **options)) == runs


@pytest.mark.parametrize(
    "schedule, first, last, options, message",
    [
        pytest.param(
            DAILY, "2024-04-02", "2024-04-01", {}, "from 2024-04-02 to 2024-04-01: the first interval is after the last",
            id="the wrong way round",
        ),
        pytest.param(DAILY, "April", "2024-04-01", {}, "interval key 'April' is malformed", id="malformed from"),
        pytest.param(DAILY, "2024-04-01", "2024-04-31", {}, "interval key '2024-04-31' is malformed", id="malformed to"),
        pytest.param(DAILY, "2024-06-01", "2024-06-05", {}, "2024-06-05 is not over yet", id="in the future"),
        pytest.param(DAILY, "2024-05-30", "2024-06-01", {}, "2024-06-01 is not over yet", id="up to today"),
        pytest.param(
            Schedule(), "2024-04-01", "2024-04-02", {}, "(?s)ingest has no clock.*set schedule.ingest, or run them one by one",
            id="no clock for ingest",
        ),
        pytest.param(
            Schedule(), "2024-04-01", "2024-04-02", {"pipelines": ["score"]}, "score has no clock",
            id="no clock for score",
        ),
        pytest.param(
            Schedule(ingest="@daily"), "2024-04-01", "2024-04-02", {"train": True}, "train has no clock.*\nHint: set schedule.tr",
            id="no clock for train",
        ),
        pytest.param(
            Schedule(ingest="@monthly"), "2024-04-01", "2024-04-29", {}, "no interval of its schedule ends there",
            id="no month ends there",
        ),
    ],
)  # fmt: skip
def test_bounds_that_can_not_be_meant_are_refused(
    schedule: Schedule, first: str, last: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        decide(fleet(schedule), first, last, now=datetime(2024, 6, 1, 12, tzinfo=UTC), **options)


def test_an_interval_is_over_when_its_last_day_is_in_the_fleets_timezone() -> None:
    midnight_in_tokyo = datetime(2024, 5, 31, 15, tzinfo=UTC)

    assert decide(fleet(timezone="Asia/Tokyo"), "2024-05-31", "2024-05-31", now=midnight_in_tokyo)
    with pytest.raises(DataError, match="2024-05-31 is not over yet"):
        decide(fleet(timezone="UTC"), "2024-05-31", "2024-05-31", now=midnight_in_tokyo)
