"""What the Airflow UI says about a fleet's DAG: written from its spec, for operators who do not read Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelfleet import FleetSpec
    from modelfleet.plan import Step

PURPOSE = {
    "ingest": "reads the sources into the lake and announces the new rows",
    "train": "trains one model per partition and registers them as the challenger",
    "promote": "decides model by model which challengers replace the champion, and publishes the result",
    "score": "predicts the interval's rows with the champion and loads them into the warehouse",
    "backtest": "trains and scores at past cutoffs, and compares with what came; it changes nothing that serves",
}


def of_pipeline(spec: FleetSpec, pipeline: str, steps: Iterable[Step]) -> str:
    """Markdown: what the DAG does, for which fleet, step by step."""
    table, source = spec.data.main
    lines = [
        f"### {spec.name}: {pipeline}",
        "",
        f"This DAG {PURPOSE[pipeline]}. {spec.description}".strip(),
        "",
        "| | |",
        "|---|---|",
        f"| one model per | {_code(spec.partition_by)} |",
        f"| target | `{spec.problem.target}` ({spec.problem.kind}) |",
        f"| features | {_code((*spec.columns, *(f'{part.kind} of {part.column}' for part in spec.declared.past)))} |",
        f"| main table | `{table}`, cut into intervals by `{source.time}` ({spec.timezone}) |",
        f"| model | {_code(f'{learner.name} ({learner.path})' for learner in spec.learners)} |",
        f"| each model is promoted if | {_code(spec.gate.each) or 'always'} |",
        f"| the fleet is promoted if | {_code(spec.gate.fleet) or 'always'} |",
        f"| schedule | {schedule_text(spec)} |",
        f"| owner | {spec.owner} |",
        f"| written in | `{spec.source or 'unknown'}` |",
        "",
        "A run's partition key is its interval's last day (or hour). Steps:",
        "",
    ]
    lines += [f"{number}. **{step.name}**: {step.purpose}" for number, step in enumerate(steps, 1)]
    return "\n".join(lines)


def schedule_text(spec: FleetSpec) -> str:
    """The fleet's schedule in one line."""
    ingest, train = spec.schedule.ingest_cron, spec.schedule.train_cron
    ready = f" once `{spec.schedule.when_ready}` covers the interval" if spec.schedule.when_ready else ""
    return ", ".join(
        [
            f"ingest `{ingest}`" if ingest else "ingest when started",
            (f"train `{train}`" if train else "train when started") + ready,
            "promote after train",
            f"score {spec.schedule.score or 'when started'}",
        ]
    )


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name.replace('|', '&#124;')}`" for name in names)
