"""The content digest of rows: the same rows give the same digest, whatever their order, batches and database.

Each value becomes 64 bits by a fixed function (no seed of the process or of a library's version), a row the sum of its
columns' mixed values, the table the count and two sums of its rows' hashes. Equal numbers of different widths are equal
(as are timestamps with and without a zone); null, zero and the empty string differ. It finds changes, not forgeries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_U64 = np.uint64
_LANES = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
_NULL = 0xA0761D6478BD642F
_LONG = 256
_MASK = (1 << 64) - 1

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


class RowDigest:
    """Takes in batches of one schema; `hexdigest` may be asked at any time."""

    def __init__(self) -> None:
        self.rows = 0
        self._sums = [0, 0]
        self._names: tuple[str, ...] = ()

    def add(self, batch: pa.RecordBatch) -> None:
        self._names = tuple(batch.schema.names)
        self.rows += batch.num_rows
        total = np.zeros(batch.num_rows, _U64)
        for name, column in zip(self._names, batch.columns, strict=True):
            values = value_hashes(column)
            values ^= _U64(_column_seed(name))
            total += _mix(values)
        for lane, seed in enumerate(_LANES):
            hashes = _mix(total ^ _U64(seed))
            self._sums[lane] = (self._sums[lane] + int(hashes.sum(dtype=_U64))) & _MASK

    def merge(self, other: RowDigest) -> None:
        """Take in what another one took in."""
        self._names = other._names or self._names
        self.rows += other.rows
        self._sums = [(own + more) & _MASK for own, more in zip(self._sums, other._sums, strict=True)]

    def hexdigest(self) -> str:
        names = ",".join(sorted(self._names)) if self.rows else ""
        text = f"1|{self.rows}|{self._sums[0]:x}|{self._sums[1]:x}|{names}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest_of_files(digests: Iterable[str]) -> str:
    """The content digest of whole files, from the digests of their bytes."""
    return hashlib.blake2b("|".join(sorted(digests)).encode(), digest_size=16).hexdigest()


def value_hashes(column: pa.Array) -> Hashes:
    """64 bits per value, not yet mixed with the column's name.

    :raises TypeError: for a type the lake does not store.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), _NULL, _U64)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        hashes = _text_hashes(column)
    elif pa.types.is_floating(kind):
        hashes = _float_hashes(column)
    elif pa.types.is_date32(kind):
        hashes = _integer_hashes(column.cast(pa.int32()))
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        hashes = _integer_hashes(column)
    else:
        raise TypeError(f"no digest for values of type {kind}")
    if column.null_count:
        hashes[column.is_null().to_numpy(zero_copy_only=False)] = _U64(_NULL)
    return hashes


def _integer_hashes(column: pa.Array) -> Hashes:
    filled = pc.fill_null(column.cast(pa.int64()), 0)
    return _mix(filled.to_numpy(zero_copy_only=False).view(_U64) + _U64(1))


def _float_hashes(column: pa.Array) -> Hashes:
    values = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
    values[np.isnan(values)] = np.nan
    return _mix(values.view(_U64) + _U64(1))


def _text_hashes(column: pa.Array) -> Hashes:
    """Eight bytes at a time over all values at once; long values, where that would be many passes, one by one."""
    data, starts, lengths = _pieces(column)
    hashes = _mix(lengths.astype(_U64) + _U64(_LONG))
    words = np.ndarray(max(len(data) - 7, 1), "<u8", buffer=data, strides=(1,))
    short = lengths <= _LONG
    active = np.flatnonzero(short & (lengths > 0))
    offset = 0
    while len(active):
        word = words[starts[active] + offset]
        left = lengths[active] - offset
        tail = left < 8
        word[tail] &= (_U64(1) << (left[tail] * 8).astype(_U64)) - _U64(1)
        hashes[active] = _mix(hashes[active] ^ word)
        offset += 8
        active = active[left > 8]
    for row in np.flatnonzero(~short):
        value = data[starts[row] : starts[row] + lengths[row]].tobytes()
        hashes[row] = _U64(int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little"))
    return hashes


def _pieces(column: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The bytes of a string or binary array, padded by eight; start and length of each value (nulls: length 0)."""
    _, offset_buffer, data_buffer = column.buffers()
    count = len(column)
    if offset_buffer is None or count == 0:
        return np.zeros(8, np.uint8), np.zeros(count, np.int64), np.zeros(count, np.int64)
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset : column.offset + count + 1].astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    data = np.zeros(last - first + 8, np.uint8)
    if data_buffer is not None:
        data[: last - first] = np.frombuffer(data_buffer, np.uint8)[first:last]
    return data, offsets[:-1] - first, np.diff(offsets)


def _mix(values: Hashes) -> Hashes:
    """The finaliser of splitmix64: every bit of the input reaches every bit of the output."""
    mixed = values ^ (values >> _U64(30))
    mixed *= _U64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> _U64(27)
    mixed *= _U64(0x94D049BB133111EB)
    mixed ^= mixed >> _U64(31)
    return mixed


@lru_cache(maxsize=4096)
def _column_seed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
