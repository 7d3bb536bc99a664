"""The plan of a fleet: its pipelines' steps in order, what each reads and writes. Pure; runners and DAGs are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from modelfleet.spec import FleetSpec

Pipeline = Literal["ingest", "train", "promote", "score", "backtest"]
PIPELINES: tuple[Pipeline, ...] = ("ingest", "train", "promote", "score")
"""Those that keep a fleet going; a backtest is made when somebody asks for it."""


@dataclass(frozen=True)
class Step:
    """One step. `engine` says who runs it; consecutive ``spark`` steps share one Spark job."""

    pipeline: Pipeline
    name: str
    engine: Literal["python", "spark"]
    phase: Literal["inputs", "compute", "outputs"]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    purpose: str


def plan(spec: FleetSpec) -> tuple[Step, ...]:
    """All steps of the fleet, in the order of its pipelines."""
    return (*_ingest(spec), *_train(spec), *_promote(spec), *_score(spec))


def steps_of(spec: FleetSpec, pipeline: str) -> tuple[Step, ...]:
    """The steps of one pipeline, in order."""
    return tuple(step for step in (*plan(spec), *_backtest(spec)) if step.pipeline == pipeline)


def _ingest(spec: FleetSpec) -> tuple[Step, ...]:
    place = f"lake:{spec.name}/ingest/<interval>"
    sources = tuple(f"{name}: {table.describe()}" for name, table in spec.data.tables.items())
    return (
        Step(
            "ingest",
            "extract",
            "python",
            "compute",
            sources,
            (f"{place}/<attempt>/extract",),
            "read the interval's rows",
        ),
        Step(
            "ingest",
            "commit",
            "python",
            "outputs",
            (f"{place}/<attempt>/extract",),
            (f"{place}/manifest.json", "warehouse:runs"),
            "put the attempt in force",
        ),
    )


def _spark_steps(spec: FleetSpec, pipeline: Pipeline, last: Step) -> tuple[Step, ...]:
    place = f"lake:{spec.name}/{pipeline}/<interval>/<attempt>"
    prepared = f" through {spec.data.prepare}" if spec.data.prepare else ""
    return (
        Step(
            pipeline,
            "pin",
            "python",
            "inputs",
            (f"lake:{spec.name}/ingest/*/manifest.json", "mlflow production: champion"),
            (f"{place}/attempt.json",),
            "fix the attempts and the champion version that the run uses",
        ),
        Step(
            pipeline,
            "dataset",
            "spark",
            "compute",
            (f"lake:{spec.name}/ingest", *(("code:" + spec.data.prepare,) if spec.data.prepare else ())),
            (f"{place}/dataset",),
            f"group the rows by {', '.join(spec.partition_by)}{prepared}",
        ),
        Step(
            pipeline,
            "quality",
            "spark",
            "compute",
            (f"{place}/dataset",),
            (f"{place}/quality",),
            "judge the prepared rows",
        ),
        last,
    )


def _code(spec: FleetSpec) -> tuple[str, ...]:
    """The author's code that is fitted, each path once."""
    return tuple(f"code:{path}" for path in dict.fromkeys(learner.path for learner in spec.learners))


def _train(spec: FleetSpec) -> tuple[Step, ...]:
    place = f"lake:{spec.name}/train/<interval>"
    fit = Step(
        "train",
        "train",
        "spark",
        "compute",
        (
            f"{place}/<attempt>/dataset",
            *_code(spec),
            f"lake:{spec.name}/promote (champion)",
        ),
        (f"{place}/<attempt>/train",),
        _fitting(spec),
    )
    return (
        *_spark_steps(spec, "train", fit),
        Step(
            "train",
            "commit",
            "python",
            "outputs",
            (),
            (f"{place}/manifest.json", "warehouse:runs"),
            "put the attempt in force",
        ),
        Step(
            "train",
            "register",
            "python",
            "outputs",
            (f"{place}/<attempt>/train",),
            (f"mlflow staging: {spec.name}", "warehouse:models"),
            "one MLflow run, one version: the challenger",
        ),
    )


