"""One function per step, no Airflow in it; the command line, Spark jobs and DAGs all call these."""

from modelfleet.steps.inputs import data_ready, waiting_intervals
from modelfleet.steps.runner import (
    EmptyInterval,
    NoChampionYet,
    NothingToRetry,
    NotReady,
    RunRef,
    TrainingOnly,
    open_run,
    run_step,
)

__all__ = [
    "EmptyInterval",
    "NoChampionYet",
    "NotReady",
    "NothingToRetry",
    "RunRef",
    "TrainingOnly",
    "data_ready",
    "open_run",
    "run_step",
    "waiting_intervals",
]
