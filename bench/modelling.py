"""What every implementation does with one partition, as a script without the platform would write it.

Fit on the days before the cutoff, measure on the holdout beside the baseline, fit again on all rows, pickle.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from bench.models import build_of
from bench.workloads import MIN_ROWS, Workload
from modelfleet import metrics
from modelfleet.metric_names import names


@dataclass(frozen=True)
class Task:
    """What is fitted in each partition. Small, so that it travels to workers."""

    model: str
    params: dict[str, Any]
    features: tuple[str, ...]
    target: str
    kind: str
    cutoff: date

    @classmethod
    def of(cls, workload: Workload) -> Task:
        sales = workload.sales
        return cls(
            workload.model, dict(workload.params), sales.feature_names, sales.target, sales.problem, sales.cutoff
        )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what is measured."""
        return names(self.kind)

    def build(self) -> Any:
        """A fresh estimator."""
        return build_of(self.model)(**self.params)


@dataclass(frozen=True)
class Fitted:
    """The model of one partition, and what it and the baseline achieved on the holdout."""

    model: Any
    metrics: dict[str, float]
    baseline: dict[str, float]


def train(task: Task, x: np.ndarray, y: np.ndarray, days: np.ndarray) -> Fitted | None:
    """Fit, measure and fit again; None for a partition with too few rows, or one that has nothing to learn.

    :param x: float64, shape (rows, features), in the order of `days`.
    :param days: ``datetime64[D]``, shape (rows,).
    """
    before = int(np.searchsorted(days, np.datetime64(task.cutoff)))
    if len(y) < MIN_ROWS or before == 0 or (y[:before] == y[0]).all():
        return None
    measure = _measures(task.kind)
    model = task.build().fit(x[:before], y[:before])
    own = measure(y[before:], model, x[before:])
    level = float(y[:before].mean())
    naive = measure(y[before:], _Constant(level), x[before:])
    return Fitted(task.build().fit(x, y), own, naive)


def dumped(model: Any) -> bytes:
    """The bytes of a model."""
    return pickle.dumps(model, protocol=5)


class _Constant:
    """The baseline: one number for all rows; of classes, the share of class 1."""

    def __init__(self, level: float) -> None:
        self.level = level

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.full(len(x), self.level)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.full((len(x), 2), self.level)


def _measures(kind: str) -> Callable[[np.ndarray, Any, np.ndarray], dict[str, float]]:
    return _of_classes if kind == "classification" else _of_numbers


def _of_numbers(y: np.ndarray, model: Any, x: np.ndarray) -> dict[str, float]:
    return metrics.regression(y, model.predict(x))


def _of_classes(y: np.ndarray, model: Any, x: np.ndarray) -> dict[str, float]:
    chance = model.predict_proba(x)[:, 1]
    return metrics.classification(y, chance, chance >= 0.5)
