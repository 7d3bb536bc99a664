"""Ingest: a fleet's source tables into the lake, by interval, and the one way to read them back.

SQL tables are streamed in Arrow batches into Parquet files of the attempt; tables that are files stay where they are.
Either way a `TableManifest` says which files, how many rows, which columns, and the digest of the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from modelfleet.errors import DataError, bounded
from modelfleet.ingest.files import FileTable, reference, reference_batches
from modelfleet.ingest.manifest import TableManifest
from modelfleet.ingest.schema import UnifiedSchema, columns_of, conform, nearest, schema_of, unify
from modelfleet.ingest.sql import TableSource, open_reader, select, stored_batches
from modelfleet.ingest.writing import PartWriter
from modelfleet.lake import Attempt, FileEntry, Lake

if TYPE_CHECKING:
    from modelfleet.interval import Interval
    from modelfleet.spec import FleetSpec, LakeTable, SqlTable

__all__ = ["TableManifest", "UnifiedSchema", "conform", "extract", "read_batches", "read_table", "schema_of", "unify"]

Progress = Callable[[str, int], None]
_READ_ROWS = 65_536


def extract(
    spec: FleetSpec,
    interval: Interval,
    attempt: Attempt,
    lake: Lake,
    *,
    previous: Mapping[str, TableManifest] | None,
    progress: Progress | None = None,
) -> dict[str, TableManifest]:
    """Bring the interval's rows of every table of `spec` into the attempt.

    `previous` are manifests of an earlier attempt or interval: a SQL table whose rows and columns are the same (an
    unchanged snapshot) keeps that one's files. `progress(table, rows so far)` is called for each batch.

    :raises DataError: when a table, column or file is missing or its values do not fit its types; nothing is committed.
    :raises UnavailableError: when a database can't be reached.
    """
    from modelfleet.spec import SqlTable

    manifests = {}
    for name, table in spec.data.tables.items():
        if isinstance(table, SqlTable):
            source = TableSource.of(spec, name, table)
            manifests[name] = _extract_sql(source, interval, attempt, lake, (previous or {}).get(name), progress)
        else:
            manifests[name] = reference(spec, name, table, interval, lake)
            if progress is not None:
                progress(name, manifests[name].rows)
    return manifests


def read_batches(
    manifest: TableManifest,
    entry: FileEntry,
    lake: Lake,
    *,
    table: SqlTable | LakeTable,
    interval: Interval | None,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one file of a manifest, in the manifest's types; the one reader for all kinds of tables.

    A referenced table with a time column is cut to `interval`; other files hold its rows only.

    :raises DataError: for a column that is not there, or a referenced file that was changed since it was ingested.
    :raises CorruptionError: when a file of the lake is not what was written.
    """
    wanted = list(manifest.columns) if columns is None else list(columns)
    missing = [name for name in wanted if name not in manifest.columns]
    if missing:
        listed, there = bounded([repr(name) for name in missing]), nearest(missing[0], manifest.columns)
        raise DataError(f"table {manifest.table!r}: no column {listed}; there is {there}")
    if manifest.kind == "reference":
        from modelfleet.spec import LakeTable

        if not isinstance(table, LakeTable):
            raise DataError(f"table {manifest.table!r}: ingested as files in place, but the spec names a SQL table now")
        fleets_zone = interval.timezone if interval is not None else "UTC"
        source = FileTable("", manifest.table, table, table.timezone or fleets_zone)
        yield from reference_batches(source, entry, manifest.columns, interval, wanted)
        return
    import pyarrow.parquet as pq

    lake.verify(entry)
    with lake.open_input(entry.path) as stream, pq.ParquetFile(stream) as file:
        yield from file.iter_batches(batch_size=_READ_ROWS, columns=wanted)


def read_table(
    manifest: TableManifest,
    lake: Lake,
    *,
    table: SqlTable | LakeTable,
    interval: Interval | None,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """All files of a manifest, one after the other: see `read_batches`."""
    for entry in manifest.files:
        yield from read_batches(manifest, entry, lake, table=table, interval=interval, columns=columns)


def _extract_sql(
    source: TableSource,
    interval: Interval,
    attempt: Attempt,
    lake: Lake,
    previous: TableManifest | None,
    progress: Progress | None,
) -> TableManifest:
    reader = open_reader(source)
    selection = select(source, reader.reflect(), interval)
    writer = PartWriter(lake, attempt, source.name, selection.stored)
    report = None if progress is None else (lambda rows: progress(source.name, rows))
    writer.write(stored_batches(reader, selection), report)
    manifest = TableManifest(
        table=source.name,
        kind="snapshot" if source.table.time is None else "interval",
        files=tuple(writer.files),
        rows=writer.digest.rows,
        columns=columns_of(selection.stored),
        digest=writer.digest.hexdigest(),
        source=source.described,
    )
    if previous is not None and _content(previous) == _content(manifest) and all(map(lake.holds, previous.files)):
        writer.discard()
        return previous
    return manifest


def _content(manifest: TableManifest) -> tuple[object, ...]:
    return manifest.kind, manifest.digest, dict(manifest.columns), manifest.source
