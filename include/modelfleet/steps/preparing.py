"""The steps that training and scoring share: dataset, quality."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from modelfleet import dataset, pack, prepare, quality, slices
from modelfleet.errors import DataError
from modelfleet.interval import Interval
from modelfleet.lake import FileEntry, Lake, StepManifest
from modelfleet.lake.runs import Json, digest_of
from modelfleet.series import Lookup, SeriesPlan
from modelfleet.spec.problem import Forecast
from modelfleet.steps import restating
from modelfleet.steps.inputs import sources, training_span
from modelfleet.steps.runner import Context, StepResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    import pyarrow.dataset as pads

    from modelfleet.prepare import Source
    from modelfleet.spec import FleetSpec

_UNPACKED = 3
"""How much more memory models take, about, than their bytes in a pack's files."""
MAX_LOOKUP_BYTES = 256 << 20
"""Known-ahead tables that take more are joined in `prepare`."""


def problem_spec(ctx: Context) -> FleetSpec:
    """The spec whose problem and treatments the run's rows are prepared for: when scoring, the champion's."""
    return ctx.spec if ctx.attempt.pipeline == "train" else champion_pack(ctx).header.fleet_spec


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
    ids = () if header.problem == "forecast" else tuple(ctx.spec.id_columns)
    target = header.target if header.problem == "forecast" else None
    return dataset.Columns(
        ctx.spec.name, tuple(known), header.time, ids, header.features, target, dataset.looked_at(header.fleet_spec)
    )


def champion_pack(ctx: Context) -> pack.Pack:
    """The pinned champion's pack.

    :raises CorruptionError: when its header is not the one the registry knows.
    """
    pinned = ctx.attempt.inputs["champion"]
    return pack.Pack.in_lake(ctx.lake, pinned["pack"], digest=pinned["header_digest"])


def _models_bytes(ctx: Context) -> int:
    """About how much memory all models take that are there beside the rows: the champion's, and in a training as much again."""
    if "champion" not in ctx.attempt.inputs:
        return 0
    packed = sum(entry.bytes for entry in champion_pack(ctx).header.files)
    return _UNPACKED * packed * (2 if ctx.attempt.pipeline == "train" else 1)


def group_rows(ctx: Context) -> StepResult:
    """Group the pinned inputs' rows by partition, and make the series of a Forecast regular."""
    given = sources(ctx.lake, ctx.spec, ctx.attempt.inputs)
    spec = problem_spec(ctx)
    made = dataset.build(
        ctx.spark,
        ctx.spec,
        given if ctx.spec.data.prepare else given[:1],
        columns=columns(ctx),
        span=span(ctx),
        attempt=ctx.attempt,
        lake=ctx.lake,
        fingerprint=ctx.fingerprint,
        treated=_treated(ctx, spec, given),
        categorical=_categorical(ctx),
        beside=_models_bytes(ctx),
        progress=ctx.progress,
    )
    if made.rows == 0 and ctx.attempt.pipeline == "train":
        raise DataError(
            f"fleet {ctx.spec.name!r}, {ctx.attempt.pipeline} of {ctx.interval}: the prepared rows are empty",
            hint="does `prepare` drop them all, or does no row lie in the window?",
        )
    facts = {
        "format": dataset.FORMAT,
        "rows": made.rows,
        "partitions": made.partitions,
        "schema": made.schema,
        "key_types": made.key_types,
        "notes": list(made.notes),
        "treated": made.treated,
        "nulls": made.nulls,
        "categories": {name: list(values) for name, values in made.categories.items()},
        "buckets": len(made.results),
        "bytes": [result.facts["bytes"] for result in made.results],
    }
    files = {name: tuple(result.files[name] for result in made.results) for name in ("rows", "partitions")}
    return StepResult(files, made.digest, facts)


def are_there(lake: Lake, made: StepManifest) -> bool:
    """Whether the grouped rows of a dataset step can be read: they are of the format of now, and none was deleted."""
    same = made.facts.get("format") == dataset.FORMAT
    return same and all(lake.exists(entry.path) for entry in made.files["rows"])


def _treated(ctx: Context, spec: FleetSpec, given: Sequence[Source]) -> dataset.Treated:
    interval = ctx.attempt.interval
    scores = ctx.attempt.pipeline != "train"
    if not isinstance(spec.problem, Forecast):
        return dataset.Treated(spec, since=interval.start if scores and looks_back(spec) else None)
    plan = SeriesPlan.of(
        spec,
        end=interval.end,
        future=spec.problem.horizon if scores else 0,
        lookups=lookups(spec, given, span(ctx), ctx.lake),
    )
    return dataset.Treated(spec, plan)


