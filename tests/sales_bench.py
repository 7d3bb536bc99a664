"""A small forecast fleet and its source: daily sales of items in stores, and a calendar of promotions that is known ahead."""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

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
    keys,
)

START, BULK = "2024-01-01", "2024-04-14"
DAYS = ("2024-04-15", "2024-04-16")
HORIZON = 7
PROMOS_UNTIL = date(2024, 4, 25)

Key = tuple[str, int]
HEALTHY: tuple[Key, ...] = (("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2))
YOUNG: Key = ("c", 3)
"""Ten days old at the first training; item 3 has no other store."""
TWICE: Key = ("b", 3)
"""One of its days has two rows."""
OPENED: Key = ("d", 1)
"""First seen on the first day that is scored."""
EXPECTED = (*HEALTHY, YOUNG, TWICE)
GAP = date(2024, 3, 5)
"""A day on which ("a", 1) has no row."""


def partition(key: Key) -> str:
    return keys.encode(("store", "item"), key)


def sales(**changes: Any) -> FleetSpec:
    """The fleet: three candidates, two coarser levels to fall back on, quantiles."""
    given: dict[str, Any] = {
        "name": "sales",
        "owner": "tests",
        "timezone": "Europe/Berlin",  # clocks change on 31 March
        "data": Data(
            sales=SqlTable("wells_db", "sales", time="sold_on", late="2D"),
            calendar=SqlTable("wells_db", "calendar", time="day", ahead="14D"),
        ),
        "partition_by": ("store", "item"),
        "problem": Forecast(target="units", freq="D", horizon=HORIZON, quantiles=(0.1, 0.5, 0.9), missing="zero"),
        "features": Features(
            known_ahead=("promo",),
            static=("category",),
            past=(Lag("units", 7, 14), Rolling("units", "14D", "mean")),
            calendar=("weekday",),
            categorical=("category",),
        ),
        "candidates": (
            Candidate("statsforecast.models:SeasonalNaive", params={"season_length": 7}),
            Candidate("sales.models:ridge", grid={"alpha": (1.0, 100.0)}),
            Candidate("sales.models:boosted", scope="fleet"),
        ),
        "training": Training(folds=2, min_rows=40, fallback=("item", "fleet", "baseline")),
        "gate": Gate(each=("wape <= baseline.wape",)),
        "schedule": Schedule(ingest="@daily"),
    }
    return FleetSpec(**{**given, **changes})


def promoted(day: date) -> int:
    return int(day.toordinal() % 9 == date(2024, 4, 18).toordinal() % 9)


def units(key: Key, day: date) -> int:
    """A week's pattern, more on promotions, a little noise."""
    chance = random.Random(f"{key} {day}")
    level = 20 + 10 * key[1] + 5 * "abcdef".index(key[0])
    week = 1 + 0.4 * math.sin(2 * math.pi * day.weekday() / 7)
    return round(level * week * (1.8 if promoted(day) else 1.0) + chance.gauss(0, 2))


def days(first: str, last: str) -> Iterator[date]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return (start + timedelta(days=n) for n in range((end - start).days + 1))


def rows() -> Iterator[tuple[str, int, str, str, int]]:
    """Every sale up to the last day that is scored."""
    for day in days(START, DAYS[-1]):
        for key in (*EXPECTED, OPENED):
            if key == OPENED and str(day) < DAYS[0]:
                continue
            if key == YOUNG and day < date.fromisoformat(BULK) - timedelta(days=9):
                continue
            if key == HEALTHY[0] and day == GAP:
                continue
            for _ in range(2 if key == TWICE and day == GAP else 1):
                yield (*key, "fruit" if key[1] < 3 else "bread", f"{day}", units(key, day))


def fill_sales(path: Path) -> None:
    """Write the source database as SQLite."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE sales (store TEXT, item BIGINT, category TEXT, sold_on DATE, units BIGINT)")
        database.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?)", rows())
        database.execute("CREATE TABLE calendar (day DATE, promo BIGINT)")
        promos = [(f"{day}", promoted(day)) for day in days(START, f"{PROMOS_UNTIL}")]
        database.executemany("INSERT INTO calendar VALUES (?, ?)", promos)
