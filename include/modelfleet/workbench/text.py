"""What became of a partition, as text that terminals and notebooks show alike."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelfleet import metric_names

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import RenderableType
    from rich.table import Table

    from modelfleet.spec import FleetSpec
    from modelfleet.training import TrainingPlan
    from modelfleet.workbench.bench import Bench

WIDTH = 120
_LEVELS = ("baseline", "fallback", "champion")


class Text(str):
    """Text that shows as it is, in a notebook too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def of_partition(bench: Bench, key: str, problem: str | None) -> Text:
    """The training's row of a partition, and the decision on it."""
    row = bench.stored(key)
    if row is None:
        told = f"{key}: not trained yet; fit() tries it here"
        return Text(told if problem is None else f"{told}\nproblem: {problem}")
    decisions = bench.decisions()
    decision = None
    if decisions is not None:
        decision = next((each for each in decisions.to_pylist() if each["partition"] == key), None)
    return of_row(bench, key, row, bench.plan, heading="the training's model", decision=decision)


def of_row(
    bench: Bench,
    key: str,
    row: Mapping[str, Any],
    plan: TrainingPlan,
    *,
    heading: str,
    decision: Mapping[str, Any] | None = None,
) -> Text:
    """A model's row."""
    interval = bench.opened.attempt.interval.key
    parts: list[RenderableType] = [f"{bench.spec.name}, {key}: {heading}, {interval}", _data(row)]
    trials = json.loads(row.get("candidates") or "[]")
    if trials:
        parts.append(candidates(trials, plan.select_by, row.get("candidate")))
    if row.get("n_test") and row["status"] == "trained":
        parts.append(metrics(row, bench.spec))
    if decision is not None:
        why = f" by the rule {decision['rule']}" if decision.get("rule") else ""
        parts.append(f"decision: {decision['decision']}{why}; {decision.get('reason') or ''}".rstrip("; "))
    return _rendered(parts)


def _data(row: Mapping[str, Any]) -> str:
    lines = [f"status: {row['status']}" + (f", {row['reason']}: {row['message']}" if row.get("reason") else "")]
    if row.get("window_start"):
        first, last = (_moment(row[f"window_{side}"]) for side in ("start", "end"))
        lines.append(f"rows: {row['n_rows']} from {first} to {last}")
    counts = {
        "fitted on": row.get("n_train"),
        "holdout": row.get("n_test"),
        "without a target": row.get("n_null_target"),
    }
    lines.append(", ".join(f"{name}: {count}" for name, count in counts.items() if count is not None))
    return "\n".join(line for line in lines if line)


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M").removesuffix(" 00:00")


def candidates(trials: Sequence[Mapping[str, Any]], metric: str, winner: str | None) -> Table:
    """Every candidate's score, mean and per fold; fold 0 is the holdout."""
    from rich.markup import escape
    from rich.table import Table

    folds = sorted({int(fold) for trial in trials for fold in (*trial["folds"], *trial.get("failed", {}))})
    table = Table(title=f"candidates by {metric}", title_justify="left")
    for name in ("", "candidate", "mean", *(f"fold {fold}" for fold in folds), "seconds", "failed"):
        table.add_column(name, overflow="fold")
    for trial in trials:
        failed = trial.get("failed", {})
        why = next(iter(failed.values()), "left out by halving" if trial.get("dropped") else "")
        scores = (number(trial["folds"].get(str(fold))) for fold in folds)
        mark = "*" if trial["name"] == winner else ""
        row = (mark, trial["name"], number(trial["score"]), *scores, f"{trial['seconds']:.2f}", why)
        table.add_row(*map(escape, row))
    return table


def metrics(row: Mapping[str, Any], spec: FleetSpec) -> Table:
    """The model's metrics on the holdout, beside those of baseline, fallback and champion."""
    from rich.table import Table

    names = (*metric_names.names(spec.problem.kind), *spec.training.metrics)
    table = Table(title="on the holdout", title_justify="left")
    for name in ("", *names):
        table.add_column(name)
    table.add_row("model", *(number(row.get(name)) for name in names))
    for level in _LEVELS:
        status = row.get(f"{level}_status") or "none"
        label = f"{level} ({status})" if level != "baseline" else level
        table.add_row(label, *(number(row.get(f"{level}_{name}")) for name in names))
    return table


def number(value: float | None) -> str:
    """A number as people read it."""
    return "" if value is None or value != value else f"{value:.4g}"


def _rendered(parts: Sequence[RenderableType]) -> Text:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    for part in parts:
        console.print(part, markup=False, highlight=False)
    assert isinstance(console.file, io.StringIO)
    return Text("\n".join(line.rstrip() for line in console.file.getvalue().splitlines()))
