"""Training: one row per partition of a bucket, whatever its rows or the author's code do.

Every expected partition ends as exactly one row: trained, skipped (reason) or failed (reason, message). Candidates compete on
the folds; the winner, the baseline, the fallback and the champion are measured on the same holdout; then the winner is
fitted again on all rows.
"""

from __future__ import annotations

import secrets
import time
import warnings
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import guard, keys, modelcode, pack, slices
from modelfleet.dataset import read_bucket, read_partitions
from modelfleet.errors import CorruptionError
from modelfleet.forecast_model import ForecastModel
from modelfleet.group_models import GroupModels
from modelfleet.guard import Limits
from modelfleet.lake.buckets import BucketPlace, BucketResult, BucketTask, finish
from modelfleet.lake.store import FileEntry, Lake
from modelfleet.matrices import Bucket, Inputs
from modelfleet.prediction import NoModelError, Predicted, Reason, dump
from modelfleet.shared_model import SharedModel
from modelfleet.slices import wall_moment
from modelfleet.spared import know_arrays
from modelfleet.training import checkpoints, groups
from modelfleet.training.carrying import Carrying, in_order, without
from modelfleet.training.champions import Champions
from modelfleet.training.checkpoints import Checkpoints
from modelfleet.training.groups import TrainedGroups
from modelfleet.training.plan import ChampionStatus, TrainingPlan, author_code
from modelfleet.training.sample import Sample
from modelfleet.training.selection import Trial, compete, trials_text
from modelfleet.training.series import SeriesSample
from modelfleet.training.tabular import TabularSample

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class BucketTrainer:
    """Fits the partitions of a bucket one after the other.

    :ivar champions: the champion fleet's pack rows of the bucket, with models, by key; see `Champions`.
    :ivar champion_inputs: how the matrices of the champion's models are made, by their id.
    :ivar champion_groups: the champion fleet's models over many partitions.
    :ivar groups: this training's models over many partitions.
    :ivar limits: of one partition, which then is fitted in a guarded process; None: in this one, without any.
    """

    plan: TrainingPlan
    codes: Mapping[str, modelcode.ModelCode]
    champions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    champion_inputs: Mapping[str, Inputs] = field(default_factory=dict)
    champion_groups: GroupModels = field(default_factory=GroupModels)
    groups: TrainedGroups = field(default_factory=TrainedGroups)
    limits: Limits | None = None

    def rows(self, bucket: pa.Table, key_fields: Sequence[pa.Field]) -> pa.Table:
        """One pack row per partition of the bucket, in its order."""
        import pyarrow as pa

        return pa.Table.from_pylist(list(self.each(bucket)), schema=pack.row_schema(key_fields, self.plan.metrics))

    def each(self, bucket: pa.Table, prints: Mapping[str, str] | None = None) -> Generator[dict[str, Any]]:
        """The pack row of one partition after the other, in the bucket's order.

        :param prints: the fingerprints of the partitions, where they are known.
        """
        known = slices.fingerprints(bucket) if prints is None else prints
        shared = Bucket(bucket, self.plan.columns.time, (*self.plan.columns.keys, self.plan.columns.time))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for row, (key, _, _) in zip(self._fitted(shared), shared.bounds, strict=True):
                yield row | {"fingerprint": known[key]}

    def _fitted(self, bucket: Bucket) -> Generator[dict[str, Any]]:
        if self.limits is None:
            yield from (self.partition(bucket, position) for position in range(len(bucket.bounds)))
            return
        self._prepare(bucket)
        began = time.perf_counter()
        with closing(guard.each(partial(self._guarded, bucket), len(bucket.bounds), self.limits)) as outcomes:
            for position, made in enumerate(outcomes):
                took = time.perf_counter() - began
                yield self._broken(bucket, position, made, took) if isinstance(made, guard.Broken) else made
                began = time.perf_counter()

    def _prepare(self, bucket: Bucket) -> None:
        """Make what partitions share, and read what they may need: a fork must not use this process's connections."""
        modelcode.warm_up()
        know_arrays()
        plan = self.plan
        for name in plan.columns.keys:
            bucket.leading(name)
        for known in filter(None, (plan.columns.target, plan.weight)):
            bucket.numbers(known)
        if plan.forecast is None and plan.inputs.recipe is None:
            bucket.missing(plan.inputs.columns)
        met = self.champion_inputs.values() if self.champions else ()
        arrays = any(code.features is None for code in self.codes.values())
        bucket.prepare((plan.inputs, *met), plan.aheads, arrays=arrays)
        if self.groups.rows:
            bucket.prepare((plan.shared_inputs,), plan.aheads)
        if any(modelcode.is_forecaster(code.build(**code.params)) for code in self.codes.values()):
            bucket.prepare((plan.inputs,), (1,))
        if self.champions:
            self.champion_groups.fetch()

    def _guarded(self, bucket: Bucket, position: int) -> dict[str, Any]:
        row = self.partition(bucket, position)
        if row.get("reason") == Reason.MEMORY_EXCEEDED:
            raise MemoryError(row["message"])  # the guard knows the limit
        return row

    def _broken(self, bucket: Bucket, position: int, broken: guard.Broken, seconds: float) -> dict[str, Any]:
        """The pack row of a partition whose process was broken: what is known without the author's code."""
        row = self._begun(bucket, position)
        with suppress(NoModelError):
            row |= self._describe(self.sample(bucket, position))
        row |= {"status": "failed", "reason": str(broken.reason), "message": broken.message, "fit_seconds": seconds}
        return row | {"serves": self._otherwise(row)}

    def _begun(self, bucket: Bucket, position: int) -> dict[str, Any]:
        """What is known of a partition before it is looked at."""
        key, start, end = bucket.bounds[position]
        return {
            pack.HASH: keys.hash_of(key),
            "partition": key,
            **{name: bucket.leading(name)[position] for name in self.plan.columns.keys},
            "trained_interval": self.plan.interval,
            "trained_attempt": self.plan.attempt,
            "baseline_status": "none",
            "fallback_status": "none",
            "champion_status": ChampionStatus.NONE if key not in self.champions else ChampionStatus.NOT_COMPARABLE,
            "n_rows": end - start,
        }

    def partition(self, bucket: Bucket, position: int) -> dict[str, Any]:
        """The pack row of one partition, fitted in this process."""
        row = self._begun(bucket, position)
        began = time.perf_counter()
        sample = self.sample(bucket, position)
        try:
            row |= self._describe(sample)
            sample.check()
            self._train(sample, row)
            row["status"] = "trained"
        except NoModelError as stop:
            row |= {"status": stop.status, "reason": str(stop.reason), "message": stop.message}
        row["fit_seconds"] = time.perf_counter() - began
        row["serves"] = "model" if row["status"] == "trained" else self._otherwise(row)
        return row

    def sample(self, bucket: Bucket, position: int) -> Sample:
        """The rows of one partition as candidates meet them."""
        kind = TabularSample if self.plan.forecast is None else SeriesSample
        key = bucket.bounds[position][0]
        return kind(key, bucket, position, self.plan, self.codes, self.groups.shared)

    def _otherwise(self, row: Mapping[str, Any]) -> str:
        """What serves a partition without a model: a forecast's baseline needs no number."""
        has = self.plan.forecast is not None or row.get("baseline_value") is not None
        return "baseline" if has else "none"

    def _describe(self, sample: Sample) -> dict[str, Any]:
        y = sample.y
        valid = len(y) - int(np.count_nonzero(np.isnan(y)))
        return {
            "n_null_target": sample.n_rows - valid,
            "n_train": sample.train_rows,
            "n_test": sample.test_rows,
            "window_start": _moment(sample.times[0]) if len(y) else None,
            "window_end": _moment(sample.times[-1]) if len(y) else None,
            "baseline_value": sample.baseline_value(),
        }

    def _train(self, sample: Sample, row: dict[str, Any]) -> None:
        plan = self.plan
        trials = compete(sample, plan.learners, metric=plan.select_by, halving=plan.halving)
        row["candidates"] = trials_text(trials)
        best, model = self._final(sample, trials)
        row |= {
            "candidate": best.learner.name,
            "code": best.learner.path,
            "features": (plan.shared_inputs if best.learner.scope == "fleet" else plan.inputs).id,
            "n_folds": len(best.scores),
            "shared": _reference(model),
        }
        if sample.test_rows:
            row |= _measured(sample, best)
            baseline = sample.measure(sample.baseline(0), 0)
            row |= {"baseline_status": "compared", **_prefixed("baseline", baseline)}
            row |= self._fallback(sample, row, baseline) | self._champion(sample)
        row[pack.MODEL], row["model_digest"] = dump(model)

    def _final(self, sample: Sample, trials: Sequence[Trial]) -> tuple[Trial, Any]:
        """The best candidate that can be fitted again on all rows, with that model.

        :raises NoModelError: the first one's, when none can.
        """
        first: NoModelError | None = None
        for trial in trials:
            if 0 in trial.failures or trial.dropped:
                continue
            try:
                again = self.plan.refit or trial.learner.scope == "fleet"  # of the latter, a reference
                model = sample.fit(trial.learner, None) if again else trial.models[0]
                if isinstance(sample, SeriesSample):
                    return trial, sample.with_residuals(model, trial, range(sample.folds))
                if self.plan.refit and sample.test_rows:
                    sample.predict(trial.learner, model, 0)
                return trial, model
            except NoModelError as stop:
                first = first or stop
        assert first is not None
        raise first

    def _fallback(self, sample: Sample, row: Mapping[str, Any], baseline: Mapping[str, float]) -> dict[str, Any]:
        """The model that would serve if the partition had none: the first coarser level's, else the baseline."""
        for level in self.plan.levels:
            found = self.groups.of(level, row, 0)
            if found is None:
                continue
            try:
                predicted = sample.predict(*found, 0)
                return {"fallback_status": level, **_prefixed("fallback", sample.measure(predicted, 0))}
            except NoModelError:
                continue
        return {"fallback_status": "baseline", **_prefixed("fallback", baseline)}

    def _champion(self, sample: Sample) -> dict[str, Any]:
        """The champion on the same holdout rows; where it was trained on any of them, the metrics of its own training."""
        champion = self.champions.get(sample.key)
        if champion is None:
            return {}
        stored = _stored(champion, self.plan)
        _, start, _ = sample.span(0)
        kind = sample.bucket.time_type
        seen = champion["window_end"]
        if seen is None or wall_moment(kind, _as_written(seen, kind)) >= sample.times[start]:
            return stored
        inputs = self.champion_inputs.get(champion["features"])
        if inputs is None or not sample.bucket.columns.issuperset(inputs.needs):
            # The spec has dropped a column it needs: it can't be judged here, and would block every promotion.
            return stored
        try:
            code = modelcode.imported(champion["code"], {}, fleet=self.plan.columns.fleet)
            if code.features is not None and not self.plan.same_code:
                # features() may give other columns, or other units, than the champion learned from.
                return stored
            model = self.champion_groups.resolve(pack.load_model(champion[pack.MODEL], champion["model_digest"]))
            if self.plan.forecast is not None and not model.reaches(self.plan.forecast):
                # The horizon is longer by now: no rule over the champion's metrics may hold the challenger back.
                return {"champion_status": ChampionStatus.NOT_COMPARABLE}
            predicted = sample.predict_with(model, inputs, code, 0)
            measured = sample.measure(predicted, 0)
        except CorruptionError:
            raise
        except Exception:
            # Whatever the champion's old code does on today's rows, the gate must know it failed, not that it is absent.
            return {"champion_status": ChampionStatus.FAILED}
        return {"champion_status": ChampionStatus.COMPARED, **_prefixed("champion", measured)}


