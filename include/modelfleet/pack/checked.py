"""Row groups of a pack's files, read from bytes that lead back to the header.

A file is digested as a whole when this process first reads of it; the digests of its row groups are kept, so that a later
reader of a few rows reads and checks only theirs.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from modelfleet.errors import CorruptionError
from modelfleet.lake.store import FileEntry

if TYPE_CHECKING:
    import pyarrow as pa

_KNOWN: dict[str, _Layout] = {}
"""By the digest of the file."""
_KNOWN_LIMIT = 4096
_TAIL = 8
"""Bytes of a Parquet file after its footer: the footer's length and the magic."""


@dataclass(frozen=True)
class _Layout:
    """Where the row groups of a file lie, and their digests."""

    metadata: Any
    bounds: tuple[int, ...]
    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, data: bytes) -> _Layout:
        import pyarrow as pa
        import pyarrow.parquet as pq

        metadata = pq.read_metadata(pa.BufferReader(data))
        starts = [_start(metadata.row_group(group)) for group in range(metadata.num_row_groups)]
        bounds = (*starts, len(data) - _TAIL - metadata.serialized_size)
        return cls(metadata, bounds, tuple(_digest(data[start:end]) for start, end in pairwise(bounds)))


class CheckedFile:
    """A file of a pack; what is read of it are the bytes that the header records.

    :param fleet: to be named in errors.
    """

    def __init__(self, open_file: Callable[[str], Any], entry: FileEntry, *, fleet: str) -> None:
        self._open, self._entry, self._fleet = open_file, entry, fleet

    def read(self, wanted: Callable[[Any], list[int]], columns: Sequence[str] | None = None) -> pa.Table:
        """The row groups that `wanted` chooses by the file's metadata.

        :raises CorruptionError: when the file does not hold the recorded bytes.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._open(self._entry.path) as file:
            layout, data = self._layout(file)
            groups = wanted(layout.metadata)
            source = self._parts(file, layout, groups) if data is None else data
        reader = pq.ParquetFile(pa.BufferReader(pa.py_buffer(source)), metadata=layout.metadata)
        return reader.read_row_groups(groups, columns=None if columns is None else list(columns))

    def sizes(self) -> list[int]:
        """How many rows each row group has."""
        with self._open(self._entry.path) as file:
            metadata = self._layout(file)[0].metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def _layout(self, file: Any) -> tuple[_Layout, bytes | None]:
        """The layout; where it was not known, also the whole file, which was read to learn it."""
        known = _KNOWN.get(self._entry.digest)
        if known is not None:
            return known, None
        data = file.read()
        if hashlib.blake2b(data, digest_size=16).hexdigest() != self._entry.digest:
            raise self._other()
        while len(_KNOWN) >= _KNOWN_LIMIT:
            del _KNOWN[next(iter(_KNOWN))]
        layout = _KNOWN[self._entry.digest] = _Layout.of(data)
        return layout, data

    def _parts(self, file: Any, layout: _Layout, groups: Sequence[int]) -> mmap.mmap:
        """The file with nothing in it but these row groups; memory is taken for them alone."""
        made = mmap.mmap(-1, layout.bounds[-1])
        for group in groups:
            start, end = layout.bounds[group : group + 2]
            file.seek(start)
            data = file.read(end - start)
            if _digest(data) != layout.digests[group]:
                raise self._other()
            made[start:end] = data
        return made

    def _other(self) -> CorruptionError:
        return CorruptionError(
            f"fleet {self._fleet!r}: pack file {self._entry.path!r} does not hold the bytes its header records",
            hint="no model of it is loaded; restore the file, or roll back to an earlier version",
        )


def every(metadata: Any) -> list[int]:
    """All row groups."""
    return list(range(metadata.num_row_groups))


def overlapping(metadata: Any, column: str, low: int, high: int) -> list[int]:
    """The row groups in which `column` may hold a value of ``[low, high)``."""
    place = metadata.schema.to_arrow_schema().get_field_index(column)
    found = []
    for group in range(metadata.num_row_groups):
        known = metadata.row_group(group).column(place).statistics
        if known is None or not known.has_min_max or (known.min < high and low <= known.max):
            found.append(group)
    return found


def _start(group: Any) -> int:
    """Where a row group's first page lies."""
    columns = [group.column(place) for place in range(group.num_columns)]
    return min(c.data_page_offset if c.dictionary_page_offset is None else c.dictionary_page_offset for c in columns)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
