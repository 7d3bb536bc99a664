"""A run's tables as one: their schemas over all intervals made one, and the author's `prepare` run on them by Spark.

`prepare` is a function ``(spark, **tables) -> DataFrame`` or a ``.sql`` file over views named like the tables. Spark reads
the lake through the same pyarrow filesystem as everybody else, in its Python workers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from modelfleet import errors, ingest, modelcode
from modelfleet.errors import DataError, ModelCodeError, ModelfleetError
from modelfleet.interval import Interval
from modelfleet.lake.store import FileEntry, Lake

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from modelfleet.ingest import TableManifest
    from modelfleet.spec import FleetSpec, LakeTable, SqlTable


SMALL_BYTES = 2 << 20
"""Tables whose files take no more than this are handed to Spark by the driver."""


@dataclass(frozen=True)
class Part:
    """What an interval's ingest committed of a table, and the spans of time of which its rows show; None: the interval."""

    interval: Interval
    manifest: TableManifest
    visible: tuple[Interval, ...] | None = None


@dataclass(frozen=True)
class Source:
    """One table of a run's inputs: what the intervals' ingests committed of it, each time's rows in one part only."""

    name: str
    table: SqlTable | LakeTable
    parts: tuple[Part, ...]

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        return tuple(entry for part in self.parts for entry in part.manifest.files)


@dataclass(frozen=True)
class Chunk:
    """One file to read: which interval's manifest names it."""

    part: int
    entry: FileEntry


@dataclass(frozen=True)
class Unified:
    """A table with one schema over all its intervals; `notes` say what was widened or filled."""

    source: Source
    schema: pa.Schema
    notes: tuple[str, ...]

    def chunks(self) -> list[Chunk]:
        return [Chunk(i, entry) for i, part in enumerate(self.source.parts) for entry in part.manifest.files]


def unify(source: Source, spec: FleetSpec, *, needed: Sequence[str]) -> Unified:
    """One schema for all intervals of a table.

    :raises DataError: where a column's types can't be made one, or a needed column got lost, naming the intervals.
    """
    listed = [(part.interval.key, part.manifest.columns) for part in source.parts]
    unified = ingest.unify(listed, needed=needed, fleet=spec.name, table=source.name)
    return Unified(source, unified.schema, tuple(f"table {source.name!r}: {note}" for note in unified.notes))


def read(table: Unified, chunk: Chunk, lake: Lake) -> Iterator[pa.RecordBatch]:
    """The rows of one file that show, in the table's one schema."""
    part, declared = table.source.parts[chunk.part], table.source.table
    for batch in ingest.read_batches(
        part.manifest, chunk.entry, lake, table=declared, interval=part.interval, spans=part.visible
    ):
        yield ingest.conform(batch, table.schema)


def run(spark: SparkSession, spec: FleetSpec, tables: Sequence[Unified]) -> DataFrame:
    """The author's `prepare` over the tables.

    :raises ModelCodeError: when it can't be imported, raises, or returns no DataFrame.
    """
    path = spec.data.prepare
    assert path is not None
    wide = [replace(table, schema=modelcode.widened_schema(table.schema)) for table in tables]
    frames = {table.source.name: _frame(spark, table) for table in wide}
    try:
        if path.endswith(".sql"):
            for name, frame in frames.items():
                frame.createOrReplaceTempView(name)
            result = spark.sql(sql_text(path, fleet=spec.name))
        else:
            result = modelcode.resolve(path, fleet=spec.name)(spark, **frames)
        schema = getattr(result, "schema", None)
    except ModelCodeError:
        raise
    except Exception as exc:
        raise ModelCodeError(
            f"fleet {spec.name!r}: prepare {path} failed: {type(exc).__name__}: {str(exc)[:1000]}",
            hint=("its tables are " + ", ".join(f"{name}({', '.join(f.columns)})" for name, f in frames.items()))[
                :1000
            ],
        ) from exc
    if schema is None:
        raise ModelCodeError(
            f"fleet {spec.name!r}: prepare {path} returned {type(result).__name__}, not a Spark DataFrame"
        )
    return result


@contextmanager
def failures(spec: FleetSpec) -> Iterator[None]:
    """Spark runs `prepare` when its rows are asked for: what is raised then, as an error of ours.

    A lost executor and the like stay Spark's own errors, which a retry may help.

    :raises ModelCodeError: for what an expression or function of the author's raises.
    :raises ModelfleetError: the one that reading the lake raised in Spark's workers.
    """
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as exc:
        ours = _OURS.search(str(exc))
        kind = getattr(errors, ours[1], None) if ours else None
        if ours and isinstance(kind, type) and issubclass(kind, ModelfleetError):
            raise kind(ours[2].strip()) from exc
        shown = [
            line for line in str(exc).splitlines() if line.strip() and not line.startswith(("\t", "  ", "Traceback"))
        ]
        text = " ".join(shown)[:1000]
        raise ModelCodeError(
            f"fleet {spec.name!r}: prepare {spec.data.prepare} failed while its rows were made: {type(exc).__name__}: {text}"
        ) from exc


_OURS = re.compile(r"modelfleet\.errors\.(\w+): (.+?)(?=\n\s*\n|\n\tat |\Z)", re.DOTALL)


def sql_text(path: str, *, fleet: str) -> str:
    """The text of a ``.sql`` file named as ``package:file.sql``.

    :raises ModelCodeError: when it can't be read.
    """
    package, _, name = path.partition(":")
    try:
        return files(package).joinpath(name).read_text()
    except (ModuleNotFoundError, FileNotFoundError, TypeError) as exc:
        raise ModelCodeError(f"fleet {fleet!r}: prepare {path} can't be read: {exc}") from exc


def arrow_schema(frame: Any) -> pa.Schema:
    """The Arrow schema in which Spark hands over the rows of a DataFrame."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(frame.schema, timezone="UTC")


def _frame(spark: SparkSession, table: Unified) -> DataFrame:
    """A table as a DataFrame: a small one is handed over whole, of others each Spark task reads its share of the files.

    Spark then knows that the small one is small, so it joins it without a shuffle, and starts no worker to read it.
    """
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema

    try:
        schema = from_arrow_schema(table.schema, prefer_timestamp_ntz=True)
    except Exception as exc:
        raise DataError(
            f"table {table.source.name!r}: Spark has no type for a column of {table.schema}: {exc}"
        ) from exc
    chunks = table.chunks()
    if not chunks:
        return spark.createDataFrame([], schema)
    if sum(chunk.entry.bytes for chunk in chunks) <= SMALL_BYTES:
        lake = Lake.open()
        batches = [batch for chunk in chunks for batch in read(table, chunk, lake)]
        return spark.createDataFrame(pa.Table.from_batches(batches, table.schema), schema)
    positions = spark.range(0, len(chunks), 1, len(chunks))
    return positions.mapInArrow(partial(_read_chunks, table, chunks, Lake.open()), schema)


def _read_chunks(
    table: Unified, chunks: list[Chunk], lake: Lake, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for position in batch.column(0).to_pylist():
            yield from read(table, chunks[position], lake)
