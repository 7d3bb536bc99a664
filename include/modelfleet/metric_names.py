"""Names and directions of the built-in metrics, without importing NumPy.

Rules and specs need the names while Airflow parses a DAG file; `modelfleet.metrics` computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["lower", "higher", "zero"]

REGRESSION: tuple[str, ...] = ("mae", "rmse", "mape", "wape", "r2", "bias")
CLASSIFICATION: tuple[str, ...] = ("accuracy", "log_loss", "roc_auc", "f1", "brier")

# `bias` is signed: the nearer to zero the better, so neither lower nor higher is better.
DIRECTIONS: Mapping[str, Direction] = MappingProxyType(
    {
        "mae": "lower",
        "rmse": "lower",
        "mape": "lower",
        "wape": "lower",
        "r2": "higher",
        "bias": "zero",
        "accuracy": "higher",
        "log_loss": "lower",
        "roc_auc": "higher",
        "f1": "higher",
        "brier": "lower",
    }
)


def names(kind: str) -> tuple[str, ...]:
    """The built-in metrics of a problem kind, "regression" or "classification"; ValueError for any other."""
    if kind == "regression":
        return REGRESSION
    if kind == "classification":
        return CLASSIFICATION
    raise ValueError(f"no metrics for problem kind {kind!r}; allowed: classification, regression")


def lower_is_better(metric: str) -> bool | None:
    """True or False for a built-in metric; None for `bias` (best at zero) and for metrics of the author."""
    direction = DIRECTIONS.get(metric)
    return None if direction in (None, "zero") else direction == "lower"
