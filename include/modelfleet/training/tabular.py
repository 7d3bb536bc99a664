"""One partition's rows of a Regression or Classification; its folds are spans of time, the same for the whole fleet."""

from __future__ import annotations

from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import baseline, modelcode
from modelfleet.matrices import Inputs
from modelfleet.prediction import NoModelError, Predicted, Reason, fit, predict
from modelfleet.shared_model import unshared
from modelfleet.slices import wall_moment
from modelfleet.training.sample import Sample, bad_target, constant, too_few, warm_up

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.modelcode import Matrix, ModelCode
    from modelfleet.spec import Learner
    from modelfleet.training.plan import FoldSpan


class TabularSample(Sample):
    """The rows with a target; those without one too, since the author's ``features`` sees them."""

    @cached_property
    def _target(self) -> np.ndarray:
        assert self.plan.columns.target is not None
        return self.bucket.numbers(self.plan.columns.target)[self.start : self.end]

    @cached_property
    def valid(self) -> np.ndarray:
        """Which rows have a target."""
        return ~np.isnan(self._target)

    @cached_property
    def _all_valid(self) -> bool:
        return bool(self.valid.all())

    @cached_property
    def y(self) -> np.ndarray:
        """The targets there are."""
        return self._target.copy() if self._all_valid else self._target[self.valid]

    @cached_property
    def table(self) -> pa.Table:
        """The rows with a target."""
        import pyarrow as pa

        whole = self.bucket.part(self.position)
        return whole if self._all_valid else whole.filter(pa.array(self.valid))

    def with_target(self, values: np.ndarray) -> np.ndarray:
        own = values[self.start : self.end]
        return own if self._all_valid else own[self.valid]

    @cached_property
    def _spans(self) -> list[tuple[int, int, int]]:
        moments = _moments(self.plan.folds, self.bucket.time_type)
        found = np.searchsorted(self.times, moments, side="left").tolist()
        spans = [tuple(found[n : n + 3]) for n in range(0, len(found), 3)]
        return [(a, b, len(self.y)) if n == 0 else (a, b, c) for n, (a, b, c) in enumerate(spans)]

    def span(self, fold: int) -> tuple[int, int, int]:
        return self._spans[fold]

    @property
    def folds(self) -> int:
        """Those before the first that lacks rows to fit on or to measure."""
        for number, (fit_end, start, end) in enumerate(self._spans):
            if number and (fit_end == 0 or end == start):
                return number
        return len(self._spans)

    @cached_property
    def broken(self) -> str | None:
        return bad_target(self.y, self.plan.problem)

    def check(self) -> None:
        count = len(self.y)
        too_few(count, len(self.valid) - count, self.plan)
        if self.train_rows == 0:
            told = f"all {count} rows are in the holdout, from {self.plan.cutoff}"
            raise NoModelError("skipped", Reason.NO_ROWS_BEFORE_CUTOFF, told)
        if self.broken is not None:
            raise NoModelError("failed", Reason.BAD_TARGET, self.broken)
        constant(self.y, self.train_rows)
        self._check_columns()

    def _check_columns(self) -> None:
        columns = self.plan.inputs.columns if self.plan.inputs.recipe is None else ()
        missing = self.bucket.missing(columns)[:, self.start : self.end]
        if not missing[:, self.valid.argmax()].any():
            return  # what the first row has is not missing in all
        gone = np.flatnonzero(missing[:, self.valid][:, : self.train_rows].all(axis=1))
        empty = [columns[place] for place in gone]
        if empty:
            told = f"null in all {self.train_rows} training rows: {', '.join(empty)}"
            raise NoModelError("skipped", Reason.ALL_NULL_FEATURE, told)

    def fit(self, learner: Learner, fold: int | None) -> Any:
        if learner.scope == "fleet":
            return self.shared(learner.name, fold)
        upto = len(self.y) if fold is None else self.span(fold)[0]
        code = self.codes[learner.name]
        x = self.usable(self.plan.inputs, code)
        begin = warm_up(x, self.plan.inputs, upto)
        weights = None if self.weights is None else self.weights[begin:upto]
        build = partial(code.estimator, self.seed)
        return fit(build, modelcode.take(x, slice(begin, upto)), self.y[begin:upto], weights)

    def predict_with(self, model: Any, inputs: Inputs, code: ModelCode, fold: int) -> Predicted:
        _, start, end = self.span(fold)
        if start >= end:
            return Predicted(np.empty(0))  # estimators refuse to predict nothing
        x = modelcode.take(self.usable(inputs, code), slice(start, end))
        return Predicted(*predict(unshared(model), x, self.plan.problem))

    def baseline(self, fold: int) -> Predicted:
        fit_end, start, end = self.span(fold)
        value = baseline.value(self.plan.baseline, self.y[:fit_end])
        return Predicted(*baseline.predict(self.plan.problem, value, end - start))

    def baseline_value(self) -> float | None:
        if len(self.y) == 0 or self.broken is not None:
            return None
        return baseline.value(self.plan.baseline, self.y)

    def usable(self, inputs: Inputs, code: ModelCode) -> Matrix:
        """The matrix of the rows with a target, made from all rows."""
        x = self.matrix(inputs, code)
        return x if self._all_valid else modelcode.take(x, np.flatnonzero(self.valid))


@lru_cache(maxsize=16)
def _moments(folds: tuple[FoldSpan, ...], kind: pa.DataType) -> np.ndarray:
    """The three moments of each fold, as a time column of that type has them."""
    return np.array([wall_moment(kind, moment) for fold in folds for moment in (fold.fit_end, fold.start, fold.end)])
