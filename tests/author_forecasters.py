"""Models of series as an author might write them; what the bad ones do follows from the series they see."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline

ASKS = 661.0
"""A series that begins with this value asks `Moody` to raise."""


class Last:
    """Forecasts the last value; `shift` more."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def fit(self, y: np.ndarray) -> Last:
        self.value = float(y[-1])
        return self

    def predict(self, h: int) -> np.ndarray:
        return np.full(h, self.value + self.shift)


class Moody(Last):
    """Raises on a series that begins with `ASKS`, if it has a certain number of values; 0 is any number."""

    def __init__(self, lengths: tuple[int, ...] = (0,)) -> None:
        super().__init__()
        self.lengths = lengths

    def fit(self, y: np.ndarray) -> Last:
        if y[0] == ASKS and (len(y) in self.lengths or 0 in self.lengths):
            raise ValueError(f"no fit on {len(y)} values today")
        return super().fit(y)


class Band(Last):
    """Forecasts the last value, with quantiles of its own: one below and one above."""

    def predict(self, h: int, quantiles: tuple[float, ...] = ()) -> Any:
        mean = super().predict(h)
        bands = {0.1: mean - 1.0, 0.5: mean, 0.9: mean + 1.0}
        return {"mean": mean, **{f"q{quantile * 100:g}": bands[quantile] for quantile in quantiles}}


class Mute:
    """Takes the number of steps, but was never taught anything."""

    def predict(self, h: int) -> np.ndarray:
        return np.zeros(h)


class Few(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Refuses rows with missing values; else the mean of the target, and how many rows it has seen."""

    def fit(self, x: Any, y: Any) -> Few:
        self._refuse(x)
        self.rows, self.mean = len(x), float(np.mean(y))
        return self

    def predict(self, x: Any) -> np.ndarray:
        self._refuse(x)
        return np.full(len(x), self.mean)

    @staticmethod
    def _refuse(x: Any) -> None:
        if np.isnan(np.asarray(x, dtype=float)).any():
            raise ValueError("NaN")


class Refusing(Few):
    """Never predicts."""

    def predict(self, x: Any) -> np.ndarray:
        raise ValueError("no prediction today")


def last(shift: float = 0.0) -> Last:
    return Last(shift)


def moody(lengths: tuple[int, ...] = (0,)) -> Moody:
    return Moody(lengths)


def band() -> Band:
    return Band()


def mute() -> Mute:
    return Mute()


def few() -> Few:
    return Few()


def refusing() -> Refusing:
    return Refusing()


def imputed() -> Pipeline:
    return make_pipeline(SimpleImputer(keep_empty_features=True), Few())


def imputed_ridge() -> Pipeline:
    return make_pipeline(SimpleImputer(keep_empty_features=True), Ridge())


def ridge(alpha: float = 1.0) -> Ridge:
    return Ridge(alpha=alpha)


def linear() -> LinearRegression:
    return LinearRegression()