def on_holdout(sample: Sample, trial: Trial) -> Predicted:
    """What a candidate says of the holdout, with the quantiles that it is measured by."""
    predicted = trial.predicted[0]
    if isinstance(sample, SeriesSample) and predicted.quantiles is None and sample.problem.quantiles:
        # Its quantiles come from the errors of the other folds: those of the holdout would judge themselves.
        model = sample.with_residuals(trial.models[0], trial, range(1, sample.folds))
        return sample.predict(trial.learner, model, 0)
    return predicted


def _measured(sample: Sample, best: Trial) -> Mapping[str, float]:
    """The chosen candidate's metrics on the holdout."""
    predicted = on_holdout(sample, best)
    return best.measured[0] if predicted is best.predicted[0] else sample.measure(predicted, 0)


def _reference(model: Any) -> str | None:
    """The digest of the model over many partitions that a model refers to."""
    held = model.fitted if isinstance(model, ForecastModel) else model
    return held.digest if isinstance(held, SharedModel) else None


def _stored(champion: Mapping[str, Any], plan: TrainingPlan) -> dict[str, Any]:
    """The champion's metrics as its own training measured them; those of another horizon compare with nothing."""
    measured = {name: champion.get(name) for name in plan.metrics}
    other = plan.forecast is not None and champion.get("n_test") != plan.forecast.horizon
    if other or all(value is None for value in measured.values()):
        return {"champion_status": ChampionStatus.NOT_COMPARABLE}
    return {"champion_status": ChampionStatus.STORED, **_prefixed("champion", measured)}