def lookups(spec: FleetSpec, given: Sequence[Source], within: Interval, lake: Lake) -> tuple[Lookup, ...]:
    """The known-ahead columns that other tables with `ahead` give, each joined by its time and the key columns it has.

    :raises DataError: for a table too large to hand to every task.
    """
    made = []
    for source in given[1:]:
        if getattr(source.table, "ahead", None) is None or source.table.time is None:
            continue
        table = prepare.unify(source, spec, needed=(source.table.time,))
        names = [name for name in spec.declared.known_ahead if name in table.schema.names]
        if not names:
            continue
        shared = [name for name in spec.partition_by if name in table.schema.names]
        rows = _whole(table, [source.table.time, *shared, *names], within, lake)
        if rows.nbytes > MAX_LOOKUP_BYTES:
            raise DataError(
                f"fleet {spec.name!r}: known-ahead table {source.name!r} takes {rows.nbytes >> 20} MB, "
                f"more than the {MAX_LOOKUP_BYTES >> 20} MB that are joined without `prepare`",
                hint="join it in `prepare`, whose rows may lie beyond the interval's end",
            )
        made.append(Lookup(source.name, rows, source.table.time, tuple(shared), tuple(names)))
    return tuple(made)


def _whole(table: prepare.Unified, names: Sequence[str], within: Interval, lake: Lake) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema([table.schema.field(name) for name in names])
    batches = [batch.select(list(names)) for chunk in table.chunks() for batch in prepare.read(table, chunk, lake)]
    rows = pa.Table.from_batches(batches, schema)
    return dataset.in_span(rows, names[0], within)


def looks_back(spec: FleetSpec) -> bool:
    """Whether a row's features or forecast depend on rows before the interval."""
    return spec.problem.kind == "forecast" or bool(spec.declared.past)


def _categorical(ctx: Context) -> tuple[str, ...]:
    """The columns whose values a training must know."""
    if ctx.attempt.pipeline != "train":
        return ()
    spec = ctx.spec
    spans = bool(spec.levels) or any(learner.scope == "fleet" for learner in spec.learners)
    return tuple(dict.fromkeys((*spec.declared.categorical, *(spec.partition_by if spans else ()))))


def span(ctx: Context) -> Interval:
    """The time that the run's rows may lie in; a forecast's, with the steps to come."""
    interval, spec = ctx.attempt.interval, problem_spec(ctx)
    if ctx.attempt.pipeline == "train":
        return training_span(spec, interval)
    if not looks_back(spec):
        return interval
    known = training_span(spec, interval)
    if not isinstance(spec.problem, Forecast):
        return known
    # Generous: the steps beyond the horizon are left out when the series are made regular.
    ahead = timedelta(seconds=spec.problem.frequency.least_seconds * 1.2) * spec.problem.horizon + timedelta(days=1)
    end = (known.end.astimezone(UTC) + ahead).astimezone(known.end.tzinfo)
    return Interval(interval.key, known.start, end)


def dataset_fingerprint(ctx: Context) -> Json:
    """All that the step's result depends on."""
    spec = problem_spec(ctx)
    return {
        "format": dataset.FORMAT,
        "inputs": restating.content(ctx.attempt.inputs),
        "tables": list(ctx.spec.data.tables),
        "columns": columns(ctx).all,
        "keys": list(ctx.spec.partition_by),
        "span": span(ctx).to_json(),
        "prepare": [ctx.spec.data.prepare, ctx.attempt.code_version] if ctx.spec.data.prepare else None,
        "problem": spec.problem.content() if isinstance(spec.problem, Forecast) else None,
        "treatments": [treatment.content() for treatment in spec.treatments],
        "known": [list(spec.declared.known_ahead), list(spec.declared.static)],
        "categorical": list(_categorical(ctx)),
    }


def judge(ctx: Context) -> StepResult:
    """Judge the prepared rows by the spec's expectations.

    :raises QualityError: when an expectation of severity ``error`` fails; the results are kept beside it.
    """
    rows = _prepared_rows(ctx)
    if ctx.step("dataset").facts["rows"] == 0 or rows.count_rows() == 0:
        return StepResult({"docs": ()}, digest_of("no rows"), {"checks": 0, "warnings": [], "docs": None})
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


def _prepared_rows(ctx: Context) -> pads.Dataset:
    """The prepared rows; of a Forecast's, those before the interval's end, which are not yet to come."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = dataset.scan(ctx.lake, ctx.step("dataset").files["rows"])
    if ctx.attempt.pipeline == "train" or problem_spec(ctx).problem.kind != "forecast":
        return rows
    time = columns(ctx).time
    kind = rows.schema.field(time).type
    end = pa.scalar(slices.wall_moment(kind, ctx.attempt.interval.end), pa.timestamp("us"))
    aware = pa.types.is_timestamp(kind) and kind.tz is not None
    limit = end.cast(pa.timestamp("us", kind.tz)) if aware else end.cast(kind)
    return rows.filter(pc.field(time) < limit)


def _keep_docs(ctx: Context, docs: Path) -> tuple[FileEntry, ...]:
    entries = []
    for file in sorted(path for path in docs.rglob("*") if path.is_file()):
        entries.append(
            write_or_find(ctx.lake, ctx.attempt.path(f"quality/data_docs/{file.relative_to(docs)}"), file.read_bytes())
        )
    return tuple(entries)


def _write_result(ctx: Context, text: str) -> None:
    write_or_find(ctx.lake, ctx.attempt.path("quality/result.json"), text.encode())


def write_or_find(lake: Lake, path: str, data: bytes) -> FileEntry:
    """Write a file of an attempt once; one that is there already stands."""
    with suppress(FileExistsError):  # there already when the step was killed after writing it
        lake.write_once(path, data)
    return lake.entry(path, 0)
