"""The steps that training and scoring share: dataset, quality."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modelfleet import dataset, pack, quality
from modelfleet.errors import DataError
from modelfleet.lake import FileEntry, Lake
from modelfleet.lake.runs import Json, digest_of
from modelfleet.steps.inputs import sources, training_span
from modelfleet.steps.runner import Context, StepResult

if TYPE_CHECKING:
    from modelfleet.interval import Interval


def columns(ctx: Context) -> dataset.Columns:
    """The columns of the run's rows: the spec's when training, those the champion knows when scoring."""
    if ctx.attempt.pipeline == "train":
        return dataset.Columns.of(ctx.spec, with_target=True)
    header = champion_pack(ctx).header
    known = [name for name, _ in header.key_types]
    if known != list(ctx.spec.partition_by):
        raise DataError(
            f"fleet {ctx.spec.name!r}: partition_by is {list(ctx.spec.partition_by)}, but the champion's keys are {known}",
            hint="train and promote the new spec, or restore partition_by",
        )
    spec_columns = dataset.Columns.of(ctx.spec, with_target=False)
    return dataset.Columns(spec_columns.fleet, spec_columns.keys, header.time, spec_columns.ids, header.features, None)


def champion_pack(ctx: Context) -> pack.Pack:
    """The pinned champion's pack.

    :raises CorruptionError: when its header is not the one the registry knows.
    """
    pinned = ctx.attempt.inputs["champion"]
    return pack.Pack.in_lake(ctx.lake, pinned["pack"], digest=pinned["header_digest"])


def group_rows(ctx: Context) -> StepResult:
    """Group the pinned inputs' rows by partition."""
    made = dataset.build(
        ctx.spark,
        ctx.spec,
        sources(ctx.lake, ctx.spec, ctx.attempt.inputs),
        columns=columns(ctx),
        span=span(ctx),
        attempt=ctx.attempt,
        lake=ctx.lake,
        fingerprint=ctx.fingerprint,
        progress=ctx.progress,
    )
    if made.rows == 0 and ctx.attempt.pipeline == "train":
        raise DataError(
            f"fleet {ctx.spec.name!r}, {ctx.attempt.pipeline} of {ctx.interval}: the prepared rows are empty",
            hint="does `prepare` drop them all, or does no row lie in the window?",
        )
    facts = {
        "rows": made.rows,
        "partitions": made.partitions,
        "schema": made.schema,
        "key_types": made.key_types,
        "notes": list(made.notes),
        "buckets": len(made.results),
        "bytes": [result.facts["bytes"] for result in made.results],
    }
    return StepResult({"rows": tuple(result.files["rows"] for result in made.results)}, made.digest, facts)


def span(ctx: Context) -> Interval:
    """The time that the run's rows may lie in."""
    return training_span(ctx.spec, ctx.attempt.interval) if ctx.attempt.pipeline == "train" else ctx.attempt.interval


def dataset_fingerprint(ctx: Context) -> Json:
    """All that the step's result depends on."""
    spec = ctx.spec
    return {
        "inputs": {name: used["digest"] for name, used in ctx.attempt.inputs.items() if name != "champion"},
        "tables": list(spec.data.tables),
        "columns": columns(ctx).all,
        "keys": list(spec.partition_by),
        "span": span(ctx).to_json(),
        "prepare": [spec.data.prepare, ctx.attempt.code_version] if spec.data.prepare else None,
    }


def judge(ctx: Context) -> StepResult:
    """Judge the prepared rows by the spec's expectations.

    :raises QualityError: when an expectation of severity ``error`` fails; the results are kept beside it.
    """
    if ctx.step("dataset").facts["rows"] == 0:
        return StepResult({"docs": ()}, digest_of("no rows"), {"checks": 0, "warnings": [], "docs": None})
    rows = _prepared_rows(ctx)
    with tempfile.TemporaryDirectory(prefix="modelfleet-quality-") as temporary:
        docs = Path(temporary) / "data_docs"
        result = quality.judge(
            ctx.spec.quality,
            rows,
            fleet=ctx.spec.name,
            interval=ctx.interval,
            docs_dir=docs,
            absent={ctx.spec.problem.target, *ctx.spec.columns} - set(columns(ctx).all),
        )
        entries = _keep_docs(ctx, docs)
    # Kept under the attempt whatever the verdict; a failed run is read there.
    pages = [entry.path for entry in entries if entry.path.endswith("index.html")]
    _write_result(ctx, result.to_json())
    result.raise_for_errors(docs=ctx.lake.location(pages[0]) if pages else None)
    facts = {
        "checks": len(result.checks),
        "warnings": [str(check) for check in result.failed_warnings][:20],
        "docs": pages[0] if pages else None,
    }
    return StepResult({"docs": entries}, digest_of([(check.id, check.success) for check in result.checks]), facts)


def quality_fingerprint(ctx: Context) -> Json:
    """All that the step's result depends on."""
    return {"dataset": ctx.step("dataset").digest, "quality": ctx.spec.quality.model_dump(mode="json")}


def _prepared_rows(ctx: Context) -> object:
    import pyarrow.dataset as ds

    listed = [entry.path for entry in ctx.step("dataset").files["rows"]]
    return ds.dataset(listed, filesystem=ctx.lake.fs, format="parquet")


def _keep_docs(ctx: Context, docs: Path) -> tuple[FileEntry, ...]:
    entries = []
    for file in sorted(path for path in docs.rglob("*") if path.is_file()):
        entries.append(
            _write_or_find(ctx.lake, ctx.attempt.path(f"quality/data_docs/{file.relative_to(docs)}"), file.read_bytes())
        )
    return tuple(entries)


def _write_result(ctx: Context, text: str) -> None:
    _write_or_find(ctx.lake, ctx.attempt.path("quality/result.json"), text.encode())


def _write_or_find(lake: Lake, path: str, data: bytes) -> FileEntry:
    with suppress(FileExistsError):  # there already when the step was killed after writing it
        lake.write_once(path, data)
    return lake.entry(path, 0)
