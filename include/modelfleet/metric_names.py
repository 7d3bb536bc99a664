"""Names and directions of the built-in metrics, without importing NumPy.

Rules and specs need the names while Airflow parses a DAG file; `modelfleet.metrics` computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["lower", "higher", "zero", "claimed"]

REGRESSION: tuple[str, ...] = ("mae", "rmse", "mape", "wape", "r2", "bias")
FORECAST: tuple[str, ...] = (*REGRESSION, "mase", "pinball", "coverage")
CLASSIFICATION: tuple[str, ...] = ("accuracy", "log_loss", "roc_auc", "f1", "brier")

# `bias` is signed: the nearer to zero the better, so neither lower nor higher is better. `coverage` is best where it is
# what the quantiles claim.
DIRECTIONS: Mapping[str, Direction] = MappingProxyType(
    {
        "mae": "lower",
        "rmse": "lower",
        "mape": "lower",
        "wape": "lower",
        "r2": "higher",
        "bias": "zero",
        "mase": "lower",
        "pinball": "lower",
        "accuracy": "higher",
        "log_loss": "lower",
        "roc_auc": "higher",
        "f1": "higher",
        "brier": "lower",
        "coverage": "claimed",
    }
)


_OF_KIND = {"regression": REGRESSION, "classification": CLASSIFICATION, "forecast": FORECAST}


def names(kind: str) -> tuple[str, ...]:
    """The built-in metrics of a problem kind; ValueError for one there is not."""
    if kind not in _OF_KIND:
        raise ValueError(f"no metrics for problem kind {kind!r}; allowed: {', '.join(_OF_KIND)}")
    return _OF_KIND[kind]


def lower_is_better(metric: str) -> bool | None:
    """True or False for a built-in metric; None for `bias` and `coverage`, best in between, and for metrics of the author."""
    direction = DIRECTIONS.get(metric)
    return direction == "lower" if direction in ("lower", "higher") else None
