"""The steps of a backtest: replay (every fold: train, score, compare), report, commit, publish.

Each fold is a step of its own to the runner, so that a killed backtest goes on with the folds it lacks. What a fold trains
and scores with are the step functions of real runs, over contexts whose files lie in the fold's folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from modelfleet import engine, keys, pack, scoring, slices
from modelfleet import interval as intervals
from modelfleet.errors import ConflictError, DataError, bounded
from modelfleet.interval import Interval
from modelfleet.lake import Attempt, Lake, RunManifest, StepManifest, runs
from modelfleet.lake.buckets import BucketPlace
from modelfleet.lake.runs import Json, digest_of
from modelfleet.spec.problem import Forecast
from modelfleet.steps import hindsight, preparing, restating, training
from modelfleet.steps import scoring as scoring_steps
from modelfleet.steps.inputs import check_code, code_version
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
    ingests = [run for run in runs.all_committed(lake, spec.name, "ingest") if run.status != "empty"]
    last = _last(spec, ingests, to)
    count = FOLDS if folds is None else folds
    cutoffs = plan(spec, last, folds=count, every=every, since=ingests[0].interval.start)
    within = Interval(last.key, ingests[0].interval.start, last.end)
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


@dataclass(frozen=True)
class _Part(Attempt):
    """One run inside a backtest; its files lie in a folder of the backtest's attempt."""

    place: str = ""

    @property
    def folder(self) -> str:
        return self.place


@dataclass
class _PartContext(Context):
    """What a step function gets inside a backtest; `done` are the steps before it."""

    done: dict[str, StepManifest] = field(default_factory=dict)

    def step(self, name: str) -> StepManifest:
        return self.done[name]

    def run(self, name: str, function: Callable[[Context], StepResult]) -> StepManifest:
        """Run a step; what it gives is there for the next ones."""
        made = function(self)
        self.done[name] = StepManifest(name, self.fingerprint, made.digest, made.files, made.facts)
        return self.done[name]


def _part(
    ctx: Context, place: str, pipeline: str, interval: Interval, inputs: Mapping[str, Json], spec: FleetSpec
) -> _PartContext:
    own = {name: getattr(ctx.attempt, name) for name in ("fleet", "id", "spec_digest", "code_version", "created_at")}
    attempt = _Part(
        **own, pipeline=pipeline, interval=interval, inputs=inputs, options={}, place=ctx.attempt.path(place)
    )
    made = _PartContext(ctx.lake, spec, attempt, ctx.progress, ctx.fingerprint)
    made.spark = ctx.spark
    return made


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
        fold = _Fold(cutoff, ingests, actuals)
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
    return preparing.group_rows(_part(ctx, "actuals", "train", until, ctx.attempt.inputs, everything))


def _actuals_fingerprint(ctx: Context) -> Json:
    return {
        "inputs": restating.content(ctx.attempt.inputs),
        "spec": ctx.spec.digest,
        "code": ctx.attempt.code_version,
        "to": ctx.attempt.options["to"],
    }


