"""groupBy().applyInPandas done well: NumPy inside, nothing registered; models and predictions are Parquet files.

The data is shuffled once for the training and once for the scoring, where models and rows meet in a cogroup.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from bench.measure import Meter
from bench.modelling import Task, dumped, train
from bench.spark import started
from bench.workloads import Workload

KEYS = ["store", "item"]


def run(workload: Workload, data: Path, home: Path, meter: Meter) -> None:
    """Train and score, each measured; the metrics of its models go to ``metrics.parquet``."""
    task = Task.of(workload)
    spark = started(meter)
    rows = spark.read.parquet(str(data))
    with meter.step("train"):
        grouped = rows.groupBy(*KEYS).applyInPandas(trainer(task), schema=model_schema(task))
        grouped.write.parquet(str(home / "models"))
    with meter.step("score"):
        models = spark.read.parquet(str(home / "models")).select(*KEYS, "model").groupBy(*KEYS)
        pairs = rows.groupBy(*KEYS).cogroup(models)
        scored = pairs.applyInPandas(scorer(task), schema="store int, item int, day date, prediction double")
        scored.write.parquet(str(home / "predictions"))
    keep_metrics(home, task)
    spark.stop()


def keep_metrics(home: Path, task: Task) -> None:
    """Write ``metrics.parquet`` from the models' rows."""
    found = ds.dataset(home / "models").to_table(columns=[*KEYS, *task.metrics])
    pq.write_table(found, home / "metrics.parquet")


def model_schema(task: Task) -> str:
    """The columns of a model's row, for Spark."""
    measured = (f"{prefix}{name} double" for prefix in ("", "baseline_") for name in task.metrics)
    return ", ".join(("store int", "item int", "n_rows long", *measured, "model binary"))


def trainer(task: Task) -> Callable[[Any, pd.DataFrame], pd.DataFrame]:
    """What makes of the rows of a partition the row of its model; no row for one without."""

    def train_one(key: Any, frame: pd.DataFrame) -> pd.DataFrame:
        days = frame["day"].to_numpy(dtype="datetime64[D]")
        order = np.argsort(days, kind="stable")
        x, y = matrix(frame, task)[order], frame[task.target].to_numpy(dtype=np.float64)[order]
        fitted = train(task, x, y, days[order])
        if fitted is None:
            return pd.DataFrame()
        naive = {f"baseline_{name}": value for name, value in fitted.baseline.items()}
        row = {"store": key[0], "item": key[1], "n_rows": len(y), **fitted.metrics, **naive}
        return pd.DataFrame([{**row, "model": dumped(fitted.model)}])

    return train_one


def scorer(task: Task) -> Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]:
    """What predicts the rows of a partition with its model; NaN for one without."""

    def score_one(frame: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
        scored = frame[["store", "item", "day"]].copy()
        scored["prediction"] = np.nan
        if len(models):
            scored["prediction"] = pickle.loads(models["model"].iloc[0]).predict(matrix(frame, task)).astype(np.float64)
        return scored

    return score_one


def matrix(frame: pd.DataFrame, task: Task) -> np.ndarray:
    """The features as float64, shape (rows, features)."""
    return frame[list(task.features)].to_numpy(dtype=np.float64)
