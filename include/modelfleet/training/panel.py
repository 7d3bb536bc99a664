"""The rows of many partitions as candidates meet them: one model over all of them.

Each partition is cut at its own folds; what is fitted on and measured is stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import keys, metrics, modelcode
from modelfleet.forecast_model import ForecastModel
from modelfleet.forecasting import DirectRegressor, RecursiveRegressor
from modelfleet.prediction import NoModelError, Predicted, Reason, fit
from modelfleet.training.sample import Sample
from modelfleet.training.series import SeriesSample
from modelfleet.training.tabular import TabularSample

if TYPE_CHECKING:
    from modelfleet.modelcode import Matrix, ModelCode
    from modelfleet.spec import Learner
    from modelfleet.training.plan import TrainingPlan
    from modelfleet.training.selection import Trial


@dataclass
class PanelSample:
    """One group's partitions; `members` are those that can be trained on by themselves or are merely too short."""

    group: str
    members: Sequence[Sample]
    plan: TrainingPlan

    @property
    def folds(self) -> int:
        """Those before the first in which no member has rows to fit on and to measure; the holdout always."""
        for fold in range(1, len(self.plan.folds)):
            if not self._measured(fold):
                return fold
        return len(self.plan.folds)

    def fit(self, learner: Learner, fold: int | None) -> Any:
        """One model over the members' rows before a fold, or all of them.

        Rows whose past is too short are fitted on too where the estimator takes missing values, for it is the short
        partitions that the model is for; else they are left out.

        :raises NoModelError: when it can't be fitted.
        """
        try:
            return self._fit(learner, fold, whole=False)
        except NoModelError:
            inputs = self.plan.shared_inputs
            if inputs.recipe is None or not inputs.recipe.looks_back:
                raise
            return self._fit(learner, fold, whole=True)

    def predict(self, learner: Learner, model: Any, fold: int) -> Predicted:
        """What the model says of the members' rows of a fold, stacked.

        Members that it can't predict count with their baseline, which would serve them: short ones, where an estimator takes
        no missing values, are no reason to have no model for the others.

        :raises NoModelError: when it predicts the rows of no member.
        """
        code, stops, made = self._code(learner), [], []
        for member in self._measured(fold):
            try:
                made.append(member.predict_with(model, self.plan.shared_inputs, code, fold))
            except NoModelError as stop:
                stops.append(stop)
                made.append(member.baseline(fold))
        if stops and len(stops) == len(made):
            raise stops[0]
        return _stacked(made)

    def baseline(self, fold: int) -> Predicted:
        """What the members' baselines say of their rows of a fold, stacked."""
        return _stacked([member.baseline(fold) for member in self._measured(fold)])

    def measure(self, predicted: Predicted, fold: int) -> dict[str, float]:
        """The metrics over the members' rows of a fold together; the author's own are not made."""
        members = self._measured(fold)
        if not members:
            return dict.fromkeys(self.plan.metrics, float("nan"))
        truth = np.concatenate([m.y[m.span(fold)[1] : m.span(fold)[2]] for m in members])
        own = dict.fromkeys(self.plan.own_metrics, float("nan"))
        if predicted.probability is not None:
            return {**metrics.classification(truth, predicted.probability, predicted.values), **own}
        if self.plan.forecast is None:
            return {**metrics.regression(truth, predicted.values), **own}
        season = self.plan.forecast.season_length
        scales = [metrics.scale(member.y[: member.span(fold)[1]], season) for member in members]
        known = [scale for scale in scales if np.isfinite(scale)]
        scale = float(np.mean(known)) if known else float("nan")
        return {**metrics.forecast(truth, predicted.values, scale=scale), **own}

    def errors(self, trial: Trial) -> list[np.ndarray]:
        """The errors a candidate made in each member and fold that has a whole horizon; each of shape (horizon,)."""
        assert self.plan.forecast is not None
        found = []
        for fold, predicted in trial.predicted.items():
            place = 0
            for member in self._measured(fold):
                _, start, end = member.span(fold)
                if end - start == self.plan.forecast.horizon:
                    found.append(member.y[start:end] - predicted.values[place : place + end - start])
                place += end - start
        return [error for error in found if np.isfinite(error).all()]

    def rows(self, fold: int) -> tuple[int, int]:
        """How many rows are fitted on before a fold, and measured in it."""
        fitted = sum(member.span(fold)[0] for member in self._fitted(fold))
        return fitted, sum(m.span(fold)[2] - m.span(fold)[1] for m in self._measured(fold))

    @cached_property
    def window(self) -> tuple[np.datetime64, np.datetime64]:
        """When the first and the last row happened."""
        times = [member.times for member in self.members if len(member.times)]
        return min(t[0] for t in times), max(t[-1] for t in times)

    def _measured(self, fold: int) -> list[Sample]:
        """The members with rows of a fold, and with rows before it."""
        return [m for m in self.members if m.span(fold)[2] > m.span(fold)[1] and m.span(fold)[0] > 0]

    def _fitted(self, fold: int | None) -> list[Sample]:
        return [m for m in self.members if (len(m.y) if fold is None else m.span(fold)[0]) > 0]

    def _code(self, learner: Learner) -> ModelCode:
        return self.members[0].codes[learner.name]

    def _fit(self, learner: Learner, fold: int | None, *, whole: bool) -> Any:
        code, forecast = self._code(learner), self.plan.forecast
        seed = keys.seed_of(self.group)
        members = self._fitted(fold)
        if not members:
            raise NoModelError("skipped", Reason.NO_ROWS_BEFORE_CUTOFF, "no partition has rows before the holdout")
        ahead = 1 if forecast is None else forecast.blocks[-1][1]
        chosen = [self._chosen(member, code, fold, ahead, whole) for member in members]
        y = np.concatenate([member.y[rows] for member, rows in zip(members, chosen, strict=True)])
        if len(y) == 0:
            raise NoModelError("skipped", Reason.TOO_FEW_ROWS, "no row has all features that look back")
        weights = None
        if self.plan.weight is not None:
            given = [(member.weights, rows) for member, rows in zip(members, chosen, strict=True)]
            weights = np.concatenate([w[rows] for w, rows in given if w is not None])

        def stacked(steps: int) -> Matrix:
            return _stack(
                [modelcode.take(_matrix(m, self.plan, code, steps), r) for m, r in zip(members, chosen, strict=True)]
            )

        def build() -> Any:
            return code.estimator(seed)

        if forecast is None:
            return fit(build, stacked(1), y, weights)
        if forecast.strategy == "recursive":
            return ForecastModel(RecursiveRegressor.fit(build, stacked(1), y, upto=len(y), weights=weights))
        direct: Callable[[int], Matrix] = stacked
        return ForecastModel(DirectRegressor.fit(build, direct, y, forecast.blocks, upto=len(y), weights=weights))

    def _chosen(self, member: Sample, code: ModelCode, fold: int | None, ahead: int, whole: bool) -> np.ndarray:
        """The rows of a member to fit on, with a target; with `whole`, those with all features that look back."""
        upto = len(member.y) if fold is None else member.span(fold)[0]
        usable = np.isfinite(member.y[:upto])
        recipe = self.plan.shared_inputs.recipe
        if whole and recipe is not None:
            x = _matrix(member, self.plan, code, ahead)
            if isinstance(x, np.ndarray):
                usable &= ~np.isnan(x[:upto][:, recipe.past(ahead)]).any(axis=1)
        return np.flatnonzero(usable)


def _stacked(made: Sequence[Predicted]) -> Predicted:
    """Predictions one below the other, without quantiles."""
    chances = [p.probability for p in made if p.probability is not None]
    values = np.concatenate([p.values for p in made]) if made else np.empty(0)
    return Predicted(values, np.concatenate(chances) if chances else None)


def _matrix(member: Sample, plan: TrainingPlan, code: ModelCode, ahead: int) -> Matrix:
    """The matrix of the member's rows that `y` has."""
    if isinstance(member, TabularSample):
        return member.usable(plan.shared_inputs, code)
    assert isinstance(member, SeriesSample)
    return member.matrix(plan.shared_inputs, code, ahead)


def _stack(parts: Sequence[Matrix]) -> Matrix:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import pandas as pd

    return pd.concat(parts, ignore_index=True)
