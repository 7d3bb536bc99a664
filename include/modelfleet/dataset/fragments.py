"""Rows split by bucket: Arrow files with a record batch per bucket, which the buckets' tasks gather again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from modelfleet import keys, series, slices
from modelfleet.ingest.time import Cut
from modelfleet.interval import Interval
from modelfleet.lake.buckets import BucketPlace
from modelfleet.lake.store import Lake

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


OWN = (slices.PARTITION, series.PROBLEM)


@dataclass(frozen=True)
class Fragment:
    """One Arrow file of the first pass: the buckets of its record batches, in order."""

    path: str
    buckets: tuple[int, ...]

    def part(self, bucket: int) -> Part:
        """The one record batch of a bucket that it holds."""
        return Part(self.path, self.buckets.index(bucket))


class Part(NamedTuple):
    """One record batch of an Arrow file: a bucket's share of a fragment."""

    path: str
    position: int


def write_fragment(lake: Lake, place: BucketPlace, rows: pa.Table, hashed: np.ndarray, codes: np.ndarray) -> Fragment:
    """Write rows split by the bucket of their key; `codes` are the places of the hashes of the rows' keys in `hashed`."""
    import numpy as np
    import pyarrow as pa

    buckets = keys.buckets_of(hashed, place.buckets)[codes]
    order = np.argsort(buckets, kind="stable")
    present, starts = np.unique(buckets[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    parts = slices.taken(rows, order)
    path = f"{place.folder}/fragment-{secrets.token_hex(8)}.arrow"
    with lake.open_output(path) as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        for start, end in zip(starts.tolist(), ends, strict=True):
            writer.write_batch(parts.slice(start, end - start).to_batches()[0])
    return Fragment(path, tuple(present.tolist()))


def read_part(lake: Lake, part: Part) -> pa.Table:
    """The rows of one bucket that a fragment holds."""
    import pyarrow as pa

    with lake.open_input(part.path) as file, pa.ipc.open_file(file) as reader:
        return pa.Table.from_batches([reader.get_batch(part.position)])


def in_span(rows: pa.Table, time: str, span: Interval) -> pa.Table:
    """The rows whose time lies in the span; naive times and dates are wall time in the span's timezone."""
    import pyarrow.compute as pc

    inside = Cut(time, span, span.timezone).mask(rows.column(time).combine_chunks())
    return rows if inside.null_count == 0 and pc.all(inside).as_py() else rows.filter(inside)
