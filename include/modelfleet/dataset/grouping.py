"""The dataset step: tables of the lake -> the author's `prepare` -> rows grouped by partition, sorted by time.

Two passes through the lake in Arrow. First every reader splits its rows by bucket into one Arrow file, a record batch per
bucket; then every bucket gathers its batches, sorts them by key and time and writes one Arrow file. Memory is bounded
by a bucket.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from modelfleet import engine, keys, modelcode, prepare, slices
from modelfleet.dataset.columns import Columns, Treated, check_columns
from modelfleet.dataset.fragments import OWN, Fragment, Part, in_span, read_part, write_fragment
from modelfleet.dataset.rows import SUFFIX, write_bucket, write_partitions
from modelfleet.dataset.sorting import sorted_order
from modelfleet.errors import DataError, bounded
from modelfleet.features import MAX_CATEGORIES, Recipe, categories_of, settle
from modelfleet.ingest.schema import lake_type
from modelfleet.interval import Interval
from modelfleet.lake.buckets import BucketPlace, BucketResult, earlier_places, finish, kept
from modelfleet.lake.runs import Attempt
from modelfleet.lake.store import Lake
from modelfleet.spec.problem import Forecast

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from modelfleet.prepare import Source
    from modelfleet.spec import FleetSpec

BUCKET_BYTES = 64 << 20
"""How much memory a bucket's rows and models may take, about; there are at least two buckets per core."""
_SPLIT_ROWS = 1 << 20


@dataclass(frozen=True)
class Dataset:
    """The grouped rows: one file per bucket, and what the pass over them found."""

    results: tuple[BucketResult, ...]
    schema: dict[str, str]
    key_types: dict[str, keys.KeyType]
    notes: tuple[str, ...]
    rows: int
    partitions: int
    treated: dict[str, int]
    """What was done to how many rows: treatments, dates filled, duplicates found."""
    nulls: dict[str, int]
    """In how many rows each column is null."""
    categories: dict[str, tuple[str, ...]]
    """The values of each categorical column, key columns among them where models span partitions; training only."""
    digest: str


@dataclass(frozen=True)
class _Layout:
    """What the workers of both passes need to know."""

    lake: Lake
    place: BucketPlace
    columns: Columns
    span: Interval
    treated: Treated
    categorical: tuple[str, ...] = ()


def build(
    spark: SparkSession,
    spec: FleetSpec,
    sources: Sequence[Source],
    *,
    columns: Columns,
    span: Interval,
    attempt: Attempt,
    lake: Lake,
    fingerprint: str,
    treated: Treated,
    categorical: tuple[str, ...] = (),
    beside: int = 0,
    progress: engine.Progress | None = None,
) -> Dataset:
    """Group the rows of `sources` that lie in `span` by partition.

    :param categorical: the columns whose values are gathered.
    :param beside: how many bytes of models the buckets are worked on beside, about, all together.

    :raises DataError: naming the fleet and the column that is missing, has a type that can't be used, or drifted.
    """
    needed = tuple(name for name in columns.all if name not in treated.given)
    tables = [prepare.unify(source, spec, needed=_needed(spec, source, columns, needed)) for source in sources]
    notes = tuple(note for table in tables for note in table.notes)
    frame = None if spec.data.prepare is None else prepare.run(spark, spec, tables)
    schema = tables[0].schema if frame is None else prepare.arrow_schema(frame)
    check_columns(schema, columns, given=treated.given)
    selected = _selected(schema, columns, treated.spec)
    rows = max(sum(entry.rows for entry in source.entries) for source in sources)
    buckets = _bucket_count(rows * _row_bytes(selected, spec) + beside, engine.parallelism(spark))
    place = BucketPlace.of(attempt, "dataset", fingerprint=fingerprint, buckets=buckets)
    layout = _Layout(lake, place, columns, span, treated, categorical)
    done = kept(lake, place, earlier_places(lake, attempt, "dataset", place))
    todo = [bucket for bucket in range(buckets) if bucket not in done]
    fragments: list[Fragment] = []
    if frame is None:
        _check_one_origin(schema, treated, spec)
        if todo:
            fragments = _split_files(spark, tables[0], layout, progress)
    elif todo:
        with prepare.failures(spec):
            fragments = _split_frame(frame, layout)
    tasks = [(bucket, tuple(f.part(bucket) for f in fragments if bucket in f.buckets)) for bucket in todo]
    gathered = engine.fan_out(spark, partial(_gather, layout, selected), tasks, label="dataset", progress=progress)
    for fragment in fragments:
        lake.delete(fragment.path)
    results = tuple(sorted([*done.values(), *gathered], key=lambda r: r.bucket))
    return Dataset(
        results=results,
        schema=results[0].facts["schema"],
        key_types={name: keys.key_type(name, schema.field(name).type, fleet=spec.name) for name in columns.keys},
        notes=notes,
        rows=sum(r.files["rows"].rows for r in results),
        partitions=sum(r.facts["partitions"] for r in results),
        treated=dict(sum((Counter(r.facts["treated"]) for r in results), Counter())),
        nulls=dict(sum((Counter(r.facts["nulls"]) for r in results), Counter())),
        categories=_settled([r.facts["categories"] for r in results], spec),
        digest=slices.combine(r.facts["digest"] for r in results),
    )


