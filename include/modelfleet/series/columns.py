"""Columns of a sorted bucket as the masks and row numbers that series are built of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.slices import PARTITION


def whole(rows: pa.Table) -> pa.Table:
    """The table in one piece, its partitions in one dictionary."""
    return rows.unify_dictionaries().combine_chunks()


def partition_codes(rows: pa.Table) -> np.ndarray:
    """The dictionary code of each row's partition; zeros where the rows are of one partition and do not say which."""
    if PARTITION not in rows.column_names:
        return np.zeros(rows.num_rows, np.int64)
    return array_of(rows, PARTITION).indices.to_numpy()


def array_of(rows: pa.Table, name: str) -> pa.Array:
    """A column of a table in one piece."""
    column = rows.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def changes(values: np.ndarray) -> np.ndarray:
    """Whether each value differs from the one before; True for the first."""
    changed = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=changed[1:])
    return changed


def is_missing(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Whether values are null or NaN."""
    return pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False) if len(column) else np.empty(0, bool)


def last_before(there: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Per row, the last row up to it that is `there` in the same run, -1 where none; `begins`: where runs begin."""
    rows = np.arange(len(there))
    last = np.maximum.accumulate(np.where(there, rows, -1))
    first = np.maximum.accumulate(np.where(begins, rows, 0))
    return np.where(last >= first, last, -1)


def take(column: pa.Array | pa.ChunkedArray, rows: np.ndarray) -> pa.Array:
    """Values by row number; null where it is -1."""
    return column.take(pa.array(rows, mask=rows < 0))


def replace(rows: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The table with another column in the place of `name`."""
    return rows.set_column(rows.column_names.index(name), name, column)
