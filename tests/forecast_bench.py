"""Synthetic series of a small fleet of items in stores, made regular, trained, packed and scored without Spark."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

import training_bench
from modelfleet import (
    Candidate,
    Data,
    Features,
    FleetSpec,
    Forecast,
    Lag,
    Rolling,
    SqlTable,
    Training,
    keys,
    pack,
    scoring,
    slices,
)
from modelfleet.dataset import Columns
from modelfleet.features import categories_of
from modelfleet.group_models import GroupModels
from modelfleet.lake import Lake
from modelfleet.lake.buckets import BucketPlace, BucketTask
from modelfleet.matrices import Bucket, Inputs
from modelfleet.series import SeriesPlan, regularize
from modelfleet.training import (
    BucketTrainer,
    BucketWork,
    TrainingPlan,
    author_code,
)
from modelfleet.training.groups import TrainedGroups
from modelfleet.training.series import SeriesSample

END = datetime(2013, 4, 1, tzinfo=UTC)
KEYS = ("store", "item")
KEY_FIELDS = tuple(pa.field(name, pa.string()) for name in KEYS)
SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        ("day", pa.date32()),
        ("kind", pa.string()),
        ("price", pa.float64()),
        ("w", pa.float64()),
        ("y", pa.float64()),
    ]
)
Part = dict[str, list[Any]]
Parts = Mapping[tuple[str, str], Part]
Row = dict[str, Any]
RIDGE = "author_forecasters:ridge"
LAST = "author_forecasters:last"


def spec(**changes: Any) -> FleetSpec:
    given: dict[str, Any] = {
        "name": "items",
        "owner": "tests",
        "data": Data(
            sales=SqlTable("items_db", "sales", time="day"),
            prices=SqlTable("items_db", "prices", time="day", ahead="30D"),
        ),
        "partition_by": KEYS,
        "problem": problem(),
        "features": Features(
            past=(Lag("y", 7, 8), Rolling("y", "14D", "mean")), known_ahead=("price",), calendar=("weekday",)
        ),
        "candidates": (Candidate(RIDGE), Candidate(LAST)),
        "training": Training(folds=3, min_rows=20),
    }
    return FleetSpec(**{**given, **changes})


def problem(**changes: Any) -> Forecast:
    return Forecast(**{"target": "y", "freq": "D", "horizon": 7, **changes})


def part(
    days: int = 84, *, seed: int = 0, level: float = 20.0, ahead: int = 0, end: datetime = END, **changes: Any
) -> Part:
    """The series of an item in a store up to `end`, with `ahead` more days of prices; `changes` replace columns."""
    draw = np.random.default_rng(seed)
    first = end.date() - timedelta(days=days)
    steps = np.arange(days + ahead)
    price = 2.0 + draw.normal(scale=0.2, size=days + ahead)
    y = level + 4.0 * np.sin(2 * np.pi * steps / 7) - 3.0 * price + draw.normal(scale=0.5, size=days + ahead)
    made: dict[str, Any] = {
        "day": [first + timedelta(days=int(n)) for n in steps],
        "kind": ["plain"] * (days + ahead),
        "price": price.tolist(),
        "w": draw.uniform(0.5, 2.0, size=days + ahead).tolist(),
        "y": [*y[:days].tolist(), *[None] * ahead],
    }
    for name, value in changes.items():
        made[name] = value if isinstance(value, list) else [value] * (days + ahead)
    return made


def key(names: tuple[str, str]) -> str:
    return keys.encode(KEYS, names)


def raw(parts: Parts, schema: pa.Schema = SCHEMA) -> pa.Table:
    """The rows of all partitions, ordered by the hash of their key and by time, with the key beside them."""
    ordered = sorted(parts, key=lambda names: keys.hash_of(key(names)))
    tables = [schema.empty_table()]
    for names in ordered:
        rows = len(parts[names]["day"])
        columns = {**parts[names], **{name: [value] * rows for name, value in zip(KEYS, names, strict=True)}}
        tables.append(pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}))
    codes = np.repeat(np.arange(len(ordered)), [len(parts[n]["day"]) for n in ordered]).astype(np.int32)
    partition = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([key(n) for n in ordered], pa.string()))
    return pa.concat_tables(tables).append_column(slices.PARTITION, partition).combine_chunks()


def bucket(
    parts: Parts, of: FleetSpec, *, future: int = 0, end: datetime = END, schema: pa.Schema = SCHEMA
) -> pa.Table:
    """The regular series, as the dataset step leaves them; with the steps to come, as for scoring."""
    return regularize(raw(parts, schema), SeriesPlan.of(of, end=end, future=future))[0]


def plan(
    of: FleetSpec, parts: Parts, *, end: datetime = END, attempt: str = "attempt", schema: pa.Schema = SCHEMA
) -> TrainingPlan:
    """The plan of a training on these partitions, whose values are its categories."""
    named = tuple(dict.fromkeys((*of.declared.categorical, *of.partition_by)))
    found = categories_of(raw(parts, schema), named)
    made = TrainingPlan.of(
        of,
        Columns.of(of, with_target=True),
        end=end,
        interval=(end - timedelta(days=1)).date().isoformat(),
        attempt=attempt,
        categories={name: tuple(sorted(values)) for name, values in found.items()},
    )
    training_bench.INPUTS.update({inputs.id: inputs for inputs in (made.inputs, made.shared_inputs)})
    return made


def trainer(
    settled: TrainingPlan,
    *,
    champions: Mapping[str, Row] | None = None,
    champion_groups: GroupModels | None = None,
    groups: TrainedGroups | None = None,
) -> BucketTrainer:
    return BucketTrainer(
        settled,
        author_code(settled),
        champions or {},
        training_bench.INPUTS,
        champion_groups or GroupModels(),
        groups or TrainedGroups(),
    )


def train(
    parts: Parts, of: FleetSpec, *, end: datetime = END, schema: pa.Schema = SCHEMA, **beside: Any
) -> dict[tuple[str, str], Row]:
    """The pack rows of one bucket, by key."""
    settled = plan(of, parts, end=end, schema=schema)
    rows = trainer(settled, **beside).rows(bucket(parts, of, end=end, schema=schema), KEY_FIELDS).to_pylist()
    found = {(row["store"], row["item"]): row for row in rows}
    assert len(found) == len(rows) == len(parts)
    return found


def sample(part: Part, of: FleetSpec, *, end: datetime = END) -> SeriesSample:
    """One partition's series as candidates meet it."""
    parts = {("S", "I"): part}
    settled = plan(of, parts, end=end)
    rows = Bucket(bucket(parts, of, end=end), "day", (*KEYS, "day"))
    return SeriesSample(key(("S", "I")), rows, 0, settled, author_code(settled), TrainedGroups().shared)


