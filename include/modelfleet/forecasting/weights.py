"""Sample weights, handed to whatever an author's code builds: estimators, pipelines and what wraps them."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from modelfleet.modelcode import Matrix

WEIGHT = "sample_weight"
_WRAPPED = ("regressor", "estimator")
"""Where scikit-learn's TransformedTargetRegressor and searches keep the estimator that they hand fit arguments on to."""


def fit_estimator(estimator: Any, x: Matrix, y: np.ndarray, weights: np.ndarray | None = None) -> Any:
    """Fit an estimator, with weights where there are any; returns it.

    It depends on nothing of the platform that depends on it, so that `prediction.fit` can use it too.

    :param weights: shape (rows,); a Pipeline's last step gets them.
    :raises TypeError: when the estimator takes no weights.
    """
    if weights is None:
        estimator.fit(x, y)
        return estimator
    name = weight_argument(estimator)
    if name is None:
        raise TypeError(
            f"{_named(estimator)} takes no {WEIGHT}: leave out the weight of training, or use another candidate"
        )
    estimator.fit(x, y, **{name: weights})
    return estimator


def weight_argument(estimator: Any) -> str | None:
    """The argument of ``fit`` that takes sample weights, such as ``ridge__sample_weight`` of a Pipeline; None without one."""
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        name, last = steps[-1]
        inner = weight_argument(last)
        return None if inner is None else f"{name}__{inner}"
    try:
        parameters = inspect.signature(estimator.fit).parameters
    except (AttributeError, TypeError, ValueError):
        return None
    if WEIGHT in parameters:
        return WEIGHT
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        inner = next(
            (getattr(estimator, name) for name in _WRAPPED if getattr(estimator, name, None) is not None), None
        )
        return None if inner is None else weight_argument(inner)
    return None


def _named(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        return f"{type(estimator).__name__} with the last step {_named(steps[-1][1])}"
    return estimator if isinstance(estimator, str) else type(estimator).__name__
