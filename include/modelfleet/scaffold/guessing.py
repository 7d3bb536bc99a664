"""What a CSV file holds, guessed for a first draft of a fleet: which columns are the time, the target, keys and features.

What the author names is taken; the rest is guessed from types, names and counts, and told, so that it can be put right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError, bounded
from modelfleet.spec.base import nearest

TIMES = ("date", "day", "time", "timestamp", "datetime", "ds", "hour", "week", "month")
TARGETS = ("target", "y", "label", "units", "sales", "quantity", "qty", "demand", "amount", "value", "count", "total")
KEYS = ("id", "key", "code", "store", "shop", "item", "product", "sku", "site", "region", "sensor", "well")
ROWS_OF_A_MODEL = 60
"""Key columns are added as long as a partition has about as many rows."""


@dataclass(frozen=True)
class Columns:
    """The parts that columns play. `features`: numbers and booleans that are nothing else."""

    time: str
    target: str
    keys: tuple[str, ...]
    features: tuple[str, ...]


def read(file: Path) -> pa.Table:
    """The rows of a CSV file.

    :raises DataError: when it can't be read, or has no rows.
    """
    from pyarrow import csv

    try:
        rows = csv.read_csv(file)
    except (OSError, pa.ArrowException) as exc:
        raise DataError(f"{file} can't be read as CSV: {' '.join(str(exc).split())[:300]}") from exc
    if rows.num_rows == 0:
        raise DataError(f"{file} has no rows")
    return rows


def columns(
    rows: pa.Table, kind: str, *, time: str | None, target: str | None, keys: Sequence[str], file: Path
) -> Columns:
    """The parts of the columns, each as given or else guessed.

    :raises DataError: for a column that is not there or of a type it can't be of, or where nothing can be guessed.
    """
    for option, column in (("--time", time), ("--target", target), *(("--key", key) for key in keys)):
        if column is not None and column not in rows.column_names:
            there = bounded(rows.column_names, limit=20)
            hint = nearest(column, rows.column_names)
            raise DataError(f"{file} has no column {column!r}, which {option} names; there are {there}", hint=hint)
    when = time or _time(rows, file)
    if not _is_time(rows.schema.field(when).type):
        raise DataError(
            f"{file}: the time column {when!r} is {rows.schema.field(when).type}, not a date or timestamp",
            hint="write dates as 2013-09-30 and times as 2013-09-30 13:00:00",
        )
    what = target or _target(rows, kind, taken=(when, *keys), file=file)
    if not (_is_number(rows.schema.field(what).type) or pa.types.is_boolean(rows.schema.field(what).type)):
        raise DataError(f"{file}: the target {what!r} is {rows.schema.field(what).type}, not a number")
    by = tuple(keys) or _keys(rows, kind, when, what, file)
    features = (
        field.name
        for field in rows.schema
        if field.name not in (when, what, *by) and (_is_number(field.type) or pa.types.is_boolean(field.type))
    )
    return Columns(when, what, by, tuple(features))


def partition_codes(rows: pa.Table, keys: Sequence[str]) -> np.ndarray:
    """A number for each row, equal for rows of one partition; int64."""
    texts = [pc.fill_null(rows[key].cast(pa.string()), "") for key in keys]
    joined = pc.binary_join_element_wise(*texts, "\x1f")
    codes: np.ndarray = joined.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return codes.astype(np.int64)


def microseconds(rows: pa.Table, time: str) -> np.ndarray:
    """The times of the rows on the wall clock; int64, without those that are null, which become the first."""
    moments = rows[time].cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    values: np.ndarray = pc.fill_null(moments, pc.min(moments)).to_numpy()
    return values


def _time(rows: pa.Table, file: Path) -> str:
    found = [field.name for field in rows.schema if _is_time(field.type)]
    if not found:
        raise DataError(
            f"{file} has no column of dates or timestamps; there are {_typed(rows)}",
            hint="write dates as 2013-09-30 and times as 2013-09-30 13:00:00",
        )
    return _likeliest(found, TIMES) or found[0]


def _target(rows: pa.Table, kind: str, *, taken: Sequence[str], file: Path) -> str:
    free = [field for field in rows.schema if field.name not in taken and not _like(field.name, KEYS)]
    if kind == "classification":
        found = [field.name for field in free if _is_class(rows[field.name])]
        wanted = "of two classes (booleans, or 0 and 1)"
    else:
        found = [field.name for field in free if _is_number(field.type)]
        wanted = "of numbers"
    if not found:
        raise DataError(f"{file} has no column {wanted} to predict; there are {_typed(rows)}", hint="name it: --target")
    return _likeliest(found, TARGETS) or found[-1]


def _keys(rows: pa.Table, kind: str, time: str, target: str, file: Path) -> tuple[str, ...]:
    """Texts, and whole numbers named like keys: for series as many as tell rows of one time apart, else as rows allow."""
    free = [
        field.name
        for field in rows.schema
        if field.name not in (time, target)
        and (pa.types.is_string(field.type) or (pa.types.is_integer(field.type) and _like(field.name, KEYS)))
    ]
    chosen = _telling_apart(rows, free, time) if kind == "forecast" else _with_rows(rows, free)
    if not chosen:
        raise DataError(
            f"{file}: no column looks like a key, of whose values each gets its own model; there are {_typed(rows)}",
            hint="name one: --key; a file of one series needs a column with its name",
        )
    return chosen


def _telling_apart(rows: pa.Table, free: Sequence[str], time: str) -> tuple[str, ...]:
    chosen: list[str] = []
    seen = _distinct(rows, [time])
    for name in free:
        with_it = _distinct(rows, [*chosen, name, time])
        if with_it > seen:
            chosen.append(name)
            seen = with_it
    for name in list(chosen):  # one that a later one implies says nothing
        rest = [other for other in chosen if other != name]
        if rest and _distinct(rows, [*rest, time]) == seen:
            chosen = rest
    return tuple(chosen or free[:1])


def _with_rows(rows: pa.Table, free: Sequence[str]) -> tuple[str, ...]:
    chosen: list[str] = []
    for name in free:
        if rows.num_rows / _distinct(rows, [*chosen, name]) >= ROWS_OF_A_MODEL:
            chosen.append(name)
    return tuple(chosen or free[:1])


def _distinct(rows: pa.Table, names: Sequence[str]) -> int:
    return int(rows.group_by(list(names)).aggregate([]).num_rows)


def _likeliest(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The name that is, or has a part that is, the earliest of the known ones."""
    for word in known:
        exact = [name for name in names if name.lower() == word]
        parts = [name for name in names if word in name.lower().replace("-", "_").split("_")]
        if exact or parts:
            return (exact or parts)[0]
    return None


def _like(name: str, known: Sequence[str]) -> bool:
    return _likeliest([name], known) is not None


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_class(column: pa.ChunkedArray) -> bool:
    if pa.types.is_boolean(column.type):
        return True
    return pa.types.is_integer(column.type) and set(pc.unique(column).to_pylist()) - {None} == {0, 1}


def _typed(rows: pa.Table) -> str:
    return bounded([f"{field.name} ({field.type})" for field in rows.schema], limit=20)
