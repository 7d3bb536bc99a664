"""The steps of ingest: extract, commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelfleet import ingest
from modelfleet.lake import runs
from modelfleet.steps import restating
from modelfleet.steps.inputs import manifest_json, tables_of
from modelfleet.steps.runner import Context, StepFunction, StepResult, record_done

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelfleet.ingest import Reading, TableManifest
    from modelfleet.lake.runs import Json


def extract(ctx: Context) -> StepResult:
    """Read the interval's rows of every table into the attempt, with the late tail before it and what is ahead.

    `restated` names the earlier intervals of which other rows came than were known: what was made of them is stale.
    """
    others = _others(ctx)
    tables = ingest.extract(
        ctx.spec,
        ctx.attempt.interval,
        ctx.attempt,
        ctx.lake,
        previous=_previous(ctx),
        others=others,
        progress=_rows_read(ctx),
    )
    copied = {name: table.files for name, table in tables.items() if table.kind != "reference"}
    facts = {
        "tables": manifest_json(tables),
        "rows": {name: table.rows for name, table in tables.items()},
        "restated": restating.restated(ctx.attempt, tables, others),
    }
    content = {name: [table.digest, dict(table.columns)] for name, table in tables.items()}
    return StepResult(copied, runs.digest_of(content), facts)


def commit(ctx: Context) -> StepResult:
    """Put the attempt in force; what was made from the one before is stale from now on."""
    extracted = ctx.step("extract")
    rows = extracted.facts["rows"]
    main = rows[ctx.spec.data.main[0]]
    status = "empty" if main == 0 else "committed"
    standing = runs.committed(ctx.lake, ctx.spec.name, "ingest", ctx.interval)
    unchanged = standing is not None and standing.steps.get("extract") == extracted.digest
    manifest = runs.commit(
        ctx.lake, ctx.attempt, status=status, steps=[extracted], facts={**extracted.facts, "unchanged": unchanged}
    )
    record_done(ctx, status=status, rows=main, counts=rows)
    # From the manifest: when the step is repeated, its first commit stands.
    told = {"unchanged": manifest.facts["unchanged"], "restated": manifest.facts.get("restated", [])}
    return StepResult({}, manifest.digest, {"rows": rows, **told, **_options(ctx)})


def _rows_read(ctx: Context) -> Callable[[str, int], None] | None:
    """How many rows there will be is not known beforehand, so the bar shows how many were read."""
    report = ctx.progress
    return None if report is None else lambda table, rows: report(table, rows, rows)


def _previous(ctx: Context) -> dict[str, TableManifest]:
    """What was ingested before and may be the same: this interval's tables, and the last snapshots of any."""
    known: dict[str, TableManifest] = {}
    for run in runs.all_committed(ctx.lake, ctx.spec.name, "ingest"):
        known |= {name: table for name, table in tables_of(run.facts).items() if table.kind == "snapshot"}
    standing = runs.committed(ctx.lake, ctx.spec.name, "ingest", ctx.interval)
    return known | (tables_of(standing.facts) if standing else {})


def _others(ctx: Context) -> dict[str, list[Reading]]:
    """What the ingests of all other intervals read, by table."""
    committed = runs.all_committed(ctx.lake, ctx.spec.name, "ingest")
    return restating.by_table(restating.Ingested.of(run) for run in committed if run.interval.key != ctx.interval)


def _options(ctx: Context) -> Json:
    return {"train_only": bool(ctx.attempt.options.get("train_only"))}


def _own_attempt(ctx: Context) -> Json:
    # A source may have changed at any time, so only a repetition within one attempt finds its result again.
    return {"attempt": ctx.attempt.id}


STEPS = {
    "ingest.extract": StepFunction(extract, _own_attempt),
    "ingest.commit": StepFunction(commit),
}
