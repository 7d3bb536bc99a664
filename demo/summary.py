"""What the demo ends with: read from the warehouse and the lake, as anybody could."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from chain import BULK, DAYS, FLEETS
from rich.console import Console
from rich.table import Table

from modelfleet import settings
from modelfleet.airflow.standalone import USER, password_file
from modelfleet.lake import Lake, runs
from modelfleet.plan import PIPELINES, steps_of
from modelfleet.spec.loader import load_fleet
from modelfleet.warehouse import Warehouse
from modelfleet.warehouse.read import Row

TOP = 3
EXAMPLE = {"carrier": "AA", "origin": "JFK", "dest": "LAX"}


def show(console: Console) -> None:
    """Print the whole summary."""
    warehouse = Warehouse.open()
    for fleet in FLEETS:
        console.print(f"\n[bold]{fleet}[/]")
        for line in (*_models(warehouse, fleet), *_decisions(warehouse, fleet), *_predictions(warehouse, fleet)):
            console.print(f"  {line}", highlight=False)
    console.print()
    console.print(_seconds())
    console.print()
    for name, place in _places():
        console.print(f"{name:<16} {place}", highlight=False, soft_wrap=True)


def _models(warehouse: Warehouse, fleet: str) -> Iterable[str]:
    counts = warehouse.model_counts(fleet, BULK)
    by_status = _totals(counts, "status")
    each = ", ".join(f"{by_status[status]} {status}" for status in ("trained", "skipped", "failed"))
    yield f"partitions   {by_status.total()} expected: {each}{_reasons(counts, ('skipped', 'failed'), 'status')}"
    trained = warehouse.runs(fleet, pipeline="train", interval=BULK, limit=1)[0]["counts"]
    metric, ours, baseline = trained["metric"], trained["median"], trained["baseline_median"]
    yield f"median {metric:<5} {ours:.3f} of the models, {baseline:.3f} of the baseline"
    if len(trained.get("candidates", {})) > 1:
        yield "candidates   " + ", ".join(f"{n} {name}" for name, n in Counter(trained["candidates"]).most_common())


def _decisions(warehouse: Warehouse, fleet: str) -> Iterable[str]:
    counts = warehouse.decision_counts(fleet, BULK)
    by_decision = _totals(counts, "decision")
    each = ", ".join(f"{by_decision[decision]} {decision}" for decision in ("promoted", "kept", "rejected"))
    yield f"decisions    {each}{_reasons(counts, ('rejected', 'kept'), 'decision')}"


def _predictions(warehouse: Warehouse, fleet: str) -> Iterable[str]:
    counts = [row for row in warehouse.prediction_counts(fleet) if row["interval"] in DAYS]
    for day in DAYS:
        by_source = _totals([row for row in counts if row["interval"] == day], "source")
        each = ", ".join(f"{n} by {source}" for source, n in by_source.most_common())
        yield f"predictions  {day}: {by_source.total()}" + (f" ({each})" if each else "")


def _totals(counts: Iterable[Row], column: str) -> Counter[str]:
    totals: Counter[str] = Counter()
    for row in counts:
        if row[column] is not None:
            totals[row[column]] += row["n"]
    return totals


def _reasons(counts: Iterable[Row], of: tuple[str, ...], column: str) -> str:
    """The most frequent reasons of those outcomes."""
    reasons: Counter[str] = Counter()
    for row in counts:
        if row[column] in of and row["reason"]:
            # The values that decided stand in each decision; here only which rule, or why there was no model.
            said = f"rule not met: {row['rule']}" if row.get("rule") else ": ".join(row["reason"].split(": ")[:2])
            reasons[said] += row["n"]
    if not reasons:
        return ""
    more = len(reasons) - TOP
    listed = "".join(f"\n               {n} {reason}" for reason, n in reasons.most_common(TOP))
    return listed + (f"\n               and {more} more reasons" if more > 0 else "")


def _seconds() -> Table:
    """Seconds per step, as the lake's step manifests have them; for scoring the mean of the days."""
    lake = Lake.open()
    table = Table(title="Seconds per step", title_justify="left")
    table.add_column("pipeline")
    table.add_column("step")
    for fleet in FLEETS:
        table.add_column(fleet, justify="right")
    for pipeline in PIPELINES:
        intervals = DAYS if pipeline == "score" else (BULK,)
        taken = {fleet: _mean_seconds(lake, fleet, pipeline, intervals) for fleet in FLEETS}
        for step in dict.fromkeys(step for fleet in FLEETS for step in taken[fleet]):
            label = f"{pipeline} (mean of {len(DAYS)} days)" if pipeline == "score" else pipeline
            table.add_row(label, step, *(f"{taken[fleet].get(step, 0.0):.1f}" for fleet in FLEETS))
    return table


def _mean_seconds(lake: Lake, fleet: str, pipeline: str, intervals: Iterable[str]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {}
    steps = [step.name for step in steps_of(load_fleet(fleet, settings.dags_folder()), pipeline)]
    for interval in intervals:
        run = runs.committed(lake, fleet, pipeline, interval)
        for step in steps if run else ():
            manifest = runs.load_step(lake, fleet, pipeline, interval, run.attempt, step) if run else None
            if manifest is not None:
                seconds.setdefault(step, []).append(manifest.seconds)
    return {step: sum(values) / len(values) for step, values in seconds.items()}


def _places() -> Iterable[tuple[str, str]]:
    home = settings.home()
    yield "Lake", Lake.open().location(FLEETS[0]).removesuffix(f"/{FLEETS[0]}")
    yield (
        "Warehouse",
        f"{_shown(settings.warehouse())}  (tables runs, models, decisions; view {FLEETS[0]}_predictions_latest)",
    )
    yield (
        "MLflow",
        f"make mlflow, then http://127.0.0.1:5001 (staging), http://127.0.0.1:5002 (production); in {home / 'mlflow'}",
    )
    yield "Airflow", f"make airflow, then http://127.0.0.1:8080, user {USER}, password in {password_file(home)}"
    partition = "/".join(
        f"{name}={EXAMPLE[name]}" for name in load_fleet(FLEETS[0], settings.dags_folder()).partition_by
    )
    yield "One partition", f"modelfleet explain {FLEETS[0]} '{partition}'"


def _shown(connection: settings.Connection) -> str:
    place = connection.host + (f":{connection.port}" if connection.port else "")
    return place + (f"/{connection.schema}" if connection.schema else "")
