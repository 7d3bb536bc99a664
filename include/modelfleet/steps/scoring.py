"""The steps of score beside those shared with train: score, commit, load."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from modelfleet import modelcode, scoring, slices
from modelfleet.errors import DataError
from modelfleet.lake import FileEntry, runs
from modelfleet.lake.buckets import BucketPlace, BucketTask
from modelfleet.steps import actuals, preparing
from modelfleet.steps.runner import Context, StepFunction, StepResult, record_done
from modelfleet.steps.training import run_buckets

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from modelfleet.lake.runs import Json


def score(ctx: Context) -> StepResult:
    """Predict every row of the interval, in one Spark job, with the one pinned champion."""
    rows = ctx.step("dataset")
    place = BucketPlace.of(ctx.attempt, "score", fingerprint=ctx.fingerprint, buckets=rows.facts["buckets"])
    champion = preparing.champion_pack(ctx)
    since = ctx.attempt.interval.start if preparing.looks_back(champion.header.fleet_spec) else None
    work = scoring.BucketWork(ctx.lake, place, champion, since)
    results = run_buckets(ctx, "score", place, work, BucketTask)
    outcomes: Counter[str] = sum((Counter(result.facts["counts"]) for result in results), Counter())
    if sum(outcomes.values()) != rows.facts["partitions"]:
        raise DataError(
            f"fleet {ctx.spec.name!r}, score of {ctx.interval}: {sum(outcomes.values())} outcomes for "
            f"{rows.facts['partitions']} partitions; nothing is committed"
        )
    sources: Counter[str] = sum((Counter(result.facts["sources"]) for result in results), Counter())
    unseen: Counter[str] = sum((Counter(result.facts["unseen"]) for result in results), Counter())
    facts = {
        "partitions": rows.facts["partitions"],
        "predictions": sum(sources.values()),
        **{outcome: outcomes.get(outcome, 0) for outcome in scoring.OUTCOMES},
        "sources": dict(sources),
        "messages": [
            *(f"column {name!r}: {n} rows hold a category that training has not seen" for name, n in unseen.items()),
            *scoring.together([result.facts["messages"] for result in results]),
        ][:10],
        "warning": _warning(outcomes),
        "model_version": ctx.attempt.inputs["champion"]["version"],
    }
    files = {name: tuple(result.files[name] for result in results) for name in ("predictions", "outcomes")}
    return StepResult(files, slices.combine(result.facts["digest"] for result in results), facts)


def _warning(outcomes: Counter[str]) -> str | None:
    """What an operator should see at once: models are in production, and none served."""
    if outcomes["failed"] and not outcomes["scored"]:
        return f"no model predicted: all {outcomes['failed']} that are in production failed; the messages say why"
    return None


def score_fingerprint(ctx: Context) -> Json:
    """All that the step's result depends on."""
    return {
        "dataset": ctx.step("dataset").digest,
        "quality": ctx.step("quality").digest,
        "champion": ctx.attempt.inputs["champion"],
        "code": modelcode.code_version(*preparing.champion_pack(ctx).header.code),
        "ids": list(ctx.spec.id_columns),
        "digest": scoring.DIGEST,
    }


def commit(ctx: Context) -> StepResult:
    """Put the predictions in force in the lake."""
    done = [ctx.step(name) for name in ("dataset", "quality", "score")]
    status = "committed" if done[0].facts["rows"] else "empty"
    manifest = runs.commit(ctx.lake, ctx.attempt, status=status, steps=done, facts=done[-1].facts)
    return StepResult({}, manifest.digest, done[-1].facts)


def load(ctx: Context) -> StepResult:
    """Load the predictions into the warehouse; those of an earlier issue stay, the view shows the latest.

    Predictions that a repetition took over are the issue of the attempt that made them, so they are not issued twice.
    """
    scored = ctx.step("score")
    issuer = ctx.maker("score")
    rows = ctx.warehouse.load_predictions(
        ctx.spec.name,
        ctx.interval,
        issuer.id,
        datetime.fromisoformat(issuer.created_at),
        _with_version(ctx, scored.files["predictions"]),
        key_columns=ctx.spec.partition_by,
        time_column=preparing.columns(ctx).time,
        id_columns=preparing.columns(ctx).ids,
        expected=scored.facts["predictions"],
    )
    actuals.load(ctx)
    message = None if rows else "no row was left after `prepare`: no predictions are written"
    record_done(ctx, status="committed" if rows else "empty", rows=rows, counts=scored.facts, message=message)
    return StepResult({}, scored.digest, {**scored.facts, "loaded": rows, "issued_by": issuer.id})


def _with_version(ctx: Context, entries: tuple[FileEntry, ...]) -> pa.RecordBatchReader:
    import pyarrow as pa
    import pyarrow.parquet as pq

    version = ctx.attempt.inputs["champion"]["version"]
    with ctx.lake.open_input(entries[0].path) as file:
        schema = pq.read_schema(file).append(pa.field("model_version", pa.int64()))

    def all_batches() -> Iterator[pa.RecordBatch]:
        for batch in scoring.read_batches(ctx.lake, entries):
            column = pa.array([version] * batch.num_rows, pa.int64())
            yield pa.RecordBatch.from_arrays([*batch.columns, column], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, all_batches())


STEPS = {
    "score.dataset": StepFunction(preparing.group_rows, preparing.dataset_fingerprint),
    "score.quality": StepFunction(preparing.judge, preparing.quality_fingerprint),
    "score.score": StepFunction(score, score_fingerprint),
    "score.commit": StepFunction(commit),
    "score.load": StepFunction(load),
}
