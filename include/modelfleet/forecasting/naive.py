"""Naive forecasts and their textbook intervals, in NumPy alone: microseconds each, made for every partition.

Means and intervals are statsforecast's SeasonalNaive, Naive, HistoricAverage and RandomWalkWithDrift; the formulas are those
of Hyndman and Athanasopoulos, "Forecasting: principles and practice", 3rd edition, sections 5.2 and 5.5: residuals are
normal and uncorrelated. Where statsforecast has no answer there is one here: a series shorter than a season, or of one
value, goes on with its last value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np

Kind: TypeAlias = Literal["seasonal_naive", "last", "mean", "drift"]


def naive(kind: Kind, y: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The naive forecast of the steps after `y`; float64, shape (horizon,).

    :param y: the series without gaps, float64, shape (n,); an empty one gives NaN.
    :param season: the steps of a season; only seasonal_naive looks at it.
    """
    y = np.asarray(y, dtype=np.float64)
    if y.size == 0:
        return np.full(horizon, np.nan)
    kind = _possible(kind, y.size, season)
    if kind == "seasonal_naive":
        return y[y.size - season + np.arange(horizon) % season]
    if kind == "drift":
        return (y[-1] - y[0]) / (y.size - 1) * np.arange(1.0, horizon + 1.0) + y[-1]
    return np.full(horizon, y.mean() if kind == "mean" else y[-1])


def naive_quantiles(kind: Kind, y: np.ndarray, horizon: int, season: int, quantiles: Sequence[float]) -> np.ndarray:
    """The quantiles of the naive forecast; float64, shape (horizon, quantiles).

    Of one season or one value there are no residuals, so nothing is known of the spread: all quantiles are the forecast.

    :param quantiles: between 0 and 1; 0.1 and 0.9 are the ends of statsforecast's interval of level 80.
    """
    y = np.asarray(y, dtype=np.float64)
    mean = naive(kind, y, horizon, season)
    if y.size == 0:
        return np.full((horizon, len(quantiles)), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):  # values whose squares overflow
        spread = _spread(_possible(kind, y.size, season), y, horizon, season)
        return mean[:, None] + spread[:, None] * np.array([_normal(quantile) for quantile in quantiles])


def _possible(kind: Kind, n: int, season: int) -> Kind:
    """The kind itself, or "last" where the series is too short for it."""
    too_short = n < season if kind == "seasonal_naive" else n < 2 and kind == "drift"
    return "last" if too_short else kind


def _spread(kind: Kind, y: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The standard deviation of the forecast error by step; shape (horizon,)."""
    n = y.size
    steps = np.arange(1.0, horizon + 1.0)
    if kind == "mean":
        return np.full(horizon, _deviation(y - y.mean(), n - 1) * math.sqrt(1.0 + 1.0 / n))
    if kind == "seasonal_naive":
        return _deviation(y[season:] - y[:-season], n - season) * np.sqrt(np.floor((steps - 1.0) / season) + 1.0)
    if kind == "drift":
        residuals = y[1:] - ((y[-1] - y[0]) / (n - 1) + y[:-1])
        return _deviation(residuals, n - 1) * np.sqrt(steps * (1.0 + steps / (n - 1)))
    return _deviation(y[1:] - y[:-1], n - 1) * np.sqrt(steps)


def _deviation(residuals: np.ndarray, free: int) -> float:
    """The root of the mean square; 0 without a residual."""
    return math.sqrt(float((residuals * residuals).sum()) / free) if free > 0 else 0.0


@lru_cache(maxsize=256)
def _normal(quantile: float) -> float:
    return NormalDist().inv_cdf(quantile)
