"""The steps of a backtest: replay (every fold: train, score, compare), report, commit, publish.

Each fold is a step of its own to the runner, so that a killed backtest goes on with the folds it lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from modelfleet import dataset
from modelfleet import interval as intervals
from modelfleet.errors import ConflictError, DataError, bounded
from modelfleet.interval import Interval
from modelfleet.lake import Attempt, Lake, RunManifest, StepManifest, runs
from modelfleet.lake.runs import Json, digest_of
from modelfleet.spec.problem import Forecast
from modelfleet.steps import hindsight, preparing, restating
from modelfleet.steps.inputs import check_code, code_version
from modelfleet.steps.replaying import Fold, part_of
from modelfleet.steps.runner import Context, RunRef, StepFunction, StepResult, record_done, run_or_reuse
from modelfleet.warehouse import Warehouse

if TYPE_CHECKING:
    from modelfleet.backtesting import Cutoff
    from modelfleet.backtesting.results import Results
    from modelfleet.spec import FleetSpec

PIPELINE = "backtest"


def open_backtest(
    spec: FleetSpec, *, to: str | None = None, folds: int | None = None, every: int | None = None, force: bool = False
) -> RunRef:
    """Decide the cutoffs and open the attempt; its interval is that of the last cutoff.

    :param to: the last interval whose rows are used; default: the last one ingested.
    :param folds: how many cutoffs; default 10.
    :param every: how many steps (of other problems than a Forecast: days) cutoffs lie apart; default: as long as a fold.
    :param force: repeat folds that are done.
    :raises DataError: when nothing is ingested, not as far as `to`, or too little for so many folds.
    :raises ModelCodeError: when the author's code can't be used; before any data is read.
    """
    from modelfleet.backtesting import plan
    from modelfleet.backtesting.cutoffs import FOLDS

    check_code(spec)
    lake = Lake.open()
    ingests = runs.all_committed(lake, spec.name, "ingest")
    with_rows = [run for run in ingests if run.status != "empty"]
    last = _last(spec, with_rows, to)
    count = FOLDS if folds is None else folds
    cutoffs = plan(spec, last, folds=count, every=every, since=with_rows[0].interval.start)
    within = Interval(last.key, with_rows[0].interval.start, last.end)
    attempt = runs.begin(
        lake,
        fleet=spec.name,
        pipeline=PIPELINE,
        interval=intervals.of_key(cutoffs[-1].key, timezone=spec.timezone),
        spec_json=spec.to_json(),
        spec_digest=spec.digest,
        code_version=code_version(spec),
        inputs=hindsight.known_today(spec, ingests, within),
        options={"to": last.key, "folds": [cutoff.to_json() for cutoff in cutoffs], "force": force},
    )
    Warehouse.open().record_run(
        spec.name,
        PIPELINE,
        attempt.interval.key,
        attempt.id,
        status="running",
        spec_digest=spec.digest,
        code_version=attempt.code_version,
    )
    return RunRef(spec.name, PIPELINE, attempt.interval.key, attempt.id)


def _last(spec: FleetSpec, ingests: Sequence[RunManifest], to: str | None) -> Interval:
    """The interval that a backtest's rows end with."""
    if not ingests:
        raise DataError(
            f"fleet {spec.name!r}: nothing is ingested to replay",
            hint=f"ingest first: modelfleet run {spec.name} --step ingest --interval <last day> --start <first day>",
        )
    newest = ingests[-1].interval
    last = newest if to is None else intervals.of_key(to, timezone=spec.timezone)
    if last.utc[1] > newest.utc[1]:
        raise DataError(
            f"fleet {spec.name!r}: backtest up to {last.key}, but rows are ingested up to {newest.key}",
            hint=f"--to {newest.key}, or ingest the intervals after it",
        )
    return last


def cutoffs_of(attempt: Attempt) -> list[Cutoff]:
    """The folds of a backtest, oldest first."""
    from modelfleet.backtesting import Cutoff

    return [Cutoff.from_json(given, attempt.interval.timezone) for given in attempt.options["folds"]]


def replay(ctx: Context) -> StepResult:
    """Make every fold that is not there yet, in one Spark session."""
    ingests = _pinned(ctx)
    actuals = None
    if isinstance(ctx.spec.problem, Forecast):
        actuals = run_or_reuse(ctx, "actuals", StepFunction(_actuals, _actuals_fingerprint))
    done = []
    for number, cutoff in enumerate(cutoffs := cutoffs_of(ctx.attempt)):
        fold = Fold(cutoff, ingests, actuals)
        done.append(run_or_reuse(ctx, fold.name, StepFunction(fold.make, fold.fingerprint)))
        if ctx.progress is not None:
            ctx.progress("folds", number + 1, len(cutoffs))
    taken = sum(made.reused_from is not None for made in done)
    facts = {
        "folds": len(done),
        "taken_over": taken,
        "compared": sum(made.facts["compared"] for made in done),
        "sources": dict(sum((Counter(made.facts["sources"]) for made in done), Counter())),
    }
    return StepResult({}, digest_of([made.digest for made in done]), facts)


