"""Arrow rows as the pandas frame Great Expectations judges, with types that can't be misjudged.

pandas turns integers with nulls into floats and booleans with nulls into objects; Great Expectations compares int64,
float64 and datetime64[ns] columns at once and all others value by value in Python. So integers with nulls become
float64 only where every value is exact in it, booleans become nullable booleans, dates become timestamps, decimals
float64. Columns whose type is itself judged (`exact`) keep it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.types as pt

Rows: TypeAlias = pa.Table | ds.Dataset

_EXACT_IN_FLOAT = 2**53
# whole days that nanoseconds since 1970 hold
_NANOSECONDS = (datetime(1677, 9, 22), datetime(2262, 4, 11))
_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


@dataclass(frozen=True)
class Form:
    """What all of a column's rows say about its pandas type, so that every chunk of it gets the same."""

    nullable: bool
    """Whether it has nulls."""
    wide: bool
    """Whether it has integers that float64 rounds, or moments beyond what nanoseconds hold."""


def forms_of(rows: Rows, columns: Sequence[str]) -> dict[str, Form]:
    """The form of each of `columns`; a dataset answers from its files' statistics where these suffice."""
    source = ds.dataset(rows) if isinstance(rows, pa.Table) else rows

    def has(condition: pc.Expression) -> bool:
        return source.count_rows(filter=condition) > 0

    found = {}
    for name in columns:
        kind, column = source.schema.field(name).type, pc.field(name)
        typed = pt.is_integer(kind) or pt.is_boolean(kind)
        limits = _limits(kind)
        found[name] = Form(
            nullable=typed and has(column.is_null()),
            wide=limits is not None and has((column < limits[0]) | (column > limits[1])),
        )
    return found


def _limits(kind: pa.DataType) -> tuple[pa.Scalar, pa.Scalar] | None:
    """The least and the greatest value of type `kind` that its usual pandas type holds; None: it holds them all."""
    if pt.is_int64(kind) or pt.is_uint64(kind):
        return pa.scalar(0 if pt.is_uint64(kind) else -_EXACT_IN_FLOAT, kind), pa.scalar(_EXACT_IN_FLOAT, kind)
    if pt.is_date(kind) or (pt.is_timestamp(kind) and kind.unit != "ns"):
        low, high = (pa.scalar(day, pa.timestamp("s")).cast(kind) for day in _NANOSECONDS)
        return low, high
    return None


def frame_of(
    rows: Rows,
    columns: Sequence[str],
    *,
    exact: Collection[str] = (),
    forms: Mapping[str, Form] | None = None,
    start: int = 0,
) -> pd.DataFrame:
    """`columns` of `rows` as a frame indexed by row number, from `start` on; `forms` when these are not all rows."""
    if forms is None:
        forms = forms_of(rows, columns)
    table = rows.select(columns) if isinstance(rows, pa.Table) else rows.to_table(columns=list(columns))
    series = {name: _series(table.column(name), forms[name], name in exact) for name in columns}
    frame = pd.DataFrame(series, index=pd.RangeIndex(table.num_rows))
    frame.index = pd.RangeIndex(start, start + table.num_rows)  # given above, it would be looked up in the series'
    return frame


def _series(column: pa.ChunkedArray, form: Form, exact: bool) -> Any:
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    mapper = _NULLABLE.get if form.nullable else None
    if exact:
        return column.to_pandas(types_mapper=mapper)
    if pt.is_integer(kind):
        return _integers(column, form)
    if pt.is_null(kind) or pt.is_floating(kind) or pt.is_decimal(kind):
        return column.cast(pa.float64()).to_pandas()
    if pt.is_boolean(kind):
        return column.to_pandas(types_mapper=mapper)
    if pt.is_date(kind) or pt.is_timestamp(kind):
        zone = "UTC" if pt.is_timestamp(kind) and kind.tz else None
        return column.cast(pa.timestamp("us" if form.wide else "ns", zone)).to_pandas()
    return column.to_pandas()


def _integers(column: pa.ChunkedArray, form: Form) -> Any:
    if not form.nullable:
        return column.to_pandas() if pt.is_uint64(column.type) else column.cast(pa.int64()).to_pandas()
    return column.to_pandas(types_mapper=_NULLABLE.get) if form.wide else column.cast(pa.float64()).to_pandas()


def fitted(arguments: dict[str, Any], kind: pa.DataType) -> dict[str, Any]:
    """`arguments` of an expectation with its bounds and value set as a column of Arrow type `kind` holds them.

    Specs travel as JSON, so bounds of a date column come as text; naive bounds of a column with a time zone are UTC.
    """
    found = dict(arguments)
    for name in ("min_value", "max_value"):
        if found.get(name) is not None:
            found[name] = _fit(found[name], kind)
    if isinstance(found.get("value_set"), (list, tuple, set)):
        found["value_set"] = [_fit(value, kind) for value in found["value_set"]]
    return found


def _fit(value: Any, kind: pa.DataType) -> Any:
    if pt.is_date(kind) or pt.is_timestamp(kind):
        return _moment(value, aware=pt.is_timestamp(kind) and kind.tz is not None)
    if isinstance(value, Decimal):
        return float(value)
    if pt.is_float32(kind) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(np.float32(value))  # 0.1 in the spec means the column's 0.1
    return value


def _moment(value: Any, *, aware: bool) -> Any:
    """`value` as a datetime in UTC, with the zone or without; as it came when it is no moment."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if not isinstance(value, date):
            return value
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    except ValueError:
        return value
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC) if aware else moment
    moment = moment.astimezone(UTC)
    return moment if aware else moment.replace(tzinfo=None)
