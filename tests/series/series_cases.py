"""Buckets, plans and a plain pandas computation of one partition's series, shared by the tests of series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa

from modelfleet.series import SeriesPlan
from modelfleet.slices import PARTITION

BERLIN = ZoneInfo("Europe/Berlin")
UTC_US = pa.timestamp("us", "UTC")
NAIVE = pa.timestamp("us")
COLUMNS = {
    "store": pa.string(),
    "day": pa.date32(),
    "category": pa.string(),
    "promo": pa.int64(),
    "visitors": pa.float64(),
    "units": pa.float64(),
}


def bucket(rows: Iterable[Mapping[str, Any]], **kinds: pa.DataType) -> pa.Table:
    """Rows, in order, with the partition of their store; columns that no row names are left out."""
    listed = [dict(row) for row in rows]
    types = COLUMNS | kinds
    names = [name for name in types if any(name in row for row in listed) or name in kinds]
    given = pa.table({name: pa.array([row.get(name) for row in listed], types[name]) for name in names})
    keys = pa.array([f"store={row['store']}" for row in listed], pa.string()).dictionary_encode()
    return given.append_column(PARTITION, keys)


def sold(store: str, **units: Any) -> list[dict[str, Any]]:
    """Rows of one store: ``sold("a", d03=1.0)`` sold 1 on 2013-09-03."""
    return [{"store": store, "day": date(2013, 9, int(name[1:])), "units": value} for name, value in units.items()]


def plan(**changes: Any) -> SeriesPlan:
    """The plan of daily units up to and with 2013-09-05 in Berlin."""
    fields: dict[str, Any] = {
        "fleet": "demand",
        "frequency": "D",
        "timezone": "Europe/Berlin",
        "time": "day",
        "target": "units",
        "keys": ("store",),
        "static": (),
        "known_ahead": (),
        "missing": "reject",
        "end": datetime(2013, 9, 6, tzinfo=BERLIN),
        "future": 0,
        "treatments": (),
    }
    return SeriesPlan(**(fields | changes))


def calendar(freq: str, kind: pa.DataType, zone: str, first: str, last: str) -> pd.DatetimeIndex:
    """All steps between two wall times, by pandas: in UTC for a kind with a zone, else naive wall times."""
    start, end = pd.Timestamp(first), pd.Timestamp(last)
    zoned = getattr(kind, "tz", None) is not None
    if freq not in ("h", "15min", "30min") or not zoned:
        wall = pd.date_range(start, end, freq=freq)
        return on_clock(wall, zone) if zoned else wall
    quarter = {"Asia/Kathmandu": 45, "Australia/Lord_Howe": 30}.get(zone, 0)
    origin = (on_clock(pd.DatetimeIndex([start]), zone)[0] - pd.Timedelta(1, "D")).floor("D")
    steps = pd.date_range(origin - pd.Timedelta(quarter, "min"), periods=10_000, freq=freq)
    bounds = on_clock(pd.DatetimeIndex([start, end]), zone)
    return steps[(steps >= bounds[0]) & (steps <= bounds[1])]


def on_clock(wall: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """When a clock shows wall times: the first time, or the moment it skips them."""
    zoned = wall.tz_localize(zone, ambiguous=[True] * len(wall), nonexistent="shift_forward")
    return zoned.tz_convert("UTC")


def reference(rows: pd.DataFrame, steps: pd.DatetimeIndex, *, end: pd.Timestamp, future: int, missing: str) -> pd.DataFrame:
    """One partition's series, made plainly.

    `rows` have the columns store, t, category (static), promo (known ahead), visitors, units, looked_up (promo by a table).
    """
    one = rows[rows.t.isin(steps)].drop_duplicates("t", keep="first").set_index("t")
    past = one[one.index < end]
    begins = past.units.first_valid_index()
    ahead = steps[steps >= end][:future]
    history = steps[(steps < end) & (steps >= begins)] if begins is not None else steps[:0]
    if begins is None and not future:
        history = steps[steps < end][-1:]
    out = one.reindex(history.append(ahead))
    out["store"] = rows.store.iloc[0]
    out.loc[ahead, ["units", "visitors"]] = math.nan
    if begins is not None:
        if missing == "zero":
            out.loc[history, "units"] = out.loc[history, "units"].fillna(0.0)
        if missing == "previous":
            out.loc[history, "units"] = out.loc[history, "units"].ffill()
    given = set(one.index)
    last = past.category.iloc[-1] if len(past) else None
    previous = last if begins is None else None
    for moment in out.index:
        own = one.category.get(moment)
        if moment in given and not (own is None and moment >= end):
            previous = own
        elif moment >= end and len(past):
            out.loc[moment, "category"] = last
        else:
            out.loc[moment, "category"] = previous if previous is not None or begins is not None else one.category.iloc[0]
    return out.reset_index(names="t")
