"""Fleets with features, buckets of drawn rows, and the same features computed plainly, one window after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from modelfleet import Candidate, Data, Features, FleetSpec, Forecast, Regression, SqlTable
from modelfleet.features import Recipe

START = datetime(2013, 3, 1)
STATISTICS = ("mean", "sum", "min", "max", "std", "median", "count")
_WINDOW: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda window: math.fsum(window) / len(window),
    "sum": math.fsum,
    "min": min,
    "max": max,
    "std": lambda window: np.std(window, ddof=1),
    "median": np.median,
}

VALUES = st.one_of(
    st.none(),
    st.integers(-3, 3).map(float),
    st.floats(-1e9, 1e9),
    st.floats(-1e-6, 1e-6).map(lambda value: round(value, 15)),  # squares of smaller ones underflow in any program
)


def forecast_fleet(features: Features, **changes: Any) -> FleetSpec:
    """A fleet of daily series, whose models of single steps know all lags."""
    given: dict[str, Any] = {
        "name": "demand",
        "owner": "tests",
        "data": Data(sales=SqlTable("pos", "sales", time="day"), prepare="replenishment.demand:prepare"),
        "partition_by": ("store", "item"),
        "problem": Forecast(target="units", freq="D", horizon=6, steps_per_model=1),
        "features": features,
        "candidates": (Candidate("sklearn.linear_model:Ridge"),),
    }
    return FleetSpec(**{**given, **changes})


def regression_fleet(features: Features, **changes: Any) -> FleetSpec:
    """A fleet of irregular rows."""
    return forecast_fleet(features, **{"problem": Regression(target="delay"), **changes})


@dataclass
class Bucket:
    """Partitions one after the other: a frame of each, and all as one Arrow table of several chunks."""

    parts: list[pd.DataFrame]

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum([0, *(len(part) for part in self.parts[:-1])], dtype=np.int64)

    @property
    def rows(self) -> pa.Table:
        schema = pa.Schema.from_pandas(self.parts[0], preserve_index=False)
        tables = [pa.Table.from_pandas(part, schema=schema, preserve_index=False) for part in self.parts]
        whole = pa.concat_tables(tables)
        half = whole.num_rows // 2
        return pa.concat_tables([whole.slice(0, half).combine_chunks(), whole.slice(half).combine_chunks()])

    def compute(self, recipe: Recipe, ahead: int = 1) -> np.ndarray:
        return recipe.compute(self.rows, self.starts, time="day", ahead=ahead)


def daily(values: Sequence[float | None], **columns: Sequence[Any]) -> pd.DataFrame:
    """A regular series: `units` a day, and other columns."""
    days = [START + timedelta(days=n) for n in range(len(values))]
    return pd.DataFrame({"day": days, "units": np.array(values, dtype=np.float64), **columns})


@st.composite
def buckets(draw: st.DrawFn, *, most: int = 12) -> Bucket:
    """One to four daily series of some rows, with nulls, of `units`, `price` and `visitors`."""
    parts = []
    for length in draw(st.lists(st.integers(1, most), min_size=1, max_size=4)):
        column = st.lists(VALUES, min_size=length, max_size=length)
        parts.append(
            daily(draw(column), price=np.array(draw(column), float), visitors=np.array(draw(column), float)),
        )
    return Bucket(parts)


@st.composite
def irregular_buckets(draw: st.DrawFn) -> Bucket:
    """Partitions whose rows are minutes to days apart, many at the same time, with nulls of `wind`."""
    parts = []
    for length in draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)):
        steps = draw(st.lists(st.sampled_from([0, 0, 1, 59, 60, 61, 24 * 60]), min_size=length, max_size=length))
        days = [START + timedelta(minutes=int(minutes)) for minutes in np.cumsum(steps)]
        wind = draw(st.lists(VALUES, min_size=length, max_size=length))
        parts.append(pd.DataFrame({"day": days, "wind": np.array(wind, dtype=np.float64)}))
    return Bucket(parts)


def statistic(window: np.ndarray, name: str, least: int = 1) -> tuple[float, float]:
    """(value, the largest magnitude in the window) of a statistic by its definition."""
    values = window[~np.isnan(window)]
    scale = float(np.abs(values).max()) if len(values) else 0.0
    if name == "count":
        return float(len(values)), 0.0
    if len(values) < max(least, 2 if name == "std" else 1):
        return math.nan, 0.0
    return float(_WINDOW[name](values)), scale * (len(values) if name == "sum" else 1)


def assert_close(got: np.ndarray, expected: Sequence[tuple[float, float]], name: str) -> None:
    """Equal to 1e-9 of the largest value in each window, which is what a sum of mixed signs can promise."""
    values = np.array([value for value, _ in expected])
    scales = np.array([scale for _, scale in expected])
    assert np.array_equal(np.isnan(got), np.isnan(values)), name
    wrong = np.abs(got - values) > 1e-9 * scales
    assert not wrong.any(), f"{name}: {got[wrong]} instead of {values[wrong]}"


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    """Not a bit apart; NaN is NaN, whatever its sign."""
    assert np.array_equal(got, expected, equal_nan=True), f"{got} instead of {expected}"
