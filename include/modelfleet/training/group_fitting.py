"""One group of partitions: its candidates compete over all of them, in a process of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

from modelfleet import guard, keys, modelcode, pack
from modelfleet.errors import ModelCodeError
from modelfleet.forecast_model import ForecastModel, residuals_of
from modelfleet.group_models import CANDIDATE
from modelfleet.guard import Limits
from modelfleet.matrices import Bucket
from modelfleet.prediction import NoModelError, Reason, dump
from modelfleet.training.panel import PanelSample
from modelfleet.training.plan import TrainingPlan, author_code
from modelfleet.training.sample import Sample
from modelfleet.training.selection import Trial, compete, trials_text
from modelfleet.training.series import SeriesSample
from modelfleet.training.tabular import TabularSample

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.spec import Learner

FINAL = -1
"""The number that stands for all rows, where others count folds."""


def fit_group(
    plan: TrainingPlan, level: str, group: str, rows: pa.Table
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows for the pack, and those of the folds, of one group; a row each of the candidates at level `candidate`."""
    codes = author_code(plan)
    bucket = Bucket(rows, plan.columns.time, (*plan.columns.keys, plan.columns.time))
    bucket.prepare((plan.shared_inputs,), plan.aheads)
    kind = TabularSample if plan.forecast is None else SeriesSample
    members = [
        kind(key, bucket, position, plan, codes, _no_shared) for position, (key, _, _) in enumerate(bucket.bounds)
    ]
    members = [member for member in members if _usable(member)]
    if level != CANDIDATE:
        usual = tuple(learner for learner in plan.learners if _spans(codes[learner.name]))
        return _fit_one(plan, level, group, members, usual, every_fold=False)
    made: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for learner in plan.learners:
        if learner.scope == "fleet":
            if not _spans(codes[learner.name]):
                raise ModelCodeError(
                    f"fleet {plan.columns.fleet!r}: candidate {learner.name!r} of scope 'fleet' is a forecaster, "
                    "which is fitted on one series",
                    hint="give it scope='partition', or an estimator in its place",
                )
            final, folds = _fit_one(plan, level, learner.name, members, (learner,), every_fold=True)
            made[0].extend(final)
            made[1].extend(folds)
    return made


def _spans(code: modelcode.ModelCode) -> bool:
    """Whether a candidate can be fitted on many series: forecasters can't."""
    return not modelcode.is_forecaster(code.build(**code.params))


def _usable(member: Sample) -> bool:
    """Whether a partition's rows are sound; that they are few or constant does not matter here."""
    try:
        _ = member.weights  # one that can't be used fails the partition alone
        member.check()
    except NoModelError as stop:
        # Of few rows it was not looked at whether they are sound.
        return stop.status == "skipped" and len(member.y) > 0 and member.broken is None
    return True


def _no_shared(name: str, fold: int | None) -> Any:
    raise AssertionError("groups are fitted before what is shared is known")


def _fit_one(
    plan: TrainingPlan,
    level: str,
    group: str,
    members: Sequence[Sample],
    learners: Sequence[Learner],
    *,
    every_fold: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    row: dict[str, Any] = {
        pack.HASH: keys.hash_of(group),
        "partition": group,
        "level": level,
        "trained_interval": plan.interval,
        "trained_attempt": plan.attempt,
        "baseline_status": "none",
        "fallback_status": "none",
        "champion_status": "none",
        "n_rows": sum(member.n_rows for member in members),
        "features": plan.shared_inputs.id,
        "serves": "none",
    }
    began = time.perf_counter()
    folds: list[dict[str, Any]] = []
    try:
        if not members or not learners:
            raise NoModelError("skipped", Reason.TOO_FEW_ROWS, "no partition or no estimator to fit over several")
        work = partial(_competed, PanelSample(group, members, plan), level, learners, every_fold)
        made = guard.one(work, Limits.of(plan.per_model, many=True))
        if isinstance(made, guard.Broken):
            raise NoModelError("failed", made.reason, made.message)
        more, folds = made
        row |= {**more, "status": "trained", "serves": "model"}
    except NoModelError as stop:
        row |= {"status": stop.status, "reason": str(stop.reason), "message": stop.message}
        why = {"reason": str(stop.reason), "message": stop.message}
        folds = [{**_NOTHING, "level": level, "partition": group, "fold": FINAL, **why}]
    row["fit_seconds"] = time.perf_counter() - began
    return [row], folds


def _competed(
    sample: PanelSample, level: str, learners: Sequence[Learner], every_fold: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is known of a group's model, its bytes among it, and the rows of its folds.

    :raises NoModelError: when there is none.
    :raises MemoryError: when there is not enough memory for one.
    """
    plan, group = sample.plan, sample.group
    try:
        keep = sample.folds if every_fold else 1
        trials = compete(sample, learners, metric=plan.select_by, keep=keep)
        row = _described(sample, trials)
        model = sample.fit(trials[0].learner, None) if plan.refit else trials[0].models[0]
        if plan.forecast is not None:
            model = ForecastModel(model.fitted, residuals_of(sample.errors(trials[0]), plan.forecast))
        row[pack.MODEL], row["model_digest"] = dump(model)
        folds = [_fold_row(level, group, trials[0], fold, *dump(made)) for fold, made in trials[0].models.items()]
        folds.append(_fold_row(level, group, trials[0], FINAL, row[pack.MODEL], row["model_digest"]))
    except NoModelError as stop:
        if stop.reason == Reason.MEMORY_EXCEEDED:
            raise MemoryError(stop.message) from stop  # the guard knows the limit
        raise
    return row, folds


def _described(sample: PanelSample, trials: Sequence[Trial]) -> dict[str, Any]:
    best = trials[0]
    n_train, n_test = sample.rows(0)
    start, end = sample.window
    measured = sample.measure(best.predicted[0], 0) if n_test else {}
    naive = sample.measure(sample.baseline(0), 0) if n_test else {}
    status = "compared" if n_test else "none"
    return {
        "candidate": best.learner.name,
        "code": best.learner.path,
        "candidates": trials_text(trials),
        "n_folds": len(best.scores),
        "n_train": n_train,
        "n_test": n_test,
        "window_start": start.astype("datetime64[us]").item().replace(tzinfo=UTC),
        "window_end": end.astype("datetime64[us]").item().replace(tzinfo=UTC),
        **measured,
        "baseline_status": status,
        **{f"baseline_{name}": value for name, value in naive.items()},
        # What serves where the gate refuses it, so that rules over `fallback` hold for groups too.
        "fallback_status": "baseline" if n_test else "none",
        **{f"fallback_{name}": value for name, value in naive.items()},
    }


def _fold_row(level: str, group: str, trial: Trial, fold: int, model: bytes, digest: str) -> dict[str, Any]:
    return {
        "level": level,
        "partition": group,
        "candidate": trial.learner.name,
        "fold": fold,
        "reason": None,
        "message": None,
        "model_digest": digest,
        "model": model,
    }


_NOTHING = dict.fromkeys(("candidate", "model", "model_digest"))


def folds_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows of folds as a table."""
    import pyarrow as pa

    text = ("level", "partition", "candidate", "reason", "message", "model_digest")
    fields = [*((name, pa.string()) for name in text), ("fold", pa.int64()), ("model", pa.binary())]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
