"""Open a run and run its steps: reuse what is already done, record what happened, fail with the reason.

A step's result is taken over from the run in force, or from the attempt that was killed, when everything that determines
it is the same: inputs, spec and code, all in its fingerprint. What is taken over keeps its files; nothing is copied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from modelfleet import engine
from modelfleet.errors import ConflictError, DataError, ModelfleetError, NotFoundError, UnavailableError
from modelfleet.lake import Attempt, FileEntry, Lake, StepManifest, runs
from modelfleet.lake.runs import Json
from modelfleet.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from modelfleet.spec import FleetSpec


class NotReady(ModelfleetError):
    """There is nothing to do for this run now; it is recorded so, and no failure."""


class NoChampionYet(NotReady):
    """Scoring waits for the fleet's first promotion, which starts it again."""


class EmptyInterval(NotReady):
    """The interval holds no rows to score."""


class TrainingOnly(NotReady):
    """The interval was ingested for training only; it is not scored."""


class NothingToRetry(NotReady):
    """No failure of the training could turn out otherwise; nothing is opened."""


@dataclass(frozen=True)
class RunRef:
    """Names one attempt of one run."""

    fleet: str
    pipeline: str
    interval: str
    attempt: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class StepResult:
    """What a step function gives: its files by output name, the digest of their content, and facts for people."""

    files: Mapping[str, tuple[FileEntry, ...]]
    digest: str
    facts: Json


@dataclass
class Context:
    """What a step function gets."""

    lake: Lake
    spec: FleetSpec
    attempt: Attempt
    progress: engine.Progress | None = None
    fingerprint: str = ""
    """Of the step that runs; buckets are kept under it."""

    @cached_property
    def spark(self) -> SparkSession:
        a = self.attempt
        return engine.session(f"{a.fleet} {a.pipeline} {a.interval.key}", timezone=self.spec.timezone)

    @cached_property
    def warehouse(self) -> Warehouse:
        return Warehouse.open()

    @property
    def interval(self) -> str:
        return self.attempt.interval.key

    def step(self, name: str) -> StepManifest:
        """What an earlier step of this attempt wrote.

        :raises NotFoundError: when it has not run.
        """
        a = self.attempt
        found = runs.load_step(self.lake, a.fleet, a.pipeline, a.interval.key, a.id, name)
        if found is None:
            raise NotFoundError(
                f"{a.folder}: step {name!r} has not run", hint="run the steps in the order of `modelfleet plan`"
            )
        return found

    def maker(self, name: str) -> Attempt:
        """The attempt that made the result of an earlier step: this one, or the one it was taken over from.

        Rows of a result that was taken over are in the warehouse already, under the attempt that made it.
        """
        a = self.attempt
        made, found = a.id, self.step(name)
        while found.reused_from is not None:  # what was taken over may itself have been taken over
            made = found.reused_from
            earlier = runs.load_step(self.lake, a.fleet, a.pipeline, a.interval.key, made, name)
            if earlier is None:
                break
            found = earlier
        return a if made == a.id else runs.load_attempt(self.lake, a.fleet, a.pipeline, a.interval.key, made)

    def done_steps(self) -> list[StepManifest]:
        from modelfleet.plan import steps_of

        a = self.attempt
        found = [
            runs.load_step(self.lake, a.fleet, a.pipeline, a.interval.key, a.id, step.name)
            for step in steps_of(self.spec, a.pipeline)
        ]
        return [manifest for manifest in found if manifest is not None]


@dataclass(frozen=True)
class StepFunction:
    """How a step runs. `fingerprint` is None for steps that are repeated each time, being idempotent themselves."""

    run: Callable[[Context], StepResult]
    fingerprint: Callable[[Context], Json] | None = None