def _fitting(spec: FleetSpec) -> str:
    """What the step train does, in words."""
    candidates, folds = len(spec.learners), spec.training.folds
    what = "fit and evaluate one model per partition"
    if candidates > 1:
        what = f"fit and evaluate {candidates} candidates per partition on {folds} fold{'s' * (folds > 1)}; the best is its model"
    if spec.training.train_mode == "changed":
        what += "; what has not changed since the training before is carried over"
    return what + (f"; models of {', '.join(spec.levels)} to fall back on" if spec.levels else "")


def _promote(spec: FleetSpec) -> tuple[Step, ...]:
    place = f"lake:{spec.name}/promote/<interval>"
    return (
        Step(
            "promote",
            "pin",
            "python",
            "inputs",
            (f"lake:{spec.name}/train/<interval>/manifest.json", "mlflow production: champion"),
            (f"{place}/<attempt>/attempt.json",),
            "fix the challenger and the champion it meets",
        ),
        Step(
            "promote",
            "decide",
            "python",
            "compute",
            (f"lake:{spec.name}/train", f"rules: {len(spec.gate.each)} each, {len(spec.gate.fleet)} fleet"),
            (f"{place}/<attempt>/decide",),
            f"one decision per model (mode {spec.gate.mode})",
        ),
        Step(
            "promote",
            "publish",
            "python",
            "outputs",
            (f"{place}/<attempt>/decide",),
            (f"{place}/<attempt>/publish", f"mlflow production: {spec.name}@champion"),
            "promoted challengers and kept champions become a version; the alias moves to it",
        ),
        Step(
            "promote",
            "commit",
            "python",
            "outputs",
            (),
            (f"{place}/manifest.json", "warehouse:decisions", "warehouse:runs"),
            "put the attempt in force",
        ),
    )


def _score(spec: FleetSpec) -> tuple[Step, ...]:
    place = f"lake:{spec.name}/score/<interval>"
    score = Step(
        "score",
        "score",
        "spark",
        "compute",
        (f"{place}/<attempt>/dataset", f"lake:{spec.name}/promote (champion)"),
        (f"{place}/<attempt>/score",),
        "predict every row with its partition's champion, or the baseline",
    )
    return (
        *_spark_steps(spec, "score", score),
        Step("score", "commit", "python", "outputs", (), (f"{place}/manifest.json",), "put the attempt in force"),
        Step(
            "score",
            "load",
            "python",
            "outputs",
            (f"{place}/<attempt>/score",),
            (f"warehouse:{spec.name}_predictions", "warehouse:runs"),
            "load the predictions",
        ),
    )


def _backtest(spec: FleetSpec) -> tuple[Step, ...]:
    place = f"lake:{spec.name}/backtest/<interval>"
    made = f"{place}/<attempt>"
    return (
        Step(
            "backtest",
            "pin",
            "python",
            "inputs",
            (f"lake:{spec.name}/ingest/*/manifest.json",),
            (f"{made}/attempt.json",),
            "fix the cutoffs, and the attempts that are used",
        ),
        Step(
            "backtest",
            "replay",
            "spark",
            "compute",
            (f"lake:{spec.name}/ingest", *_code(spec)),
            (f"{made}/fold-<cutoff>",),
            "train and score at each cutoff, and compare with what came",
        ),
        Step(
            "backtest",
            "report",
            "python",
            "outputs",
            (f"{made}/fold-<cutoff>",),
            (f"{made}/report",),
            "sum the folds up in tables and a page with plots",
        ),
        Step("backtest", "commit", "python", "outputs", (), (f"{place}/manifest.json",), "put the attempt in force"),
        Step(
            "backtest",
            "publish",
            "python",
            "outputs",
            (f"{made}/report",),
            (f"mlflow staging: {spec.name}", "warehouse:backtests", "warehouse:runs"),
            "the table in the warehouse, one MLflow run with the report",
        ),
    )
