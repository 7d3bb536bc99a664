"""One fold of a backtest: training as of its cutoff, scoring of what came after, and the comparison.

The step functions are those of real runs, over contexts whose files lie in the fold's folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelfleet import dataset, engine, keys, pack, scoring, slices
from modelfleet import interval as intervals
from modelfleet.errors import DataError, bounded
from modelfleet.interval import Interval
from modelfleet.lake import Attempt, RunManifest, StepManifest
from modelfleet.lake.buckets import BucketPlace, BucketTask
from modelfleet.lake.runs import Json
from modelfleet.spec.problem import Forecast
from modelfleet.steps import hindsight, preparing, restating, training
from modelfleet.steps import scoring as scoring_steps
from modelfleet.steps.runner import Context, StepResult

if TYPE_CHECKING:
    from modelfleet.backtesting import Cutoff
    from modelfleet.spec import FleetSpec


@dataclass(frozen=True)
class _Part(Attempt):
    """One run inside a backtest; its files lie in a folder of the backtest's attempt."""

    place: str = ""

    @property
    def folder(self) -> str:
        return self.place


@dataclass
class PartContext(Context):
    """What a step function gets inside a backtest; `done` are the steps before it."""

    done: dict[str, StepManifest] = field(default_factory=dict)

    def step(self, name: str) -> StepManifest:
        return self.done[name]

    def run(self, name: str, function: Callable[[Context], StepResult]) -> StepManifest:
        """Run a step; what it gives is there for the next ones."""
        made = function(self)
        self.done[name] = StepManifest(name, self.fingerprint, made.digest, made.files, made.facts)
        return self.done[name]


def part_of(
    ctx: Context, place: str, pipeline: str, interval: Interval, inputs: Mapping[str, Json], spec: FleetSpec
) -> PartContext:
    """The context of a run inside a backtest, whose files go to the folder `place` of the backtest's attempt."""
    own = {name: getattr(ctx.attempt, name) for name in ("fleet", "id", "spec_digest", "code_version", "created_at")}
    attempt = _Part(
        **own, pipeline=pipeline, interval=interval, inputs=inputs, options={}, place=ctx.attempt.path(place)
    )
    made = PartContext(ctx.lake, spec, attempt, ctx.progress, ctx.fingerprint)
    made.spark = ctx.spark
    return made


@dataclass(frozen=True)
class Fold:
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
            "format": [pack.FORMAT, dataset.FORMAT],
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

    def _train(self, ctx: Context) -> PartContext:
        interval = self._interval(ctx.spec)
        part = part_of(ctx, f"{self.name}/train", "train", interval, self._then(ctx.spec), ctx.spec)
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

    def _score(self, ctx: Context, trained: PartContext, header: str) -> tuple[StepManifest, Any, Any]:
        """The rows that were scored, and files of predictions and outcomes, by bucket."""
        place = f"{self.name}/score"
        if isinstance(ctx.spec.problem, Forecast):
            version = {"version": 0, "pack": header, "header_digest": pack.header_digest(ctx.lake.read(header))}
            inputs = {**trained.attempt.inputs, "champion": version}
            part = part_of(ctx, place, "score", trained.attempt.interval, inputs, ctx.spec)
            rows = part.run("dataset", preparing.group_rows)
            scored = part.run("score", scoring_steps.score)
            return rows, scored.files["predictions"], scored.files["outcomes"]
        # Other problems are scored on rows that have their targets beside them.
        part = part_of(ctx, place, "train", self._stretch(ctx.spec), self._after(ctx.spec), ctx.spec)
        rows = part.run("dataset", preparing.group_rows)
        at = BucketPlace.of(part.attempt, "score", fingerprint=ctx.fingerprint, buckets=rows.facts["buckets"])
        work = scoring.BucketWork(ctx.lake, at, pack.Pack.in_lake(ctx.lake, header), self.cutoff.at)
        results = training.run_buckets(part, "score", at, work, BucketTask)
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


def _why(part: PartContext) -> str:
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
