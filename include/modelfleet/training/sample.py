"""One partition's rows as candidates meet them: which rows each fold fits on and is measured on, and with what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import keys, metrics, modelcode
from modelfleet.errors import ModelCodeError
from modelfleet.matrices import Bucket, Inputs
from modelfleet.prediction import NoModelError, Predicted, Reason, failed, raised

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.modelcode import Matrix, ModelCode
    from modelfleet.spec import Learner
    from modelfleet.training.plan import TrainingPlan

Shared = Callable[[str, int | None], Any]
"""The model of a candidate over the whole fleet, by its name and fold; None for the one fitted on all rows."""


@dataclass
class Sample(ABC):
    """What the two kinds of problem share. `codes`: the author's code by candidate; `position`: in the bucket."""

    key: str
    bucket: Bucket
    position: int
    plan: TrainingPlan
    codes: Mapping[str, ModelCode]
    shared: Shared

    @cached_property
    def _matrices(self) -> dict[tuple[str, str, int], Matrix]:
        return {}

    def __post_init__(self) -> None:
        _, self.start, self.end = self.bucket.bounds[self.position]

    @cached_property
    def seed(self) -> int:
        """The random state of its models."""
        return keys.seed_of(self.key)

    @property
    def n_rows(self) -> int:
        """How many rows the partition has, those without a target among them."""
        return self.end - self.start

    @abstractmethod
    def with_target(self, values: np.ndarray) -> np.ndarray:
        """Of an array over the rows of the bucket, the values of those rows of the partition that have a target."""

    @property
    @abstractmethod
    def table(self) -> pa.Table:
        """The rows with a target."""

    @property
    @abstractmethod
    def y(self) -> np.ndarray:
        """The targets of those rows; float64."""

    @cached_property
    def times(self) -> np.ndarray:
        """When those rows happened; datetime64[us]."""
        return self.with_target(self.bucket.times)

    @property
    @abstractmethod
    def broken(self) -> str | None:
        """What is wrong with its rows, so that no model can be fitted on any of them."""

    @property
    @abstractmethod
    def folds(self) -> int:
        """How many folds can be measured, at least one; fold 0 is the holdout."""

    @abstractmethod
    def span(self, fold: int) -> tuple[int, int, int]:
        """Of a fold: the end of the rows to fit on, and the first and last row to measure, as positions in `table`."""

    @abstractmethod
    def check(self) -> None:
        """See whether a model can be trained at all.

        :raises NoModelError: with the reason why not.
        """

    @abstractmethod
    def fit(self, learner: Learner, fold: int | None) -> Any:
        """A model fitted on the rows before a fold, or on all rows (None)."""

    def predict(self, learner: Learner, model: Any, fold: int) -> Predicted:
        """What a candidate's model says of a fold's rows."""
        inputs = self.plan.shared_inputs if learner.scope == "fleet" else self.plan.inputs
        return self.predict_with(model, inputs, self.codes[learner.name], fold)

    @abstractmethod
    def predict_with(self, model: Any, inputs: Inputs, code: ModelCode, fold: int) -> Predicted:
        """What a model with inputs and code of its own says of a fold's rows."""

    @abstractmethod
    def baseline(self, fold: int) -> Predicted:
        """What the baseline says of a fold's rows."""

    @abstractmethod
    def baseline_value(self) -> float | None:
        """The baseline's number that the model's row keeps; None where there is none, or none is needed."""

    @property
    def train_rows(self) -> int:
        """How many rows may be fitted on before the holdout."""
        return self.span(0)[0]

    @property
    def test_rows(self) -> int:
        """How many rows the holdout has."""
        _, start, end = self.span(0)
        return max(end - start, 0)

    @cached_property
    def weights(self) -> np.ndarray | None:
        """The weights of the rows with a target.

        :raises NoModelError: for one that is null, not finite or negative.
        """
        if self.plan.weight is None:
            return None
        return checked_weights(self.with_target(self.bucket.numbers(self.plan.weight)), self.plan)

    def matrix(self, inputs: Inputs, code: ModelCode, ahead: int = 1) -> Matrix:
        """The matrix of all rows of the partition.

        :raises NoModelError: when the author's ``features(frame)`` raises.
        """
        wanted = inputs.id, code.path if code.features else "", ahead
        if wanted not in self._matrices:
            self._matrices[wanted] = self._made(inputs, code, ahead)
        return self._matrices[wanted]

    def _made(self, inputs: Inputs, code: ModelCode, ahead: int) -> Matrix:
        try:
            return self.bucket.matrix(self.position, inputs, code, ahead)
        except ModelCodeError as exc:
            raise NoModelError("failed", Reason.FEATURES_RAISED, exc.message) from exc
        except (Exception, SystemExit) as exc:
            raise failed(Reason.FEATURES_RAISED, exc) from exc

    def measure(self, predicted: Predicted, fold: int) -> dict[str, float]:
        """The metrics of a prediction of a fold's rows, the author's own among them; NaN where it has no rows."""
        _, start, end = self.span(fold)
        if start >= end:
            return dict.fromkeys(self.plan.metrics, float("nan"))
        truth = self.y[start:end]
        measured = self._metrics(truth, predicted, start)
        code = next(iter(self.codes.values()))
        if code.metrics is not None and self.plan.own_metrics:
            frame = modelcode.widened(self.table.slice(start, end - start)).to_pandas()
            measured |= _own_metrics(code, truth, predicted.values, frame, self.plan.own_metrics)
        return measured

    def _metrics(self, truth: np.ndarray, predicted: Predicted, start: int) -> dict[str, float]:
        if predicted.probability is not None:
            return dict(metrics.classification(truth, predicted.probability, predicted.values))
        return dict(metrics.regression(truth, predicted.values))


