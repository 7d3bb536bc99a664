"""The folds of a backtest, decided from the spec and the clock alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from modelfleet import Candidate, Data, FleetSpec, Forecast, Regression, Schedule, SqlTable, Training
from modelfleet import interval as intervals
from modelfleet.backtesting import Cutoff, plan
from modelfleet.errors import DataError

ZONE = "Europe/Berlin"


def spec(problem: Any, **training: Any) -> FleetSpec:
    forecasts = isinstance(problem, Forecast)
    return FleetSpec(
        name="demand",
        owner="tests",
        timezone=ZONE,
        data=Data(SqlTable("db", "sales", time="at")),
        partition_by=("store",),
        problem=problem,
        features=() if forecasts else ("price",),
        candidates=(Candidate("statsforecast.models:Naive") if forecasts else Candidate("sales.models:ridge"),),
        training=Training(**{"min_rows": 5, **training}),
        schedule=Schedule(ingest="@daily"),
    )


def decided(fleet: FleetSpec, to: str, folds: int, every: int | None = None, since: str = "2020-01-01") -> list[Cutoff]:
    begin = datetime.fromisoformat(since).replace(tzinfo=ZoneInfo(ZONE))
    return list(plan(fleet, intervals.of_key(to, timezone=ZONE), folds=folds, every=every, since=begin))


FORECASTS = {
    "days, a horizon apart": ("D", 7, "2024-04-14", 2, None, ["2024-03-31", "2024-04-07"]),
    "days, closer": ("D", 7, "2024-04-14", 3, 1, ["2024-04-05", "2024-04-06", "2024-04-07"]),
    "weeks begin on mondays": ("W-MON", 2, "2024-04-14", 2, 1, ["2024-03-24", "2024-03-31"]),
    "a week that is not over is left out": ("W-MON", 2, "2024-04-17", 1, None, ["2024-03-31"]),
    "months": ("MS", 3, "2024-06-30", 2, 1, ["2024-02-29", "2024-03-31"]),
    "hours": ("h", 6, "2024-04-14", 2, None, ["2024-04-14T11", "2024-04-14T17"]),
    "hours that end a day": ("h", 24, "2024-04-14", 1, None, ["2024-04-13"]),
    "hours where clocks go forward": ("h", 24, "2024-03-31", 1, None, ["2024-03-30T22"]),
    "quarters of an hour, to whole hours": ("15min", 6, "2024-04-14T05", 2, None, ["2024-04-14T01", "2024-04-14T03"]),
}


@pytest.mark.parametrize("case", FORECASTS.values(), ids=FORECASTS.keys())
def test_cutoffs_of_a_forecast_leave_a_whole_horizon(case: Any) -> None:
    freq, horizon, to, folds, every, expected = case
    found = decided(spec(Forecast(target="units", freq=freq, horizon=horizon, missing="zero")), to, folds, every)
    assert [cutoff.key for cutoff in found] == expected
    end = intervals.of_key(to, timezone=ZONE).end
    for cutoff in found:
        assert cutoff.at == intervals.of_key(cutoff.key, timezone=ZONE).end
        assert cutoff.at < cutoff.until <= end
    assert [Cutoff.from_json(cutoff.to_json(), ZONE) for cutoff in found] == found


REGRESSIONS = {
    "the holdout": ({"holdout": "14D"}, "2024-04-14", 2, None, ["2024-03-17", "2024-03-31"]),
    "the default holdout": ({}, "2024-04-14", 1, None, ["2024-03-17"]),
    "days closer": ({"holdout": "14D"}, "2024-04-14", 2, 7, ["2024-03-24", "2024-03-31"]),
    "hours": ({"holdout": "12h"}, "2024-04-14", 2, None, ["2024-04-13", "2024-04-14T11"]),
}


@pytest.mark.parametrize("case", REGRESSIONS.values(), ids=REGRESSIONS.keys())
def test_cutoffs_of_a_regression_leave_a_holdout(case: Any) -> None:
    training, to, folds, every, expected = case
    assert [
        cutoff.key for cutoff in decided(spec(Regression(target="units"), **training), to, folds, every)
    ] == expected


REFUSED = {
    "more folds than data": ({"folds": 5, "since": "2024-03-20"}, r"5 folds of 7 steps.*2024-03-11.*at most 2 folds"),
    "not one": ({"folds": 1, "since": "2024-04-05"}, r"needs 8 steps before it.*not even one fold"),
    "no folds": ({"folds": 0}, r"0 folds"),
    "every 0": ({"folds": 1, "every": 0}, r"every 0 steps"),
}


@pytest.mark.parametrize("given, told", REFUSED.values(), ids=REFUSED.keys())
def test_impossible_folds_are_refused_with_what_is_possible(given: dict[str, Any], told: str) -> None:
    fleet = spec(Forecast(target="units", freq="D", horizon=7, missing="zero"))
    with pytest.raises(DataError, match=f"(?s){told}") as caught:
        decided(fleet, "2024-04-14", **given)
    assert "fleet 'demand'" in str(caught.value)


def test_cutoffs_inside_an_hour_are_refused_with_what_is_allowed() -> None:
    fleet = spec(Forecast(target="units", freq="15min", horizon=6, missing="zero"))
    with pytest.raises(DataError, match=r"(?s)inside an hour.*a multiple of 4"):
        decided(fleet, "2024-04-14", 2, 6)


def test_as_many_folds_as_the_hint_says_are_possible() -> None:
    fleet = spec(Forecast(target="units", freq="D", horizon=7, missing="zero"))
    assert len(decided(fleet, "2024-04-14", 2, since="2024-03-20")) == 2
    with pytest.raises(DataError):
        decided(fleet, "2024-04-14", 3, since="2024-03-20")
