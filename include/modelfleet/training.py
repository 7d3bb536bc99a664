"""Training: fit and evaluate one partition, then a bucket of them.

Every expected partition ends as exactly one row: trained, skipped (reason) or failed (reason, message). The holdout is the
last stretch of time, cut at one moment for the whole fleet; the baseline and the champion are measured on the same rows.
"""

from __future__ import annotations

import secrets
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import baseline, keys, metric_names, metrics, modelcode, pack, slices
from modelfleet.dataset import Columns, read_bucket
from modelfleet.errors import CorruptionError, ModelCodeError
from modelfleet.lake.buckets import BucketPlace, BucketResult, finish
from modelfleet.lake.store import FileEntry, Lake
from modelfleet.prediction import NoModelError, Reason, dump, fit, predict, raised

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.spec import FleetSpec


class ChampionStatus(StrEnum):
    """How the champion's metrics beside a challenger came about."""

    NONE = "none"
    COMPARED = "compared"
    NOT_COMPARABLE = "not_comparable"
    FAILED = "failed"


@dataclass(frozen=True)
class TrainingPlan:
    """All that fitting a partition depends on beside its rows. `cutoff`: rows from then on are the holdout."""

    columns: Columns
    problem: str
    baseline: str
    model: str
    params: Mapping[str, Any]
    metrics: tuple[str, ...]
    own_metrics: tuple[str, ...]
    cutoff: datetime
    min_rows: int
    refit: bool
    interval: str
    attempt: str
    same_code: bool = True
    """Whether the champion's models were trained with the author's code as it is now."""

    @classmethod
    def of(
        cls, spec: FleetSpec, columns: Columns, *, cutoff: datetime, interval: str, attempt: str, same_code: bool = True
    ) -> TrainingPlan:
        training = spec.training
        own = tuple(training.metrics)
        return cls(
            columns=columns,
            problem=spec.problem.kind,
            baseline=getattr(spec.problem, "baseline", "last"),
            model=str(spec.model),
            params=dict(spec.params),
            metrics=(*metric_names.names(spec.problem.kind), *own),
            own_metrics=own,
            cutoff=cutoff,
            min_rows=training.min_rows,
            refit=training.refit,
            interval=interval,
            attempt=attempt,
            same_code=same_code,
        )


@dataclass
class _Rows:
    """One partition's usable rows: those with a target, in time order. `train` counts those before the cutoff."""

    table: pa.Table
    y: np.ndarray
    times: np.ndarray
    train: int
    n_null: int
    whole: pa.Table
    """The rows without a target too: the author's features() sees them, as it does when scoring."""
    valid: np.ndarray
    """Which rows of `whole` those of `table` are; shape (rows of whole,)."""


