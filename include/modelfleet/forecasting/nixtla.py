"""statsforecast's models (Nixtla), as they are fitted, asked, and applied to a series that has gone on; written for 2.1.1.

The library is not imported here: a model that comes in is known by the names of its classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelfleet.forecasting.slimming import slim

_REGRESSING = {"AutoARIMA", "ARIMA"}
"""Those that regress on features, by least squares: they refuse features that depend on one another."""
_UNANCHORED = {"ConstantModel", "ConformalSeasonalPool", "Naive", "SeasonalNaive", "AutoCES", "SklearnModel"}
"""Those whose parameters say nothing of the step at which the series began."""
_DEPENDENT = 1e-8
"""A feature whose part that others do not explain is smaller than this, relative to it, is one that they explain."""


def is_nixtla(model: Any) -> bool:
    """Whether a model is one of statsforecast's, or derived from one."""
    return bool(_lineage(model))


def _lineage(model: Any) -> set[str]:
    return {kind.__name__ for kind in type(model).__mro__ if kind.__module__.partition(".")[0] == "statsforecast"}


@dataclass
class Nixtla:
    """A fitted model of statsforecast's. `columns`: the places of the features that it was fitted on; None for none."""

    model: Any
    columns: np.ndarray | None

    @staticmethod
    def copy(model: Any) -> Any:
        """The model as it is now; fitting a copy leaves it alone."""
        return model.new()

    @classmethod
    def fit(cls, model: Any, y: np.ndarray, X: np.ndarray | None) -> Nixtla:
        """A copy of the model, fitted, without what forecasts do not need.

        Only a model that uses features gets them; one that regresses on them gets those that do not depend on others.
        """
        columns = _columns(model, X)
        fitted = cls(model.new().fit(y=y, X=_taken(X, columns)), columns)
        slim(fitted.model)
        return fitted

    def predict(
        self, horizon: int, X: np.ndarray | None, quantiles: Sequence[float]
    ) -> tuple[Any, Mapping[float, Any] | None]:
        """What it says of the steps after the series it was fitted on."""
        return _asked(self.model.predict, quantiles, h=horizon, X=_taken(X, self.columns))

    def forwards(self, *, begins_alike: bool) -> bool:
        """Whether its parameters can be applied to another series by ``forward``, rightly.

        Exponential smoothing, theta models and trends hold the state in which the series began: the other one must begin at
        the same step. statsforecast forgets there how Theta decomposes, and all distributions but the normal.
        """
        return _forwards(self.model) and (begins_alike or not _anchored(self.model))

    def forward(
        self,
        y: np.ndarray,
        horizon: int,
        X: np.ndarray | None,
        X_future: np.ndarray | None,
        quantiles: Sequence[float],
    ) -> tuple[Any, Mapping[float, Any] | None]:
        """What its parameters say of the steps after another series."""
        features = {"X": _taken(X, self.columns), "X_future": _taken(X_future, self.columns)}
        return _asked(self.model.forward, quantiles, y=y, h=horizon, **features)


def _trend(model: Any) -> Any:
    """The model that MSTL forecasts the trend with, or the model itself."""
    return getattr(model, "trend_forecaster", model)


def _forwards(model: Any) -> bool:
    inner = _trend(model)
    return (
        hasattr(model, "forward")
        and hasattr(inner, "forward")
        and str(getattr(inner, "distribution", "normal")) == "normal"
        and getattr(inner, "decomposition_type", "multiplicative") == "multiplicative"
    )


def _anchored(model: Any) -> bool:
    names = _lineage(model)
    if names & _REGRESSING:
        # A drift in a series that is not differenced is a line from its first step on.
        return "drift" in model.model_["coef"] and model.model_["arma"][5] + model.model_["arma"][6] == 0
    return not names & _UNANCHORED


def _columns(model: Any, X: np.ndarray | None) -> np.ndarray | None:
    """The places of the features that a model is fitted on."""
    inner = _trend(model)
    if X is None or not getattr(inner, "uses_exog", False):
        return None
    if not _lineage(inner) & _REGRESSING:
        return np.arange(X.shape[1])
    missing = int(np.isnan(X).any(axis=1).sum())
    if missing:
        raise ValueError(f"features known ahead are null in {missing} of {len(X)} rows; {model!r} needs them all")
    return _independent(X)


def _independent(X: np.ndarray) -> np.ndarray | None:
    """The places of the columns that are neither constant nor a combination of the columns before them, if any."""
    chosen: list[int] = []
    basis = np.empty((0, len(X)))
    for place, column in enumerate(np.asarray(X, dtype=np.float64).T):
        rest = column - column.mean()
        for _ in range(2):  # once more for what rounding leaves (Giraud, Langou and Rozloznik 2005)
            rest = rest - basis.T @ (basis @ rest)
        size = float(np.linalg.norm(rest))
        if size > _DEPENDENT * float(np.linalg.norm(column)):
            chosen.append(place)
            basis = np.vstack([basis, rest / size])
    return np.array(chosen, dtype=np.int64) if chosen else None


def _taken(X: np.ndarray | None, columns: np.ndarray | None) -> np.ndarray | None:
    return None if X is None or columns is None else np.ascontiguousarray(X[:, columns], dtype=np.float64)


def _asked(
    forecast: Callable[..., Mapping[str, Any]], quantiles: Sequence[float], **arguments: Any
) -> tuple[Any, Mapping[float, Any] | None]:
    """Expected values and quantiles by one call; by two where the model turns out to have no intervals.

    Models that lack them raise a bare Exception, and the seasonal exponential smoothing ones, which have them for one season
    only, a ValueError. What is really wrong raises in the second call too.
    """
    levels = sorted({_level(quantile) for quantile in quantiles})
    if not levels or "level" not in inspect.signature(forecast).parameters:
        return forecast(**arguments)["mean"], None
    try:
        given = forecast(**arguments, level=levels)
    except Exception:
        return forecast(**arguments)["mean"], None
    return given["mean"], {quantile: _end(given, quantile) for quantile in quantiles}


def _level(quantile: float) -> float:
    """The level, in percent, of the interval that ends at a quantile: 0.1 and 0.9 end that of level 80."""
    level = round(abs(2.0 * quantile - 1.0) * 100.0, 10)
    return int(level) if level.is_integer() else level


def _end(given: Mapping[str, Any], quantile: float) -> Any:
    level = _level(quantile)
    if level == 0:  # the median; between the two where a model's interval of level 0 is not one number
        return (np.asarray(given["lo-0"], np.float64) + np.asarray(given["hi-0"], np.float64)) / 2.0
    return given[f"{'lo' if quantile < 0.5 else 'hi'}-{level}"]
