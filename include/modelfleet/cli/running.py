"""Commands that run pipelines: run, backfill, backtest, rollback."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from modelfleet.cli.console import (
    Fleet,
    app,
    out,
    reported,
    run_pipeline,
    spec_of,
    text_of,
)
from modelfleet.plan import PIPELINES
from modelfleet.spec import FleetSpec

if TYPE_CHECKING:
    from modelfleet.steps import RunRef
    from modelfleet.steps.backfilling import Outcome


class Retry(StrEnum):
    """What `run --retry` can name."""

    failed = auto()


class Pipeline(StrEnum):
    """The pipelines `run --step` can name."""

    ingest = auto()
    train = auto()
    promote = auto()
    score = auto()


@app.command()
@reported
def run(
    fleet: Fleet,
    interval: Annotated[
        str | None,
        typer.Option(help="The interval's last day or hour: 2013-09-30. With --retry, default: the last one trained."),
    ] = None,
    step: Annotated[
        list[Pipeline] | None, typer.Option(help="Only this pipeline; may be repeated. Default: all.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="First day of the ingested interval, for bulk loads.")] = None,
    train_only: Annotated[
        bool, typer.Option("--train-only", help="The interval is for training; it is not scored.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Repeat finished work; promote an older interval.")] = False,
    retry: Annotated[
        Retry | None,
        typer.Option(
            help="Train and promote the interval again, fitting only the failed models whose failure could turn out "
            "otherwise: it took too long, too much memory, or crashed; any that the model code made, if that has changed."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --retry: list the models that would be fitted again; run nothing.")
    ] = False,
) -> None:
    """Run the steps of a fleet here and now, with progress bars."""
    from modelfleet import steps

    spec = spec_of(fleet)
    if retry is not None:
        _check_retry(step, start=start, train_only=train_only, force=force)
        _retry(spec, interval, [str(name) for name in step or RETRIED], dry_run=dry_run)
        return
    if dry_run:
        raise typer.BadParameter("it goes with --retry; `modelfleet plan` lists the steps", param_hint="--dry-run")
    if interval is None:
        raise typer.BadParameter("it is missing: the interval's last day or hour", param_hint="--interval")
    wanted = (
        [str(name) for name in step] if step else [name for name in PIPELINES if not (train_only and name == "score")]
    )
    for pipeline in wanted:
        options: dict[str, Any] = {"force": force}
        if pipeline == "ingest":
            options = {"start": start, "train_only": train_only}
        try:
            ref = steps.open_run(spec, pipeline, interval, **options)
        except steps.NotReady as exc:
            out.print(f"[yellow]{pipeline}[/yellow]: {exc.message}")
            continue
        run_pipeline(spec, pipeline, ref)


RETRIED = (Pipeline.train, Pipeline.promote)
"""The pipelines that a retry runs."""


def _check_retry(step: list[Pipeline] | None, **others: object) -> None:
    """Refuse what a retry has no meaning for."""
    if wrong := [f"--step {name}" for name in step or () if name not in RETRIED]:
        raise typer.BadParameter(f"got {', '.join(wrong)}; allowed: train, promote", param_hint="--retry")
    if wrong := [f"--{name.replace('_', '-')}" for name, given in others.items() if given]:
        raise typer.BadParameter(f"it does not go with {', '.join(wrong)}", param_hint="--retry")


def _retry(spec: FleetSpec, interval: str | None, pipelines: list[str], *, dry_run: bool) -> None:
    """Run an interval's training again for what failed, then the promotion; or only list what failed."""
    from modelfleet import steps
    from modelfleet.steps import carrying

    key = interval or carrying.last_trained(spec)
    try:
        if dry_run:
            _print_failures(spec.name, key, carrying.failures_of(spec, key).to_pylist())
            return
        for pipeline in pipelines:
            options: dict[str, Any] = {"retry": str(Retry.failed)} if pipeline == "train" else {}
            run_pipeline(spec, pipeline, steps.open_run(spec, pipeline, key, **options))
    except steps.NothingToRetry as nothing:
        out.print(nothing.message, markup=False, highlight=False, soft_wrap=True)


def _print_failures(fleet: str, key: str, failures: list[dict[str, Any]]) -> None:
    noun = "model" if len(failures) == 1 else "models"
    table = Table(title=f"{fleet}: {len(failures):,} {noun} of {key} would be fitted again")
    for name in ("partition", "reason", "message"):
        table.add_column(name, overflow="fold")
    for row in failures:
        table.add_row(*(escape(text_of(row[name])) for name in ("partition", "reason", "message")))
    out.print(table)