def _prefixed(prefix: str, measured: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}_{name}": value for name, value in measured.items()}


def _moment(value: np.datetime64) -> datetime:
    moment: datetime = value.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def _as_written(moment: datetime, kind: pa.DataType) -> datetime:
    """A row's `window_end`, which `_moment` made, back as the time column has it: its digits are wall time there."""
    return moment if getattr(kind, "tz", None) is not None else moment.replace(tzinfo=None)


@dataclass(frozen=True)
class BucketWork:
    """What every bucket of a training shares."""

    lake: Lake
    place: BucketPlace
    plan: TrainingPlan
    key_fields: tuple[pa.Field, ...]
    champion: pack.Pack | None
    groups: tuple[FileEntry, ...] = ()
    """The files of this training's models over many partitions."""
    carrying: Carrying | None = None
    """What is taken from an earlier training."""
    earlier: tuple[BucketPlace, ...] = ()
    """Where attempts before this one may have left checkpoints."""
    checkpoint_seconds: float = checkpoints.SECONDS

    def __call__(self, task: BucketTask) -> BucketResult:
        """Fit one bucket and write its file of the pack; what was fitted or is carried over is not fitted again."""
        hashes = keys.bucket_range(task.bucket, self.place.buckets)
        rows, schema = read_bucket(self.lake, task.rows), pack.row_schema(self.key_fields, self.plan.metrics)
        champion = None if self.champion is None else self.champion.rows(*hashes)
        saved = Checkpoints(self.lake, self.place, task.bucket, self.earlier, self.checkpoint_seconds)
        parts, carried = saved.found(), schema.empty_table()
        prints = read_partitions(self.lake, task.partitions) if task.partitions else slices.fingerprints(rows)
        if self.carrying is not None:
            carried = self.carrying.rows(prints, hashes, champion, schema)
        rest = without(rows, [carried, *parts])
        if rest.num_rows:
            parts += self._fit(rest, champion, saved, prints)
        trained = in_order(rows, [carried, *parts], schema)
        entry = pack.write_rows(
            self.lake, self.place.file("pack", task.bucket, secrets.token_hex(4), "parquet"), trained
        )
        counts = Counter(trained.column("status").to_pylist())
        chosen = Counter(name for name in trained.column("candidate").to_pylist() if name)
        facts = {
            "digest": pack.content_digest(trained),
            "counts": dict(counts),
            "candidates": dict(chosen),
            "carried": carried.num_rows,
        }
        made = finish(self.lake, self.place, BucketResult(task.bucket, {"pack": entry}, facts))
        saved.forget()
        return made

    def _fit(
        self, rows: pa.Table, champion: pa.Table | None, saved: Checkpoints, prints: Mapping[str, str]
    ) -> list[pa.Table]:
        """The pack rows of some partitions of a bucket, fitted now."""
        trainer = BucketTrainer(
            self.plan,
            author_code(self.plan),
            {} if champion is None else Champions(champion, self.plan.metrics),
            {} if self.champion is None else self.champion.header.all_inputs,
            GroupModels() if self.champion is None else GroupModels.opened(self.champion),
            groups.read(self.lake, self.plan, self.groups, rows),
            Limits.of(self.plan.per_model),
        )
        schema = pack.row_schema(self.key_fields, self.plan.metrics)
        with closing(trainer.each(rows, prints)) as fitted:
            return list(saved.keep(fitted, schema))
