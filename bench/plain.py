"""The plain script: DuckDB sorts, joblib fits in as many processes as there are cores; nothing is kept safe.

All rows are in memory at once; the models are one pickle file, the predictions one Parquet file.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Meter
from bench.modelling import Fitted, Task, train
from bench.ours import ready
from bench.workloads import Workload

CHUNKS = 32
"""Calls per process: enough to keep all busy to the end."""
Models = dict[tuple[int, int], Any]


def run(workload: Workload, data: Path, home: Path, meter: Meter) -> None:
    """Train and score, each measured; the metrics of its models go to ``metrics.parquet``."""
    task, files = Task.of(workload), str(data / "*.parquet")
    with meter.step("session"):
        cores = os.cpu_count() or 1
        joblib.Parallel(n_jobs=cores)([joblib.delayed(ready)() for _ in range(cores)])
    with meter.step("train"):
        grouped = _sorted(files, task, with_target=True)
        fitted = [each for part in _spread(_train_chunk, grouped, task) for each in part]
        known = [key for key, each in zip(grouped.keys, fitted, strict=True) if each is not None]
        made = [each for each in fitted if each is not None]
        models = {key: each.model for key, each in zip(known, made, strict=True)}
        (home / "models.pickle").write_bytes(pickle.dumps(models, protocol=5))
        _write_metrics(home / "metrics.parquet", known, made)
    del grouped, fitted, made, models
    with meter.step("score"):
        stored: Models = pickle.loads((home / "models.pickle").read_bytes())
        grouped = _sorted(files, task, with_target=False)
        predicted = np.concatenate(list(_spread(_score_chunk, grouped, task, stored)))
        columns = {name: grouped.table.column(name) for name in ("store", "item", "day")}
        pq.write_table(pa.table({**columns, "prediction": predicted}), home / "predictions.parquet")


@dataclass
class Grouped:
    """All rows, sorted by partition and day: `bounds` says where partitions begin, with the end of the last."""

    table: pa.Table
    x: np.ndarray
    y: np.ndarray
    days: np.ndarray
    bounds: np.ndarray

    @property
    def keys(self) -> list[tuple[int, int]]:
        """Store and item of each partition, in order."""
        first = self.table.select(["store", "item"]).take(pa.array(self.bounds[:-1]))
        return list(zip(first.column(0).to_pylist(), first.column(1).to_pylist(), strict=True))


def _sorted(files: str, task: Task, *, with_target: bool) -> Grouped:
    wanted = ", ".join(("store", "item", "day", *task.features, *([task.target] if with_target else [])))
    with duckdb.connect() as connection:
        query = f"SELECT {wanted} FROM read_parquet('{files}') ORDER BY store, item, day"
        table: pa.Table = connection.execute(query).to_arrow_table()
    store, item = (table.column(name).to_numpy() for name in ("store", "item"))
    edges = np.flatnonzero((store[1:] != store[:-1]) | (item[1:] != item[:-1])) + 1
    y = table.column(task.target).to_numpy().astype(np.float64) if with_target else np.empty(0)
    return Grouped(
        table,
        np.column_stack([table.column(name).to_numpy() for name in task.features]),
        y,
        table.column("day").to_numpy().astype("datetime64[D]"),
        np.concatenate([[0], edges, [len(store)]]),
    )


def _spread(work: Any, grouped: Grouped, task: Task, models: Models | None = None) -> Iterator[Any]:
    """Call `work` on chunks of the partitions, in as many processes as there are cores; what it gives, in order.

    The arrays reach the processes as files in shared memory, which joblib makes once.
    """
    cores = os.cpu_count() or 1
    keys = grouped.keys
    cuts = np.unique(np.linspace(0, len(keys), CHUNKS * cores + 1).astype(int))
    calls = (
        joblib.delayed(work)(
            task,
            grouped.x,
            grouped.y,
            grouped.days,
            grouped.bounds[low : high + 1],
            None if models is None else [models.get(key) for key in keys[low:high]],
        )
        for low, high in pairwise(cuts)
    )
    yield from joblib.Parallel(n_jobs=cores)(calls)


def _train_chunk(
    task: Task, x: np.ndarray, y: np.ndarray, days: np.ndarray, bounds: np.ndarray, _: None
) -> list[Fitted | None]:
    spans = pairwise(bounds)
    return [train(task, x[a:b].astype(np.float64), y[a:b], days[a:b]) for a, b in spans]


def _score_chunk(
    task: Task, x: np.ndarray, y: np.ndarray, days: np.ndarray, bounds: np.ndarray, models: list[Any]
) -> np.ndarray:
    out = np.full(bounds[-1] - bounds[0], np.nan)
    for model, a, b in zip(models, bounds[:-1], bounds[1:], strict=True):
        if model is not None:
            out[a - bounds[0] : b - bounds[0]] = model.predict(x[a:b].astype(np.float64))
    return out


def _write_metrics(path: Path, keys: list[tuple[int, int]], made: list[Fitted]) -> None:
    store, item = np.array(keys, dtype=np.int32).reshape(-1, 2).T
    names = made[0].metrics if made else ()
    measured = {name: [each.metrics[name] for each in made] for name in names}
    pq.write_table(pa.table({"store": store, "item": item, **measured}), path)
