"""The DAGs of a fleet: `<fleet>_ingest`, `_train`, `_promote` and `_score`, chained by partitioned assets, and `_backtest`.

ingest (cron) -> raw -> score; train (cron, or when its data is there) -> challenger -> promote -> champion, and
`unscored` for the intervals that had to wait for the first champion. A backtest is started by hand. Every event carries the
interval's key. The tasks are the steps of `modelfleet.plan`, so that Airflow and the command line do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, Param, PartitionedAssetTimetable, PartitionedAtRuntime

from modelfleet.airflow import connections, documentation
from modelfleet.airflow.base import Deadline, TaskRecord, pipeline
from modelfleet.airflow.callbacks import TaskFailed
from modelfleet.airflow.timetable import IntervalTimetable
from modelfleet.plan import PIPELINES, Pipeline, Step, steps_of

if TYPE_CHECKING:
    from modelfleet import FleetSpec

__all__ = ["TaskRecord", "build_fleet", "pipeline"]

OPERATORS = "modelfleet.airflow.operators"
SPARK_POOL = "spark"
SPARK_CONNECTION = "spark_default"
POKE_SECONDS = 30.0
LONGEST_WAIT = timedelta(days=7)
OPENERS = {"ingest": "extract", "train": "pin", "promote": "pin", "score": "pin", "backtest": "pin"}

FORCE = {
    "train": "Train again although nothing changed",
    "promote": "Promote although the champion is from a later interval",
    "score": "Score again although nothing changed",
}
START = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Interval's start",
    description="First day of a longer interval, such as 2013-01-01 for a bulk load. Empty: one period of the schedule",
)
AS_OF = Param(
    False,
    type="boolean",
    title="With the champion of that time",
    description="The newest version promoted for this interval or an earlier one, rather than today's champion",
)
RETRY = Param(
    None,
    type=["null", "string"],
    enum=[None, "failed"],
    title="Retry",
    description="failed: fit only the failed models whose failure could turn out otherwise; all others are carried over "
    "from the interval's training. Empty: an ordinary training",
)
TRAIN_ONLY = Param(
    False, type="boolean", title="For training only", description="Do not score this interval (bulk loads of history)"
)

BACKTEST_NAME: Pipeline = "backtest"
BACKTEST = {
    "folds": Param(
        10, type="integer", minimum=1, title="Folds", description="How many past cutoffs to train and score at"
    ),
    "to": Param(
        None,
        type=["null", "string"],
        title="Up to",
        description="The last interval whose rows are used, such as 2013-09-30. Empty: the last one ingested",
    ),
    "every": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Every",
        description="How many steps (or days) cutoffs lie apart. Empty: the horizon, or the holdout",
    ),
    "force": Param(False, type="boolean", title="Repeat folds that are done"),
}


@dataclass(frozen=True)
class FleetAssets:
    """The assets a fleet's DAGs send events of; each event's partition key is an interval's key."""

    raw: Asset
    challenger: Asset
    champion: Asset
    predictions: Asset
    unscored: Asset

    @classmethod
    def of(cls, fleet: str) -> FleetAssets:
        names = ("raw", "challenger", "champion", "predictions", "unscored")
        return cls(*(Asset(name=f"{fleet}/{name}", uri=f"modelfleet://{fleet}/{name}") for name in names))


def build_fleet(spec: FleetSpec) -> tuple[DAG, ...]:
    """The fleet's DAGs; to be called in a DAG file, where Airflow registers them."""
    assets = FleetAssets.of(spec.name)
    return tuple(_dag(spec, name, steps_of(spec, name), assets) for name in (*PIPELINES, BACKTEST_NAME))


def _dag(spec: FleetSpec, name: Pipeline, steps: Sequence[Step], assets: FleetAssets) -> DAG:
    conn_ids = connections.named_by(spec)
    return pipeline(
        f"{spec.name}_{name}",
        _records(spec, name, steps, assets),
        schedule=_schedule(spec, name, assets),
        owner=spec.owner,
        doc=documentation.of_pipeline(spec, name, steps),
        tags=("modelfleet", f"fleet:{spec.name}", *(f"{key}:{value}" for key, value in sorted(spec.tags.items()))),
        params=_params(name),
        deadline=None if name == BACKTEST_NAME else _deadline(spec, name, conn_ids),
        on_failure=TaskFailed(spec.name, name, conn_ids),
    )


