"""Synthetic buckets of a small fleet of shops, its plan, and packs made from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

from modelfleet import (
    Classification,
    Data,
    FleetSpec,
    Regression,
    SqlTable,
    Training,
    dataset,
    engine,
    keys,
    modelcode,
    pack,
    slices,
)
from modelfleet import interval as intervals
from modelfleet.dataset import Columns
from modelfleet.lake import FileEntry, Lake
from modelfleet.lake.buckets import BucketPlace, BucketResult, BucketTask
from modelfleet.matrices import Inputs
from modelfleet.spec.training import HOLDOUT
from modelfleet.training import (
    BucketTrainer,
    BucketWork,
    Carrying,
    GroupFiles,
    TrainingPlan,
    train_groups,
    wanted_groups,
)

START = datetime(2013, 2, 1, tzinfo=UTC)
CUTOFF = datetime(2013, 3, 1, tzinfo=UTC)
DAYS, TRAINED, TESTED = 40, 28, 12
KEY_FIELDS = (pa.field("store", pa.string()),)
SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        ("day", pa.timestamp("us", "UTC")),
        ("a", pa.float64()),
        ("b", pa.float64()),
        ("y", pa.float64()),
    ]
)
INPUTS: dict[str, Inputs] = {}
"""Of every plan made here, by their id, as the header of a champion's pack keeps them."""
Part = dict[str, list[Any]]
Row = dict[str, Any]


def spec(**changes: Any) -> FleetSpec:
    given: dict[str, Any] = {
        "name": "shops",
        "owner": "tests",
        "data": Data(SqlTable("shops_db", "sales", time="day")),
        "partition_by": ("store",),
        "problem": Regression(target="y"),
        "features": ("a", "b"),
        "model": "author_models:build",
        "training": Training(min_rows=5),
    }
    return FleetSpec(**{**given, **changes})


def classification(**changes: Any) -> FleetSpec:
    return spec(problem=Classification(target="y", **changes), model="author_models:logistic")


def plan(
    of: FleetSpec | None = None, *, attempt: str = "attempt", cutoff: datetime = CUTOFF, **others: Any
) -> TrainingPlan:
    """The plan of a training whose holdout begins at `cutoff`."""
    fleet = of if of is not None else spec()
    end = cutoff + intervals.duration(fleet.training.holdout or HOLDOUT)
    columns = Columns.of(fleet, with_target=True)
    made = TrainingPlan.of(fleet, columns, end=end, interval="2013-03-12", attempt=attempt, **others)
    INPUTS.update({inputs.id: inputs for inputs in (made.inputs, made.shared_inputs)})
    return made


def part(days: int = DAYS, *, start: datetime = START, seed: int = 0, **changes: Any) -> Part:
    """A shop's rows, one a day; `changes` replace columns, by a value for all rows or a list."""
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=days), draw.normal(size=days)
    made: dict[str, Any] = {
        "day": [start + timedelta(days=n) for n in range(days)],
        "a": a.tolist(),
        "b": b.tolist(),
        "y": (2 * a - b + 3 + draw.normal(scale=0.1, size=days)).tolist(),
    }
    for name, value in changes.items():
        made[name] = value if isinstance(value, list) else [value] * days
    return made


def asking(number: int, **changes: Any) -> Part:
    """A shop whose first value asks the author's model for trouble."""
    made = part(**changes)
    return {**made, "a": [float(number), *made["a"][1:]]}


def key(store: str | None) -> str:
    return keys.encode(["store"], [store])


def bucket(parts: Mapping[str, Part], schema: pa.Schema = SCHEMA) -> pa.Table:
    """The rows as the dataset step leaves them: ordered by the hash of their key, with the key beside them."""
    ordered = sorted(parts, key=lambda store: keys.hash_of(key(store)))
    tables = [schema.empty_table()]
    for store in ordered:
        columns = {**parts[store], "store": [store] * len(parts[store]["day"])}
        tables.append(pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}))
    rows = pa.concat_tables(tables)
    codes = np.repeat(np.arange(len(ordered)), [len(parts[store]["day"]) for store in ordered]).astype(np.int32)
    partition = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([key(s) for s in ordered], pa.string()))
    return rows.append_column(slices.PARTITION, partition).combine_chunks()


def codes_of(settled: TrainingPlan, **hooks: Callable[..., Any]) -> dict[str, modelcode.ModelCode]:
    """The author's code of every candidate, with hooks given here instead of those of its module."""
    found = {
        learner.name: modelcode.imported(learner.path, learner.params, fleet=settled.columns.fleet)
        for learner in settled.learners
    }
    return {name: replace(code, **hooks) for name, code in found.items()}


