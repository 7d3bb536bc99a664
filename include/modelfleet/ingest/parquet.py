"""Reads Parquet files, cut by time: row groups that surely hold no row of the cuts are not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from modelfleet.ingest.time import WALL_SLACK, Cut, keep_any, wall_times

if TYPE_CHECKING:
    from modelfleet.lake import FileEntry, Lake

READ_ROWS = 65_536


def stored_batches(
    lake: Lake, entry: FileEntry, columns: Sequence[str], cuts: Sequence[Cut]
) -> Iterator[pa.RecordBatch]:
    """The rows of one file of the lake that lie inside one of the cuts; all of them where there is none."""
    read = list(dict.fromkeys((*columns, *(cut.column for cut in cuts))))
    with lake.open_input(entry.path) as stream:
        for batch in group_batches(stream, read, cuts):
            kept = keep_any(batch, cuts) if cuts else batch
            if kept.num_rows or not cuts:
                yield kept.select(list(columns))


def group_batches(place: Any, columns: Sequence[str], cuts: Sequence[Cut]) -> Iterator[pa.RecordBatch]:
    """The columns of those row groups that may hold a row of the cuts; columns that the file lacks are left out."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(place) as file:
        names = [name for name in columns if name in file.schema_arrow.names]
        groups = [
            group
            for group in range(file.num_row_groups)
            if not cuts or any(_may_hold(file.metadata.row_group(group), cut) for cut in cuts)
        ]
        yield from file.iter_batches(batch_size=READ_ROWS, row_groups=groups, columns=names)


def _may_hold(group: Any, cut: Cut) -> bool:
    """Whether a row group's least and greatest time, where written, allow for a row of the interval."""
    for position in range(group.num_columns):
        column = group.column(position)
        if column.path_in_schema != cut.column:
            continue
        statistics = column.statistics
        if statistics is None or not statistics.has_min_max:
            return True
        if not hasattr(statistics.min, "hour"):
            return bool(statistics.max >= cut.dates[0] and statistics.min < cut.dates[1])
        if statistics.min.tzinfo is None:
            start, end = wall_times(cut.interval, cut.zone, WALL_SLACK)
        else:
            start, end = cut.interval.utc
        return bool(statistics.max >= start and statistics.min < end)
    return True