def _settled(found: Sequence[dict[str, list[str]]], spec: FleetSpec) -> dict[str, tuple[str, ...]]:
    """The categories of all buckets together; of key columns only where there are not too many.

    :raises DataError: for a declared categorical column of too many values.
    """
    sets = [{name: set(values) for name, values in one.items()} for one in found]
    many = [
        name for name in spec.partition_by if len(set().union(*(one.get(name, set()) for one in sets))) > MAX_CATEGORIES
    ]
    return settle([{n: values for n, values in one.items() if n not in many} for one in sets], spec.name)


def _check_one_origin(schema: pa.Schema, treated: Treated, spec: FleetSpec) -> None:
    """See that a known-ahead column is in one table: two may differ, and models would learn the one and meet the other.

    :raises DataError: naming the column and the tables.
    """
    both = [name for name in treated.given if name in schema.names]
    if both:
        others = ", ".join(repr(name) for name in list(spec.data.tables)[1:])
        raise DataError(
            f"fleet {spec.name!r}: known-ahead column {bounded(map(repr, both))} is in the table {spec.data.main[0]!r} "
            f"and in {others}",
            hint="leave it out of one of them, or choose in `prepare`",
        )


def _needed(spec: FleetSpec, source: Source, columns: Columns, all_columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns a table must not lose between intervals; with a `prepare` only its author knows the others."""
    if source.name != spec.data.main[0]:
        return ()
    return all_columns if spec.data.prepare is None else (spec.data.time,)


def _matrices(spec: FleetSpec) -> int:
    """How many matrices of features a bucket's worker holds at once."""
    return len(spec.problem.blocks) if isinstance(spec.problem, Forecast) and spec.declared.past else 1


def _bucket_count(size: int, cores: int) -> int:
    return min(max(2 * cores, -(-size // BUCKET_BYTES)), 4096)


def _row_bytes(fields: Sequence[pa.Field], spec: FleetSpec) -> int:
    """About how much memory a row takes with its features; a text counts as 24 bytes."""
    import pyarrow.types as t

    categories: dict[str, Sequence[str]] = dict.fromkeys(spec.declared.categorical, ())
    features = len(Recipe.of(spec, categories).names()) if spec.declared.past else 0
    columns = sum(f.type.bit_width // 8 if t.is_primitive(f.type) else 24 for f in fields)
    return columns + 8 * features * _matrices(spec)


def _selected(schema: pa.Schema, columns: Columns, spec: FleetSpec) -> list[pa.Field]:
    """The columns in the types of the lake: what `prepare` made of them may be narrower, or decimal.

    What treatments compute with is double, and so are a Forecast's series.
    """
    import pyarrow as pa

    present = [name for name in columns.all if name in schema.names]
    kinds = {name: lake_type(schema.field(name).type) or schema.field(name).type for name in present}
    made = pa.schema(kinds.items())
    return list(modelcode.widened_schema(made) if spec.treatments or isinstance(spec.problem, Forecast) else made)


def _split_files(
    spark: SparkSession, table: prepare.Unified, layout: _Layout, progress: engine.Progress | None
) -> list[Fragment]:
    tasks = sorted(table.chunks(), key=lambda chunk: -chunk.entry.bytes)
    layout = replace(layout, lake=layout.lake.vouching(chunk.entry.path for chunk in tasks))
    split = engine.fan_out(spark, partial(_split_chunk, layout, table), tasks, label="split", progress=progress)
    return [fragment for fragments in split for fragment in fragments]


def _split_chunk(layout: _Layout, table: prepare.Unified, chunk: prepare.Chunk) -> list[Fragment]:
    return list(_split(layout, prepare.read(table, chunk, layout.lake)))


def _split_frame(frame: object, layout: _Layout) -> list[Fragment]:
    lines = frame.mapInArrow(partial(_split_batches, layout), "fragment string").collect()  # type: ignore[attr-defined]
    given = [json.loads(line["fragment"]) for line in lines]
    return [Fragment(fragment["path"], tuple(fragment["buckets"])) for fragment in given]


def _split_batches(layout: _Layout, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    lines = [json.dumps({"path": f.path, "buckets": f.buckets}) for f in _split(layout, batches)]
    yield pa.RecordBatch.from_pydict({"fragment": pa.array(lines, pa.string())})


def _split(layout: _Layout, batches: Iterable[pa.RecordBatch]) -> Iterator[Fragment]:
    """Write the rows of the span, a million at a time, split by bucket."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch.select([name for name in layout.columns.all if name in batch.schema.names]))
            rows += batch.num_rows
        if rows >= _SPLIT_ROWS:
            yield from _write_span(layout, pa.Table.from_batches(waiting))
            waiting, rows = [], 0
    if waiting:
        yield from _write_span(layout, pa.Table.from_batches(waiting))


def _write_span(layout: _Layout, rows: pa.Table) -> Iterator[Fragment]:
    rows = in_span(rows, layout.columns.time, layout.span)
    if rows.num_rows:
        yield write_fragment(layout.lake, layout.place, rows, *keys.hash_columns(rows, layout.columns.keys))


def _gather(layout: _Layout, fields: list[pa.Field], task: tuple[int, tuple[Part, ...]]) -> BucketResult:
    """Second pass: one bucket's batches of all fragments, sorted, with the canonical key beside them."""
    import pyarrow as pa

    bucket, parts = task
    schema = pa.schema(fields)
    given = [read_part(layout.lake, part).cast(schema) for part in parts]
    rows = pa.concat_tables([schema.empty_table(), *given])
    rows, treated = layout.treated(_sorted(rows, layout.columns))
    prints = slices.fingerprints(rows)
    token = secrets.token_hex(4)
    paths = {name: layout.place.file(name, bucket, token, SUFFIX) for name in ("rows", "partitions")}
    files = {
        "rows": write_bucket(layout.lake, paths["rows"], rows),
        "partitions": write_partitions(layout.lake, paths["partitions"], prints),
    }
    facts = {
        "partitions": _due(rows, layout),
        "digest": slices.digest_of_parts(prints.items()),
        "bytes": rows.nbytes,
        "schema": {field.name: str(field.type) for field in rows.schema if field.name not in OWN},
        "treated": treated,
        "nulls": {name: rows.column(name).null_count for name in rows.column_names if name not in OWN},
        "categories": {name: sorted(found) for name, found in categories_of(rows, layout.categorical).items()},
    }
    return finish(layout.lake, layout.place, BucketResult(bucket, files, facts))


def _due(rows: pa.Table, layout: _Layout) -> int:
    """How many partitions the run is about: all, but for those that are only looked back on."""
    import pyarrow as pa
    import pyarrow.compute as pc

    since = layout.treated.since
    if since is not None:
        column = rows.column(layout.columns.time)
        rows = rows.filter(pa.array(slices.wall_times(column) >= slices.wall_moment(column.type, since)))
    return int(pc.count_distinct(rows.column(slices.PARTITION).combine_chunks().indices).as_py())


def _sorted(rows: pa.Table, columns: Columns) -> pa.Table:
    """The rows by the hash of their key, then time, with the canonical key beside them."""
    import numpy as np
    import pyarrow as pa

    names, codes = keys.encode_columns(rows, columns.keys)
    hashed = keys.hashes(names)
    ranked = sorted(range(len(names)), key=lambda place: (hashed[place], names[place]))
    rank = np.empty(len(names), dtype=np.int32)
    rank[ranked] = np.arange(len(names), dtype=np.int32)
    codes = rank[codes]
    partition = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([names[p] for p in ranked], pa.string()))
    rows = rows.append_column(slices.PARTITION, partition).combine_chunks()
    if rows.num_rows == 0:
        return rows
    times = slices.wall_times(rows.column(columns.time)).astype(np.int64)
    others = [n for n in columns.all if n not in columns.keys and n != columns.time and n in rows.column_names]
    return slices.taken(rows, sorted_order(codes, times, rows.select(others)))
