"""``modelfleet``: the author's inner loop and the operator's questions, without Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum, auto
from functools import wraps
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from modelfleet import settings
from modelfleet.errors import ModelfleetError
from modelfleet.plan import PIPELINES, Step, plan, steps_of
from modelfleet.spec import FleetSpec, loader

if TYPE_CHECKING:
    from modelfleet.steps import RunRef
    from modelfleet.steps.backfilling import Outcome

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, gate, promote, score and watch many models.")
out, err = Console(), Console(stderr=True)
P = ParamSpec("P")

Fleet = Annotated[str, typer.Argument(help="The fleet's name, as its file in dags/ gives it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Pipeline(StrEnum):
    """The pipelines `run --step` can name."""

    ingest = auto()
    train = auto()
    promote = auto()
    score = auto()


def _reported(command: Callable[P, None]) -> Callable[P, None]:
    """Errors of Modelfleet are for people: the message alone, exit code 1."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ModelfleetError as exc:
            err.print(f"[red]{type(exc).__name__}[/red]: ", end="")
            err.print(str(exc), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    return wrapped


@app.command()
@_reported
def run(
    fleet: Fleet,
    interval: Annotated[str, typer.Option(help="The interval's last day or hour: 2013-09-30.")],
    step: Annotated[
        list[Pipeline] | None, typer.Option(help="Only this pipeline; may be repeated. Default: all.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="First day of the ingested interval, for bulk loads.")] = None,
    train_only: Annotated[
        bool, typer.Option("--train-only", help="The interval is for training; it is not scored.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Repeat finished work; promote an older interval.")] = False,
) -> None:
    """Run the steps of a fleet here and now, with progress bars."""
    from modelfleet import steps

    spec = _spec(fleet)
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
        _run_pipeline(spec, pipeline, ref)


@app.command()
@_reported
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

    spec = _spec(fleet)
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
    _run_pipeline(spec, ref.pipeline, ref)


def _print_outcomes(fleet: str, outcomes: Iterable[Outcome]) -> None:
    table = Table("pipeline", "interval", "outcome", "seconds", "because", title=f"{fleet}: backfill")
    for outcome in outcomes:
        row = (outcome.planned.pipeline, outcome.planned.interval, outcome.status, f"{outcome.seconds:.1f}")
        table.add_row(*row, escape(outcome.message.partition("\n")[0]))
    out.print(table)


@app.command()
@_reported
def new(
    name: Annotated[str, typer.Argument(help="The new fleet's name, and that of the package of its model code.")],
    kind: Annotated[
        Literal["forecast", "regression", "classification"], typer.Option(help="What it predicts.")
    ] = "forecast",
    from_csv: Annotated[
        Path | None, typer.Option(help="Its rows, read in place. Default: a table of a database.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="The column of dates or times. Default: guessed.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict. Default: guessed.")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="A column of whose values each gets its own model; may be repeated.")
    ] = None,
    freq: Annotated[
        str | None, typer.Option(help="The step of a forecast: D, h, W-MON, MS ... Default: guessed.")
    ] = None,
    horizon: Annotated[int | None, typer.Option(help="How many steps to forecast.", min=1)] = None,
) -> None:
    """Write a first draft of a fleet: its file, model code, and a test that passes."""
    from modelfleet import scaffold

    made = scaffold.new(
        name,
        kind,
        dags=settings.dags_folder(),
        csv=from_csv,
        time=time,
        target=target,
        keys=key or (),
        freq=freq,
        horizon=horizon,
    )
    for file in made.files:
        out.print(f"[green]wrote[/green]  {escape(str(file))}", highlight=False, soft_wrap=True)
    for what, value in made.taken.items():
        out.print(f"[green]{what:9}[/green]{escape(value)}", highlight=False, soft_wrap=True)
    for note in made.notes:
        out.print(f"[yellow]note[/yellow]     {escape(note)}", highlight=False, soft_wrap=True)
    out.print("Next:")
    for command in made.commands:
        out.print(f"  {escape(command)}", highlight=False, soft_wrap=True)


@app.command(name="plan")
@_reported
def show_plan(fleet: Fleet, as_json: AsJson = False) -> None:
    """The ordered steps of a fleet, what each reads and writes. Nothing is executed."""
    listed = plan(_spec(fleet))
    if as_json:
        _print_json([step.__dict__ for step in listed])
        return
    for pipeline, members in groupby(listed, key=lambda step: step.pipeline):
        out.print(f"[bold]{fleet}_{pipeline}[/bold]", highlight=False)
        for step in members:
            out.print(f"  [green]{step.name:10}[/green]{step.purpose}  [dim]({step.engine})[/dim]", highlight=False)
            for sign, places in (("<-", step.reads), ("->", step.writes)):
                for place in places:
                    out.print(f"      {sign} {place}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@_reported
def validate(
    file: Annotated[Path | None, typer.Argument(help="One fleet file; default: all in the dags folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check fleet files: every field, rule and expectation, and that the model code can be imported and built."""
    from modelfleet.quality import checks, validate_against_gx
    from modelfleet.steps.inputs import check_code

    if file is None:
        fleets = loader.load_fleets(settings.dags_folder(), on_error="collect")
        specs, findings = list(fleets.values()), [str(error) for error in fleets.errors]
    else:
        specs, findings = loader.load_file(file), []
    for spec in specs:
        try:
            check_code(spec)
            validate_against_gx(checks(spec.quality))
        except ModelfleetError as exc:
            findings.append(str(exc))
    if as_json:
        _print_json({"fleets": sorted(spec.name for spec in specs), "errors": findings})
    else:
        for spec in specs:
            out.print(f"[green]read[/green]  {spec.name}  ({spec.source})", highlight=False)
        _print_errors(findings)
    if findings:
        raise typer.Exit(1)


@app.command()
@_reported
def status(
    fleet: Annotated[str | None, typer.Argument(help="One fleet; default: all.")] = None, as_json: AsJson = False
) -> None:
    """Champions, the runs in force, and which of them are stale."""
    from modelfleet.status import fleet_status

    every = loader.Fleets() if fleet else loader.load_fleets(settings.dags_folder(), on_error="collect")
    found = [fleet_status(spec) for spec in ([_spec(fleet)] if fleet else every.values())]
    if as_json:
        _print_json(found)
    else:
        _print_status(found)
    _print_errors(str(error) for error in every.errors)
    if every.errors:
        raise typer.Exit(1)


def _print_status(found: list[dict[str, Any]]) -> None:
    for state in found:
        champion = state["champion"] or {}
        served = champion.get("error") or (
            f"champion version {champion['version']} of {champion['interval']}" if champion else "no champion yet"
        )
        table = Table("pipeline", "interval", "status", "attempt", "stale because", title=f"{state['fleet']}: {served}")
        for row in state["runs"]:
            table.add_row(row["pipeline"], row["interval"], row["status"], row["attempt"], "; ".join(row["stale"]))
        out.print(table)


@app.command()
@_reported
def find(
    fleet: Fleet,
    where: Annotated[
        str | None, typer.Option(help="A condition: \"carrier = 'AA' AND mae > 10\"; tags['domain'] = 'x'.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many models.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Models by key, metrics and tags."""
    from modelfleet import metric_names
    from modelfleet.status import find as find_models

    spec = _spec(fleet)
    found = find_models(spec, where, limit=limit)
    if as_json:
        _print_json(found.to_pylist())
        return
    metrics = list(dict.fromkeys((spec.select_by, *metric_names.names(spec.problem.kind))))[:3]
    shown = ["partition", "serves", "status", "reason", "n_train", "n_test", *metrics, f"baseline_{metrics[0]}"]
    table = Table(title=f"{fleet}: {found.num_rows} models")
    for name in shown:
        table.add_column(name, overflow="fold", min_width=28 if name == "partition" else None)
    for row in found.select(shown).to_pylist():
        table.add_row(*(_text(row[name]) for name in shown))
    out.print(table)


@app.command()
@_reported
def explain(
    fleet: Fleet,
    partition: Annotated[str, typer.Argument(help="Its canonical key: carrier=AA/origin=JFK/dest=LAX.")],
    save: Annotated[
        Path | None, typer.Option(help="Write the rows that its training saw to this .parquet or .csv file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One partition: its data, candidates, metrics, the decision and the rule behind it, which version serves it."""
    from modelfleet.status import explain as explain_model

    spec = _spec(fleet)
    found = explain_model(spec, partition)
    if save is not None:
        from modelfleet import workbench

        interval = (found["training"] or found["serving"])["trained_interval"]
        rows = workbench.open_fleet(fleet, interval, as_trained=True).partition(partition)
        found["rows"] = str(rows.save(save))
    if as_json:
        _print_json(found)
    else:
        _print_explained(spec, found)


def _print_explained(spec: FleetSpec, found: dict[str, Any]) -> None:
    from modelfleet.workbench import text

    training = found["training"] or {}
    for section, content in found.items():
        if section == "candidates":
            if content:
                out.print(text.candidates(content, spec.select_by, training.get("candidate")))
        elif not isinstance(content, dict):
            out.print(f"[bold]{section}[/bold]: ", end="")
            out.print(_text(content), markup=False, highlight=False, soft_wrap=True)
        else:
            table = Table(show_header=False, title=section, title_justify="left")
            for name, value in content.items():
                if value is not None and name != "candidates":
                    table.add_row(name, escape(_text(value)))
            out.print(table)


@app.command()
@_reported
def profile(
    fleet: Fleet,
    interval: Annotated[
        str | None, typer.Option(help="The interval's last day or hour. Default: of the latest training, else ingest.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--out", help="The HTML file. Default: in the folder reports of MODELFLEET_HOME.")
    ] = None,
    sample_rows: Annotated[
        int, typer.Option(min=1, help="How many rows stand for all in distributions, outliers and correlations.")
    ] = 100_000,
) -> None:
    """Look at the prepared data before modelling it: an HTML report, and what stands out."""
    from modelfleet import exploring
    from modelfleet.exploring.findings import findings, summary

    spec = _spec(fleet)
    with _progress(next(step for step in steps_of(spec, "train") if step.name == "dataset")) as report:
        found = exploring.explore(spec, interval, sample_rows=sample_rows, progress=report)
        written = exploring.write_report(found, file)
    table = Table(
        show_header=False, title=f"{fleet}: the data up to {found.prepared.interval.key}", title_justify="left"
    )
    for what, text in summary(found):
        table.add_row(what, escape(text))
    out.print(table)
    standing_out = findings(found)
    for finding in standing_out[:10]:
        out.print(f"[bold]{finding.level:8}[/bold] {escape(finding.text)}", highlight=False)
    if len(standing_out) > 10:
        out.print(f"and {len(standing_out) - 10} more in the report")
    out.print(f"report   {written}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@_reported
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

    spec = _spec(fleet)
    ref = backtesting.open_backtest(spec, to=to, folds=folds, every=every, force=force)
    _run_pipeline(spec, ref.pipeline, ref)
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
@_reported
def rollback(
    fleet: Fleet, to: Annotated[int | None, typer.Option(help="The version to serve; default: the one before.")] = None
) -> None:
    """Give production back to an earlier version."""
    from modelfleet import registry

    before, now = registry.rollback(_spec(fleet).name, to)
    out.print(f"{fleet}: version {now} serves now, instead of {before}")


def _run_pipeline(spec: FleetSpec, pipeline: str, ref: Any) -> None:
    from modelfleet.steps.runner import open_context, run_step

    context = open_context(ref)
    told: dict[str, Any] = {}
    for step in steps_of(spec, pipeline):
        if step.name == "pin":
            continue
        with _progress(step) as report:
            context.progress = report
            facts = run_step(ref, step.name, context=context)
        note = f"taken over from {facts['reused_from']}" if facts["reused_from"] else f"{facts['seconds']:.1f} s"
        out.print(f"[green]{pipeline:9}[/green]{step.name:10}{note:14} {_facts(facts, told)}", highlight=False)
        told |= facts


@contextmanager
def _progress(step: Step) -> Iterator[Callable[[str, int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        tasks = {step.name: bar.add_task(f"{step.pipeline} {step.name}", total=None)}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(f"  {label}", total=total)
            bar.update(tasks[label], completed=done, total=total)

        yield report


def _spec(fleet: str) -> FleetSpec:
    return loader.load_fleet(fleet, settings.dags_folder())


_OF_BACKTEST = ("folds", "better", "equal", "worse", "claimed", "to")
"""Facts that the backtest's own tables show."""


def _facts(facts: dict[str, Any], told: dict[str, Any]) -> str:
    """A step's facts, without those that an earlier step of the run has told."""
    quiet = {
        "digest",
        "reused_from",
        "seconds",
        "tables",
        "schema",
        "bytes",
        "key_types",
        "run_id",
        "buckets",
        *_OF_BACKTEST,
    }
    shown = {
        k: v
        for k, v in facts.items()
        if k not in quiet
        and (k not in told or told[k] != v)
        and not k.startswith(("median_", "baseline_", "data_"))
        and v not in (None, [], {})
    }
    return ", ".join(f"{name} {_text(value)}" for name, value in shown.items())


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) + "}"
    return "" if value is None else str(value)


def _print_errors(errors: Iterable[str]) -> None:
    for error in errors:
        err.print("[red]error[/red] ", end="")
        err.print(error, markup=False, highlight=False, soft_wrap=True)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=1, default=str))


if __name__ == "__main__":
    app()
