"""All that fitting a partition depends on beside its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from modelfleet import interval as intervals
from modelfleet import metric_names, modelcode
from modelfleet.matrices import Inputs
from modelfleet.spec.problem import Forecast
from modelfleet.spec.training import HOLDOUT

if TYPE_CHECKING:
    from modelfleet.dataset import Columns
    from modelfleet.spec import FleetSpec, Learner, Limits


class ChampionStatus(StrEnum):
    """How the champion's metrics beside a challenger came about."""

    NONE = "none"
    COMPARED = "compared"
    SAME = "same"
    """It is this very model, carried over: its metrics are this one's."""
    STORED = "stored"
    """It was trained on the holdout, or can't be run on it: its metrics are those of its own training."""
    NOT_COMPARABLE = "not_comparable"
    FAILED = "failed"


@dataclass(frozen=True)
class FoldSpan:
    """One fold of rows in time: fitted before `fit_end`, measured in ``[start, end)``."""

    fit_end: datetime
    start: datetime
    end: datetime


@dataclass(frozen=True)
class TrainingPlan:
    """What every partition of a training shares. `folds` are the latest first; the first one is the holdout.

    A Forecast's folds are counted in steps of the series instead: `horizon` each, `gap` before each left out.
    """

    columns: Columns
    problem: str
    forecast: Forecast | None
    baseline: str
    learners: tuple[Learner, ...]
    inputs: Inputs
    shared_inputs: Inputs
    """Of models over many partitions: with the key columns."""
    metrics: tuple[str, ...]
    own_metrics: tuple[str, ...]
    select_by: str
    end: datetime
    folds: tuple[FoldSpan, ...]
    gap: int
    halving: bool
    weight: str | None
    min_rows: int
    refit: bool
    levels: tuple[str, ...]
    interval: str
    attempt: str
    same_code: bool = True
    """Whether the champion's models were trained with the author's code as it is now."""
    per_model: Limits | None = None
    """What one model may use; it makes no other model."""

    @classmethod
    def of(
        cls,
        spec: FleetSpec,
        columns: Columns,
        *,
        end: datetime,
        interval: str,
        attempt: str,
        categories: Mapping[str, tuple[str, ...]] | None = None,
        same_code: bool = True,
    ) -> TrainingPlan:
        """The plan of a training whose interval ends at `end`."""
        training = spec.training
        forecast = spec.problem if isinstance(spec.problem, Forecast) else None
        own = tuple(training.metrics)
        shared = bool(spec.levels) or any(learner.scope == "fleet" for learner in spec.learners)
        inputs = Inputs.of(spec, categories or {})
        return cls(
            columns=columns,
            problem=spec.problem.kind,
            forecast=forecast,
            baseline=spec.problem.baseline,
            learners=spec.learners,
            inputs=inputs,
            shared_inputs=Inputs.of(spec, categories or {}, keys=True) if shared else inputs,
            metrics=(*metric_names.names(spec.problem.kind), *own),
            own_metrics=own,
            select_by=spec.select_by,
            end=end,
            folds=_folds(spec, end),
            gap=_gap(spec, forecast),
            halving=training.halving,
            weight=training.weight,
            min_rows=training.min_rows,
            refit=training.refit,
            levels=spec.levels,
            interval=interval,
            attempt=attempt,
            same_code=same_code,
            per_model=training.per_model,
        )

    @property
    def aheads(self) -> tuple[int, ...]:
        """How far ahead its matrices look."""
        return (1,) if self.forecast is None else self.forecast.aheads

    @property
    def cutoff(self) -> datetime:
        """Rows from then on are the holdout."""
        return self.folds[0].start

    def content(self) -> list[Any]:
        """What a training's result depends on, as JSON values."""
        return [
            [[learner.name, learner.path, dict(learner.params), learner.scope] for learner in self.learners],
            self.problem if self.forecast is None else self.forecast.content(),
            [self.inputs.id, self.shared_inputs.id],
            [[str(fold.fit_end), str(fold.start), str(fold.end)] for fold in self.folds],
            [self.select_by, self.gap, self.halving, self.weight, self.min_rows, self.refit, self.baseline],
            [*self.metrics],
            [*self.levels],
        ]

    def way(self) -> list[Any]:
        """The part of `content` that depends on neither the data nor the interval: another one makes other models."""
        learners, problem, _, _, *others = self.content()
        return [learners, problem, *others]


def author_code(plan: TrainingPlan) -> dict[str, modelcode.ModelCode]:
    """The author's code of every candidate, by its name.

    :raises ModelCodeError: when one can't be used.
    """
    fleet = plan.columns.fleet
    return {
        learner.name: modelcode.load(learner.path, learner.params, fleet=fleet, problem=plan.problem)
        for learner in plan.learners
    }


def _folds(spec: FleetSpec, end: datetime) -> tuple[FoldSpan, ...]:
    """The last stretches of time before `end`, each as long as the holdout; elapsed time, whatever clocks do."""
    last, zone = end.astimezone(UTC), end.tzinfo
    holdout, gap = _holdout(spec), intervals.duration(spec.training.gap) if spec.training.gap else timedelta()
    spans = []
    for number in range(spec.training.folds):
        start = last - holdout * (number + 1)
        stop = last - holdout * number
        spans.append(FoldSpan(*(moment.astimezone(zone) for moment in (start - gap, start, stop))))
    return tuple(spans)


def _holdout(spec: FleetSpec) -> timedelta:
    if isinstance(spec.problem, Forecast):
        return timedelta(seconds=spec.problem.frequency.least_seconds) * spec.problem.horizon
    return intervals.duration(spec.training.holdout or HOLDOUT)


def _gap(spec: FleetSpec, forecast: Forecast | None) -> int:
    if forecast is None or spec.training.gap is None:
        return 0
    return forecast.frequency.steps_in(intervals.duration(spec.training.gap)) or 0
