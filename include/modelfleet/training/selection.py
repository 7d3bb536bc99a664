"""Candidates compete inside one partition: each is fitted and measured on every fold, and the best mean error wins.

Of equals the one listed first is taken. A candidate that fails in a fold ranks behind those that do not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from modelfleet.metric_names import lower_is_better
from modelfleet.prediction import TRANSIENT, NoModelError, Predicted, Reason

if TYPE_CHECKING:
    from modelfleet.spec import Learner

_JSON = json.JSONEncoder(ensure_ascii=False)
TIE = 1e-9
"""Scores that differ by less than this share are equal."""


class Sample(Protocol):
    """One partition's rows, as candidates meet them; fold 0 is the latest, the holdout."""

    @property
    def folds(self) -> int:
        """How many folds there are, at least one."""

    def fit(self, learner: Learner, fold: int | None) -> Any:
        """A model fitted on the rows before a fold, or on all rows (None).

        :raises NoModelError: when it can't be fitted.
        """

    def predict(self, learner: Learner, model: Any, fold: int) -> Predicted:
        """What a candidate's model says of a fold's rows.

        :raises NoModelError: when it does not predict.
        """

    def measure(self, predicted: Predicted, fold: int) -> Mapping[str, float]:
        """The metrics of a prediction of a fold's rows."""


@dataclass
class Trial:
    """How one candidate did: per fold its model's prediction and score; NaN where the metric is undefined."""

    learner: Learner
    position: int
    models: dict[int, Any] = field(default_factory=dict)
    """Fitted on the rows before a fold; of the first folds only, fold 0 always among them."""
    predicted: dict[int, Predicted] = field(default_factory=dict)
    measured: dict[int, Mapping[str, float]] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    failures: dict[int, NoModelError] = field(default_factory=dict)
    seconds: float = 0.0
    dropped: bool = False
    """Left out by halving."""

    @property
    def standing(self) -> tuple[bool, bool, int]:
        """Sorts the best first before any score does: not dropped, measured on the holdout, fewer failures."""
        return self.dropped, 0 in self.failures, len(self.failures)

    def rank(self, lower: bool) -> tuple[tuple[bool, bool, int], bool, float, int]:
        """Sorts the best first: by its standing, a defined score, the better mean score, then listed earlier."""
        undefined = math.isnan(self.score)
        return self.standing, undefined, 0.0 if undefined else self.score * (1 if lower else -1), self.position

    @property
    def score(self) -> float:
        """The mean over the folds where the metric is defined; NaN without any."""
        known = [score for score in self.scores.values() if not math.isnan(score)]
        return sum(known) / len(known) if known else math.nan

    def run(self, sample: Sample, fold: int, metric: str, *, keep: int = 1) -> None:
        """Fit and measure on one fold."""
        began = time.perf_counter()
        try:
            model = sample.fit(self.learner, fold)
            made = sample.predict(self.learner, model, fold)
            measured = sample.measure(made, fold)
            self.scores[fold] = float(measured[metric])
            self.predicted[fold], self.measured[fold] = made, measured
            if fold < keep:
                self.models[fold] = model
        except NoModelError as stop:
            self.failures[fold] = stop
        self.seconds += time.perf_counter() - began

    def to_json(self) -> dict[str, Any]:
        """What the model's row keeps of it."""
        kept: dict[str, Any] = {
            "name": self.learner.name,
            "score": _number(self.score),
            "folds": {str(fold): _number(self.scores[fold]) for fold in sorted(self.scores)},
            "seconds": round(self.seconds, 6),
        }
        if self.failures:
            kept["failed"] = {str(fold): self.failures[fold].message[:200] for fold in sorted(self.failures)}
        return kept | ({"dropped": True} if self.dropped else {})


def compete(
    sample: Sample, learners: Sequence[Learner], *, metric: str, halving: bool = False, keep: int = 1
) -> list[Trial]:
    """Every candidate's trial, the best first.

    :param keep: of how many folds the models are kept.

    :param halving: after each fold the worse half is left out (successive halving: Jamieson and Talwalkar 2016), the
        latest fold first.
    :raises NoModelError: when every candidate failed on the holdout; the reason is the first one's, or one that a
        retry may mend.
    """
    lower = lower_is_better(metric) is not False
    trials = [Trial(learner, position) for position, learner in enumerate(learners)]
    running = trials
    for fold in range(sample.folds):
        for trial in running:
            trial.run(sample, fold, metric, keep=keep)
        if halving and fold + 1 < sample.folds and len(running) > 1:
            running.sort(key=lambda trial: trial.rank(lower))
            kept = running[: (len(running) + 1) // 2]
            for trial in running[len(kept) :]:
                trial.dropped = True
            running = kept
    ranked = _ranked(trials, lower)
    if 0 in ranked[0].failures:
        raise _all_failed(trials)
    return ranked


def _ranked(trials: Sequence[Trial], lower: bool) -> list[Trial]:
    """The best first; among those as good as the best, the one listed first."""
    ranked = sorted(trials, key=lambda trial: trial.rank(lower))
    best = ranked[0]
    equal = [
        trial
        for trial in ranked
        if trial.standing == best.standing and math.isclose(trial.score, best.score, rel_tol=TIE)
    ]
    first = min(equal, key=lambda trial: trial.position) if equal else best
    return [first, *(trial for trial in ranked if trial is not first)]


def _all_failed(trials: Sequence[Trial]) -> NoModelError:
    first = min(trials, key=lambda trial: trial.position)
    stop = first.failures.get(0) or next(iter(first.failures.values()))
    if len(trials) == 1:
        return stop
    # Of several reasons the one that a retry may mend counts: else none would ever try again.
    ended = [next(iter(trial.failures.values())) for trial in trials if trial.failures]
    stop = next((failure for failure in ended if failure.reason in TRANSIENT), stop)
    told = "; ".join(f"{t.learner.name}: {next(iter(t.failures.values())).message[:120]}" for t in trials if t.failures)
    return NoModelError(stop.status, Reason(stop.reason), f"all {len(trials)} candidates failed: {told}")


def trials_text(trials: Sequence[Trial]) -> str:
    """The column `candidates` of a model's row, in the order of the spec."""
    listed = sorted(trials, key=lambda trial: trial.position)
    return _JSON.encode([trial.to_json() for trial in listed])


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
