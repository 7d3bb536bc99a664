"""Rows grouped by partition: the cut at key changes, and the commutative digests of what lies between.

A bucket's rows are sorted by the hash of their key, then by time; `PARTITION` holds the canonical key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

PARTITION = "_partition"
_MODULUS = 1 << 128


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
    """A 64-bit hash per row over all columns but `PARTITION`, in the columns' order; shape (rows,)."""
    import numpy as np

    mixed = np.full(rows.num_rows, 0x9E3779B97F4A7C15, dtype=np.uint64)
    if rows.num_rows == 0:
        return mixed
    for name in rows.column_names:
        if name != PARTITION:
            mixed = _mix(mixed ^ _column_hashes(rows.column(name)))
    return mixed


def fingerprint(hashes: np.ndarray) -> str:
    """The digest of one partition's rows, from their hashes in order."""
    return hashlib.blake2b(hashes.tobytes(), digest_size=16).hexdigest()


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


def _column_hashes(column: pa.ChunkedArray) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if (
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_temporal(kind)
    ):
        valid = pc.is_valid(column).to_numpy()
        return np.where(valid, _mix(_bits(column)), np.uint64(0x5851F42D4C957F2D))
    encoded = column.dictionary_encode(null_encoding="encode").combine_chunks()
    hashed = [_hash_value(value) for value in encoded.dictionary.to_pylist()]
    return np.array(hashed, dtype=np.uint64)[encoded.indices.to_numpy()]


def _bits(column: pa.ChunkedArray) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_floating(kind):
        values = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy() + 0.0
        return np.where(np.isnan(values), np.nan, values).view(np.uint64)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_temporal(kind):
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)) if pa.types.is_timestamp(kind) else kind)
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    return pc.fill_null(column, 0).to_numpy().astype(np.int64, copy=False).view(np.uint64)


def _hash_value(value: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=8).digest(), "big")


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    import numpy as np

    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))
