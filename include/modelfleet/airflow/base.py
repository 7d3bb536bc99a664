"""The base template of every DAG: tasks as neutral records, in the order move inputs, compute, move outputs.

First decide, then do: a pipeline is a list of `TaskRecord`; one function turns a record into an operator. It serves
fleets (see `modelfleet.airflow.templates`) and models that are no fleet alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal

from airflow.sdk import DAG, BaseOperator, ExceptionRetryPolicy, Param, RetryRule, TaskGroup
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.definitions.retry_policy import RetryAction

from modelfleet.errors import ConfigurationError, ModelfleetError, UnavailableError

Phase = Literal["inputs", "compute", "outputs"]
PHASES: tuple[Phase, ...] = ("inputs", "compute", "outputs")
PHASE_TITLES = {
    "inputs": "move inputs: pin or fetch what the run uses",
    "compute": "compute: one job for all partitions",
    "outputs": "move outputs: publish, commit, announce",
}

# Data, spec and code errors give the same a second time; a database or registry that can't be reached may not.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=UnavailableError, action=RetryAction.DEFAULT),
        RetryRule(exception=ModelfleetError, action=RetryAction.FAIL, reason="trying again gives the same error"),
    ]
)


@dataclass(frozen=True)
class TaskRecord:
    """A task before it is an operator: its id, phase, the operator's dotted path, and the arguments it takes."""

    id: str
    phase: Phase
    operator: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    purpose: str = ""


@dataclass(frozen=True)
class Deadline:
    """How long a run may take from being queued; one that takes longer is told to the coroutine `missed`."""

    within: timedelta
    missed: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def operator_of(record: TaskRecord) -> BaseOperator:
    """The operator of a record, inside the DAG and task group that are open.

    :raises ConfigurationError: when the record's path names nothing importable, or no operator.
    """
    module, _, name = record.operator.rpartition(".")
    try:
        operator = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigurationError(
            f"task {record.id!r}: operator {record.operator!r} can't be imported ({type(exc).__name__}: {exc})",
            hint="give the dotted path of an Airflow operator class",
        ) from exc
    if not (isinstance(operator, type) and issubclass(operator, BaseOperator)):
        raise ConfigurationError(f"task {record.id!r}: {record.operator!r} is no Airflow operator")
    return operator(task_id=record.id, doc_md=record.purpose or None, **record.arguments)


def pipeline(
    dag_id: str,
    tasks: Iterable[TaskRecord],
    *,
    schedule: Any = None,
    owner: str,
    doc: str = "",
    tags: Iterable[str] = (),
    params: Mapping[str, Param] | None = None,
    deadline: Deadline | None = None,
    on_failure: Any = None,
    retries: int = 2,
    retry_delay: timedelta = timedelta(seconds=30),
) -> DAG:
    """The base template: `tasks` one after another, grouped into move inputs, compute and move outputs.

    Use it for a model that is no fleet, too. Retries back off exponentially, and are not spent on errors of
    Modelfleet that a retry can't mend. One run at a time; no catch-up, and no start date: a DAG that is switched on
    waits for its next tick, rather than to run the last one at once.

    :raises ConfigurationError: for a task id given twice, phases out of order, or a record that names no operator.
    """
    records = _checked(dag_id, tuple(tasks))
    with DAG(
        dag_id,
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        doc_md=doc or None,
        tags=[tag[:100] for tag in tags],
        params=dict(params or {}),
        deadline=_alert(deadline) if deadline else None,
        default_args={
            "owner": owner,
            "retries": retries,
            "retry_delay": retry_delay,
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(minutes=15),
            "retry_policy": RETRY_POLICY,
            "on_failure_callback": on_failure,
        },
    ) as dag:
        operators: list[BaseOperator] = []
        for phase in PHASES:
            members = [record for record in records if record.phase == phase]
            if members:
                with TaskGroup(phase, prefix_group_id=False, tooltip=PHASE_TITLES[phase]):
                    operators += [operator_of(record) for record in members]
        for before, after in pairwise(operators):
            before >> after
    return dag


def _checked(dag_id: str, records: Sequence[TaskRecord]) -> Sequence[TaskRecord]:
    ids = [record.id for record in records]
    if repeated := sorted({id for id in ids if ids.count(id) > 1 or id in PHASES}):
        raise ConfigurationError(
            f"DAG {dag_id!r}: task ids must differ from each other and from {', '.join(PHASES)}; "
            f"got {', '.join(repeated)}"
        )
    order = [PHASES.index(record.phase) for record in records]
    if order != sorted(order):
        raise ConfigurationError(
            f"DAG {dag_id!r}: tasks must be in the order {', '.join(PHASES)}; got "
            + ", ".join(f"{record.id} ({record.phase})" for record in records)
        )
    return records


def _alert(deadline: Deadline) -> DeadlineAlert:
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=deadline.within,
        callback=AsyncCallback(deadline.missed, kwargs=dict(deadline.arguments)),
        name=f"done within {deadline.within}",
    )
