"""The published way: groupBy().applyInPandas, where each fit logs and registers an MLflow model of its own, under tags.

Scoring searches each partition's model by its tags and downloads it. A model takes tenths of a second, so the work is done
on as many partitions as fit into the time, and the seconds are extrapolated per partition. What spares it time is done: the
store is a local SQLite file, requirements are named instead of inferred, the session and MLflow are warm.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from bench.generate import keys_of
from bench.measure import Meter
from bench.modelling import Task
from bench.spark import started
from bench.tuned import KEYS, matrix, model_schema
from bench.workloads import MIN_ROWS, Workload

PILOT = 8
"""Partitions that are done first: it warms all up, and tells how many fit into the time and what does not grow with them."""
SEED = 7


def run(workload: Workload, data: Path, home: Path, meter: Meter, *, seconds: float) -> None:
    """Train and score a sample of the partitions, each measured; the metrics go to ``metrics.parquet``.

    :param seconds: what the training may take.
    """
    task, store = Task.of(workload), f"sqlite:///{home / 'mlflow.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = store
    _create(store)
    spark = started(meter)
    drawn = np.random.default_rng(SEED).permutation(workload.sales.partitions)
    few = min(PILOT, len(drawn) // 2)
    pilot = _subset(workload, data, drawn[:few], home / "pilot")
    small = Meter(meter.workload, meter.implementation, 0, few)
    _train(spark, pilot, task, home / "warm-models")
    _score(spark, pilot, task, home / "warm-predictions")
    with small.step("pilot.train"):
        _train(spark, pilot, task, home / "pilot-models")
    with small.step("pilot.score"):
        _score(spark, pilot, task, home / "pilot-predictions")
    trained, scored = small.records
    count = min(max(int(seconds / trained.seconds * few), 2 * few), len(drawn))
    sample = _subset(workload, data, drawn[-count:], home / "sample")
    rows = ds.dataset(sample).count_rows()
    with meter.step("train", measured=count, rows=rows, smaller=trained):
        _train(spark, sample, task, home / "models")
    with meter.step("score", measured=count, rows=rows, smaller=scored):
        _score(spark, sample, task, home / "predictions")
    found = ds.dataset(home / "models").to_table(columns=[*KEYS, *task.metrics])
    pq.write_table(found, home / "metrics.parquet")
    spark.stop()


def _create(store: str) -> None:
    """Make the store and the experiment, which two processes at once can't."""
    import mlflow

    mlflow.set_tracking_uri(store)
    mlflow.set_experiment("sales")


def _subset(workload: Workload, data: Path, partitions: np.ndarray, folder: Path) -> Path:
    """The rows of some partitions, in files of their own, so that reading the others costs nothing."""
    stores, items = keys_of(workload.sales, partitions)
    width = int(items.max()) + 1
    wanted = pa.array(stores.astype(np.int64) * width + items)
    folder.mkdir()
    for number, path in enumerate(sorted(data.iterdir())):
        rows = pq.read_table(path)
        items_of = rows.column("item").cast(pa.int64())
        codes = pc.add(pc.multiply(rows.column("store").cast(pa.int64()), width), items_of)
        known = pc.and_(pc.less(items_of, width), pc.is_in(codes, wanted))
        pq.write_table(rows.filter(known), folder / f"sales-{number:03d}.parquet")
    return folder


def _train(spark: Any, data: Path, task: Task, out: Path) -> None:
    grouped = spark.read.parquet(str(data)).groupBy(*KEYS)
    grouped.applyInPandas(trainer(task), schema=model_schema(task)).drop("model").write.parquet(str(out))


def _score(spark: Any, data: Path, task: Task, out: Path) -> None:
    grouped = spark.read.parquet(str(data)).groupBy(*KEYS)
    scored = grouped.applyInPandas(scorer(task), schema="store int, item int, day date, prediction double")
    scored.write.parquet(str(out))


