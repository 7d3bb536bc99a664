"""Ingest: a fleet's source tables into the lake, by interval, and the one way to read them back.

SQL tables are streamed in Arrow batches into Parquet files of the attempt; tables that are files stay where they are.
Either way a `TableManifest` says which files, how many rows, which columns, and the digest of the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from modelfleet.errors import DataError, bounded
from modelfleet.ingest.copying import Known, copy
from modelfleet.ingest.coverage import Coverage
from modelfleet.ingest.files import FileTable, reference, reference_batches
from modelfleet.ingest.manifest import TableManifest
from modelfleet.ingest.parquet import stored_batches
from modelfleet.ingest.readings import Reading
from modelfleet.ingest.schema import UnifiedSchema, conform, nearest, schema_of, unify
from modelfleet.ingest.sql import TableSource
from modelfleet.ingest.time import Cut
from modelfleet.lake import Attempt, FileEntry, Lake

if TYPE_CHECKING:
    from modelfleet.interval import Interval
    from modelfleet.spec import FleetSpec, LakeTable, SqlTable

__all__ = [
    "Reading",
    "TableManifest",
    "UnifiedSchema",
    "conform",
    "extract",
    "read_batches",
    "read_table",
    "schema_of",
    "unify",
]

Progress = Callable[[str, int], None]


def extract(
    spec: FleetSpec,
    interval: Interval,
    attempt: Attempt,
    lake: Lake,
    *,
    previous: Mapping[str, TableManifest] | None,
    others: Mapping[str, Sequence[Reading]] | None = None,
    progress: Progress | None = None,
) -> dict[str, TableManifest]:
    """Bring the interval's rows of every table of `spec` into the attempt, with what is late before it and ahead of it.

    `previous` are manifests of an earlier attempt or interval: a SQL table whose rows and columns are the same (an
    unchanged snapshot) keeps that one's files. `others` are the readings of other intervals that are in force, by table: a
    late tail that has their rows is not kept. `progress(table, rows so far)` is called for each batch.

    :raises DataError: when a table, column or file is missing or its values do not fit its types; nothing is committed.
    :raises UnavailableError: when a database can't be reached.
    """
    from modelfleet.spec import SqlTable

    manifests = {}
    for name, table in spec.data.tables.items():
        known = Known((previous or {}).get(name), (others or {}).get(name, ()))
        coverage = Coverage.of(spec, table, interval, known.standing)
        if isinstance(table, SqlTable):
            manifests[name] = copy(TableSource.of(spec, name, table), coverage, attempt, lake, known, progress)
        else:
            manifests[name] = reference(spec, name, table, coverage, lake)
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
    spans: Sequence[Interval] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one file of a manifest, in the manifest's types; the one reader for all kinds of tables.

    A table with a time column is cut to `spans`; default: to its interval.

    :raises DataError: for a column that is not there, or a referenced file that was changed since it was ingested.
    :raises CorruptionError: when a file of the lake is not what was written.
    """
    wanted = list(manifest.columns) if columns is None else list(columns)
    missing = [name for name in wanted if name not in manifest.columns]
    if missing:
        listed, there = bounded([repr(name) for name in missing]), nearest(missing[0], manifest.columns)
        raise DataError(f"table {manifest.table!r}: no column {listed}; there is {there}")
    cuts = _cuts(table, interval, spans)
    if manifest.kind == "reference":
        from modelfleet.spec import LakeTable

        if not isinstance(table, LakeTable):
            raise DataError(f"table {manifest.table!r}: ingested as files in place, but the spec names a SQL table now")
        source = FileTable("", manifest.table, table, table.timezone or _zone(interval), lake)
        yield from reference_batches(source, entry, manifest.columns, cuts, wanted)
        return
    lake.verify(entry)
    holds_more = manifest.span is not None or spans is not None
    yield from stored_batches(lake, entry, wanted, cuts if holds_more else ())


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


def _cuts(table: SqlTable | LakeTable, interval: Interval | None, spans: Sequence[Interval] | None) -> tuple[Cut, ...]:
    if table.time is None or interval is None:
        return ()
    zone = table.timezone or _zone(interval)
    return tuple(Cut(table.time, span, zone) for span in ([interval] if spans is None else spans))


def _zone(interval: Interval | None) -> str:
    return interval.timezone if interval is not None else "UTC"