@dataclass
class BucketTrainer:
    """Fits the partitions of a bucket one after the other.

    `champions` holds the champion fleet's pack rows of the bucket by key.
    """

    plan: TrainingPlan
    code: modelcode.ModelCode
    champions: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def rows(self, bucket: pa.Table, key_fields: Sequence[pa.Field]) -> pa.Table:
        """One pack row per partition of the bucket, in its order."""
        import pyarrow as pa

        hashes = slices.row_hashes(bucket)
        listed = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for key, start, end in slices.bounds(bucket):
                row = self.partition(key, bucket.slice(start, end - start))
                row["fingerprint"] = slices.fingerprint(hashes[start:end])
                listed.append(row)
        return pa.Table.from_pylist(listed, schema=pack.row_schema(key_fields, self.plan.metrics))

    def partition(self, key: str, part: pa.Table) -> dict[str, Any]:
        """The pack row of one partition; whatever its rows or the author's code do, there is one."""
        row: dict[str, Any] = {
            pack.HASH: keys.hash_of(key),
            "partition": key,
            **{name: part.column(name)[0].as_py() for name in self.plan.columns.keys},
            "trained_interval": self.plan.interval,
            "trained_attempt": self.plan.attempt,
            "candidate": self.plan.model,
            "features": pack.features_text(self.plan.columns.features),
            "baseline_status": "none",
            "champion_status": ChampionStatus.NONE if key not in self.champions else ChampionStatus.NOT_COMPARABLE,
            "n_rows": part.num_rows,
        }
        began = time.perf_counter()
        try:
            usable = _usable(part, self.plan)
            row |= self._describe(usable)
            self._train(key, usable, row)
        except NoModelError as stop:
            row |= {"status": stop.status, "reason": str(stop.reason), "message": stop.message}
        row["fit_seconds"] = time.perf_counter() - began
        row["serves"] = (
            "model" if row["status"] == "trained" else "none" if row.get("baseline_value") is None else "baseline"
        )
        return row

    def _describe(self, rows: _Rows) -> dict[str, Any]:
        return {
            "n_null_target": rows.n_null,
            "n_train": rows.train,
            "n_test": len(rows.y) - rows.train,
            "window_start": _moment(rows.times[0]) if len(rows.y) else None,
            "window_end": _moment(rows.times[-1]) if len(rows.y) else None,
            "baseline_value": baseline.value(self.plan.baseline, rows.y)
            if len(rows.y) and _bad_target(rows.y, self.plan.problem) is None
            else None,
        }

    def _train(self, key: str, rows: _Rows, row: dict[str, Any]) -> None:
        _see_whether_it_can_be_trained(rows, self.plan)
        x = _features(rows, self.plan, self.code)
        build = partial(self.code.estimator, keys.seed_of(key))
        cut, test = rows.train, slice(rows.train, len(rows.y))
        model = fit(build, modelcode.take(x, slice(0, cut)), rows.y[:cut])
        if cut < len(rows.y):
            value = baseline.value(self.plan.baseline, rows.y[:cut])
            row |= _prefixed(
                "baseline", self._evaluate(rows, test, *baseline.predict(self.plan.problem, value, len(rows.y) - cut))
            )
            row["baseline_status"] = "compared"
            row |= self._evaluate(rows, test, *predict(model, modelcode.take(x, test), self.plan.problem))
            row |= self._evaluate_champion(key, rows, test, x)
        if self.plan.refit:
            model = fit(build, x, rows.y)
            predict(model, modelcode.take(x, slice(-1, None)), self.plan.problem)
        row[pack.MODEL], row["model_digest"] = dump(model)
        row["status"] = "trained"

    def _evaluate(
        self, rows: _Rows, test: slice, prediction: np.ndarray, probability: np.ndarray | None
    ) -> dict[str, float]:
        truth = rows.y[test]
        if probability is not None:
            measured = dict(metrics.classification(truth, probability, prediction))
        else:
            measured = dict(metrics.regression(truth, prediction))
        if self.code.metrics is not None and self.plan.own_metrics:
            frame = rows.table.slice(test.start).to_pandas()
            measured |= _own_metrics(self.code, truth, prediction, frame, self.plan.own_metrics)
        return measured

    def _evaluate_champion(self, key: str, rows: _Rows, test: slice, x: modelcode.Matrix) -> dict[str, Any]:
        """The champion on the same holdout rows, unless it was trained on any of them."""
        champion = self.champions.get(key)
        if champion is None:
            return {}
        if (
            champion["window_end"] is None
            or np.datetime64(champion["window_end"].replace(tzinfo=None), "us") >= rows.times[test.start]
        ):
            return {"champion_status": ChampionStatus.NOT_COMPARABLE}
        if not set(pack.features_of(champion)) <= set(rows.table.column_names):
            # The spec has dropped a column it needs: it can't be judged here, and would block every promotion.
            return {"champion_status": ChampionStatus.NOT_COMPARABLE}
        if self.code.features is not None and not self.plan.same_code:
            # features() may give other columns, or other units, than the champion learned from.
            return {"champion_status": ChampionStatus.NOT_COMPARABLE}
        try:
            model = pack.load_model(champion[pack.MODEL], champion["model_digest"])
            x = modelcode.take(self._champions_matrix(champion, rows, x), test)
            measured = self._evaluate(rows, test, *predict(model, x, self.plan.problem))
        except CorruptionError:
            raise
        except Exception:
            # Whatever the champion's old code does on today's rows, the gate must know it failed, not that it is absent.
            return {"champion_status": ChampionStatus.FAILED}
        return {"champion_status": ChampionStatus.COMPARED, **_prefixed("champion", measured)}

    def _champions_matrix(self, champion: Mapping[str, Any], rows: _Rows, x: modelcode.Matrix) -> modelcode.Matrix:
        """The matrix of the columns and the code that the champion was trained with, where the spec has changed since."""
        features, path, plan = pack.features_of(champion), champion["candidate"], self.plan
        if (features, path) == (plan.columns.features, plan.model):
            return x
        code = modelcode.imported(path, {}, fleet=plan.columns.fleet)
        return _matrix(rows, features, plan, code)


def _usable(part: pa.Table, plan: TrainingPlan) -> _Rows:
    assert plan.columns.target is not None
    whole, y = part, modelcode.numbers(part.column(plan.columns.target))
    valid = ~np.isnan(y)
    if not valid.all():
        import pyarrow as pa

        part, y = part.filter(pa.array(valid)), y[valid]
    times = wall_times(part.column(plan.columns.time))
    cutoff = _cutoff(part.schema.field(plan.columns.time).type, plan.cutoff)
    train = int(np.searchsorted(times, cutoff, side="left"))
    return _Rows(part, y, times, train, int((~valid).sum()), whole, valid)


def wall_times(column: pa.ChunkedArray) -> np.ndarray:
    """A time column as datetime64[us]: instants in UTC, naive times and dates as they are."""
    import pyarrow as pa

    kind = column.type
    return column.cast(pa.timestamp("us", getattr(kind, "tz", None))).to_numpy().astype("datetime64[us]")


