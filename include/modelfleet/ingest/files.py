"""Tables that are files in the lake: referenced in place, never copied, and read only while they are what they were.

The folder is listed once, at ingest; the manifest names the files that hold rows of the interval. CSV columns get the
narrowest type that takes all their values, found at ingest, so that every reading gives the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError, NotFoundError, bounded
from modelfleet.ingest.coverage import Coverage
from modelfleet.ingest.digest import digest_of_files
from modelfleet.ingest.manifest import TableManifest
from modelfleet.ingest.parquet import group_batches
from modelfleet.ingest.schema import columns_of, conform, lake_type, nearest, schema_of, unify
from modelfleet.ingest.time import Cells, Cut, keep_any, to_instants
from modelfleet.lake import FileEntry, Lake

if TYPE_CHECKING:
    from modelfleet.interval import Interval
    from modelfleet.spec import FleetSpec, LakeTable

_CSV_BLOCK = 8 << 20
_CSV_LADDER = (pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))


@dataclass(frozen=True)
class FileTable:
    """A LakeTable with all that reading it takes. `zone` is the one of its naive timestamps."""

    fleet: str
    name: str
    table: LakeTable
    zone: str
    lake: Lake

    @property
    def label(self) -> str:
        return f"fleet {self.fleet!r}, table {self.name!r}: {self.table.path!r}"

    def cut(self, interval: Interval | None) -> Cut | None:
        """The interval's cut, or None for a table without time."""
        time = self.table.time
        return None if time is None or interval is None else Cut(time, interval, self.zone)


def reference(spec: FleetSpec, name: str, table: LakeTable, coverage: Coverage, lake: Lake) -> TableManifest:
    """List the table's files and record those with rows of the interval, or ahead of it.

    :raises DataError: when there are none at all, one can't be read, or their columns do not go together.
    """
    source = FileTable(spec.name, name, table, table.timezone or spec.timezone, lake)
    paths = _listed(source)
    schemas = {path: _file_schema(source, path) for path in paths}
    by_file = [(PurePosixPath(path).name, columns_of(schema)) for path, schema in schemas.items()]
    unified = unify(by_file, needed=(table.time,) if table.time else None, fleet=spec.name, table=name)
    entries: list[FileEntry] = []
    counts: list[list[int]] = []
    for path in paths:
        total, inside = _counted(source, path, unified.schema, coverage)
        if sum(inside):
            counts.append(inside)
            entries.append(lake.entry_in_place(path, total))
    first, last = coverage.own
    made = TableManifest(
        table=name,
        kind="reference",
        files=tuple(entries),
        rows=sum(sum(inside[first:last]) for inside in counts),
        columns=columns_of(unified.schema),
        digest=digest_of_files(entry.digest for entry in entries),
        source=str(table.path),
    )
    cells = range(len(coverage.bounds) - 1)
    return coverage.noted(made, [_cell_digest(entries, [inside[cell] for inside in counts]) for cell in cells])


def reference_batches(
    source: FileTable, entry: FileEntry, columns: Mapping[str, str], cuts: Sequence[Cut], wanted: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The rows of one referenced file that lie inside one of the cuts, in the manifest's types; all where there is none.

    :raises DataError: when the file is not what it was at ingest.
    """
    _verify_unchanged(source, entry)
    schema = schema_of(columns)
    read = tuple(dict.fromkeys((*wanted, *(cut.column for cut in cuts))))
    stored = pa.schema([schema.field(name) for name in read])
    for batch in _batches(source, entry.path, stored, cuts):
        kept = keep_any(batch, cuts) if cuts else batch
        if kept.num_rows:
            yield kept.select(list(wanted))


def _cell_digest(entries: Sequence[FileEntry], rows: Sequence[int]) -> str:
    """Stands for the rows of a cell: of which files how many."""
    return digest_of_files(f"{entry.digest}:{count}" for entry, count in zip(entries, rows, strict=True) if count)


def _listed(source: FileTable) -> list[str]:
    """Paths as the lake opens them, sorted; names that begin with a dot or an underscore are skipped, folders too."""
    root = source.lake.path_in_place(str(source.table.path))
    listed = source.lake.files_below(root)
    if listed == [root]:
        return listed
    ending = f".{source.table.format}"
    found = [
        path
        for path in listed or ()
        if path.endswith(ending)
        and not any(part.startswith((".", "_")) for part in PurePosixPath(path).relative_to(root).parts)
    ]
    if not found:
        what = "is neither a file nor a folder" if listed is None else f"holds no *{ending} file"
        raise DataError(f"{source.label} {what}", hint="a relative path is relative to the lake's root")
    return sorted(found)


def _file_schema(source: FileTable, path: str) -> pa.Schema:
    """The lake types of one file's columns."""
    utc = source.table.timezone is not None
    with _reading(source, path):
        is_csv = source.table.format == "csv"
        given = _csv_schema(source.lake, path) if is_csv else _parquet_schema(source.lake, path)
    fields = [(field.name, lake_type(field.type, utc=utc)) for field in given]
    unsupported = [f"{field.name!r} ({field.type})" for field in given if lake_type(field.type) is None]
    if unsupported:
        raise DataError(
            f"{source.label}: column {bounded(unsupported)} of {PurePosixPath(path).name} has a type that is not supported",
            hint="write the files without it, or as numbers, texts, dates or timestamps",
        )
    schema = pa.schema(fields)
    time = source.table.time
    if time is not None:
        where = f"{source.label}: {PurePosixPath(path).name}"
        if time not in schema.names:
            raise DataError(f"{where} has no time column {time!r}; there is {nearest(time, schema.names)}")
        kind = schema.field(time).type
        if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind)):
            raise DataError(f"{where}: time column {time!r} is {kind}, not a date or timestamp")
    return schema