def trainer(task: Task) -> Callable[[Any, pd.DataFrame], pd.DataFrame]:
    """What fits a partition's model and registers it; its row, without the model."""

    def train_one(key: Any, frame: pd.DataFrame) -> pd.DataFrame:
        import mlflow

        frame = frame.sort_values("day", kind="stable")
        past = frame[frame["day"] < task.cutoff]
        holdout = frame[frame["day"] >= task.cutoff]
        if len(frame) < MIN_ROWS or past.empty or past[task.target].nunique() == 1:
            return pd.DataFrame()
        model = task.build().fit(matrix(past, task), past[task.target])
        measured = _measured(task, holdout, model)
        level = float(past[task.target].mean())
        naive = _naive(task, holdout, level)
        final = task.build().fit(matrix(frame, task), frame[task.target])
        tags = {"store": str(key[0]), "item": str(key[1])}
        with mlflow.start_run(experiment_id=_experiment(), tags=tags):
            mlflow.log_params(task.params)
            mlflow.log_metrics(_finite(measured) | _finite(naive))
            logged = mlflow.sklearn.log_model(
                final,
                name="model",
                pip_requirements=["scikit-learn"],
                serialization_format="cloudpickle",
                registered_model_name=f"sales-{key[0]}-{key[1]}",
            )
        client = mlflow.MlflowClient()
        for name, value in tags.items():
            client.set_model_version_tag(f"sales-{key[0]}-{key[1]}", str(logged.registered_model_version), name, value)
        row = {"store": key[0], "item": key[1], "n_rows": len(frame), **measured, **naive}
        return pd.DataFrame([{**row, "model": b""}])

    return train_one


def scorer(task: Task) -> Callable[[Any, pd.DataFrame], pd.DataFrame]:
    """What finds a partition's model by its tags, downloads it and predicts."""

    def score_one(key: Any, frame: pd.DataFrame) -> pd.DataFrame:
        import mlflow

        found = mlflow.MlflowClient().search_model_versions(f"tags.store = '{key[0]}' AND tags.item = '{key[1]}'")
        scored = frame[["store", "item", "day"]].copy()
        scored["prediction"] = np.nan
        if found:
            newest = max(found, key=lambda version: int(version.version))
            model = mlflow.sklearn.load_model(f"models:/{newest.name}/{newest.version}")
            scored["prediction"] = model.predict(matrix(frame, task)).astype(np.float64)
        return scored

    return score_one


def _experiment() -> str:
    import mlflow

    return str(mlflow.get_experiment_by_name("sales").experiment_id)


def _measured(task: Task, rows: pd.DataFrame, model: Any) -> dict[str, float]:
    """The metrics by scikit-learn, as such a script has them."""
    from sklearn import metrics as m

    y, x = rows[task.target].to_numpy(dtype=np.float64), matrix(rows, task)
    if task.kind == "classification":
        chance = model.predict_proba(x)[:, 1]
        return _of_classes(y, chance)
    return _of_numbers(y, model.predict(x), m)


def _naive(task: Task, rows: pd.DataFrame, level: float) -> dict[str, float]:
    from sklearn import metrics as m

    y = rows[task.target].to_numpy(dtype=np.float64)
    constant = np.full(len(y), level)
    measured = _of_classes(y, constant) if task.kind == "classification" else _of_numbers(y, constant, m)
    return {f"baseline_{name}": value for name, value in measured.items()}


def _of_numbers(y: np.ndarray, predicted: np.ndarray, m: Any) -> dict[str, float]:
    size, scale = np.abs(predicted - y), np.abs(y)
    return {
        "mae": m.mean_absolute_error(y, predicted),
        "rmse": m.root_mean_squared_error(y, predicted),
        "mape": float((size[scale > 0] / scale[scale > 0]).mean()),
        "wape": float(size.sum() / scale.sum()),
        "r2": m.r2_score(y, predicted),
        "bias": float((predicted - y).mean()),
    }


def _of_classes(y: np.ndarray, chance: np.ndarray) -> dict[str, float]:
    from sklearn import metrics as m

    known, classes = [0, 1], chance >= 0.5
    return {
        "accuracy": m.accuracy_score(y, classes),
        "log_loss": m.log_loss(y, chance, labels=known),
        "roc_auc": m.roc_auc_score(y, chance) if len(np.unique(y)) > 1 else float("nan"),
        "f1": m.f1_score(y, classes, zero_division=np.nan),
        "brier": m.brier_score_loss(y, chance, pos_label=1),
    }


def _finite(values: dict[str, float]) -> dict[str, float]:
    """What MLflow can log."""
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}
