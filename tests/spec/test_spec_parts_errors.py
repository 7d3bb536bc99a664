"""Bad parts of a spec: derived features, candidates, treatments and forecasts, refused where they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelfleet import (
    Candidate,
    Clip,
    Dedupe,
    Difference,
    Drop,
    Expanding,
    Features,
    Fill,
    Forecast,
    Holidays,
    Lag,
    Limits,
    Rolling,
    Training,
)
from modelfleet.errors import SpecError


def forecast(**changes: Any) -> Forecast:
    return Forecast(**{"target": "units", "freq": "D", "horizon": 7, **changes})


NAN = float("nan")
PARTS: list[tuple[Callable[[], object], str]] = [
    # forecasts
    (lambda: Forecast(target="u"), "Forecast.freq: got nothing; is required; Forecast.horizon: got nothing"),  # type: ignore
    (lambda: forecast(target=""), "Forecast.target: got ''; allowed: a text that is not empty"),
    (lambda: forecast(time=" "), "Forecast.time: got ' '; allowed: a text that is not empty"),
    *(
        (lambda freq=freq: forecast(freq=freq), rf"Forecast.freq: got '{freq}'; allowed: '15min', 'h', '6h'")  # type: ignore
        for freq in (
            "d",
            "1D",
            "2D",
            "W",
            "W-Monday",
            "M",
            "ME",
            "0h",
            "-1h",
            "25h",
            "1441min",
            "٣h",
            "QS-FEB",
            "",
            "H",
        )
    ),
    (lambda: forecast(freq="1D"), "Hint: did you mean 'D'"),
    (lambda: forecast(freq="W"), "Hint: did you mean 'W-SUN'"),
    (lambda: forecast(freq="M"), "Hint: did you mean 'MS'"),
    (lambda: forecast(freq=1), "Forecast.freq: got 1; should be a valid string"),
    (lambda: forecast(horizon=0), "Forecast.horizon: got 0; should be greater than or equal to 1"),
    (lambda: forecast(horizon=10_001), "Forecast.horizon: got 10001; should be less than or equal to 10000"),
    (lambda: forecast(horizon="7D"), "Forecast.horizon: got '7D'; should be a valid integer"),
    (lambda: forecast(quantiles=0.5), "Forecast.quantiles: got 0.5; allowed: a list or tuple"),
    *(
        (lambda values=values: forecast(quantiles=values), "Forecast.quantiles: got .* 4 decimals, rising, such as")  # type: ignore
        for values in ((0, 0.5), (0.5, 1), (0.9, 0.1), (0.5, 0.5), (0.1, 0.00001, 0.9), (0.12345,), (-0.1,), (10, 90))
    ),
    (lambda: forecast(quantiles=(NAN,)), r"Forecast.quantiles\[0\]: got nan; should be a finite number"),
    (lambda: forecast(intervals="conformal"), "Forecast.intervals: got 'conformal'; allowed: 'model' or 'residuals'"),
    (lambda: forecast(strategy="dirrec"), "Forecast.strategy: got 'dirrec'; allowed: 'direct' or 'recursive'"),
    (lambda: forecast(steps_per_model=0), "Forecast.steps_per_model: got 0; should be greater than or equal to 1"),
    (lambda: forecast(steps_per_model=8), "Forecast.steps_per_model: got 8; allowed: at most the horizon, 7 steps"),
    (
        lambda: forecast(steps_per_model=1, strategy="recursive"),
        "Forecast.steps_per_model: got 1; allowed: with strategy 'direct' only",
    ),
    (lambda: forecast(missing="drop"), "Forecast.missing: got 'drop'; allowed: 'reject', 'zero' or 'previous'"),
    (lambda: forecast(season=0), "Forecast.season: got 0; should be greater than or equal to 1"),
    (lambda: forecast(baseline="naive"), "Forecast.baseline: got 'naive'; allowed: 'seasonal_naive', 'last'"),
    (lambda: forecast(known_at="noon"), "Forecast.known_at: .* no such field"),
    # derived features
    (lambda: Lag("u"), "Lag.steps: got nothing; is required"),
    (Lag, "Lag.column: got nothing; is required; Lag.steps: got nothing"),  # type: ignore
    (lambda: Lag(7, 14), "Lag.column: got 7; should be a valid string"),  # type: ignore
    (lambda: Lag("u", 0), r"Lag.steps: got \(0,\); allowed: whole numbers from 1, each once"),
    (lambda: Lag("u", -7), r"Lag.steps: got \(-7,\); allowed: whole numbers from 1"),
    (lambda: Lag("u", 7, 7), r"Lag.steps: got \(7, 7\); allowed: whole numbers from 1, each once"),
    (lambda: Lag("u", "7D"), r"Lag.steps\[0\]: got '7D'; should be a valid integer"),  # type: ignore
    (lambda: Lag("u", 1.5), r"Lag.steps\[0\]: got 1.5; should be a valid integer"),  # type: ignore
    (lambda: Lag("u", 7, steps=(14,)), r"Lag.steps: got \(14,\); given twice"),  # type: ignore
    (lambda: Lag(column="u", steps=7), r"Lag.steps: got 7; allowed: a list or tuple, such as \[7\] for one"),  # type: ignore
    (lambda: Difference("u", 0), r"Difference.steps: got \(0,\); allowed: whole numbers"),
    (lambda: Difference(" ", 1), "Difference.column: got ' '; allowed: a text that is not empty"),
    *(
        (lambda window=window: Rolling("u", window, "mean"), "Rolling.window: got .*; allowed: a number of rows from 1")  # type: ignore
        for window in (0, -1, 2.5, True, None, "28", "28d", "0D", "1W", "1.5D", "", ["28D"])
    ),
    (lambda: Rolling("u", "28D"), "Rolling.statistic: got nothing; is required"),  # type: ignore
    (lambda: Rolling("u", "28D", "mode"), "Rolling.statistic: got 'mode'; allowed: 'mean', 'sum'"),  # type: ignore
    (lambda: Rolling("u", 7, "mean", min_count=0), "Rolling.min_count: got 0; should be greater than or equal to 1"),
    (lambda: Rolling("u", 7, "mean", min_count=8), "Rolling.min_count: got 8; allowed: at most the window's 7 rows"),
    (lambda: Rolling("u", 7, "mean", 3), "Rolling: got 3; fields given by position: column, window, statistic"),  # type: ignore
    (lambda: Expanding("u", "median"), "Expanding.statistic: got 'median'; allowed: 'mean', 'sum'"),  # type: ignore
    (lambda: Holidays(""), "Holidays.country: got ''; allowed: an ISO 3166 code"),
    (
        lambda: Holidays("Germany"),
        "Holidays.country: got 'Germany'; allowed: an ISO 3166 code in capitals, such as 'DE'",
    ),
    (lambda: Holidays("DE", ""), "Holidays.subdivision: got ''; allowed: a text that is not empty"),
    (lambda: Features(holidays=["DE"]), r"Features.holidays: got \['DE'\]; allowed: a mapping of fields or a Holidays"),  # type: ignore
    (lambda: Features(holidays=False), "Features.holidays: got False; allowed: a mapping of fields or a Holidays"),  # type: ignore
    (lambda: Features(past=Lag("u", 1)), r"Features.past: got Lag\(.*; allowed: a list or tuple, such as \[Lag\("),  # type: ignore
    (lambda: Features(past=("u",)), r"Features.past\[0\]: got 'u'; allowed: a Lag, Difference, Rolling or Expanding"),  # type: ignore
    (lambda: Features(past=(Lag,)), r"Features.past\[0\]: got .*Lag.*; allowed: a Lag, Difference"),  # type: ignore
    (
        lambda: Features(past=[{"kind": "lag", "column": "u"}]),  # type: ignore
        r"Features.past\[0\].steps: got nothing; is required",
    ),
    (lambda: Features(calendar=("week_day",)), r"Features.calendar: got \('week_day',\); allowed: of year, quarter"),
    (lambda: Features(calendar="weekday"), r"Features.calendar: got 'weekday'; .* such as \['weekday'\] for one"),  # type: ignore
    (lambda: Features(cyclic=("year",)), r"Features.cyclic: got \('year',\); allowed: of quarter, month"),
    (lambda: Features(cyclic=("weekend",)), r"Features.cyclic: got \('weekend',\); allowed: of quarter, month"),
    (lambda: Features(known_ahead=("a", "a")), r"Features.known_ahead: got \('a', 'a'\); .* more than once: 'a'"),
    (lambda: Features(known_ahead=("a",), static=("a",)), r"Features.static: got \['a'\]; .* not in known_ahead"),
    (lambda: Features(static=("a",), categorical=("b",)), "Features.categorical: got 'b'; .* known_ahead or static"),
    (
        lambda: Features(past=(Lag("b", 1),), categorical=("b",)),
        "Features.categorical: got 'b'; allowed: columns of known_ahead or static",
    ),
    (lambda: Features(encoding="target"), "Features.encoding: got 'target'; allowed: 'ordinal' or 'onehot'"),  # type: ignore
    (lambda: Features(lags=(1,)), "Features.lags: .* no such field"),  # type: ignore
    # candidates
    (lambda: Candidate("AutoETS"), "Candidate.model: got 'AutoETS'; allowed: a dotted path"),
    (lambda: Candidate("a:b", grid={"x": []}), "Candidate.grid.x: got no values; at least one value to try"),
    (lambda: Candidate("a:b", grid={"x": 3}), r"Candidate.grid.x: got 3; allowed: a list or tuple, such as \[3\]"),
    (lambda: Candidate("a:b", grid={"x": "abc"}), r"Candidate.grid.x: got 'abc'; .* such as \['abc'\] for one"),
    (lambda: Candidate("a:b", grid={"x": [1, 1]}), r"Candidate.grid.x: got \(1, 1\); allowed: values that differ"),
    (lambda: Candidate("a:b", grid={"x": [NAN]}), r"Candidate.grid.x: got \[nan\]; allowed: a finite number"),
    (lambda: Candidate("a:b", grid={"x": [object]}), r"Candidate.grid.x: got \[.*object.*\]; allowed: texts, numbers"),
    (lambda: Candidate("a:b", grid=[1]), r"Candidate.grid: got \[1\]; allowed: a mapping of fields or a dict"),  # type: ignore
    (
        lambda: Candidate("a:b", params={"x": 1}, grid={"x": [1, 2]}),
        r"Candidate.grid.x: got \(1, 2\); allowed: arguments that are not in params too",
    ),
    (
        lambda: Candidate("a:b", grid={name: list(range(7)) for name in "xyz"}),
        "Candidate.grid: got 343 combinations; at most 256\nHint: each combination is fitted in every partition",
    ),
    (lambda: Candidate("a:b", grid={n: range(10**6) for n in "xyz"}), "Candidate.grid.x: got range.* not a range"),
    (lambda: Candidate("a:b", scope="global"), "Candidate.scope: got 'global'; allowed: 'partition' or 'fleet'"),  # type: ignore
    (lambda: Candidate("a:b", name=""), "Candidate.name: got ''; allowed: a text that is not empty"),
    # training
    (lambda: Training(halving=True), "Training.halving: got True; allowed: with at least 2 folds"),
    (lambda: Training(fallback="fleet"), r"Training.fallback: got 'fleet'; .* such as \['fleet'\] for one"),  # type: ignore
    (lambda: Training(window="2Y"), "Training.window: got '2Y'; allowed: a whole number above 0"),
    (lambda: Training(weight=""), "Training.weight: got ''; allowed: a text that is not empty"),
    (lambda: Limits(seconds=0), "Limits.seconds: got 0; should be greater than 0"),
    # treatments
    (lambda: Drop("x"), "Drop.column: got 'x'; give null, below or above: which rows go"),
    (lambda: Drop("x", below=3, above=2), "Drop.above: got 2.0; allowed: at least below, 3"),
    (lambda: Drop("x", below=NAN), "Drop.below: got nan; should be a finite number"),
    (lambda: Clip("x"), "Clip.lower: got nothing; give lower, upper or both"),
    (lambda: Clip("x", 3, 2), "Clip.upper: got 2.0; allowed: at least lower, 3"),
    (lambda: Clip("x", "low"), "Clip.lower: got 'low'; should be a valid number"),  # type: ignore
    (lambda: Fill("x"), "Fill.value: got nothing; give a value, or previous=True"),
    (lambda: Fill("x", value=[1]), r"Fill.value: got \[1\]; allowed: a text, number or boolean"),
    (lambda: Fill("x", value=NAN), "Fill.value: got nan; allowed: a finite number"),
    (lambda: Fill("x", value=float("inf")), "Fill.value: got inf; allowed: a finite number"),
    (lambda: Fill("x", 0), "Fill: got 0; fields given by position: column"),  # type: ignore
    (lambda: Dedupe("newest"), "Dedupe.keep: got 'newest'; allowed: 'first', 'last', 'sum', 'mean' or 'max'"),  # type: ignore
    (Dedupe, "Dedupe.keep: got nothing; is required"),  # type: ignore
]


@pytest.mark.parametrize("make, message", PARTS, ids=[f"{n}-{message[:40]}" for n, (_, message) in enumerate(PARTS)])
def test_bad_part_is_refused_where_it_is_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        make()
    assert caught.value.source == __file__
