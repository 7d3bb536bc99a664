"""Metrics of one model's predictions, in NumPy alone: microseconds each, computed a million times per training.

The definitions are scikit-learn's, except where a value would be undefined or absurd: there the metric is NaN, and the
gate reads NaN as NULL, which passes no rule. Arrays are of shape ``(n,)`` or ``(n, 1)``; without rows every metric is
NaN.

Predictions that hold NaN or infinity, and arrays of different lengths, raise ValueError: the caller then marks the
model as failed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelfleet.metric_names import CLASSIFICATION, DIRECTIONS, FORECAST, REGRESSION, lower_is_better, names

__all__ = [
    "CLASSIFICATION",
    "DIRECTIONS",
    "FORECAST",
    "REGRESSION",
    "classification",
    "forecast",
    "lower_is_better",
    "names",
    "regression",
    "scale",
]

_Floats: TypeAlias = NDArray[np.float64]
_NAN = math.nan
_sum = np.add.reduce
"""What ``array.sum()`` ends in, without its detour."""


def regression(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """The metrics of `REGRESSION`, in that order.

    - ``mae``, ``rmse``: in units of the target.
    - ``mape``: mean of ``|error| / |target|``, a fraction. Rows whose target is zero are left out; NaN if none is left.
      (scikit-learn divides by 2e-16 there and returns values like 2e15.)
    - ``wape``: sum of ``|error|`` over sum of ``|target|``, a fraction; NaN if all targets are zero.
    - ``r2``: NaN with fewer than two rows or a constant target (scikit-learn: NaN, and 0.0 or 1.0).
    - ``bias``: mean of ``prediction - target``; positive where the model predicts too much.

    Finite values so large that a square overflows give ``inf`` or NaN, without a warning.

    :raises ValueError: for NaN or infinity in either array, naming how many; for lengths that differ.
    """
    truth = _column("y_true", y_true)
    predicted = _column("y_pred", y_pred, truth.size)
    n = truth.size
    if n == 0:
        return dict.fromkeys(REGRESSION, _NAN)
    with np.errstate(all="ignore"):
        error = predicted - truth
        size = np.abs(error)
        scale = np.abs(truth)
        total = float(_sum(size))
        total_scale = float(_sum(scale))
        squared = float(_sum(error * error))
        return {
            "mae": total / n,
            "rmse": math.sqrt(squared / n),
            "mape": _mape(size, scale),
            "wape": total / total_scale if total_scale > 0 else _NAN,
            "r2": _r2(truth, squared),
            "bias": float(_sum(error)) / n,
        }


def forecast(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    quantiles: Sequence[float] = (),
    predicted: ArrayLike | None = None,
    scale: float,
) -> dict[str, float]:
    """The metrics of `FORECAST`, in that order: those of `regression`, and

    - ``mase``: ``mae`` over `scale` (Hyndman and Koehler 2006); NaN where the scale is 0 or NaN.
    - ``pinball``: mean quantile loss over rows and quantiles, in units of the target; NaN without quantiles.
    - ``coverage``: share of targets between the outermost two quantiles, ends included; NaN with fewer than two.

    :param quantiles: which quantiles `predicted` holds, rising.
    :param predicted: shape (n, quantiles); None is as good as no quantiles.
    :param scale: what the seasonal naive forecast errs in the training series; see `scale`.
    :raises ValueError: as `regression`; for quantiles of another shape, or NaN or infinity in them.
    """
    measured = regression(y_true, y_pred)
    mase = measured["mae"] / scale if scale > 0 else _NAN
    pinball = coverage = _NAN
    if predicted is not None and len(quantiles) > 0:
        truth = _column("y_true", y_true)
        bands = _bands(predicted, truth.size, len(quantiles))
        if truth.size > 0:
            pinball = _pinball(truth, bands, np.asarray(quantiles, dtype=np.float64))
            coverage = _coverage(truth, bands)
    return {**measured, "mase": mase, "pinball": pinball, "coverage": coverage}


def scale(y: ArrayLike, season: int) -> float:
    """The mean absolute seasonal difference of a series without gaps: the unit of ``mase``. NaN without a difference."""
    series = np.asarray(y, dtype=np.float64)
    if series.size <= season:
        return _NAN
    with np.errstate(all="ignore"):
        return float(np.abs(series[season:] - series[:-season]).sum()) / (series.size - season)


def classification(y_true: ArrayLike, probability: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """The metrics of `CLASSIFICATION`, in that order, for a binary target.

    `y_true` and `y_pred` hold classes 0 and 1 (or bools), `probability` that of class 1.

    - ``accuracy``: share of rows whose class is right.
    - ``log_loss``: natural logarithm; probabilities are clipped to ``[eps, 1 - eps]``, with the eps of their own float
      type, as scikit-learn does. Defined with one class too (scikit-learn with ``labels=[0, 1]``).
    - ``roc_auc``: ties count half (average ranks); NaN if the target has one class only.
    - ``f1``: of class 1; 0 if no positive is found, NaN if neither target nor predictions hold a positive
      (scikit-learn with ``zero_division=nan``), for then there was nothing to find.
    - ``brier``: mean squared difference between probability and class.

    :raises ValueError: for NaN or infinity, for classes other than 0 and 1 and for probabilities outside [0, 1], naming
        how many; for lengths that differ.
    """
    truth = _classes("y_true", y_true)
    chance = _column("probability", probability, truth.size)
    predicted = _classes("y_pred", y_pred, truth.size)
    n = truth.size
    if n == 0:
        return dict.fromkeys(CLASSIFICATION, _NAN)
    outside = n - int(np.count_nonzero((chance >= 0.0) & (chance <= 1.0)))
    if outside:
        raise ValueError(f"probability holds {outside} of {n} values outside [0, 1]")
    positive = int(np.count_nonzero(truth))
    claimed = int(np.count_nonzero(predicted))
    hits = int(np.count_nonzero(truth & predicted))
    residual = chance - truth
    return {
        "accuracy": int(np.count_nonzero(truth == predicted)) / n,
        "log_loss": _log_loss(truth, chance, _epsilon(probability)),
        "roc_auc": _roc_auc(truth, chance) if 0 < positive < n else _NAN,
        "f1": 2.0 * hits / (positive + claimed) if positive + claimed else _NAN,
        "brier": float((residual * residual).sum()) / n,
    }


def _pinball(truth: _Floats, bands: _Floats, quantiles: _Floats) -> float:
    with np.errstate(all="ignore"):
        short = truth[:, None] - bands
        return float(np.maximum(quantiles * short, (quantiles - 1.0) * short).sum()) / short.size


def _coverage(truth: _Floats, bands: _Floats) -> float:
    if bands.shape[1] < 2:
        return _NAN
    return int(np.count_nonzero((bands[:, 0] <= truth) & (truth <= bands[:, -1]))) / truth.size


def _bands(predicted: ArrayLike, rows: int, quantiles: int) -> _Floats:
    array = np.asarray(predicted, dtype=np.float64)
    if array.shape != (rows, quantiles):
        raise ValueError(f"predicted has shape {array.shape} for {rows} rows and {quantiles} quantiles")
    finite = int(np.count_nonzero(np.isfinite(array)))
    if finite < array.size:
        raise ValueError(f"predicted holds {array.size - finite} of {array.size} values that are NaN or infinite")
    return array


def _mape(size: _Floats, scale: _Floats) -> float:
    counted = scale > 0
    rows = int(np.count_nonzero(counted))
    if rows == 0:
        return _NAN
    if rows < scale.size:
        size, scale = size[counted], scale[counted]
    return float(_sum(size / scale)) / rows


def _r2(truth: _Floats, squared: float) -> float:
    # A constant such as 0.1 is not equal to its own mean: compared exactly, or r2 would be -1e30 there.
    if truth.size < 2 or (truth == truth[0]).all():
        return _NAN
    spread = truth - _sum(truth) / truth.size
    total = float(_sum(spread * spread))
    return 1.0 - squared / total if total > 0 else _NAN


def _log_loss(truth: NDArray[np.bool_], chance: _Floats, epsilon: float) -> float:
    right = np.where(truth, chance, 1.0 - chance)
    return -float(np.log(np.minimum(np.maximum(right, epsilon), 1.0 - epsilon)).sum()) / truth.size


def _roc_auc(truth: NDArray[np.bool_], chance: _Floats) -> float:
    """The share of (positive, negative) pairs in the right order, a tie counting half: equal to average ranks."""
    negative = np.sort(chance[~truth])
    positive = np.sort(chance[truth])
    below = int(negative.searchsorted(positive, side="left").sum())
    not_above = int(negative.searchsorted(positive, side="right").sum())
    return (below + not_above) / (2.0 * negative.size * positive.size)


def _epsilon(probability: Any) -> float:
    dtype = getattr(probability, "dtype", None)
    return float(np.finfo(dtype if isinstance(dtype, np.dtype) and dtype.kind == "f" else np.float64).eps)


def _classes(name: str, values: ArrayLike, rows: int | None = None) -> NDArray[np.bool_]:
    numbers = _column(name, values, rows)
    ones: NDArray[np.bool_] = numbers == 1.0
    other = numbers.size - int(np.count_nonzero(ones | (numbers == 0.0)))
    if other:
        raise ValueError(f"{name} holds {other} of {numbers.size} values that are neither 0 nor 1")
    return ones


def _column(name: str, values: ArrayLike, rows: int | None = None) -> _Floats:
    """`values` as float64 of shape (n,): an (n, 1) array would otherwise broadcast to (n, n)."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; allowed are (n,) and (n, 1)")
    if rows is not None and array.size != rows:
        raise ValueError(f"{name} has {array.size} values for {rows} rows")
    finite = int(np.count_nonzero(np.isfinite(array)))
    if finite < array.size:
        raise ValueError(f"{name} holds {array.size - finite} of {array.size} values that are NaN or infinite")
    return array