def open_run(
    spec: FleetSpec,
    pipeline: str,
    interval_key: str,
    *,
    start: str | None = None,
    train_only: bool = False,
    force: bool = False,
    as_of: bool = False,
    retry: str | None = None,
) -> RunRef:
    """Open an attempt: check the spec's code, pin the inputs and the champion, and write them down.

    :param interval_key: the interval's last day or hour.
    :param start: ingest: the first day of a longer interval.
    :param train_only: ingest: the interval is not scored.
    :param force: repeat work that could be reused; promote also an older interval.
    :param as_of: score: with the champion of that time (see `registry.champion_as_of`), not today's.
    :param retry: train: "failed" fits those models of the interval's training again whose failure could turn out
        otherwise, and carries all others over.
    :raises NoChampionYet: scoring, before the first promotion; recorded as waiting.
    :raises EmptyInterval: scoring an interval without rows; recorded as empty.
    :raises NothingToRetry: when no failure could turn out otherwise.
    :raises DataError: for a malformed key, overlapping intervals, missing inputs; a retry that is none.
    """
    from modelfleet.steps import inputs

    options = {"start": start, "train_only": train_only, "force": force, "as_of": as_of, "retry": retry}
    if retry is not None and (retry != "failed" or pipeline != "train" or force):
        raise DataError(
            f"fleet {spec.name!r}, {pipeline} of {interval_key}: retry is {retry!r}, force is {force}",
            hint='allowed: retry="failed", of train, without force',
        )
    opener = {
        "ingest": inputs.for_ingest,
        "train": inputs.for_train,
        "promote": inputs.for_promote,
        "score": inputs.for_score,
    }
    if pipeline not in opener:
        raise DataError(f"fleet {spec.name!r}: no pipeline {pipeline!r}; allowed are {', '.join(opener)}")
    lake = Lake.open()
    pinned = opener[pipeline](lake, spec, interval_key, options)
    attempt = runs.begin(
        lake,
        fleet=spec.name,
        pipeline=pipeline,
        interval=pinned.interval,
        spec_json=spec.to_json(),
        spec_digest=spec.digest,
        code_version=inputs.code_version(spec),
        inputs=pinned.inputs,
        options={**options, **pinned.facts},
    )
    ref = RunRef(spec.name, pipeline, pinned.interval.key, attempt.id)
    _record(attempt, "running")
    Warehouse.open().forget_run(spec.name, pipeline, pinned.interval.key, _not_started(pinned.interval.key))
    return ref


def run_step(
    ref: RunRef, step: str, *, progress: engine.Progress | None = None, context: Context | None = None
) -> Json:
    """Run one step of an open attempt, or take its result over; the facts of it.

    :param context: of an earlier step of the same attempt in this process, whose Spark session is used again.
    """
    ctx = context if context is not None else open_context(ref, progress=progress)
    function = _functions()[f"{ref.pipeline}.{step}"]
    with _recorded_failure(ctx.attempt, step):
        manifest = run_or_reuse(ctx, step, function)
    return {
        **manifest.facts,
        "digest": manifest.digest,
        "reused_from": manifest.reused_from,
        "seconds": manifest.seconds,
    }


def open_context(ref: RunRef, *, progress: engine.Progress | None = None) -> Context:
    """The context of an attempt, with the spec as it was when the attempt was opened."""
    from modelfleet.spec import FleetSpec

    lake = Lake.open()
    attempt = runs.load_attempt(lake, ref.fleet, ref.pipeline, ref.interval, ref.attempt)
    return Context(lake, FleetSpec.from_json(runs.load_spec_json(lake, attempt)), attempt, progress)


def record_not_started(spec: FleetSpec, pipeline: str, interval: str, *, status: str, message: str) -> None:
    """Record a run that did not start (waiting, empty): it has no attempt, and its row is replaced when it runs."""
    Warehouse.open().record_run(
        spec.name,
        pipeline,
        interval,
        _not_started(interval),
        status=status,
        message=message,
        started_at=datetime.now(UTC),
        ended_at=datetime.now(UTC),
        rows=0,
        spec_digest=spec.digest,
    )


def _not_started(interval: str) -> str:
    return f"not-started-{interval}"


def run_or_reuse(ctx: Context, step: str, function: StepFunction) -> StepManifest:
    """Run a step, or take over what it wrote before; its manifest."""
    a = ctx.attempt
    if function.fingerprint is None:
        began = time.perf_counter()
        result = function.run(ctx)
        seconds = round(time.perf_counter() - began, 3)
        done = StepManifest(step, "", result.digest, result.files, result.facts, seconds, None, _now())
        runs.note_step(ctx.lake, a, done)
        return done
    fingerprint = runs.digest_of([step, function.fingerprint(ctx)])
    found = _reusable(ctx, step, fingerprint)
    if found is None:
        _check_code(ctx, step)
        began = time.perf_counter()
        ctx.fingerprint = fingerprint
        result = function.run(ctx)
        found = StepManifest(
            step, fingerprint, result.digest, result.files, result.facts, round(time.perf_counter() - began, 3)
        )
    if found.created_at:
        return found
    return runs.save_step(ctx.lake, a, replace(found, created_at=_now()))


