"""Columns of rows as numbers, or as codes of their distinct values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from modelfleet.errors import DataError, bounded


@dataclass(frozen=True)
class Coded:
    """A column by its distinct values: `codes` per row, -1 for null; `values` in the order of appearance."""

    codes: np.ndarray
    values: pa.Array

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Coded:
        coded = pa.types.is_dictionary(column.type)
        if len(column) == 0:
            return cls(np.zeros(0, dtype=np.int64), pa.array([], column.type.value_type if coded else column.type))
        whole = (column if coded else column.dictionary_encode()).unify_dictionaries().combine_chunks()
        return cls(whole.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False), whole.dictionary)

    def spread(self, per_value: np.ndarray, null: float) -> np.ndarray:
        """What is known of each distinct value, for every row."""
        return np.append(per_value, null)[self.codes]


def named(fleet: str) -> str:
    """How an error begins."""
    return f"fleet {fleet!r}: " if fleet else ""


def pick(rows: pa.Table, column: str, fleet: str) -> pa.ChunkedArray:
    """The column of that name.

    :raises DataError: where there is none.
    """
    if column not in rows.column_names:
        raise DataError(
            f"{named(fleet)}column {column!r}, which features are made of, is not among {bounded(rows.column_names)}",
            hint="`features` of the spec names columns of the prepared rows",
        )
    return rows.column(column)


def numbers(rows: pa.Table, column: str, fleet: str, *, hint: str) -> np.ndarray:
    """A column of numbers or booleans as float64; null and infinities are NaN; shape (rows,).

    :raises DataError: for any other type, with the hint.
    """
    values = pick(rows, column, fleet)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not _is_number(kind):
        raise DataError(
            f"{named(fleet)}column {column!r} is of type {kind}; allowed are numbers and booleans",
            hint=hint.format(column=column),
        )
    plain: np.ndarray = values.cast(pa.float64(), safe=False).to_numpy()
    infinite = np.isinf(plain)
    return np.where(infinite, np.nan, plain) if infinite.any() else plain


def _is_number(kind: pa.DataType) -> bool:
    t = pa.types
    return t.is_integer(kind) or t.is_floating(kind) or t.is_boolean(kind) or t.is_decimal(kind) or t.is_null(kind)