@dataclass(frozen=True)
class _Fold:
    """One cutoff: training as of then, scoring of what came after, and the comparison."""

    cutoff: Cutoff
    ingests: Sequence[RunManifest]
    actuals: StepManifest | None

    @property
    def name(self) -> str:
        return f"fold-{self.cutoff.key}"

    def fingerprint(self, ctx: Context) -> Json:
        """All that the fold's result depends on."""
        return {
            "cutoff": self.cutoff.to_json(),
            "then": restating.content(self._then(ctx.spec)),
            "now": self.actuals.digest if self.actuals is not None else restating.content(self._after(ctx.spec)),
            "spec": ctx.spec.digest,
            "code": ctx.attempt.code_version,
            "format": pack.FORMAT,
        }

    def _interval(self, spec: FleetSpec) -> Interval:
        return intervals.of_key(self.cutoff.key, timezone=spec.timezone)

    def _then(self, spec: FleetSpec) -> dict[str, Json]:
        return hindsight.known_at(spec, self.ingests, self._interval(spec))

    def _stretch(self, spec: FleetSpec) -> Interval:
        from modelfleet.backtesting.cutoffs import ending

        return Interval(ending(self.cutoff.until, spec.timezone).key, self.cutoff.at, self.cutoff.until)

    def _after(self, spec: FleetSpec) -> dict[str, Json]:
        """The inputs that hold the rows to score of other problems than a Forecast, and what they look back on."""
        stretch = self._stretch(spec)
        start = self.ingests[0].interval.start if preparing.looks_back(spec) else stretch.start
        return hindsight.known_today(spec, self.ingests, Interval(stretch.key, start, stretch.end))

    def make(self, ctx: Context) -> StepResult:
        """Train, score and compare."""
        from modelfleet.backtesting.sums import added

        trained = self._train(ctx)
        facts = trained.step("train").facts
        header = trained.step("train").files[training.HEADER][0]
        rows, predictions, outcomes = self._score(ctx, trained, header.path)
        results = self._compare(ctx, header.path, rows, predictions, outcomes)
        sums = added(result.facts["sums"] for result in results)
        compared = sum(columns["n"] for columns in sums["step"].values())
        if not compared:
            raise DataError(
                f"{self._where(ctx)}: no row from {self.cutoff.at} to {self.cutoff.until} has a prediction and a target",
                hint="is the target known by now? choose an earlier --to",
            )
        files = {name: tuple(result.files[name] for result in results) for name in ("rows", "partitions")}
        told = {name: facts[name] for name in ("trained", "skipped", "failed", "reasons", "candidates")}
        sources = {name: int(columns["n"]) for name, columns in sums["source"].items()}
        return StepResult(
            files,
            slices.combine(result.facts["digest"] for result in results),
            {"cutoff": self.cutoff.to_json(), "compared": int(compared), "sources": sources, "sums": sums, **told},
        )

    def _where(self, ctx: Context) -> str:
        return f"fleet {ctx.spec.name!r}, backtest, fold {self.cutoff.key}"

    def _train(self, ctx: Context) -> _PartContext:
        interval = self._interval(ctx.spec)
        part = _part(ctx, f"{self.name}/train", "train", interval, self._then(ctx.spec), ctx.spec)
        if not part.attempt.inputs:
            raise DataError(f"{self._where(ctx)}: no rows had come by then", hint="fewer folds: --folds")
        part.run("dataset", preparing.group_rows)
        made = part.run("train", training.train)
        if not made.facts["trained"]:
            raise DataError(
                f"{self._where(ctx)}: no partition got a model: {made.facts['failed']} failed, "
                f"{made.facts['skipped']} skipped; {_why(part)}",
                hint="with fewer folds (--folds) the first cutoff has more rows before it",
            )
        return part

    def _score(self, ctx: Context, trained: _PartContext, header: str) -> tuple[StepManifest, Any, Any]:
        """The rows that were scored, and files of predictions and outcomes, by bucket."""
        place = f"{self.name}/score"
        if isinstance(ctx.spec.problem, Forecast):
            version = {"version": 0, "pack": header, "header_digest": pack.header_digest(ctx.lake.read(header))}
            inputs = {**trained.attempt.inputs, "champion": version}
            part = _part(ctx, place, "score", trained.attempt.interval, inputs, ctx.spec)
            rows = part.run("dataset", preparing.group_rows)
            scored = part.run("score", scoring_steps.score)
            return rows, scored.files["predictions"], scored.files["outcomes"]
        # Other problems are scored on rows that have their targets beside them.
        part = _part(ctx, place, "train", self._stretch(ctx.spec), self._after(ctx.spec), ctx.spec)
        rows = part.run("dataset", preparing.group_rows)
        at = BucketPlace.of(part.attempt, "score", fingerprint=ctx.fingerprint, buckets=rows.facts["buckets"])
        work = scoring.BucketWork(ctx.lake, at, pack.Pack.in_lake(ctx.lake, header), self.cutoff.at)
        results = training.run_buckets(part, "score", at, work, scoring.BucketTask)
        return rows, [r.files["predictions"] for r in results], [r.files["outcomes"] for r in results]

    def _compare(self, ctx: Context, header: str, rows: StepManifest, predictions: Any, outcomes: Any) -> list[Any]:
        from modelfleet.backtesting.comparing import CompareTask, CompareWork

        listed = rows.files["rows"]
        place = BucketPlace(ctx.attempt.path(f"{self.name}/compare"), ctx.fingerprint, len(listed))
        actuals = () if self.actuals is None else self.actuals.files["rows"]
        known = tuple((entry, keys.bucket_range(bucket, len(actuals))) for bucket, entry in enumerate(actuals))
        work = CompareWork(ctx.lake, place, pack.Pack.in_lake(ctx.lake, header), self.cutoff, known)
        tasks = [
            CompareTask(bucket, listed[bucket], predictions[bucket], outcomes[bucket]) for bucket in range(len(listed))
        ]
        made = engine.fan_out(ctx.spark, work, tasks, label="compare", progress=ctx.progress)
        return sorted(made, key=lambda result: result.bucket)


def _why(part: _PartContext) -> str:
    """Why there are no models, with an example of the most frequent reason."""
    made = part.step("train")
    index = training.open_pack(part.lake, made.files[training.HEADER][0]).index(["partition", "reason", "message"])
    rows = index.to_pylist()
    counted = Counter(row["reason"] for row in rows)
    if not counted:
        return "there are no partitions"
    reason = counted.most_common(1)[0][0]
    one = next(row for row in rows if row["reason"] == reason)
    return (
        f"{bounded(f'{name} ({n})' for name, n in counted.most_common())}, such as {one['partition']}: {one['message']}"
    )


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
    from datetime import datetime

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
