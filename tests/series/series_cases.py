"""Buckets, plans and a plain pandas computation of one partition's series, shared by the tests of series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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
    """When a clock shows wall times: the first time, or the moment it skips them.

    By Arrow, as rows are cut into intervals: pandas' shift_forward is wrong where clocks change by half an hour.
    """
    naive = pa.array(wall).cast(pa.timestamp("us"))
    zoned = pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="latest")
    return pd.DatetimeIndex(zoned.cast(UTC_US).to_pandas()).as_unit(wall.unit)


def reference(
    rows: pd.DataFrame, steps: pd.DatetimeIndex, *, cutoff: pd.Timestamp, future: int, missing: str
) -> tuple[pd.DataFrame, dict[str, list[Any]]]:
    """One partition's series, made plainly, and the times that are wrong: off the grid, repeated, without a target.

    `rows` have the columns t, category (static), promo (known ahead), visitors and units. `steps` go on beyond the
    cutoff, the first step of the future.
    """
    after = steps[steps >= cutoff][future]
    rows = rows[rows.t < after]
    one = rows[rows.t.isin(steps)].drop_duplicates("t", keep="first").set_index("t")
    past = one[one.index < cutoff]
    begins = past.units.first_valid_index()
    history = steps[:0] if begins is None else steps[(steps >= begins) & (steps < cutoff)]
    stands_in = begins is None and not future and bool((rows.t < cutoff).any())
    ahead = steps[(steps >= cutoff) & (steps < after)] if len(rows) else steps[:0]
    out = one.reindex((steps[steps < cutoff][-1:] if stands_in else history).append(ahead))
    out.loc[ahead, ["units", "visitors"]] = math.nan
    gone = [moment for moment in history if pd.isna(out.units[moment])]
    if missing != "reject":
        filled = out.loc[history, "units"]
        out.loc[history, "units"] = filled.fillna(0.0) if missing == "zero" else filled.ffill()
    wrong = {
        "off": list(rows.t[~rows.t.isin(steps)]),
        "repeated": sorted(rows.t[rows.t.isin(steps) & rows.t.duplicated()].unique()),
        "missing": gone if missing == "reject" else [],
        "empty": [cutoff] if stands_in else [],
    }
    out["category"] = _category(rows, one, out.index, cutoff)
    return out.reset_index(names="t"), wrong


def _category(rows: pd.DataFrame, one: pd.DataFrame, moments: pd.DatetimeIndex, cutoff: pd.Timestamp) -> list[Any]:
    """The static column: of the row before; beyond the end of the last row before it."""
    before = rows[rows.t < cutoff]
    known = one[one.index < cutoff].category if (one.index < cutoff).any() else before.category
    last = known.iloc[-1] if len(known) else None
    previous, found = (last if len(known) or not len(rows) else rows.category.iloc[0]), []
    for moment in moments:
        if moment in one.index:
            previous = one.category[moment]
        inherits = moment not in one.index or previous is None
        found.append(last if moment >= cutoff and len(known) and inherits else previous)
    return found
