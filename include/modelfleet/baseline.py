"""The naive baseline every model is measured beside, and that serves where there is no model.

It is one number per partition: the mean or last value of the target (regression), the share of class 1 or the last class
(classification; "majority" predicts the more frequent class).
"""

from __future__ import annotations

import numpy as np


def value(kind: str, y: np.ndarray) -> float:
    """The baseline's number from targets in time order, shape (rows,), at least one.

    :param kind: ``mean``, ``majority`` (the share of class 1) or ``last``.
    """
    return float(y[-1]) if kind == "last" else float(np.mean(y))


def predict(problem: str, number: float, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Predictions, and for classification the probability of class 1; shape (rows,)."""
    if problem == "classification":
        return np.full(rows, float(number >= 0.5)), np.full(rows, number)
    return np.full(rows, number), None
