"""The steps of train beside those shared with score: train, commit, register."""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelfleet import engine, keys, pack, registry, slices, training
from modelfleet.errors import DataError
from modelfleet.ingest.schema import schema_of
from modelfleet.lake import FileEntry, Lake, runs
from modelfleet.lake.buckets import BucketPlace, BucketResult, BucketTask, earlier_places, kept
from modelfleet.steps import carrying, preparing
from modelfleet.steps.carrying import FOLDS as FOLDS
from modelfleet.steps.carrying import HEADER as HEADER
from modelfleet.steps.packaging import index_batches, pack_folder, pack_model
from modelfleet.steps.runner import Context, StepFunction, StepResult, record_done

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.lake.runs import Json


def train(ctx: Context) -> StepResult:
    """Fit and evaluate one model per partition, in one Spark job."""
    rows = ctx.step("dataset")
    schema = schema_of(rows.facts["schema"])
    settled = plan(ctx)
    key_fields = tuple(schema.field(name) for name in ctx.spec.partition_by)
    taken, refitted_because = carrying.carrying(ctx, settled)
    grouped = _groups(ctx, settled, key_fields, taken)
    # Rows refer to the models over many partitions: what was fitted beside others does not count.
    beside = runs.digest_of([ctx.fingerprint, *grouped.digests])
    place = BucketPlace.of(ctx.attempt, "train", fingerprint=beside, buckets=rows.facts["buckets"])
    work = training.BucketWork(
        lake=ctx.lake,
        place=place,
        plan=settled,
        key_fields=key_fields,
        groups=grouped.folds,
        champion=preparing.champion_pack(ctx) if "champion" in ctx.attempt.inputs else None,
        carrying=taken and taken.beside(ctx.lake, grouped.pack),
        earlier=earlier_places(ctx.lake, ctx.attempt, "train", place),
    )
    results = run_buckets(ctx, "train", place, work, BucketTask)
    header = pack.make_header(
        ctx.spec,
        key_types={name: rows.facts["key_types"][name] for name in ctx.spec.partition_by},
        time_type=rows.facts["schema"][ctx.spec.time_column],
        feature_types=_feature_types(ctx, settled),
        inputs={inputs.id: inputs.to_json() for inputs in (settled.inputs, settled.shared_inputs)},
        code=[learner.path for learner in settled.learners],
        files=[(result.files["pack"], keys.bucket_range(result.bucket, place.buckets)) for result in results],
        groups=grouped.pack,
        digest=slices.combine([*(result.facts["digest"] for result in results), *grouped.digests]),
    )
    counts: Counter[str] = sum((Counter(result.facts["counts"]) for result in results), Counter())
    chosen: Counter[str] = sum((Counter(result.facts["candidates"]) for result in results), Counter())
    carried = sum(result.facts["carried"] for result in results)
    if sum(counts.values()) != rows.facts["partitions"]:
        raise DataError(
            f"fleet {ctx.spec.name!r}, train of {ctx.interval}: {sum(counts.values())} model rows for "
            f"{rows.facts['partitions']} partitions; nothing is committed"
        )
    files = {
        HEADER: (write_header(ctx.lake, ctx.attempt.path("train/pack.json"), header),),
        "models": (*header.files, *header.groups),
        FOLDS: grouped.folds,
    }
    return StepResult(
        files,
        header.digest,
        {
            "expected": rows.facts["partitions"],
            "candidates": dict(chosen),
            **_summary(ctx, header),
            **_counts(counts),
            **({} if taken is None else {"carried": carried}),
            "refitted_because": refitted_because,
            "way": carrying.way(ctx, settled, carried=carried),
            "warning": _warning(header, counts, ctx),
        },
    )


def _warning(header: pack.PackHeader, counts: Counter[str], ctx: Context) -> str | None:
    """What an author should see at once: nothing was trained, and what was said of the first partition."""
    if counts.get("trained"):
        return None
    for batch in index_batches(pack.Pack(header, ctx.lake.open_input), ["partition", "reason", "message"]):
        for row in batch.filter(batch.column("reason").is_valid()).slice(0, 1).to_pylist():
            return f"no model was trained; {row['partition']}: {row['reason']}: {row['message']}"
    return "no model was trained"