def _cutoff(kind: pa.DataType, cutoff: datetime) -> np.datetime64:
    aware = getattr(kind, "tz", None) is not None
    return np.datetime64((cutoff.astimezone(UTC) if aware else cutoff).replace(tzinfo=None), "us")


def _see_whether_it_can_be_trained(rows: _Rows, plan: TrainingPlan) -> None:
    count = len(rows.y)
    if count == 0:
        raise NoModelError("skipped", Reason.NO_TARGET, f"all {rows.n_null} rows have a null target")
    if count < plan.min_rows:
        raise NoModelError("skipped", Reason.TOO_FEW_ROWS, f"{count} rows with a target, {plan.min_rows} needed")
    if rows.train == 0:
        raise NoModelError(
            "skipped", Reason.NO_ROWS_BEFORE_CUTOFF, f"all {count} rows are in the holdout, from {plan.cutoff}"
        )
    bad = _bad_target(rows.y, plan.problem)
    if bad is not None:
        raise NoModelError("failed", Reason.BAD_TARGET, bad)
    if (rows.y[: rows.train] == rows.y[0]).all():
        raise NoModelError(
            "skipped", Reason.CONSTANT_TARGET, f"the target is {rows.y[0]:g} in all {rows.train} training rows"
        )
    head = rows.table.slice(0, rows.train)
    empty = [name for name in plan.columns.features if _null_count(head.column(name)) == rows.train]
    if empty:
        raise NoModelError(
            "skipped", Reason.ALL_NULL_FEATURE, f"null in all {rows.train} training rows: {', '.join(empty)}"
        )


def _bad_target(y: np.ndarray, problem: str) -> str | None:
    """What is wrong with the targets, which then have no baseline either."""
    if problem == "classification" and not np.isin(y, (0.0, 1.0)).all():
        return "a classification target is bool, or 0 and 1"
    with np.errstate(over="ignore"):
        return None if np.isfinite(np.abs(y).sum()) else "the target holds infinity, or values too large to add up"


def _null_count(column: pa.ChunkedArray) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.is_null(column, nan_is_null=True)).as_py())


def _matrix(rows: _Rows, features: Sequence[str], plan: TrainingPlan, code: modelcode.ModelCode) -> modelcode.Matrix:
    """The matrix of the rows with a target, made from all rows."""
    x = modelcode.matrix(rows.whole, features, code, context=(*plan.columns.keys, plan.columns.time))
    return x if rows.n_null == 0 else modelcode.take(x, np.flatnonzero(rows.valid))


def _features(rows: _Rows, plan: TrainingPlan, code: modelcode.ModelCode) -> modelcode.Matrix:
    try:
        return _matrix(rows, plan.columns.features, plan, code)
    except ModelCodeError as exc:
        raise NoModelError("failed", Reason.FEATURES_RAISED, exc.message) from exc
    except (Exception, SystemExit) as exc:
        raise NoModelError("failed", Reason.FEATURES_RAISED, raised(exc)) from exc


def _own_metrics(
    code: modelcode.ModelCode, truth: np.ndarray, prediction: np.ndarray, frame: Any, names: Sequence[str]
) -> dict[str, float]:
    assert code.metrics is not None
    try:
        given = code.metrics(truth, prediction, frame)
        return {name: float(given[name]) for name in names}
    except Exception as exc:
        raise NoModelError("failed", Reason.METRICS_RAISED, f"metrics(): {raised(exc)}") from exc


def _prefixed(prefix: str, measured: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in measured.items()}


def _moment(value: np.datetime64) -> datetime:
    moment: datetime = value.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class BucketTask:
    """One bucket to train: its rows, and where the champion's models are."""

    bucket: int
    rows: FileEntry


@dataclass(frozen=True)
class BucketWork:
    """What every bucket of a training shares."""

    lake: Lake
    place: BucketPlace
    plan: TrainingPlan
    key_fields: tuple[pa.Field, ...]
    champion: pack.Pack | None

    def __call__(self, task: BucketTask) -> BucketResult:
        """Fit one bucket and write its file of the pack."""
        low, high = keys.bucket_range(task.bucket, self.place.buckets)
        champions = {} if self.champion is None else _with_models(self.champion.rows(low, high))
        code = modelcode.load(
            self.plan.model,
            self.plan.params,
            fleet=self.plan.columns.fleet,
            probabilities=self.plan.problem == "classification",
        )
        trained = BucketTrainer(self.plan, code, champions).rows(read_bucket(self.lake, task.rows), self.key_fields)
        entry = pack.write_rows(
            self.lake, self.place.file("pack", task.bucket, secrets.token_hex(4), "parquet"), trained
        )
        counts = Counter(trained.column("status").to_pylist())
        facts = {"digest": pack.content_digest(trained), "counts": dict(counts)}
        return finish(self.lake, self.place, BucketResult(task.bucket, {"pack": entry}, facts))


def _with_models(rows: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["partition"]: row for row in rows.to_pylist() if row["serves"] == "model"}
