"""Copies a SQL table's rows into an attempt: those of its interval, the late tail before it and what is ahead.

The tail has files of its own. Where it turns out to be as the lake knows it, which is the rule, they are deleted again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.ingest.coverage import Coverage
from modelfleet.ingest.digest import RowDigest
from modelfleet.ingest.manifest import TableManifest
from modelfleet.ingest.readings import Reading, changed
from modelfleet.ingest.schema import columns_of
from modelfleet.ingest.sql import Selection, TableSource, open_reader, select, stored_batches
from modelfleet.ingest.time import Cells, Cut
from modelfleet.ingest.writing import PartWriter
from modelfleet.lake import Attempt, FileEntry, Lake


@dataclass(frozen=True)
class Known:
    """What the lake holds of a table: `standing`, of this interval or an unchanged snapshot, and `others`' readings."""

    standing: TableManifest | None = None
    others: Sequence[Reading] = ()


def copy(
    source: TableSource,
    coverage: Coverage,
    attempt: Attempt,
    lake: Lake,
    known: Known,
    progress: Callable[[str, int], None] | None,
) -> TableManifest:
    """Copy the rows; where the same are in the lake already, its files are kept instead.

    :raises DataError: when a table or column is missing, or values do not fit its types.
    :raises UnavailableError: when the database can't be reached.
    """
    reader = open_reader(source)
    selection = select(source, reader.reflect(), coverage.whole)
    copied = _Copied(source, coverage, selection)
    with (
        PartWriter(lake, attempt, source.name, selection.stored) as writer,
        PartWriter(lake, attempt, f"{source.name}-late", selection.stored) as late,
    ):
        for batch in stored_batches(reader, selection):
            copied.add(batch, writer, late)
            if progress is not None:
                progress(source.name, copied.read)
    manifest = copied.manifest((*late.files, *writer.files))
    if late.files and _is_known(manifest, coverage, attempt, known.others):
        late.discard()
        manifest = replace(manifest, files=tuple(writer.files), held_from=coverage.interval.utc[0].isoformat())
    standing = known.standing
    if standing is not None and _content(standing) == _content(manifest) and all(map(lake.holds, standing.files)):
        late.discard()
        writer.discard()
        return standing
    return manifest


class _Copied:
    """The rows that went by, by cell."""

    def __init__(self, source: TableSource, coverage: Coverage, selection: Selection) -> None:
        self._source, self._coverage, self._selection = source, coverage, selection
        self._digests = [RowDigest() for _ in coverage.bounds[1:]]
        time, tail = source.table.time, coverage.tail
        self._cells = Cells(time, coverage.bounds, source.zone) if time and coverage.is_wider else None
        self._tail = Cut(time, tail, source.zone) if time and tail else None
        self.read = 0

    def add(self, batch: pa.RecordBatch, writer: PartWriter, late: PartWriter) -> None:
        self.read += batch.num_rows
        for position, part in self._cells.split(batch) if self._cells else [(0, batch)]:
            self._digests[position].add(part)
        if self._tail is None:
            writer.add(batch)
            return
        mask = self._tail.mask(batch.column(batch.schema.get_field_index(self._tail.column)))
        for part, place in ((batch.filter(mask), late), (batch.filter(pc.invert(mask)), writer)):
            if part.num_rows:
                place.add(part)

    def manifest(self, files: tuple[FileEntry, ...]) -> TableManifest:
        total = RowDigest()
        for digest in self._digests:
            total.merge(digest)
        first, last = self._coverage.own
        made = TableManifest(
            table=self._source.name,
            kind="snapshot" if self._source.table.time is None else "interval",
            files=files,
            rows=sum(digest.rows for digest in self._digests[first:last]),
            columns=columns_of(self._selection.stored),
            digest=total.hexdigest(),
            source=self._source.described,
        )
        return self._coverage.noted(made, [digest.hexdigest() for digest in self._digests])


def _is_known(manifest: TableManifest, coverage: Coverage, attempt: Attempt, others: Sequence[Reading]) -> bool:
    """Whether the rows of the late tail are those that other ingests show already."""
    new = Reading.of(coverage.interval, attempt.created_at, manifest)
    return not any(span[0] < new.own[0] for span, _ in changed(new, others))


def _content(manifest: TableManifest) -> tuple[object, ...]:
    kept = manifest.span, manifest.held_from, manifest.cells
    return manifest.kind, manifest.digest, dict(manifest.columns), manifest.source, *kept