def _deadline(spec: FleetSpec, name: Pipeline, conn_ids: Sequence[str]) -> Deadline:
    within = spec.schedule.deadline_of(name)
    arguments = {"fleet": spec.name, "pipeline": name, "allowed": str(within), "conn_ids": list(conn_ids)}
    return Deadline(within, missed="modelfleet.airflow.callbacks.deadline_missed", arguments=arguments)


def _schedule(spec: FleetSpec, name: Pipeline, assets: FleetAssets) -> Any:
    if name == BACKTEST_NAME:
        return None
    if name == "promote":
        return PartitionedAssetTimetable(assets=assets.challenger)
    if name == "score":
        # Either event alone starts the run; both for one interval, before it starts, are one run.
        events = assets.raw | assets.unscored if spec.schedule.score else assets.unscored
        return PartitionedAssetTimetable(assets=events)
    cron = spec.schedule.ingest_cron if name == "ingest" else spec.schedule.train_cron
    return IntervalTimetable(cron, timezone=spec.timezone) if cron else PartitionedAtRuntime()


def _params(name: Pipeline) -> dict[str, Param]:
    if name == "ingest":
        return {"start": START, "train_only": TRAIN_ONLY}
    if name == BACKTEST_NAME:
        return BACKTEST
    force = {"force": Param(False, type="boolean", title=FORCE[name])}
    more = {"score": {"as_of": AS_OF}, "train": {"retry": RETRY}}
    return {**force, **more.get(name, {})}


def _records(spec: FleetSpec, name: Pipeline, steps: Sequence[Step], assets: FleetAssets) -> list[TaskRecord]:
    """The pipeline's steps as tasks: consecutive Spark steps are one task; the last task sends the event."""
    common = {"spec": spec, "pipeline": name, "opener": OPENERS[name]}
    outlets = {"train": assets.challenger, "promote": assets.champion, "score": assets.predictions}
    records = list(_waiting(spec, name))
    for engine, group in groupby(steps, key=lambda step: step.engine):
        members = list(group)
        if engine == "spark":
            records.append(_spark_task(members, common))
            continue
        for step in members:
            arguments: dict[str, Any] = {**common, "step": step.name}
            if step.name == OPENERS[name]:
                arguments["options"] = tuple(_params(name))
            if step is steps[-1] and name in outlets:
                arguments["outlets"] = [outlets[name]]
            operator = "BacktestOperator" if name == BACKTEST_NAME and step.name == "pin" else "StepOperator"
            records.append(TaskRecord(step.name, step.phase, f"{OPERATORS}.{operator}", arguments, step.purpose))
    if name == "ingest":
        purpose = "send the event that starts scoring; skipped for intervals that are for training only"
        arguments = {**common, "outlets": [assets.raw]}
        records.append(TaskRecord("announce", "outputs", f"{OPERATORS}.AnnounceOperator", arguments, purpose))
    if name == "promote":
        purpose = "start scoring of the intervals that had to wait for a champion"
        arguments = {**common, "outlets": [assets.unscored]}
        records.append(TaskRecord("rescore", "outputs", f"{OPERATORS}.RescoreOperator", arguments, purpose))
    return records


def _waiting(spec: FleetSpec, name: Pipeline) -> list[TaskRecord]:
    table = spec.schedule.when_ready
    if name != "train" or table is None:
        return []
    arguments = {"spec": spec, "table": table, "poke_interval": POKE_SECONDS, "timeout": LONGEST_WAIT.total_seconds()}
    purpose = f"wait until the ingests of {table} cover the interval"
    return [TaskRecord("await_data", "inputs", f"{OPERATORS}.DataReadySensor", arguments, purpose)]


def _spark_task(steps: Sequence[Step], common: dict[str, Any]) -> TaskRecord:
    arguments = {
        **common,
        "steps": [step.name for step in steps],
        "conn_id": SPARK_CONNECTION,
        "pool": SPARK_POOL,
    }
    purpose = "One Spark job for all partitions: " + "; ".join(f"**{step.name}**, {step.purpose}" for step in steps)
    return TaskRecord(steps[-1].name, "compute", f"{OPERATORS}.FleetSparkOperator", arguments, purpose)
