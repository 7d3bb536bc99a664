"""Treatments of rows, for all partitions of a bucket at once: drop, clip, fill, dedupe, in the spec's order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError, bounded
from modelfleet.series.columns import array_of, changes, is_missing, last_before, partition_codes, replace, take
from modelfleet.spec.treatments import Clip, Dedupe, Drop, Fill, Treatment


def apply(
    rows: pa.Table,
    treatments: Iterable[Treatment],
    *,
    target: str | None,
    time: str,
    fleet: str = "",
    history: str | None = None,
) -> tuple[pa.Table, dict[str, int]]:
    """Treat rows that are sorted by partition and time; also count, such as ``"drop units"``, the rows concerned.

    A row counts where it is dropped, its value is changed, or it is merged into another of the same time ("dedupe").

    :param target: treatments of it are left out where the rows do not have it, as when scoring.
    :param history: a bool column that says where the target is known; it is treated nowhere else. Default: everywhere.
    :raises DataError: naming the fleet: for columns the rows do not have, and values or bounds a column can't have.
    """
    todo = [t for t in treatments if isinstance(t, Dedupe) or t.column != target or target in rows.column_names]
    check(rows, todo, time=time, fleet=fleet)
    counts: dict[str, int] = {}
    rows = rows.combine_chunks()
    for treatment in todo:
        if isinstance(treatment, Dedupe):
            label, (rows, changed) = "dedupe", _dedupe(rows, treatment, target, time, fleet)
        else:
            label = f"{treatment.kind} {treatment.column}"
            known = array_of(rows, history).to_numpy(zero_copy_only=False) if history else None
            rows, changed = _treat(rows, treatment, known if treatment.column == target else None, fleet)
        counts[label] = counts.get(label, 0) + changed
    return rows, counts


def check(rows: pa.Table, treatments: Iterable[Treatment], *, time: str, fleet: str) -> None:
    """See that rows have the columns that treatments name, and that none changes the time.

    :raises DataError: naming the fleet and the columns.
    """
    named = {t.column: t for t in treatments if not isinstance(t, Dedupe)}
    unknown = [name for name in named if name not in rows.column_names]
    if unknown:
        raise DataError(
            f"fleet {fleet!r}: treatments name column {bounded(map(repr, unknown))}; "
            f"the rows have {bounded(rows.column_names, limit=40)}",
            hint="select it in `prepare`, or correct treatments",
        )
    for treatment in treatments:
        if isinstance(treatment, Clip | Fill) and treatment.column == time:
            raise DataError(
                f"fleet {fleet!r}: {_named(treatment)} would change the time of rows; allowed are Drop and other columns",
                hint="change it in `prepare`",
            )


def values(rows: pa.Table, treatment: Clip | Fill, where: np.ndarray | None, fleet: str) -> tuple[pa.Table, np.ndarray]:
    """Clip or fill a column, where allowed; also the rows that changed (bool)."""
    column = array_of(rows, treatment.column)
    new, changed = (
        _clip(column, treatment, fleet)
        if isinstance(treatment, Clip)
        else _fill(column, treatment, changes(partition_codes(rows)), fleet)
    )
    if where is not None and (changed & ~where).any():
        changed &= where
        new = pc.if_else(pa.array(changed), new, column)
    return (replace(rows, treatment.column, new) if changed.any() else rows), changed


def _treat(rows: pa.Table, treatment: Drop | Clip | Fill, where: np.ndarray | None, fleet: str) -> tuple[pa.Table, int]:
    if isinstance(treatment, Drop):
        gone = _dropped(array_of(rows, treatment.column), treatment, fleet)
        gone = gone if where is None else gone & where
        return (rows.filter(pa.array(~gone)).combine_chunks() if gone.any() else rows), int(gone.sum())
    rows, changed = values(rows, treatment, where, fleet)
    return rows, int(changed.sum())


def _dropped(column: pa.Array, treatment: Drop, fleet: str) -> np.ndarray:
    missing = is_missing(column)
    gone = missing if treatment.null else np.zeros(len(column), bool)
    if treatment.below is None and treatment.above is None:
        return gone
    numbers = _numbers(column, treatment, fleet)
    if treatment.below is not None:
        gone = gone | (~missing & (numbers < treatment.below))
    if treatment.above is not None:
        gone = gone | (~missing & (numbers > treatment.above))
    return gone


def _clip(column: pa.Array, treatment: Clip, fleet: str) -> tuple[pa.Array, np.ndarray]:
    numbers, missing = _numbers(column, treatment, fleet), is_missing(column)
    new, changed = numbers, np.zeros(len(numbers), bool)
    lower, upper = treatment.lower, treatment.upper
    if lower is not None and upper is not None and numbers.dtype.kind != "f" and math.ceil(lower) > math.floor(upper):
        raise _unfit(
            treatment, f"bounds {lower:g} and {upper:g}", f"bounds with a value of {numbers.dtype} between", fleet
        )
    for bound, beyond, towards in ((lower, np.less, math.ceil), (upper, np.greater, math.floor)):
        if bound is not None:
            outside = ~missing & beyond(numbers, bound)
            new = np.where(outside, _bound(bound, numbers.dtype, towards, treatment, fleet), new)
            changed |= outside
    return pa.array(new, type=column.type, mask=pc.is_null(column).to_numpy(zero_copy_only=False)), changed


def _bound(bound: float, kind: np.dtype[Any], towards: Any, treatment: Clip, fleet: str) -> Any:
    """A bound as a value of the column; of whole numbers, the nearest inside."""
    if kind.kind == "f":
        return kind.type(bound)
    limits, whole = np.iinfo(kind), towards(bound)
    if not limits.min <= whole <= limits.max:
        raise _unfit(treatment, f"a bound of {bound:g}", f"{kind} from {limits.min} to {limits.max}", fleet)
    return kind.type(whole)


def _fill(column: pa.Array, treatment: Fill, begins: np.ndarray, fleet: str) -> tuple[pa.Array, np.ndarray]:
    missing = is_missing(column)
    scalar = None if treatment.value is None else _scalar(treatment, column.type, fleet)
    if not missing.any():
        return column, missing
    filled = column
    if treatment.previous:
        there = last_before(~missing, begins)
        filled = take(column, np.where(missing, there, np.arange(len(column))))
        changed = missing & (there >= 0)
    else:
        changed = np.zeros(len(column), bool)
    if scalar is not None:
        filled = pc.if_else(pa.array(missing & ~changed), scalar, filled)
        changed = missing
    elif not changed.all():
        filled = pc.if_else(pa.array(missing & ~changed), column, filled)  # a NaN that stays is no null
    return filled, changed


def _scalar(treatment: Fill, kind: pa.DataType, fleet: str) -> pa.Scalar:
    """The value of a Fill as one of the column; texts are read as dates and timestamps."""
    value = treatment.value
    boolean, fraction = pa.types.is_boolean(kind), isinstance(value, float) and not value.is_integer()
    try:
        if isinstance(value, bool) != boolean or (fraction and pa.types.is_integer(kind)):
            raise TypeError
        if pa.types.is_temporal(kind):
            if not isinstance(value, str):
                raise TypeError
            return pa.scalar(value, pa.string()).cast(kind)
        return pa.scalar(int(value) if pa.types.is_integer(kind) and isinstance(value, float) else value, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise _unfit(treatment, repr(value), f"a value of type {kind}", fleet) from None


def _dedupe(rows: pa.Table, treatment: Dedupe, target: str | None, time: str, fleet: str) -> tuple[pa.Table, int]:
    moments = array_of(rows, time)
    ticks = moments.cast(pa.int32()).cast(pa.int64()) if moments.type.bit_width == 32 else moments.cast(pa.int64())
    first = changes(partition_codes(rows)) | changes(pc.fill_null(ticks, np.iinfo(np.int64).min).to_numpy())
    merge = None if treatment.keep in ("first", "last") or target not in rows.column_names else treatment.keep
    if merge is not None:
        column = array_of(rows, str(target))
        aggregate = partial(_aggregate, column, merge, _mergeable(column, treatment, str(target), fleet))
    if first.all():
        return rows, 0
    starts = np.flatnonzero(first)
    kept = np.append(starts[1:], len(first)) - 1 if treatment.keep == "last" else starts
    result = rows.take(pa.array(kept)).combine_chunks()
    if merge is not None:
        result = replace(result, str(target), aggregate(starts))
    return result, int(len(first) - len(starts))


def _mergeable(column: pa.Array, treatment: Dedupe, target: str, fleet: str) -> np.ndarray:
    """The values of a target, NaN as they are and null as 0, if they can be merged as asked."""
    kind = column.type
    floating, number = pa.types.is_floating(kind), pa.types.is_floating(kind) or pa.types.is_integer(kind)
    if not {"mean": floating, "sum": number}.get(treatment.keep, number or pa.types.is_boolean(kind)):
        raise DataError(
            f"fleet {fleet!r}: {_named(treatment)} of target {target!r}, which is of type {kind}; "
            f"allowed are {'floating numbers' if treatment.keep == 'mean' else 'numbers'}",
            hint=f"cast it in `prepare` or in a view: CAST({target} AS DOUBLE)",
        )
    return pc.fill_null(column, pa.scalar(0).cast(kind)).to_numpy(zero_copy_only=False)


def _aggregate(column: pa.Array, how: str, numbers: np.ndarray, starts: np.ndarray) -> pa.Array:
    """Sum, mean or max of the values that are there, from each start to the next; null where there are none."""
    there = ~is_missing(column)
    present = np.add.reduceat(there.astype(np.int64), starts)
    if how == "max":
        least = {"f": -np.inf, "b": False}.get(numbers.dtype.kind)
        floor = np.iinfo(numbers.dtype).min if least is None else least
        merged = np.maximum.reduceat(np.where(there, numbers, numbers.dtype.type(floor)), starts)
    else:
        merged = np.add.reduceat(np.where(there, numbers, numbers.dtype.type(0)), starts)
        if how == "mean":
            merged = merged / np.maximum(present, 1).astype(numbers.dtype)
    return pa.array(merged, type=column.type, mask=present == 0)


def _numbers(column: pa.Array, treatment: Drop | Clip, fleet: str) -> np.ndarray:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise _unfit(treatment, f"a column of type {kind}", "a column of numbers", fleet)
    return pc.fill_null(column, pa.scalar(0).cast(kind)).to_numpy(zero_copy_only=False)


def _named(treatment: Treatment) -> str:
    inside = treatment.keep if isinstance(treatment, Dedupe) else treatment.column
    return f"{type(treatment).__name__}({inside!r})"


def _unfit(treatment: Treatment, got: str, allowed: str, fleet: str) -> DataError:
    return DataError(
        f"fleet {fleet!r}: {_named(treatment)}: got {got}; allowed: {allowed}",
        hint="correct treatments, or cast the column in `prepare`",
    )