def matrices(part: Part, of: FleetSpec, ahead: int, *, end: datetime = END, future: int = 0) -> np.ndarray:
    """The declared features of one partition, by themselves."""
    parts = {("S", "I"): part}
    recipe = Inputs.of(of, {}).recipe
    assert recipe is not None
    rows = bucket(parts, of, end=end, future=future)
    return recipe.compute(rows, np.zeros(1, np.int64), time="day", ahead=ahead)


def model_of(row: Row) -> Any:
    return pack.load_model(row["model"], row["model_digest"])


def train_in_lake(
    lake: Lake,
    parts: Parts,
    of: FleetSpec,
    *,
    name: str,
    buckets: int = 2,
    champion: pack.Pack | None = None,
    end: datetime = END,
) -> pack.Pack:
    """Train groups and buckets as a training does, and open the pack they make."""
    settled = plan(of, parts, end=end, attempt=name)
    root = f"items/train/{settled.interval}/{name}"
    entries = []
    for number in range(buckets):
        inside = {n: p for n, p in parts.items() if keys.bucket_of(keys.hash_of(key(n)), buckets) == number}
        rows = bucket(inside, of, end=end)
        entries.append(training_bench.write_bucket(lake, f"{root}/rows-{number}.parquet", rows))
    grouped = training_bench.group_files(lake, settled, KEY_FIELDS, entries, f"{root}/groups")
    place = BucketPlace(f"{root}/train", "inputs", buckets)
    work = BucketWork(lake, place, settled, KEY_FIELDS, champion, grouped.folds)
    results = [work(BucketTask(number, entry)) for number, entry in enumerate(entries)]
    return training_bench.pack_of(
        lake,
        results,
        buckets=buckets,
        of=of,
        path=f"{root}/pack.json",
        schema=SCHEMA,
        settled=settled,
        grouped=grouped,
    )


def rows_of(made: pack.Pack) -> dict[str, Row]:
    return {row["partition"]: row for row in made.rows(0, 1 << 64).to_pylist()}


def groups_of(made: pack.Pack) -> GroupModels:
    groups = made.groups()
    return GroupModels.of([] if groups is None else groups.to_pylist())


def score(
    made: pack.Pack,
    parts: Parts,
    *,
    end: datetime = END,
    rows: Mapping[str, Row] | None = None,
    groups: GroupModels | None = None,
) -> tuple[pa.Table, dict[str, Row]]:
    """The forecasts from `end` on, and the outcome of each partition."""
    of = made.header.fleet_spec
    assert isinstance(of.problem, Forecast)
    scorer = scoring.Scorer(made.header, groups if groups is not None else groups_of(made))
    table = bucket(parts, of, end=end, future=of.problem.horizon)
    predictions, outcomes = scoring.predict_table(scorer, rows if rows is not None else rows_of(made), table)
    return predictions, {row["partition"]: row for row in outcomes.to_pylist()}


def served(predictions: pa.Table, names: tuple[str, str], column: str = "prediction") -> list[Any]:
    """A column of one partition's forecast."""
    mask = [name == key(names) for name in predictions.column("partition").to_pylist()]
    return predictions.filter(pa.array(mask)).column(column).to_pylist()


def day(text: str) -> date:
    return date.fromisoformat(text)
