"""Commands of authors: new, plan, validate, profile."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from modelfleet import settings
from modelfleet.cli.console import (
    AsJson,
    Fleet,
    app,
    out,
    print_errors,
    print_json,
    progress,
    reported,
    spec_of,
)
from modelfleet.errors import ModelfleetError
from modelfleet.plan import plan, steps_of
from modelfleet.spec import loader


@app.command()
@reported
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
@reported
def show_plan(fleet: Fleet, as_json: AsJson = False) -> None:
    """The ordered steps of a fleet, what each reads and writes. Nothing is executed."""
    listed = plan(spec_of(fleet))
    if as_json:
        print_json([step.__dict__ for step in listed])
        return
    for pipeline, members in groupby(listed, key=lambda step: step.pipeline):
        out.print(f"[bold]{fleet}_{pipeline}[/bold]", highlight=False)
        for step in members:
            out.print(f"  [green]{step.name:10}[/green]{step.purpose}  [dim]({step.engine})[/dim]", highlight=False)
            for sign, places in (("<-", step.reads), ("->", step.writes)):
                for place in places:
                    out.print(f"      {sign} {place}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@reported
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
        print_json({"fleets": sorted(spec.name for spec in specs), "errors": findings})
    else:
        for spec in specs:
            out.print(f"[green]read[/green]  {spec.name}  ({spec.source})", highlight=False)
        print_errors(findings)
    if findings:
        raise typer.Exit(1)


@app.command()
@reported
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

    spec = spec_of(fleet)
    with progress(next(step for step in steps_of(spec, "train") if step.name == "dataset")) as report:
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
