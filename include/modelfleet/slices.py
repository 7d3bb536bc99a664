"""Rows grouped by partition: the cut at key changes, and the commutative digests of what lies between.

A bucket's rows are sorted by the hash of their key, then by time; `PARTITION` holds the canonical key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

PARTITION = "_partition"
_MODULUS = 1 << 128
_BLOCK_ROWS = 1 << 14
"""So many rows are hashed at once, as their columns then stay in the processor's cache."""


def cut(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The partitions of a bucket in order, each as (canonical key, zero-copy slice)."""
    for key, start, end in bounds(rows):
        yield key, rows.slice(start, end - start)


def bounds(rows: pa.Table) -> list[tuple[str, int, int]]:
    """(canonical key, first row, row after the last) of each partition of a sorted bucket."""
    import numpy as np

    if rows.num_rows == 0:
        return []
    column = rows.column(PARTITION).unify_dictionaries().combine_chunks()
    codes = column.indices.to_numpy()
    changes = np.flatnonzero(np.diff(codes)) + 1
    starts = np.concatenate([[0], changes]).tolist()
    ends = np.concatenate([changes, [rows.num_rows]]).tolist()
    names = column.dictionary.to_pylist()
    return [(names[codes[start]], start, end) for start, end in zip(starts, ends, strict=True)]


def wall_times(column: pa.ChunkedArray) -> np.ndarray:
    """A time column as datetime64[us]: instants in UTC, naive times and dates as they are."""
    import pyarrow as pa

    kind = column.type
    return column.cast(pa.timestamp("us", getattr(kind, "tz", None))).to_numpy().astype("datetime64[us]")


def wall_moment(kind: pa.DataType, moment: datetime) -> np.datetime64:
    """A moment as `wall_times` would give it for a column of that type."""
    import numpy as np

    aware = getattr(kind, "tz", None) is not None
    return np.datetime64((moment.astimezone(UTC) if aware else moment).replace(tzinfo=None), "us")


def row_hashes(rows: pa.Table) -> np.ndarray:
    """A 64-bit hash per row over all columns but `PARTITION`, in the columns' order; shape (rows,).

    After each column what was mixed so far is changed by the value's bits and mixed again, so equal bits in other columns
    make other hashes.
    """
    import numpy as np

    mixed = np.full(rows.num_rows, 0x9E3779B97F4A7C15, dtype=np.uint64)
    if rows.num_rows == 0:
        return mixed
    columns = [_hashed(rows.column(name)) for name in rows.column_names if name != PARTITION]
    shifted = np.empty(_BLOCK_ROWS, dtype=np.uint64)
    for start in range(0, rows.num_rows, _BLOCK_ROWS):
        block = mixed[start : start + _BLOCK_ROWS]
        for hashes_of in columns:
            block ^= hashes_of(start, start + len(block))
            _mix(block, shifted)
    return mixed


def fingerprints(rows: pa.Table) -> dict[str, str]:
    """The partitions of a sorted bucket in its order, each with the digest of its rows."""
    hashes = row_hashes(rows)
    return {key: fingerprint(hashes[start:end]) for key, start, end in bounds(rows)}


def taken(rows: pa.Table, order: np.ndarray) -> pa.Table:
    """The rows at these positions, which are all below the number of rows, in one piece."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    positions = pa.array(order.astype(np.uint32) if rows.num_rows < 1 << 32 else order)
    return pc.take(rows.combine_chunks(), positions, boundscheck=False).combine_chunks()


def fingerprint(hashes: np.ndarray) -> str:
    """The digest of one partition's rows, from their hashes in order."""
    return hashlib.blake2b(hashes.data, digest_size=16).hexdigest()


def digest_of_parts(parts: Iterable[tuple[str, str]]) -> str:
    """One digest of many (key, digest) pairs, whatever their order."""
    total = 0
    for key, digest in parts:
        total += int.from_bytes(hashlib.blake2b(f"{key}\0{digest}".encode(), digest_size=16).digest(), "big")
    return f"{total % _MODULUS:032x}"


def digest_of_hashes(hashes: np.ndarray) -> str:
    """One digest of rows from their hashes, whatever their order; a row that comes twice counts twice."""
    import numpy as np

    # Summed in halves, whose sums 64 bits hold.
    low, high = (int(half.sum(dtype=np.uint64)) for half in (hashes & np.uint64(0xFFFFFFFF), hashes >> np.uint64(32)))
    return f"{(low + (high << 32)) % _MODULUS:032x}"


def combine(digests: Iterable[str]) -> str:
    """The digest of the union of disjoint sets, from the `digest_of_parts` or `digest_of_hashes` of each."""
    return f"{sum(int(digest, 16) for digest in digests) % _MODULUS:032x}"


def _hashed(column: pa.ChunkedArray) -> Callable[[int, int], np.ndarray]:
    """What gives the hashes of the values in rows ``[start, end)`` of a column, as an array of its own."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    if not (numeric or pa.types.is_temporal(kind)):
        encoded = column.dictionary_encode(null_encoding="encode").combine_chunks()
        hashed = np.array([_hash_value(value) for value in encoded.dictionary.to_pylist()], dtype=np.uint64)
        codes = encoded.indices.to_numpy()
        return lambda start, end: hashed[codes[start:end]]
    missing = None if column.null_count == 0 else pc.is_null(column).to_numpy()
    values = _values(column)

    def hashes(start: int, end: int) -> np.ndarray:
        bits = _bits(values[start:end])
        if missing is not None:
            bits[missing[start:end]] = 0x5851F42D4C957F2D
        return bits

    return hashes


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """The values of a column of numbers or times as float64 or integers; anything where they are null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_temporal(kind):
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)) if pa.types.is_timestamp(kind) else kind)
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    values: np.ndarray = (column if column.null_count == 0 else pc.fill_null(column, 0)).to_numpy()
    return values


def _bits(values: np.ndarray) -> np.ndarray:
    """The values' bits in a new array of uint64; those of integers sign-extended, of all zeros and all NaN the same."""
    import numpy as np

    if values.dtype.kind != "f":
        return values.astype(np.int64).view(np.uint64)
    values = values + 0.0
    values[np.isnan(values)] = np.nan
    return values.view(np.uint64)


def _hash_value(value: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=8).digest(), "big")


def _mix(values: np.ndarray, shifted: np.ndarray) -> None:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014), in place: every input bit reaches every output bit.

    :param shifted: room for as many values.
    """
    import numpy as np

    shifted = shifted[: len(values)]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None)):
        np.right_shift(values, np.uint64(shift), out=shifted)
        values ^= shifted
        if factor is not None:
            np.multiply(values, np.uint64(factor), out=values)