def _pinned(ctx: Context) -> list[RunManifest]:
    """The ingests that the backtest was opened on."""
    pinned = {name.partition("/")[2]: used["attempt"] for name, used in ctx.attempt.inputs.items()}
    every = [run for run in runs.all_committed(ctx.lake, ctx.spec.name, "ingest") if run.interval.key in pinned]
    changed = [run.interval.key for run in every if run.attempt != pinned[run.interval.key]]
    if changed or len(every) < len(pinned):
        raise ConflictError(
            f"fleet {ctx.spec.name!r}: intervals were ingested again since the backtest was opened: {bounded(changed)}",
            hint="run the backtest again; folds that do not depend on them are taken over",
        )
    return every


def _actuals(ctx: Context) -> StepResult:
    """The series as they are known today, up to the end of the last fold."""
    until = intervals.of_key(ctx.attempt.options["to"], timezone=ctx.spec.timezone)
    # What came is compared whatever the window of a training of today.
    everything = ctx.spec.model_copy(update={"training": ctx.spec.training.model_copy(update={"window": None})})
    return preparing.group_rows(part_of(ctx, "actuals", "train", until, ctx.attempt.inputs, everything))


def _actuals_fingerprint(ctx: Context) -> Json:
    return {
        "inputs": restating.content(ctx.attempt.inputs),
        "spec": ctx.spec.digest,
        "code": ctx.attempt.code_version,
        "to": ctx.attempt.options["to"],
        "format": dataset.FORMAT,
    }


def folds_of(ctx: Context) -> list[StepManifest]:
    """What the folds wrote, oldest first."""
    return [ctx.step(f"fold-{cutoff.key}") for cutoff in cutoffs_of(ctx.attempt)]


def _results(ctx: Context) -> Results:
    from modelfleet.backtesting.results import Results

    return Results.read(ctx.lake, ctx.spec, ctx.attempt, folds_of(ctx))


def result_of(spec: FleetSpec, ref: RunRef) -> Results:
    """What a backtest whose steps have run found."""
    lake = Lake.open()
    attempt = runs.load_attempt(lake, ref.fleet, ref.pipeline, ref.interval, ref.attempt)
    return _results(Context(lake, spec, attempt))


def report(ctx: Context) -> StepResult:
    """Sum the folds up: a page with plots and a table of all partitions and folds, kept in the lake."""
    from modelfleet.backtesting.report import PAGE, render

    found = _results(ctx)
    path = ctx.attempt.path(PAGE)
    entry = preparing.write_or_find(ctx.lake, path, render(found).encode())
    return StepResult({"report": (entry,)}, digest_of(asdict(found.summary)), {"report": path, **asdict(found.summary)})


def commit(ctx: Context) -> StepResult:
    """Put the backtest in force."""
    done = [*folds_of(ctx), ctx.step("report")]
    facts = ctx.step("report").facts
    manifest = runs.commit(ctx.lake, ctx.attempt, status="committed", steps=done, facts=facts)
    return StepResult({}, manifest.digest, {})


def publish(ctx: Context) -> StepResult:
    """The table of partitions and folds in the warehouse; one MLflow run with numbers, report and table."""
    from modelfleet import registry

    found = _results(ctx)
    rows = ctx.warehouse.load_backtest(
        ctx.spec.name,
        ctx.attempt.id,
        found.table,
        made_at=datetime.fromisoformat(ctx.attempt.created_at),
        own_metrics=ctx.spec.training.metrics,
    )
    run_id = registry.log_backtest(
        ctx.spec.name,
        ctx.attempt.id,
        tags=found.tags,
        spec=ctx.spec.model_dump(mode="json"),
        metrics=found.summary.numbers(),
        table=found.table,
        report=ctx.lake.read(ctx.step("report").files["report"][0].path),
    )
    record_done(ctx, status="committed", rows=found.summary.compared, counts={"partitions and folds": rows})
    return StepResult({}, ctx.step("report").digest, {"loaded": rows, "run_id": run_id})


STEPS = {
    "backtest.replay": StepFunction(replay),
    "backtest.report": StepFunction(report),
    "backtest.commit": StepFunction(commit),
    "backtest.publish": StepFunction(publish),
}
