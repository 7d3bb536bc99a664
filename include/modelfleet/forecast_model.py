"""A fitted model of a series: a forecaster, or estimators over its features, and where its quantiles come from.

The same class forecasts at training (on the folds), in batch scoring and in serving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import modelcode
from modelfleet.forecasting import DirectRegressor, Forecaster, RecursiveRegressor, Residuals
from modelfleet.prediction import NoModelError, Predicted, Reason, failed
from modelfleet.shared_model import unshared

if TYPE_CHECKING:
    from modelfleet.matrices import Inputs
    from modelfleet.modelcode import Matrix, ModelCode
    from modelfleet.spec import Forecast


@dataclass(frozen=True)
class SeriesView:
    """One series and its features; `y` float64, shape (rows,), NaN where it is not known.

    :ivar matrix: the features of all rows, by how many steps before the row the values end that they look back on.
    :ivar known: the features whose future is known, shape (rows, features), or None.
    """

    y: np.ndarray
    inputs: Inputs
    matrix: Callable[[int], Matrix]
    known: Callable[[], np.ndarray | None]


@dataclass
class ForecastModel:
    """What a partition's row keeps: `fitted`, and the errors it made in the folds, as offsets of its quantiles."""

    fitted: Any
    residuals: Residuals | None = None

    @classmethod
    def fit(
        cls,
        code: ModelCode,
        seed: int,
        series: SeriesView,
        problem: Forecast,
        *,
        upto: int,
        weights: np.ndarray | None = None,
    ) -> ForecastModel:
        """A candidate fitted on the first `upto` rows.

        :raises NoModelError: when building or fitting it raises, or no row is left to fit on.
        """
        try:
            model = code.estimator(seed)
        except (Exception, SystemExit) as exc:
            raise failed(Reason.FIT_RAISED, exc) from exc
        if modelcode.is_forecaster(model):
            known = series.known()
            return cls(Forecaster.fit(model, series.y[:upto], None if known is None else known[:upto]))
        return cls(cls._regressor(code, seed, series, problem, upto, weights))

    @staticmethod
    def _regressor(
        code: ModelCode, seed: int, series: SeriesView, problem: Forecast, upto: int, weights: np.ndarray | None
    ) -> DirectRegressor | RecursiveRegressor:
        recipe = series.inputs.recipe
        assert recipe is not None

        def build() -> Any:
            return code.estimator(seed)

        if problem.strategy == "recursive":
            past = recipe.past(1)
            return RecursiveRegressor.fit(build, series.matrix(1), series.y, upto=upto, past=past, weights=weights)
        return DirectRegressor.fit(
            build,
            series.matrix,
            series.y,
            problem.blocks,
            upto=upto,
            past=recipe.past,
            weights=weights,
        )

    @property
    def _model(self) -> Any:
        """What forecasts, where this refers to a model over many partitions that has been resolved."""
        fitted = unshared(self.fitted)
        return fitted.fitted if isinstance(fitted, ForecastModel) else fitted

    def reaches(self, problem: Forecast) -> bool:
        """Whether it forecasts so far ahead: direct estimators do not go beyond the horizon they were fitted for."""
        fitted = self._model
        return not isinstance(fitted, DirectRegressor) or fitted.blocks[-1][1] >= problem.horizon

    def forecast(self, series: SeriesView, problem: Forecast, origin: int) -> Predicted:
        """The `problem.horizon` steps from row `origin` on, from what is known before it.

        There are no quantiles where the model gives none and its errors were kept for others than the problem's.

        :raises NoModelError: when the model raises, what it gives is not finite or of another length, or it was fitted for
            fewer steps.
        """
        y, horizon, quantiles = series.y[:origin], problem.horizon, problem.quantiles
        own: np.ndarray | None = None
        fitted = self._model
        if not self.reaches(problem):
            told = f"it was fitted for {fitted.blocks[-1][1]} steps ahead; {horizon} are asked for"
            raise NoModelError("failed", Reason.PREDICTION_INVALID, told)
        if isinstance(fitted, Forecaster):
            known = series.known()
            x, ahead = (None, None) if known is None else (known[:origin], known[origin : origin + horizon])
            wanted = quantiles if problem.intervals == "model" else ()
            values, own = fitted.forecast(y, horizon, x, ahead, wanted)
        elif isinstance(fitted, RecursiveRegressor):
            assert series.inputs.recipe is not None
            values = fitted.forecast(series.inputs.recipe, series.matrix(1), y, origin, horizon)
        else:
            values = fitted.forecast(series.matrix, origin, horizon)
        kept = self.residuals
        if own is None and kept is not None and kept.quantiles == quantiles and len(kept.offsets) >= horizon:
            own = kept.apply(values) if quantiles else None
        return Predicted(values, None, own)


def residuals_of(errors: Sequence[np.ndarray], problem: Forecast) -> Residuals | None:
    """The offsets of quantiles from the errors (truth - forecast) of some folds, each of shape (horizon,)."""
    if not errors or not problem.quantiles:
        return None
    return Residuals.of(np.stack(errors), problem.quantiles)