def _groups(
    ctx: Context, settled: training.TrainingPlan, key_fields: tuple[pa.Field, ...], taken: training.Carrying | None
) -> training.GroupFiles:
    """Fit the models over many partitions that partitions fall back on, or that compete in them."""
    rows = ctx.step("dataset")
    places = {}
    for level in training.wanted_groups(settled):
        step = f"groups/{level}"
        place = BucketPlace.of(ctx.attempt, step, fingerprint=ctx.fingerprint, buckets=rows.facts["buckets"])
        places[level] = place, earlier_places(ctx.lake, ctx.attempt, step, place)
    return training.train_groups(
        ctx.spark, ctx.lake, places, settled, key_fields, rows.files["rows"], ctx.progress, carrying=taken
    )


def plan(ctx: Context) -> training.TrainingPlan:
    """The training plan of the run; the holdout is the last stretch before the interval's end."""
    categories = ctx.step("dataset").facts["categories"]
    return training.TrainingPlan.of(
        ctx.spec,
        preparing.columns(ctx),
        end=ctx.attempt.interval.end,
        interval=ctx.interval,
        attempt=ctx.attempt.id,
        categories={name: tuple(values) for name, values in categories.items()},
        same_code=(ctx.attempt.inputs.get("champion") or {}).get("code_version") in (None, ctx.attempt.code_version),
    )


def _feature_types(ctx: Context, settled: training.TrainingPlan) -> dict[str, str]:
    """The types of the columns that models are made of, but for keys and the target, which the header names itself."""
    schema = ctx.step("dataset").facts["schema"]
    own = {*ctx.spec.partition_by, ctx.spec.problem.target}
    needed = dict.fromkeys((*settled.inputs.needs, *settled.shared_inputs.needs))
    return {name: schema[name] for name in needed if name not in own}


def train_fingerprint(ctx: Context) -> Json:
    """All that the step's result depends on."""
    settled = plan(ctx)
    return {
        "dataset": ctx.step("dataset").digest,
        "quality": ctx.step("quality").digest,
        "plan": [*settled.content(), ctx.attempt.code_version],
        "champion": (ctx.attempt.inputs.get("champion") or {}).get("digest"),
        "interval": ctx.interval,
        "carried": carrying.content(ctx.attempt.inputs),
        "format": pack.FORMAT,
    }


def commit(ctx: Context) -> StepResult:
    """Put the training in force: from here on the promotion sees it."""
    done = [ctx.step(name) for name in ("dataset", "quality", "train")]
    facts = done[-1].facts
    manifest = runs.commit(ctx.lake, ctx.attempt, status="committed", steps=done, facts=facts)
    return StepResult({}, manifest.digest, facts)


def register(ctx: Context) -> StepResult:
    """Log the training in the staging registry, as one run and one version, and its model rows in the warehouse."""
    trained = ctx.step("train")
    opened = open_pack(ctx.lake, trained.files[HEADER][0])
    with tempfile.TemporaryDirectory(prefix="modelfleet-pack-") as temporary:
        folder, docs = Path(temporary) / "pack", Path(temporary) / "docs"
        pack_folder(ctx.lake, opened.header, folder)
        version = registry.log_training(
            release(ctx, opened.header, trained.facts),
            pack_model(ctx.spec, opened.header, folder),
            spec=ctx.spec.model_dump(mode="json"),
            models=partial(index_batches, pack.Pack.in_folder(folder)),
            metrics=plan(ctx).metrics,
            data_docs=docs if _copy_docs(ctx, docs) else None,
        )
    made_by, own = ctx.maker("train").id, plan(ctx).own_metrics
    index = index_batches(opened)
    ctx.warehouse.load_models(ctx.spec.name, ctx.interval, made_by, index, version=version.version, own_metrics=own)
    record_done(ctx, status="committed", rows=ctx.step("dataset").facts["rows"], counts=trained.facts)
    return StepResult({}, opened.header.digest, {**trained.facts, "version": version.version, "run_id": version.run_id})


