"""A fitted forecaster of one series: a model with ``fit(y, X)`` and ``predict(h, X)``, statsforecast's or an author's own.

An author's forecaster is any object whose ``predict`` takes `h`, the number of steps, first::

    fit(y, X=None)                        # y float64, shape (n,), without gaps; X the features known ahead, shape (n, k)
    predict(h, X=None, quantiles=())      # X of the steps to forecast, shape (h, k)

`X` and `quantiles` are handed over where the signature has them. ``predict`` returns an array of shape (h,), or a mapping
with ``"mean"`` and an array for each quantile by its name, such as ``"q10"`` (`quantile_name`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelfleet.forecasting.authored import Authored
from modelfleet.forecasting.nixtla import Nixtla, is_nixtla
from modelfleet.modelcode import is_forecaster
from modelfleet.prediction import NoModelError, Reason, failed, raised

__all__ = ["Forecaster", "is_forecaster"]


@dataclass(frozen=True)
class _Seen:
    """What is remembered of the series that a model was fitted on."""

    rows: int
    digest: bytes
    beginning: bytes
    """The digest of the first half, which late data hardly ever restates."""
    constant: bool

    @classmethod
    def of(cls, y: np.ndarray) -> _Seen:
        return cls(len(y), _digest(y), _digest(y[: (len(y) + 1) // 2]), bool((y == y[:1]).all()))

    def same(self, y: np.ndarray) -> bool:
        """Whether it is that very series."""
        return len(y) == self.rows and _digest(y) == self.digest

    def begins(self, y: np.ndarray) -> bool:
        """Whether it begins at the same step as that series, going on from it or restated at its end."""
        return len(y) >= self.rows and _digest(y[: (self.rows + 1) // 2]) == self.beginning


@dataclass
class Forecaster:
    """A model fitted on one series, which also forecasts that series as it goes on."""

    unfitted: Any
    fitted: Nixtla | Authored
    seen: _Seen

    @classmethod
    def fit(cls, model: Any, y: np.ndarray, X: np.ndarray | None = None) -> Forecaster:
        """A copy of `model`, fitted; the model itself is left as it is.

        :param y: the series, float64, without NaN; shape (rows,).
        :param X: features whose future is known; shape (rows, features).
        :raises NoModelError: when fitting raises.
        """
        y = np.ascontiguousarray(y, dtype=np.float64)
        kind = Nixtla if is_nixtla(model) else Authored
        try:
            return cls(kind.copy(model), kind.fit(model, y, X), _Seen.of(y))
        except (Exception, SystemExit) as exc:
            told = f"{raised(exc)} (fitting {type(model).__name__} on {len(y)} values)"
            raise failed(Reason.FIT_RAISED, exc, told) from exc

    def forecast(
        self,
        y: np.ndarray,
        horizon: int,
        X: np.ndarray | None = None,
        X_future: np.ndarray | None = None,
        quantiles: Sequence[float] = (),
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The steps after `y`: the expected values, shape (horizon,), and quantiles, shape (horizon, quantiles).

        Where `y` is not the series the model was fitted on, as when it has gone on since, the fitted parameters are applied
        to it if the model can do that (`Nixtla.forward`); else a fresh copy is fitted on it, and so it is with authors' own.

        :param y: the series up to the moment of issue, float64, without NaN.
        :param X: the features of its rows, and `X_future` those of the steps to forecast.
        :returns: no quantiles where the model gives none.
        :raises NoModelError: when the model raises, or gives another length or anything that is not finite.
        """
        y = np.ascontiguousarray(y, dtype=np.float64)
        try:
            mean, bands = self._given(y, horizon, X, X_future, quantiles)
            values = np.array(mean, dtype=np.float64)
            table = None if bands is None else np.stack([np.asarray(bands[q], np.float64) for q in quantiles], axis=-1)
        except (Exception, SystemExit) as exc:
            raise failed(Reason.PREDICTION_INVALID, exc, f"predict raised {raised(exc)}") from exc
        _check(values, (horizon,), horizon)
        if table is None:
            return values, None
        _check(table, (horizon, len(quantiles)), horizon)
        return values, np.sort(table, axis=1)

    def _given(
        self,
        y: np.ndarray,
        horizon: int,
        X: np.ndarray | None,
        X_future: np.ndarray | None,
        quantiles: Sequence[float],
    ) -> tuple[Any, Mapping[float, Any] | None]:
        if self.seen.same(y):
            return self.fitted.predict(horizon, X_future, quantiles)
        # Of a constant nothing was learned that would fit what came after it; what an author's parameters mean for
        # another series is not known.
        fitted = self.fitted
        if isinstance(fitted, Nixtla) and not self.seen.constant and fitted.forwards(begins_alike=self.seen.begins(y)):
            return fitted.forward(y, horizon, X, X_future, quantiles)
        return type(fitted).fit(self.unfitted, y, X).predict(horizon, X_future, quantiles)


def _digest(y: np.ndarray) -> bytes:
    return hashlib.blake2b(y.tobytes(), digest_size=12).digest()


def _check(values: np.ndarray, shape: tuple[int, ...], horizon: int) -> None:
    if values.shape != shape:
        raise _invalid(f"gave shape {values.shape} for {horizon} steps; {shape} is needed")
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        raise _invalid(f"gave NaN or infinity for {wrong} of {values.size} values")


def _invalid(what: str) -> NoModelError:
    return NoModelError("failed", Reason.PREDICTION_INVALID, f"predict {what}")
