"""Arrow rows as the pandas frame Great Expectations judges, with types that can't be misjudged.

pandas turns integers with nulls into floats and booleans with nulls into objects; Great Expectations compares int64,
float64 and datetime64[ns] columns at once and all others value by value in Python. So integers with nulls become
float64 only where every value is exact in it, booleans become nullable booleans, dates become timestamps, decimals
float64. Columns whose type is itself judged (`exact`) keep it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


def frame_of(rows: Rows, columns: Sequence[str], *, exact: Collection[str] = ()) -> pd.DataFrame:
    """`columns` of `rows` as a frame indexed by row number."""
    table = rows.select(columns) if isinstance(rows, pa.Table) else rows.to_table(columns=list(columns))
    series = {name: _series(table.column(name), name in exact) for name in columns}
    return pd.DataFrame(series, index=pd.RangeIndex(table.num_rows))


def _series(column: pa.ChunkedArray, exact: bool) -> Any:
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if exact:
        return column.to_pandas(types_mapper=_NULLABLE.get if column.null_count else None)
    kind = column.type
    if pt.is_integer(kind):
        return _integers(column)
    if pt.is_null(kind) or pt.is_floating(kind) or pt.is_decimal(kind):
        return column.cast(pa.float64()).to_pandas()
    if pt.is_boolean(kind):
        return column.to_pandas(types_mapper=_NULLABLE.get if column.null_count else None)
    if pt.is_date(kind) or pt.is_timestamp(kind):
        return _times(column)
    return column.to_pandas()


def _integers(column: pa.ChunkedArray) -> Any:
    if not column.null_count:
        return column.to_pandas() if pt.is_uint64(column.type) else column.cast(pa.int64()).to_pandas()
    ends = pc.min_max(column).as_py()
    if ends["min"] is None or max(abs(ends["min"]), abs(ends["max"])) <= _EXACT_IN_FLOAT:
        return column.cast(pa.float64()).to_pandas()
    return column.to_pandas(types_mapper=_NULLABLE.get)


def _times(column: pa.ChunkedArray) -> Any:
    zone = "UTC" if pt.is_timestamp(column.type) and column.type.tz else None
    try:
        return column.cast(pa.timestamp("ns", zone)).to_pandas()
    except pa.ArrowInvalid:  # 9999-12-31 and the like, beyond what nanoseconds hold
        return column.cast(pa.timestamp("us", zone)).to_pandas()


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