def _copy_docs(ctx: Context, folder: Path) -> bool:
    """The quality step's Data Docs as a local folder; whether there are any."""
    docs = ctx.step("quality").files["docs"]
    for entry in docs:
        target = folder / entry.path.partition("/data_docs/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        ctx.lake.copy_to(entry.path, target)
    return bool(docs)


def run_buckets(ctx: Context, step: str, place: BucketPlace, work: Any, task: Any) -> list[BucketResult]:
    """Run `work` on every bucket of the dataset that a killed attempt has not finished; the big ones first."""
    rows = ctx.step("dataset")
    done = kept(ctx.lake, place, earlier_places(ctx.lake, ctx.attempt, step, place))
    todo = [bucket for bucket in range(place.buckets) if bucket not in done]
    todo.sort(key=lambda bucket: -rows.facts["bytes"][bucket])
    tasks = [task(bucket, rows.files["rows"][bucket], rows.files["partitions"][bucket]) for bucket in todo]
    made = engine.fan_out(ctx.spark, work, tasks, label=step, progress=ctx.progress) if tasks else []
    return sorted([*done.values(), *made], key=lambda result: result.bucket)


def write_header(lake: Lake, path: str, header: pack.PackHeader) -> FileEntry:
    """Write a pack's header; where it is there from before a crash, it must be the same."""
    try:
        lake.write_once(path, header.to_json())
    except FileExistsError:
        standing = pack.PackHeader.from_json(lake.read(path))
        if standing != header:
            raise DataError(f"{path!r} holds another pack's header; open a new attempt") from None
    return lake.entry(path, 0)


def open_pack(lake: Lake, header: FileEntry) -> pack.Pack:
    """The pack that a step of the lake wrote.

    :raises CorruptionError: when its header is not what the step's manifest records.
    """
    lake.verify(header)
    return pack.Pack.in_lake(lake, header.path)


def release(ctx: Context, header: pack.PackHeader, trained: Json, **lineage: object) -> registry.Release:
    """What a version of this run says of itself in a registry."""
    return registry.Release(
        fleet=ctx.spec.name,
        interval=ctx.interval,
        attempt=ctx.attempt.id,
        spec_digest=ctx.attempt.spec_digest,
        code_version=ctx.attempt.code_version,
        data_start=_moment(trained["data_start"]) or ctx.attempt.interval.start,
        data_end=_moment(trained["data_end"]) or ctx.attempt.interval.end,
        pack_digest=header.digest,
        tags=ctx.spec.tags,
        lineage={name: str(value) for name, value in lineage.items() if value is not None},
    )


def _counts(counts: Counter[str]) -> Json:
    return {status: counts.get(status, 0) for status in ("trained", "skipped", "failed")}


def _summary(ctx: Context, header: pack.PackHeader) -> Json:
    """What people ask first of a training: the reasons without a model, and the errors beside the baseline's."""
    import pyarrow.compute as pc

    settled = plan(ctx)
    metric = settled.metrics[0] if settled.forecast is None else settled.select_by
    wanted = ["status", "reason", metric, f"baseline_{metric}", "window_start", "window_end"]
    index: pa.Table = pack.Pack(header, ctx.lake.open_input).index(wanted)
    counted = pc.value_counts(index.column("reason").drop_null()).to_pylist()
    reasons = Counter({found["values"]: found["counts"] for found in counted})
    trained = index.filter(pc.equal(index.column("status"), "trained"))
    return {
        "reasons": dict(reasons.most_common(10)),
        "metric": metric,
        "median": _median(trained, metric),
        "baseline_median": _median(trained, f"baseline_{metric}"),
        "data_start": _text(pc.min(index.column("window_start")).as_py()),
        "data_end": _text(pc.max(index.column("window_end")).as_py()),
    }


def _median(rows: pa.Table, name: str) -> float | None:
    import numpy as np

    values = rows.column(name).to_numpy()
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


STEPS = {
    "train.dataset": StepFunction(preparing.group_rows, preparing.dataset_fingerprint),
    "train.quality": StepFunction(preparing.judge, preparing.quality_fingerprint),
    "train.train": StepFunction(train, train_fingerprint),
    "train.commit": StepFunction(commit),
    "train.register": StepFunction(register),
}
