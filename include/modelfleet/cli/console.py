"""What the commands share: the app, the consoles, how errors, facts and progress are shown."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from modelfleet import settings
from modelfleet.errors import ModelfleetError
from modelfleet.plan import Step, steps_of
from modelfleet.spec import FleetSpec, loader

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, gate, promote, score and watch many models.")
PIPED = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
"""The width of tables that no terminal bounds."""
out, err = Console(width=PIPED), Console(stderr=True)
P = ParamSpec("P")

Fleet = Annotated[str, typer.Argument(help="The fleet's name, as its file in dags/ gives it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def reported(command: Callable[P, None]) -> Callable[P, None]:
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


def spec_of(fleet: str) -> FleetSpec:
    """The fleet's spec, from its file in the DAGs folder."""
    return loader.load_fleet(fleet, settings.dags_folder())


def run_pipeline(spec: FleetSpec, pipeline: str, ref: Any) -> None:
    """Run the steps of an open attempt, telling of each what came of it."""
    from modelfleet.steps.runner import open_context, run_step

    context = open_context(ref)
    told: dict[str, Any] = {}
    for step in steps_of(spec, pipeline):
        if step.name == "pin":
            continue
        with progress(step) as report:
            context.progress = report
            facts = run_step(ref, step.name, context=context)
        note = f"taken over from {facts['reused_from']}" if facts["reused_from"] else f"{facts['seconds']:.1f} s"
        out.print(f"[green]{pipeline:9}[/green]{step.name:10}{note:14} {_facts(facts, told)}", highlight=False)
        if facts.get("warning") and "warning" not in told:
            out.print(f"[yellow bold]warning[/]  {escape(facts['warning'])}", highlight=False)
        told |= facts


@contextmanager
def progress(step: Step) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar of a step, and what reports to it: a label, how many are done, of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        tasks = {step.name: bar.add_task(f"{step.pipeline} {step.name}", total=None)}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(f"  {label}", total=total)
            bar.update(tasks[label], completed=done, total=total)

        yield report


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
        "way",
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
    return ", ".join(f"{name} {text_of(value)}" for name, value in shown.items())


def text_of(value: object) -> str:
    """A fact as people read it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {text_of(v)}" for k, v in value.items()) + "}"
    return "" if value is None else str(value)


def print_errors(errors: Iterable[str]) -> None:
    """Each on the error console, unwrapped."""
    for error in errors:
        err.print("[red]error[/red] ", end="")
        err.print(error, markup=False, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """JSON on the standard output."""
    typer.echo(json.dumps(value, indent=1, default=str))