def _check_code(ctx: Context, step: str) -> None:
    """See that a training goes on with the code it was opened with: part of it may be made already."""
    from modelfleet.steps import inputs

    a = ctx.attempt
    if a.pipeline in ("train", "backtest") and inputs.code_version(ctx.spec) != a.code_version:
        raise ConflictError(
            f"fleet {a.fleet!r}, {a.pipeline} of {a.interval.key}: the author's code, or the version of a library it imports, is "
            f"another one at the step {step} than when the run was opened: models made by two can't be in one run",
            hint="after a change start a new run (in Airflow trigger the DAG again, as a cleared task goes on with the old one); "
            "else see that Airflow's workers and Spark's driver have the same packages",
        )


def _reusable(ctx: Context, step: str, fingerprint: str) -> StepManifest | None:
    """This attempt's own result, else the one of the run in force or of the attempt before, if it is still intact."""
    a, lake = ctx.attempt, ctx.lake
    own = runs.load_step(lake, a.fleet, a.pipeline, a.interval.key, a.id, step)
    if own is not None and own.fingerprint == fingerprint:
        return own
    if a.options.get("force"):
        return None
    in_force = runs.committed(lake, a.fleet, a.pipeline, a.interval.key)
    standing = [] if in_force is None else [in_force.attempt]
    # What was in force before is history: taking it over would pass an old issue off as the latest.
    killed = takewhile(lambda attempt: attempt not in standing, runs.earlier_attempts(lake, a))
    for earlier in [*standing, *killed]:
        found = runs.load_step(lake, a.fleet, a.pipeline, a.interval.key, earlier, step)
        if found is not None and found.fingerprint == fingerprint and _intact(lake, found):
            return replace(found, reused_from=earlier, seconds=0.0, created_at="")
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _intact(lake: Lake, manifest: StepManifest) -> bool:
    return all(lake.holds(entry) for entries in manifest.files.values() for entry in entries)


def _functions() -> dict[str, StepFunction]:
    from modelfleet.steps import backtesting, ingesting, promoting, scoring, training

    return {**ingesting.STEPS, **training.STEPS, **promoting.STEPS, **scoring.STEPS, **backtesting.STEPS}


@contextmanager
def _recorded_failure(attempt: Attempt, step: str) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        _record(attempt, "failed", message=f"{step}: {exc}"[:2000], ended=True)
        raise


def _record(attempt: Attempt, status: str, *, message: str | None = None, ended: bool = False) -> None:
    """Note the run's state in the warehouse; a warehouse that is down must not hide the step's own error."""
    try:
        Warehouse.open().record_run(
            attempt.fleet,
            attempt.pipeline,
            attempt.interval.key,
            attempt.id,
            status=status,
            started_at=datetime.fromisoformat(attempt.created_at),
            ended_at=datetime.now(UTC) if ended else None,
            message=message,
            spec_digest=attempt.spec_digest,
            code_version=attempt.code_version,
        )
    except UnavailableError:
        if status != "failed":
            raise


def record_done(ctx: Context, *, status: str, rows: int, counts: Mapping[str, Any], message: str | None = None) -> None:
    """Record that the attempt is in force, with seconds per step."""
    attempt = ctx.attempt
    steps = ctx.done_steps()
    results = [step for step in steps if step.fingerprint]
    all_reused = bool(results) and all(step.reused_from for step in results)
    ctx.warehouse.record_run(
        attempt.fleet,
        attempt.pipeline,
        attempt.interval.key,
        attempt.id,
        status="reused" if all_reused and status == "committed" else status,
        started_at=datetime.fromisoformat(attempt.created_at),
        ended_at=datetime.now(UTC),
        rows=rows,
        counts=counts,
        step_seconds={step.step: step.seconds for step in steps},
        message=message,
        spec_digest=attempt.spec_digest,
        code_version=attempt.code_version,
    )