def checked_weights(given: np.ndarray, plan: TrainingPlan) -> np.ndarray:
    """The weights, if they can be used.

    :raises NoModelError: for one that is null, not finite or negative.
    """
    wrong = int((~(np.isfinite(given) & (given >= 0))).sum())
    if wrong:
        told = f"weight {plan.weight!r} is null, not finite or negative in {wrong} of {len(given)} rows"
        raise NoModelError("failed", Reason.BAD_WEIGHT, told)
    return given


def too_few(count: int, n_null: int, plan: TrainingPlan) -> None:
    """See that there are as many rows with a target as a model needs.

    :raises NoModelError: when there are not.
    """
    if count == 0:
        raise NoModelError("skipped", Reason.NO_TARGET, f"all {n_null} rows have a null target")
    if count < plan.min_rows:
        raise NoModelError("skipped", Reason.TOO_FEW_ROWS, f"{count} rows with a target, {plan.min_rows} needed")


def constant(y: np.ndarray, rows: int) -> None:
    """See that the target varies in the first rows.

    :raises NoModelError: when it does not.
    """
    if (y[:rows] == y[0]).all():
        raise NoModelError("skipped", Reason.CONSTANT_TARGET, f"the target is {y[0]:g} in all {rows} training rows")


def bad_target(y: np.ndarray, problem: str) -> str | None:
    """What is wrong with the targets, which then have no baseline either."""
    if problem == "classification" and not ((y == 0.0) | (y == 1.0)).all():
        return "a classification target is bool, or 0 and 1"
    with np.errstate(over="ignore"):
        return None if np.isfinite(np.abs(y).sum()) else "the target holds infinity, or values too large to add up"


def warm_up(x: Matrix, inputs: Inputs, upto: int) -> int:
    """The first row whose features that look back are all there: before it, the past is too short for them.

    :raises NoModelError: when no row before `upto` has them all.
    """
    if inputs.recipe is None:
        return 0
    young = inputs.young(modelcode.take(x, slice(0, upto)))
    if young == upto:
        told = f"no row of {upto} has all features that look back; the longest needs more rows before it"
        raise NoModelError("skipped", Reason.NO_ROWS_BEFORE_CUTOFF, told)
    return young


def _own_metrics(
    code: ModelCode, truth: np.ndarray, prediction: np.ndarray, frame: Any, names: tuple[str, ...]
) -> dict[str, float]:
    assert code.metrics is not None
    try:
        given = code.metrics(truth, prediction, frame)
        return {name: float(given[name]) for name in names}
    except Exception as exc:
        raise failed(Reason.METRICS_RAISED, exc, f"metrics(): {raised(exc)}") from exc
