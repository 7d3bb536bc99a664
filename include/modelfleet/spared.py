"""Checks that scikit-learn need not repeat for each of a million fits; they take longer than many a fit's arithmetic.

An estimator of scikit-learn's own checks all values for NaN and infinity, several times, and its parameters. The first is
spared where their least and greatest show that there are none; the second where an estimator of the same class was
fitted with the same parameters last, in this process. Estimators that hold others (pipelines, searches, ensembles of
given ones) are left alone: what their parts get is made on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from modelfleet import modelcode

LARGE = 1e30
"""Values from here on may become infinite inside an estimator, in single precision or squared."""
_FITTED: dict[type, list[tuple[str, Any]]] = {}
"""The parameters that estimators of a class were fitted with last, but for the random state."""


@contextmanager
def spared(estimator: Any, x: modelcode.Matrix, y: np.ndarray) -> Iterator[None]:
    """While an estimator is fitted on these values, what was seen to be right is not checked again."""
    parameters = _own_parameters(estimator)
    if parameters is None or not isinstance(x, np.ndarray):
        yield
        return
    import sklearn

    know_arrays()
    with sklearn.config_context(
        assume_finite=_moderate(x) and _moderate(y), skip_parameter_validation=_same(type(estimator), parameters)
    ):
        yield
    _FITTED[type(estimator)] = parameters


def _moderate(values: np.ndarray) -> bool:
    """Whether all values are finite, and so small that they stay so when an estimator squares them or halves their precision."""
    return values.size > 0 and bool(values.min() > -LARGE and values.max() < LARGE)


@cache
def know_arrays() -> None:
    """Have scikit-learn see by itself that NumPy's arrays are no data frames.

    It asks narwhals, which looks for the attributes of data frames for 25 microseconds, ten times per fit and prediction.
    The answer stays the same; a scikit-learn that asks otherwise is left as it is.
    """
    from sklearn.utils import validation

    asked = getattr(validation, "_nw_into_df_or_series", None)
    if asked is not None:
        validation._nw_into_df_or_series = lambda x: type(x) is not np.ndarray and asked(x)


def _own_parameters(estimator: Any) -> list[tuple[str, Any]] | None:
    """The parameters of an estimator of scikit-learn's that holds no other; None for all others."""
    if not type(estimator).__module__.startswith("sklearn."):
        return None
    inside = modelcode.inside(estimator)
    if inside is None or any(isinstance(value, list | tuple) or hasattr(value, "fit") for _, value in inside):
        return None
    return [(name, value) for name, value in inside if name != "random_state"]


def _same(kind: type, parameters: list[tuple[str, Any]]) -> bool:
    before = _FITTED.get(kind)
    try:
        # By type too: True equals 1, and scikit-learn takes the one for a parameter where it refuses the other.
        return before is not None and all(
            name == other and type(value) is type(last) and bool(value == last)
            for (name, value), (other, last) in zip(parameters, before, strict=True)
        )
    except (TypeError, ValueError):  # values such as arrays, which have no one answer
        return False