def train(
    parts: Mapping[str, Part],
    of: FleetSpec | None = None,
    *,
    champions: Mapping[str, Row] | None = None,
    schema: pa.Schema = SCHEMA,
    cutoff: datetime = CUTOFF,
    same_code: bool = True,
    **hooks: Callable[..., Any],
) -> dict[str, Row]:
    """The pack rows of a bucket, by store."""
    settled = plan(of, cutoff=cutoff, same_code=same_code)
    trainer = BucketTrainer(settled, codes_of(settled, **hooks), champions or {}, INPUTS)
    rows = trainer.rows(bucket(parts, schema), KEY_FIELDS).to_pylist()
    assert [row["partition"] for row in rows] == [key(row["store"]) for row in rows]
    found = {row["store"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def champions_of(rows: Mapping[str, Row]) -> dict[str, Row]:
    return {row["partition"]: row for row in rows.values() if row["serves"] == "model"}


def write_bucket(lake: Lake, path: str, rows: pa.Table) -> FileEntry:
    return dataset.write_bucket(lake, path, rows)


def train_in_lake(
    lake: Lake,
    parts: Mapping[str, Part],
    *,
    name: str,
    buckets: int,
    of: FleetSpec | None = None,
    champion: pack.Pack | None = None,
    cutoff: datetime = CUTOFF,
    carrying: Carrying | None = None,
) -> pack.Pack:
    """Train all buckets as a Spark task would, each on its own, and open the pack they make."""
    fleet = of if of is not None else spec()
    place = BucketPlace(f"shops/train/2013-03-12/{name}/train", "inputs", buckets)
    settled = plan(fleet, attempt=name, cutoff=cutoff, categories={"store": tuple(sorted(parts))})
    entries = []
    for number in range(buckets):
        inside = {s: rows for s, rows in parts.items() if keys.bucket_of(keys.hash_of(key(s)), buckets) == number}
        entries.append(write_bucket(lake, f"{place.folder}-rows-{number}.parquet", bucket(inside)))
    grouped = group_files(lake, settled, KEY_FIELDS, entries, f"{place.folder}/groups", carrying)
    taken = None if carrying is None else carrying.beside(lake, grouped.pack)
    work = BucketWork(lake, place, settled, KEY_FIELDS, champion, grouped.folds, taken)
    results = [work(BucketTask(number, entry)) for number, entry in enumerate(entries)]
    path = f"{place.folder}/pack.json"
    return pack_of(lake, results, buckets=buckets, of=fleet, path=path, settled=settled, grouped=grouped)


@contextmanager
def without_spark() -> Iterator[None]:
    """The fan-out as a loop: what runs on each bucket is what Spark would run."""

    def loop(_: Any, work: Any, tasks: Sequence[Any], **__: Any) -> list[Any]:
        return [work(task) for task in tasks]

    with mock.patch.object(engine, "fan_out", loop):
        yield


def group_files(
    lake: Lake,
    settled: TrainingPlan,
    key_fields: Sequence[pa.Field],
    entries: Sequence[FileEntry],
    folder: str,
    carrying: Carrying | None = None,
    *,
    earlier: Sequence[str] = (),
) -> GroupFiles:
    """Fit the models over many partitions, as a training does before its buckets; `earlier`: folders of killed attempts."""

    def place(of: str, level: str) -> BucketPlace:
        return BucketPlace(f"{of}/{level}", "inputs", len(entries))

    places = {
        level: (place(folder, level), [place(before, level) for before in earlier]) for level in wanted_groups(settled)
    }
    no_spark: Any = None
    with without_spark():
        return train_groups(no_spark, lake, places, settled, tuple(key_fields), entries, carrying=carrying)


def pack_of(
    lake: Lake,
    results: Sequence[BucketResult],
    *,
    buckets: int,
    of: FleetSpec,
    path: str,
    schema: pa.Schema = SCHEMA,
    settled: TrainingPlan | None = None,
    grouped: GroupFiles | None = None,
) -> pack.Pack:
    """The pack of the buckets' files and the groups', as the step of training makes it."""
    made = settled if settled is not None else plan(of)
    groups = grouped if grouped is not None else GroupFiles()
    needed = dict.fromkeys((*made.inputs.needs, *made.shared_inputs.needs))
    own = {*of.partition_by, of.problem.target}
    header = pack.make_header(
        of,
        key_types=dict.fromkeys(of.partition_by, "string"),
        time_type=str(schema.field(of.time_column).type),
        feature_types={name: str(schema.field(name).type) for name in needed if name not in own},
        inputs={inputs.id: inputs.to_json() for inputs in (made.inputs, made.shared_inputs)},
        code=[learner.path for learner in made.learners],
        files=[(result.files["pack"], keys.bucket_range(result.bucket, buckets)) for result in results],
        groups=groups.pack,
        digest=slices.combine([*(result.facts["digest"] for result in results), *groups.digests]),
    )
    lake.write_once(path, header.to_json())
    return pack.Pack.in_lake(lake, path, digest=pack.header_digest(header.to_json()))
