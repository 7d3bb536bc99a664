"""Fleets and rows for tests of the workbench: two shops with a week's pattern, and a young one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from modelfleet import (
    Candidate,
    Features,
    FleetSpec,
    Forecast,
    Lag,
    Rolling,
    Training,
    settings,
)
from prepared_bench import KEY, shops

DAYS, HORIZON = 90, 7
Lay = Callable[..., str]


def forecast(**changes: Any) -> FleetSpec:
    given: dict[str, Any] = {
        "problem": Forecast(target="units", freq="D", horizon=HORIZON, quantiles=(0.1, 0.5, 0.9)),
        "features": Features(past=(Lag("units", 7), Rolling("units", 14, "mean")), calendar=("weekday",)),
        "model": None,
        "candidates": (
            Candidate("statsforecast.models:SeasonalNaive", params={"season_length": 7}),
            Candidate("sales.models:ridge", grid={"alpha": (1.0, 100.0)}),
        ),
        "training": Training(folds=2),
    }
    return shops(**{**given, **changes})


def daily() -> pa.Table:
    """Two shops with a week's pattern, and one that is ten days old."""
    chance = np.random.default_rng(3)
    last = date.fromisoformat(KEY)
    made: dict[str, list[Any]] = {"shop": [], "day": [], "units": [], "price": []}
    for shop, count in (("a", DAYS), ("b/c", DAYS), ("young", 10)):
        for n in range(count):
            day = last - timedelta(days=count - 1 - n)
            made["shop"].append(shop)
            made["day"].append(day)
            made["units"].append(20.0 + 5 * (day.weekday() >= 5) + float(chance.normal()))
            made["price"].append(float(chance.uniform(1, 2)))
    return pa.table(made)


def at_times(rows: pa.Table) -> pa.Table:
    """The same rows as readings."""
    at = pa.array([pd.Timestamp(day).tz_localize("UTC") for day in rows["day"].to_pylist()], pa.timestamp("us", "UTC"))
    return rows.drop_columns(["day"]).append_column("at", at)


def files() -> dict[str, bytes]:
    """Every file of the home."""
    return {str(path): path.read_bytes() for path in settings.home().rglob("*") if path.is_file()}
