"""Prepared rows without Spark: the bucket files and manifests of a training's dataset step, written as the step does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelfleet import Data, Features, FleetSpec, Forecast, Lag, Regression, SqlTable, Training, keys, slices
from modelfleet import interval as intervals
from modelfleet.exploring.prepared import Prepared
from modelfleet.lake import FileEntry, Lake, StepManifest, runs
from modelfleet.steps.inputs import code_version

Json = dict[str, Any]


def shops(**changes: Any) -> FleetSpec:
    """Daily units of shops, forecast."""
    given: Json = {
        "name": "shops",
        "owner": "tests",
        "data": Data(SqlTable("shops_db", "sales", time="day")),
        "partition_by": ("shop",),
        "problem": Forecast(target="units", freq="D", horizon=14),
        "features": Features(past=(Lag("price", 14),)),
        "model": "sklearn.linear_model:Ridge",
    }
    return FleetSpec(**{**given, **changes})


def readings(**changes: Any) -> FleetSpec:
    """Readings at any time, a regression."""
    given: Json = {
        "name": "readings",
        "data": Data(SqlTable("shops_db", "readings", time="at")),
        "problem": Regression(target="units"),
        "features": ("price",),
        "training": Training(holdout="14D", min_rows=20),
    }
    return shops(**{**given, **changes})


@dataclass(frozen=True)
class Written:
    """The files of a dataset step."""

    files: tuple[FileEntry, ...]
    facts: Json


def write(rows: pa.Table, spec: FleetSpec, folder: str, *, buckets: int = 3, **facts: Any) -> Written:
    """Group rows by partition into bucket files, sorted by key and time as `dataset._gather` sorts them."""
    lake = Lake.open()
    names, codes = keys.encode_columns(rows, spec.partition_by)
    hashed = [keys.hash_of(name) for name in names]
    order = sorted(range(len(names)), key=lambda place: (hashed[place], names[place]))
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    ranks = rank[codes] if rows.num_rows else np.empty(0, np.int32)
    dictionary = pa.array([names[place] for place in order], pa.string())
    bucket_of = np.array([keys.bucket_of(hashed[place], buckets) for place in order], np.int64)
    others = [name for name in rows.column_names if name not in (*spec.partition_by, spec.time_column)]
    by = [("_rank", "ascending"), (spec.time_column, "ascending"), *((name, "ascending") for name in others)]
    sortable = rows.append_column("_rank", pa.array(ranks))
    position = pa.compute.sort_indices(sortable, sort_keys=by)
    table = rows.append_column(slices.PARTITION, pa.DictionaryArray.from_arrays(pa.array(ranks), dictionary)).take(position)
    of_row = bucket_of[ranks[position.to_numpy()]] if rows.num_rows else np.empty(0, np.int64)
    entries = []
    for bucket in range(buckets):
        part = table.filter(pa.array(of_row == bucket))
        own = part.column(slices.PARTITION).cast(pa.string()).dictionary_encode()
        part = part.set_column(part.num_columns - 1, slices.PARTITION, own)
        path = f"{folder}/rows-{bucket:05d}.parquet"
        lake.make_folder_of(path)
        with lake.fs.open_output_stream(path) as sink:
            pq.write_table(part, sink, compression="zstd", row_group_size=1 << 17)
        entries.append(lake.entry(path, part.num_rows))
    schema = {field.name: str(field.type) for field in rows.schema}
    return Written(tuple(entries), {"rows": rows.num_rows, "partitions": len(names), "schema": schema, "notes": [], **facts})


def prepared(rows: pa.Table, spec: FleetSpec, key: str = "2024-03-31", *, buckets: int = 3, **facts: Any) -> Prepared:
    """Rows as a dataset step of interval `key` leaves them."""
    made = write(rows, spec, f"{spec.name}/train/{key}/by-hand/dataset", buckets=buckets, **facts)
    interval = intervals.of_key(key, timezone=spec.timezone)
    return Prepared(Lake.open(), spec, interval, "by-hand", True, made.files, made.facts)


def train(rows: pa.Table, spec: FleetSpec, key: str = "2024-03-31", *, ingests: tuple[str, ...] = ()) -> str:
    """Commit a training of which only the dataset step ran; its attempt."""
    lake = Lake.open()
    inputs = {}
    for ingested in ingests:
        run = runs.committed(lake, spec.name, "ingest", ingested)
        assert run is not None
        inputs[f"ingest/{ingested}"] = {"attempt": run.attempt, "digest": run.digest}
    attempt = _begin(lake, spec, "train", key, inputs)
    made = write(rows, spec, attempt.path("dataset"))
    manifest = runs.save_step(lake, attempt, StepManifest("dataset", "by hand", "d", {"rows": made.files}, made.facts))
    runs.commit(lake, attempt, status="committed", steps=[manifest], facts={})
    return attempt.id


def ingest(spec: FleetSpec, key: str, *, rows: int = 1) -> None:
    """Commit an ingest that says it has `rows` rows."""
    lake = Lake.open()
    attempt = _begin(lake, spec, "ingest", key, {})
    runs.commit(lake, attempt, status="committed" if rows else "empty", steps=[], facts={"rows": {"data": rows}})


def _begin(lake: Lake, spec: FleetSpec, pipeline: str, key: str, inputs: Json) -> runs.Attempt:
    return runs.begin(
        lake,
        fleet=spec.name,
        pipeline=pipeline,
        interval=intervals.of_key(key, timezone=spec.timezone),
        spec_json=spec.to_json(),
        spec_digest=spec.digest,
        code_version=code_version(spec),
        inputs=inputs,
        options={},
    )