def _counted(source: FileTable, path: str, schema: pa.Schema, coverage: Coverage) -> tuple[int, list[int]]:
    """Rows of the file, and those inside each cell; of Parquet files only the time column is read."""
    cut = source.cut(coverage.whole)
    if source.table.format == "parquet":
        import pyarrow.parquet as pq

        with source.lake.open_input(path) as file:
            total = pq.read_metadata(file).num_rows
        if cut is None:
            return total, [total]
        batches = _batches(source, path, pa.schema([schema.field(cut.column)]), (cut,))
        return total, _by_cell(batches, cut, coverage)[1]
    total, inside = _by_cell(_batches(source, path, schema, ()), cut, coverage)
    return total, inside


def _by_cell(batches: Iterable[pa.RecordBatch], cut: Cut | None, coverage: Coverage) -> tuple[int, list[int]]:
    if cut is None:
        total = sum(batch.num_rows for batch in batches)
        return total, [total]
    cells = Cells(cut.column, coverage.bounds, cut.zone)
    total, inside = 0, np.zeros(len(coverage.bounds) - 1, np.int64)
    for batch in batches:
        total += batch.num_rows
        inside += cells.counts(cut.keep(batch))
    return total, inside.tolist()


def _batches(source: FileTable, path: str, schema: pa.Schema, cuts: Sequence[Cut]) -> Iterator[pa.RecordBatch]:
    """The file's rows as `schema`; row groups that surely lie outside the cuts are not read."""
    is_csv = source.table.format == "csv"
    with _reading(source, path), source.lake.open_input(path) as file:
        for batch in _csv_batches(file, schema) if is_csv else group_batches(file, schema.names, cuts):
            yield conform(_normal(batch, schema, source.zone), schema)


def _normal(batch: pa.RecordBatch, schema: pa.Schema, zone: str) -> pa.RecordBatch:
    """Naive timestamps that are stored as instants, converted; dictionaries decoded."""
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        kind = schema.field(field.name).type
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        is_instant = pa.types.is_timestamp(plain.type) and pa.types.is_timestamp(kind) and kind.tz is not None
        columns.append(to_instants(plain, zone) if is_instant else plain)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _parquet_schema(lake: Lake, path: str) -> pa.Schema:
    import pyarrow.parquet as pq

    with lake.open_input(path) as file:
        return pq.read_schema(file)


def _csv_schema(lake: Lake, path: str) -> pa.Schema:
    """For each column the first type of the ladder that takes all its values; text where none does."""
    from pyarrow import csv

    with lake.open_input(path) as file:
        names = csv.open_csv(file, read_options=csv.ReadOptions(block_size=_CSV_BLOCK)).schema.names
    texts = pa.schema([(name, pa.string()) for name in names])
    possible: dict[str, list[pa.DataType]] = {name: list(_CSV_LADDER) for name in names}
    seen: set[str] = set()
    with lake.open_input(path) as file:
        for batch in _csv_batches(file, texts):
            for name, column in zip(names, batch.columns, strict=True):
                if column.null_count < len(column):
                    seen.add(name)
                    possible[name] = [kind for kind in possible[name] if _takes(kind, column)]
    kinds = {name: (possible[name] or [pa.string()])[0] if name in seen else pa.null() for name in names}
    return pa.schema([(name, kinds[name]) for name in names])


def _takes(kind: pa.DataType, texts: pa.Array) -> bool:
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return not pa.types.is_boolean(kind) or not pc.any(pc.is_in(texts, pa.array(["0", "1"]))).as_py()


def _csv_batches(file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Blocks of a CSV file: an unquoted empty cell or ``NA`` is null; each column is parsed from its text."""
    from pyarrow import csv

    convert = csv.ConvertOptions(
        column_types={name: pa.string() for name in schema.names},
        include_columns=list(schema.names),
        include_missing_columns=True,
        null_values=["", "NA", "NULL", "null", "NaN", "nan"],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with csv.open_csv(file, read_options=csv.ReadOptions(block_size=_CSV_BLOCK), convert_options=convert) as reader:
        for batch in reader:
            arrays = [_parsed(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=list(schema.names))


def _parsed(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(len(texts))
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            return texts.cast(pa.timestamp("us"))  # naive in the file, an instant in the table's zone
    return texts.cast(kind)


@contextmanager
def _reading(source: FileTable, path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as exc:
        raise DataError(
            f"{source.label}: {PurePosixPath(path).name} can't be read: {' '.join(str(exc).split())[:300]}"
        ) from exc


def _verify_unchanged(source: FileTable, entry: FileEntry) -> None:
    try:
        same = source.lake.entry_in_place(entry.path, entry.rows) == entry
        what = "was changed"
    except NotFoundError:
        same, what = False, "is gone"
    if not same:
        raise DataError(
            f"{source.label}: {entry.path} {what} since it was ingested",
            hint="ingest the interval again; files that are referenced in place must not be rewritten",
        )
