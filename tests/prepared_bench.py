"""Prepared rows without Spark: the bucket files and manifests of a training's dataset step, written as the step does."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet import Data, Features, FleetSpec, Forecast, Lag, Regression, SqlTable, Training, dataset, keys, slices
from modelfleet import interval as intervals
from modelfleet.exploring.prepared import Prepared
from modelfleet.lake import FileEntry, Lake, StepManifest, runs
from modelfleet.series import PROBLEM, SeriesPlan, regularize
from modelfleet.steps.inputs import code_version

Json = dict[str, Any]
KEY = "2024-03-31"


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


def write(rows: pa.Table, spec: FleetSpec, folder: str, *, buckets: int = 3, end: datetime | None = None) -> Written:
    """Group rows by partition into bucket files, sorted as the dataset step sorts them.

    :param end: make the series regular up to there, as the step does for a forecast.
    """
    lake = Lake.open()
    entries, treated, nulls, schema = [], Counter[str](), Counter[str](), rows.schema
    for number, part in enumerate(_buckets(rows, spec, buckets)):
        made = part
        if end is not None:
            made, counts = regularize(part, SeriesPlan.of(spec, end=end, future=0))
            treated.update(counts)
        schema = made.schema
        entries.append(dataset.write_bucket(lake, f"{folder}/rows-{number:05d}.arrow", made))
        nulls.update({name: made.column(name).null_count for name in made.column_names})
    own = (slices.PARTITION, PROBLEM)
    return Written(
        tuple(entries),
        {
            "format": dataset.FORMAT,
            "rows": sum(entry.rows for entry in entries),
            "schema": {field.name: str(field.type) for field in schema if field.name not in own},
            "notes": [],
            "treated": dict(treated),
            "nulls": {name: count for name, count in nulls.items() if name not in own},
        },
    )


def _buckets(rows: pa.Table, spec: FleetSpec, buckets: int) -> Iterator[pa.Table]:
    """By ranges of the keys' hash; sorted by it, then by time, ties by the other columns."""
    names, codes = keys.encode_columns(rows, spec.partition_by)
    hashed = [keys.hash_of(name) for name in names]
    order = sorted(range(len(names)), key=lambda place: (hashed[place], names[place]))
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    bucket_of = np.array([keys.bucket_of(hash_, buckets) for hash_ in hashed])[codes] if names else np.empty(0)
    others = [name for name in rows.column_names if name not in (*spec.partition_by, spec.time_column)]
    for bucket in range(buckets):
        mine = np.flatnonzero(bucket_of == bucket)
        part = rows.take(mine)
        of_row = rank[codes[mine]] if len(mine) else np.empty(0, np.int32)
        present, position = np.unique(of_row, return_inverse=True)
        own = pa.array([names[order[place]] for place in present], pa.string())
        key = pa.DictionaryArray.from_arrays(pa.array(position.astype(np.int32)), own)
        by = [("_rank", "ascending"), (spec.time_column, "ascending"), *((name, "ascending") for name in others)]
        at = pc.sort_indices(part.append_column("_rank", pa.array(of_row)), sort_keys=by)
        yield part.append_column(slices.PARTITION, key).take(at).combine_chunks()


def prepared(
    rows: pa.Table, spec: FleetSpec, key: str = KEY, *, buckets: int = 3, regular: bool = False, **facts: Any
) -> Prepared:
    """Rows as the dataset step of interval `key` leaves them; `regular`: as of a forecast."""
    interval = intervals.of_key(key, timezone=spec.timezone)
    folder = f"{spec.name}/train/{key}/{secrets.token_hex(4)}/dataset"
    made = write(rows, spec, folder, buckets=buckets, end=interval.end if regular else None)
    return Prepared(Lake.open(), spec, interval, "by-hand", True, made.files, {**made.facts, **facts})


def train(rows: pa.Table, spec: FleetSpec, key: str = KEY, *, ingests: tuple[str, ...] = ()) -> str:
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
    status = "committed" if rows else "empty"
    runs.commit(lake, attempt, status=status, steps=[], facts={"rows": {"data": rows}, "tables": {}})


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
