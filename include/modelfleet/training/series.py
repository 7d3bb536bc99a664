"""One partition's series of a Forecast; its folds are the horizons before the interval's end, by rolling origin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import metrics
from modelfleet.forecast_model import ForecastModel, SeriesView, residuals_of
from modelfleet.forecasting import naive, naive_quantiles
from modelfleet.prediction import NoModelError, Predicted, Reason
from modelfleet.series import PROBLEM
from modelfleet.training.sample import Sample, bad_target, checked_weights, constant, too_few

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.matrices import Inputs
    from modelfleet.modelcode import ModelCode
    from modelfleet.spec import Forecast, Learner
    from modelfleet.training.selection import Trial


class SeriesSample(Sample):
    """A gapless series up to the interval's end, one row a step."""

    @property
    def problem(self) -> Forecast:
        """What is forecast."""
        assert self.plan.forecast is not None
        return self.plan.forecast

    @cached_property
    def y(self) -> np.ndarray:
        """The series; NaN where it has gaps, which `check` refuses."""
        return self.with_target(self.bucket.numbers(self.problem.target)).copy()

    @property
    def table(self) -> pa.Table:
        """Every row: gaps are filled, or there is no model."""
        return self.bucket.part(self.position)

    def with_target(self, values: np.ndarray) -> np.ndarray:
        return values[self.start : self.end]

    @cached_property
    def weights(self) -> np.ndarray | None:
        """The weights of the steps; 0 where it is null, as on dates that were filled.

        :raises NoModelError: for one that is not finite or negative.
        """
        if self.plan.weight is None:
            return None
        given = self.with_target(self.bucket.numbers(self.plan.weight))
        return checked_weights(np.nan_to_num(given, nan=0.0), self.plan)

    def span(self, fold: int) -> tuple[int, int, int]:
        start = max(len(self.y) - (fold + 1) * self.problem.horizon, 0)
        return max(start - self.plan.gap, 0), start, min(start + self.problem.horizon, len(self.y))

    @property
    def folds(self) -> int:
        """Those with half the rows that a model needs before them; the holdout always."""
        enough = max(self.plan.min_rows // 2, 2)
        return max(sum(self.span(number)[0] >= enough for number in range(len(self.plan.folds))), 1)

    @cached_property
    def _unfit(self) -> str | None:
        """What making the series regular found wrong with it."""
        return self.bucket.rows.column(PROBLEM)[self.start].as_py() if PROBLEM in self.bucket.columns else None

    @cached_property
    def broken(self) -> str | None:
        return self._unfit or bad_target(self.y, self.plan.problem)

    def check(self) -> None:
        known = int((~np.isnan(self.y)).sum())
        if known == 0 and self._unfit is not None:
            raise NoModelError("skipped", Reason.NO_TARGET, self._unfit)
        too_few(known, len(self.y) - known, self.plan)
        if self.broken is not None:
            raise NoModelError("failed", Reason.BAD_SERIES if self._unfit else Reason.BAD_TARGET, self.broken)
        if self.train_rows == 0:
            gap = f" and a gap of {self.plan.gap}" if self.plan.gap else ""
            told = f"{len(self.y)} steps, of which a horizon of {self.problem.horizon}{gap} leaves none to fit on"
            raise NoModelError("skipped", Reason.NO_ROWS_BEFORE_CUTOFF, told)
        constant(self.y, self.train_rows)

    def fit(self, learner: Learner, fold: int | None) -> Any:
        if learner.scope == "fleet":
            return self.shared(learner.name, fold)
        upto = len(self.y) if fold is None else self.span(fold)[0]
        code = self.codes[learner.name]
        view = self.view(self.plan.inputs, code)
        return ForecastModel.fit(code, self.seed, view, self.problem, upto=upto, weights=self.weights)

    def predict_with(self, model: Any, inputs: Inputs, code: ModelCode, fold: int) -> Predicted:
        _, start, _ = self.span(fold)
        return model.forecast(self.view(inputs, code), self.problem, start)

    def baseline(self, fold: int) -> Predicted:
        _, start, end = self.span(fold)
        known, problem = self.y[:start], self.problem
        values = naive(problem.baseline, known, end - start, problem.season_length)
        if not problem.quantiles:
            return Predicted(values)
        bands = naive_quantiles(problem.baseline, known, end - start, problem.season_length, problem.quantiles)
        return Predicted(values, None, bands if np.isfinite(bands).all() else None)

    def baseline_value(self) -> float | None:
        """None: a forecast's baseline is made from the series itself."""
        return None

    def view(self, inputs: Inputs, code: ModelCode) -> SeriesView:
        """The series as models see it."""
        return SeriesView(
            self.y,
            inputs,
            lambda ahead: self.matrix(inputs, code, ahead),
            lambda: self.bucket.known(self.position, inputs),
        )

    def with_residuals(self, model: Any, trial: Trial, folds: Sequence[int]) -> Any:
        """The model with the errors that its candidate made in some folds."""
        errors = []
        for fold in folds:
            _, start, end = self.span(fold)
            if fold in trial.predicted and end - start == self.problem.horizon:
                errors.append(self.y[start:end] - trial.predicted[fold].values)
        return ForecastModel(model.fitted, residuals_of(errors, self.problem))

    def _metrics(self, truth: np.ndarray, predicted: Predicted, start: int) -> dict[str, float]:
        quantiles = self.problem.quantiles if predicted.quantiles is not None else ()
        return dict(
            metrics.forecast(
                truth,
                predicted.values[: len(truth)],
                quantiles=quantiles,
                predicted=None if predicted.quantiles is None else predicted.quantiles[: len(truth)],
                scale=metrics.scale(self.y[:start], self.problem.season_length),
            )
        )
