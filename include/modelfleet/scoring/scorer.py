"""The predictions of partitions, one at a time: by their model, else a coarser level, else the baseline."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import baseline, guard, modelcode, pack
from modelfleet.errors import CorruptionError, ModelCodeError
from modelfleet.forecast_model import SeriesView
from modelfleet.forecasting import naive, naive_quantiles
from modelfleet.group_models import FLEET, GroupModels, group_of
from modelfleet.matrices import Bucket, Inputs
from modelfleet.prediction import NoModelError, Predicted, Reason, predict, raised, short
from modelfleet.scoring.outcome import Prediction, led
from modelfleet.series import PROBLEM
from modelfleet.shared_model import unshared
from modelfleet.slices import wall_moment
from modelfleet.spared import know_arrays
from modelfleet.spec import Forecast

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
SERVED = ("partition", "serves", "features", "code", "baseline_value", "model_digest", pack.MODEL)
"""The columns of a pack that serving needs."""


class Scorer:
    """Predicts the partitions of a bucket with one pack; the same for batches, the MLflow model and serving.

    :param groups: the pack's models over many partitions.
    :param since: rows before are only there to look back on, and not predicted.
    """

    def __init__(
        self, header: pack.PackHeader, groups: GroupModels | None = None, *, since: datetime | None = None
    ) -> None:
        self.header = header
        self.since = since
        self.spec = header.fleet_spec
        self.forecast = self.spec.problem if isinstance(self.spec.problem, Forecast) else None
        self.groups = groups or GroupModels()
        loaded = [
            modelcode.load(learner.path, learner.params, fleet=header.fleet, problem=header.problem)
            for learner in self.spec.learners
        ]
        self._arrays = any(code.features is None for code in loaded)
        self._code: dict[str, modelcode.ModelCode] = {}
        self._context = (*(name for name, _ in header.key_types), header.time)

    def opened(self, rows: pa.Table) -> Bucket:
        """A sorted bucket of rows, as `partition` takes it.

        Of a Forecast's series the last `horizon` rows are the steps to predict.
        """
        return Bucket(rows, self.header.time, self._context)

    def positions(self, bucket: Bucket) -> list[int]:
        """The partitions of a bucket that have rows to predict."""
        if self.since is None and self.forecast is None:
            return list(range(len(bucket.bounds)))
        bounds = enumerate(bucket.bounds)
        return [position for position, (_, start, end) in bounds if self.first(bucket, position) < end - start]

    def predictions(
        self,
        bucket: Bucket,
        positions: Sequence[int],
        pack_rows: Mapping[str, Row],
        limits: guard.Limits | None = None,
    ) -> list[Prediction]:
        """What each of these partitions got, with the pack's rows by key.

        :param limits: of one partition, which then is predicted in a guarded process; None: in this one, without any.
        """

        def predicted(number: int) -> Prediction:
            position = positions[number]
            return self.partition(bucket, position, pack_rows.get(bucket.bounds[position][0]))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if limits is None:
                return list(map(predicted, range(len(positions))))
            self._prepare(bucket)
            with closing(guard.each(predicted, len(positions), limits)) as outcomes:
                return [
                    self._instead(bucket, position, pack_rows.get(bucket.bounds[position][0]), made, limits)
                    if isinstance(made, guard.Broken)
                    else made
                    for position, made in zip(positions, outcomes, strict=True)
                ]

    def _prepare(self, bucket: Bucket) -> None:
        """Make what partitions share, and read what they may need: a fork must not use this process's connections."""
        modelcode.warm_up()
        know_arrays()
        aheads = (1,) if self.forecast is None else self.forecast.aheads
        bucket.prepare(self.header.all_inputs.values(), aheads, arrays=self._arrays)
        named = {level: () if level == FLEET else set(bucket.leading(level)) for level in self.spec.levels}
        groups = [(level, group_of(level, {level: value})) for level, values in named.items() for value in values]
        self.groups.fetch([(FLEET, FLEET), *groups])

    def _instead(
        self, bucket: Bucket, position: int, row: Row | None, broken: guard.Broken, limits: guard.Limits
    ) -> Prediction:
        """What serves a partition whose process was broken: a coarser level, and if that breaks too, the baseline."""
        why = f"{broken.reason}: {broken.message}"
        made = guard.one(
            lambda: self._filled(bucket, position, row, self._otherwise(bucket, position, row, why)), limits
        )
        if isinstance(made, guard.Broken):
            return self._baseline(bucket, position, row, "failed", f"{why}; then {made.reason}: {made.message}")
        return made

    def unseen(self, rows: pa.Table) -> dict[str, int]:
        """How many rows hold a category that no training has seen, by declared column; they count as unknown."""
        if not self.spec.declared.categorical:
            return {}
        found: Counter[str] = Counter()
        for inputs in self.header.all_inputs.values():
            if inputs.recipe is not None:
                found |= Counter(inputs.recipe.unseen(rows))
        return {name: found[name] for name in self.spec.declared.categorical if found[name]}

    def first(self, bucket: Bucket, position: int) -> int:
        """The first row of a partition that is predicted."""
        _, start, end = bucket.bounds[position]
        if self.forecast is not None:
            return end - start - self.forecast.horizon
        if self.since is None:
            return 0
        return int(np.searchsorted(bucket.times[start:end], wall_moment(bucket.time_type, self.since), side="left"))

    def partition(self, bucket: Bucket, position: int, row: Row | None) -> Prediction:
        """Predict one partition with its pack row (None: the pack does not know it)."""
        return self._filled(bucket, position, row, self._served(bucket, position, row))

    def _filled(self, bucket: Bucket, position: int, row: Row | None, made: Prediction) -> Prediction:
        """The prediction with what the baseline says of rows whose past is too short."""
        return made if made.young == 0 else led(made, self._baseline(bucket, position, row, made.outcome, None))

    def _served(self, bucket: Bucket, position: int, row: Row | None) -> Prediction:
        """What its own model says, or else."""
        why: str | None = None
        if row is not None and row["serves"] == "model":
            try:
                return self._predicted(bucket, position, row, self._own(row), "model", "scored")
            except (NoModelError, ModelCodeError) as exc:
                why = _told(exc)
            except CorruptionError:
                raise
            except (
                Exception,
                SystemExit,
            ) as exc:  # the author's features(), and classes that his code no longer has, may raise anything
                why = raised(exc)
        return self._otherwise(bucket, position, row, why)

    def _otherwise(self, bucket: Bucket, position: int, row: Row | None, why: str | None) -> Prediction:
        """The first coarser level that has a model and predicts, else the baseline, else nothing."""
        outcome = "fallback" if why is None else "failed"
        _, start, _ = bucket.bounds[position]
        values = {name: bucket.rows.column(name)[start].as_py() for name, _ in self.header.key_types}
        for level in self.spec.levels:
            found = self.groups.row(level, values)
            if found is None:
                continue
            try:
                return self._predicted(bucket, position, found, self.groups.load(found), level, outcome, why)
            except CorruptionError:
                raise
            except Exception as exc:
                told = _told(exc) if isinstance(exc, NoModelError | ModelCodeError) else raised(exc)
                if told not in (why or ""):  # what is wrong with a series is so at every level
                    why = f"{why}; {level}: {told[:150]}" if why else f"{level}: {told[:150]}"
        return self._baseline(bucket, position, row, outcome, why)

    def _own(self, row: Row) -> Any:
        return self.groups.resolve(pack.load_model(row[pack.MODEL], row["model_digest"]))

    def _predicted(
        self,
        bucket: Bucket,
        position: int,
        row: Row,
        model: Any,
        source: str,
        outcome: str,
        why: str | None = None,
    ) -> Prediction:
        inputs, code = self.header.all_inputs[row["features"]], self._code_of(row)
        young, message = 0, None if why is None else short(why)
        if self.forecast is None:
            x = modelcode.take(bucket.matrix(position, inputs, code), slice(self.first(bucket, position), None))
            made, young = self._of_rows(unshared(model), x, inputs)
        else:
            made = self._forecast(bucket, position, inputs, code, model)
        return Prediction(made.values, made.probability, made.quantiles, source, outcome, message, young)

    def _of_rows(self, model: Any, x: modelcode.Matrix, inputs: Inputs) -> tuple[Predicted, int]:
        """What a model says of rows, and for how many at the beginning it has no answer, because their past is too short.

        Training leaves such rows out, so an estimator that takes no missing values is no reason to have none for the others.
        """
        try:
            return Predicted(*predict(model, x, self.header.problem)), 0
        except NoModelError:
            young = inputs.young(x)
            if not 0 < young < len(x):
                raise
        values, chance = predict(model, modelcode.take(x, slice(young, None)), self.header.problem)
        nothing = np.full(young, np.nan)
        both = None if chance is None else np.concatenate([nothing, chance])
        return Predicted(np.concatenate([nothing, values]), both), young

    def _forecast(
        self, bucket: Bucket, position: int, inputs: Inputs, code: modelcode.ModelCode, model: Any
    ) -> Predicted:
        assert self.forecast is not None
        view = SeriesView(
            self._history(bucket, position),
            inputs,
            lambda ahead: bucket.matrix(position, inputs, code, ahead),
            lambda: bucket.known(position, inputs),
        )
        if PROBLEM in bucket.columns:
            _, start, _ = bucket.bounds[position]
            problem = bucket.rows.column(PROBLEM)[start].as_py()
            if problem is not None:
                raise NoModelError("failed", Reason.BAD_SERIES, problem)
        return model.forecast(view, self.forecast, len(view.y) - self.forecast.horizon)

    def _history(self, bucket: Bucket, position: int) -> np.ndarray:
        """The series, NaN in the steps to predict."""
        assert self.forecast is not None
        _, start, end = bucket.bounds[position]
        y = bucket.numbers(self.header.target)[start:end].copy()
        y[len(y) - self.forecast.horizon :] = np.nan
        return y

    def _code_of(self, row: Row) -> modelcode.ModelCode:
        """The author's code that a model was trained with: a kept champion's may not be the spec's of now."""
        path = row["code"]
        if path not in self._code:
            self._code[path] = modelcode.imported(path, {}, fleet=self.header.fleet)
        return self._code[path]

    def _baseline(self, bucket: Bucket, position: int, row: Row | None, outcome: str, why: str | None) -> Prediction:
        message = None if why is None else short(why)
        _, start, end = bucket.bounds[position]
        if self.forecast is not None:
            return self._naive(bucket, position, outcome, message)
        count = end - start - self.first(bucket, position)
        if row is None or row["baseline_value"] is None:
            empty = np.full(count, np.nan)
            chance = empty if self.header.problem == "classification" else None
            return Prediction(empty, chance, None, "none", "no_model", message)
        values, probability = baseline.predict(self.header.problem, row["baseline_value"], count)
        return Prediction(values, probability, None, "baseline", outcome, message)

    def _naive(self, bucket: Bucket, position: int, outcome: str, message: str | None) -> Prediction:
        """The baseline of a series, from what is known of it."""
        assert self.forecast is not None
        problem = self.forecast
        y = self._history(bucket, position)[: -problem.horizon]
        known = y[~np.isnan(y)]
        if len(known) == 0:
            empty = np.full(problem.horizon, np.nan)
            return Prediction(empty, None, None, "none", "no_model", message)
        values = naive(problem.baseline, known, problem.horizon, problem.season_length)
        bands = None
        if problem.quantiles:
            bands = naive_quantiles(problem.baseline, known, problem.horizon, problem.season_length, problem.quantiles)
        return Prediction(values, None, bands, "baseline", outcome, message)


def _told(exc: NoModelError | ModelCodeError) -> str:
    """Why a model does not predict; as of a broken process, where it is for want of memory."""
    lacks = isinstance(exc, NoModelError) and exc.reason == Reason.MEMORY_EXCEEDED
    return f"{Reason.MEMORY_EXCEEDED}: {exc.message}" if lacks else exc.message
