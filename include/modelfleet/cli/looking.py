"""Commands that look at what there is: status, find, explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    reported,
    spec_of,
    text_of,
)
from modelfleet.spec import FleetSpec, loader


@app.command()
@reported
def status(
    fleet: Annotated[str | None, typer.Argument(help="One fleet; default: all.")] = None, as_json: AsJson = False
) -> None:
    """Champions, the runs in force, and which of them are stale."""
    from modelfleet.status import fleet_status

    every = loader.Fleets() if fleet else loader.load_fleets(settings.dags_folder(), on_error="collect")
    found = [fleet_status(spec) for spec in ([spec_of(fleet)] if fleet else every.values())]
    if as_json:
        print_json(found)
    else:
        _print_status(found)
    print_errors(str(error) for error in every.errors)
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
@reported
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

    spec = spec_of(fleet)
    found = find_models(spec, where, limit=limit)
    if as_json:
        print_json(found.to_pylist())
        return
    metrics = list(dict.fromkeys((spec.select_by, *metric_names.names(spec.problem.kind))))[:3]
    shown = ["partition", "serves", "status", "reason", "n_train", "n_test", *metrics, f"baseline_{metrics[0]}"]
    table = Table(title=f"{fleet}: {found.num_rows} models")
    for name in shown:
        table.add_column(name, overflow="fold", min_width=28 if name == "partition" else None)
    for row in found.select(shown).to_pylist():
        if row["serves"] == "baseline" and spec.levels:
            row["serves"] = "fallback"  # a coarser level, or the baseline: `explain` says which
        table.add_row(*(text_of(row[name]) for name in shown))
    out.print(table)


@app.command()
@reported
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

    spec = spec_of(fleet)
    found = explain_model(spec, partition)
    if save is not None:
        from modelfleet import workbench

        interval = (found["training"] or found["serving"])["trained_interval"]
        rows = workbench.open_fleet(fleet, interval, as_trained=True).partition(partition)
        found["rows"] = str(rows.save(save))
    if as_json:
        print_json(found)
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
            out.print(text_of(content), markup=False, highlight=False, soft_wrap=True)
        else:
            table = Table(show_header=False, title=section, title_justify="left")
            for name, value in content.items():
                if value is not None and name != "candidates":
                    table.add_row(name, escape(text_of(value)))
            out.print(table)