@app.command()
@reported
def backfill(
    fleet: Fleet,
    first: Annotated[str, typer.Option("--from", help="The first interval's key, its last day or hour: 2013-09-01.")],
    last: Annotated[str, typer.Option("--to", help="The last interval's key.")],
    pipeline: Annotated[
        list[Pipeline] | None,
        typer.Option(help="Only this pipeline; may be repeated. Default: ingest, and score where it follows ingest."),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train and promote, too, at the ticks of schedule.train.")
    ] = False,
    as_of: Annotated[
        bool,
        typer.Option("--as-of", help="Score with the newest champion of the interval or an earlier one, not today's."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs; make none.")] = False,
) -> None:
    """Run past intervals as the schedule would have, going on past failures."""
    from modelfleet.steps.backfilling import carry_out, decide

    spec = spec_of(fleet)
    planned = decide(spec, first, last, pipelines=[str(name) for name in pipeline or ()], train=train)
    if dry_run:
        for each in planned:
            out.print(f"{each.pipeline:8}{each.interval}", highlight=False)
        return
    outcomes: list[Outcome] = []
    for outcome in carry_out(spec, planned, lambda ref: _run_announced(spec, ref), as_of=as_of):
        outcomes.append(outcome)
        if outcome.status != "done":
            out.print(f"[yellow]{outcome.planned.pipeline}[/yellow] {outcome.planned.interval}: ", end="")
            out.print(outcome.message, markup=False, highlight=False)
    _print_outcomes(fleet, outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _run_announced(spec: FleetSpec, ref: RunRef) -> None:
    out.print(f"[bold]{ref.pipeline} {ref.interval}[/bold]", highlight=False)
    run_pipeline(spec, ref.pipeline, ref)


def _print_outcomes(fleet: str, outcomes: Iterable[Outcome]) -> None:
    table = Table("pipeline", "interval", "outcome", "seconds", "because", title=f"{fleet}: backfill")
    for outcome in outcomes:
        row = (outcome.planned.pipeline, outcome.planned.interval, outcome.status, f"{outcome.seconds:.1f}")
        table.add_row(*row, escape(outcome.message.partition("\n")[0]))
    out.print(table)


@app.command()
@reported
def backtest(
    fleet: Fleet,
    folds: Annotated[int, typer.Option(min=1, help="How many past cutoffs to train and score at.")] = 10,
    to: Annotated[
        str | None, typer.Option(help="The last interval whose rows are used. Default: the last one ingested.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="How many steps (or days) cutoffs lie apart. Default: the horizon, or the holdout."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--out", help="The HTML file. Default: in the folder reports of MODELFLEET_HOME.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat folds that are done.")] = False,
) -> None:
    """Replay training and scoring at past cutoffs, and compare with what came: a table, and an HTML report."""
    from modelfleet.steps import backtesting

    spec = spec_of(fleet)
    ref = backtesting.open_backtest(spec, to=to, folds=folds, every=every, force=force)
    run_pipeline(spec, ref.pipeline, ref)
    _print_backtest(backtesting.result_of(spec, ref), file)


def _print_backtest(found: Any, file: Path | None) -> None:
    from modelfleet.backtesting.report import findings, fold_table, overview, write_report

    written = write_report(found, file)
    summary = found.summary
    table = Table(show_header=False, title=f"{found.spec.name}: backtest up to {summary.to}", title_justify="left")
    for what, text in overview(summary).items():
        if text:
            table.add_row(what, escape(text))
    out.print(table)
    listed = fold_table(summary)
    by_fold = Table(*listed.head)
    for row in listed.rows:
        by_fold.add_row(*map(escape, row))
    out.print(by_fold)
    chosen = ", ".join(f"{name} {count:,}" for name, count in list(summary.candidates.items())[:10])
    out.print(f"chosen   {chosen}", markup=False, highlight=False)
    for finding in findings(found):
        out.print(f"[bold]{finding.level:8}[/bold] {escape(finding.text)}", highlight=False)
    out.print(f"report   {written}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@reported
def rollback(
    fleet: Fleet, to: Annotated[int | None, typer.Option(help="The version to serve; default: the one before.")] = None
) -> None:
    """Give production back to an earlier version."""
    from modelfleet import registry

    before, now = registry.rollback(spec_of(fleet).name, to)
    out.print(f"{fleet}: version {now} serves now, instead of {before}")
