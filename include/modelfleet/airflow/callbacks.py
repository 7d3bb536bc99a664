"""From Airflow's failures to incidents: what runs when a task has failed for good, or a run missed its deadline.

Task callbacks run in the worker, deadlines in the triggerer (the executor's own callbacks may read no connections).
Both end in the one function `modelfleet.alerting.raise_incident`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelfleet.airflow import connections

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskFailed:
    """The failure callback of every task of one pipeline. A plain object, so that parsing twice gives an equal DAG."""

    fleet: str
    pipeline: str
    conn_ids: tuple[str, ...] = ()

    def __call__(self, context: Mapping[str, Any]) -> None:
        from modelfleet.alerting import Incident, raise_incident

        ti = context["ti"]
        interval = interval_of(context)
        connections.export(self.conn_ids)
        raise_incident(
            Incident(
                fleet=self.fleet,
                pipeline=self.pipeline,
                interval=interval,
                attempt=_attempt_of(ti),
                step=ti.task_id,
                kind="step_failed",
                severity="error",
                title=f"{self.fleet}: {self.pipeline} of {interval or 'an unnamed interval'} failed in {ti.task_id}",
                message=_message_of(context.get("exception")),
                occurred_at=datetime.now(UTC),
                source_url=getattr(ti, "log_url", None),
            )
        )


async def deadline_missed(
    *, fleet: str, pipeline: str, allowed: str, conn_ids: list[str], context: Mapping[str, Any] | None = None
) -> None:
    """Report a run that is not done within `allowed` of being queued. Airflow passes the run as a JSON-like context."""
    from modelfleet.alerting import Incident, raise_incident

    run = (context or {}).get("dag_run") or {}
    interval = run.get("partition_key")
    incident = Incident(
        fleet=fleet,
        pipeline=pipeline,
        interval=interval,
        attempt=None,
        step=None,
        kind="deadline_missed",
        severity="warning",
        title=f"{fleet}: {pipeline} of {interval or 'an unnamed interval'} is late",
        message=f"run {run.get('dag_run_id') or run.get('run_id')} was not finished {allowed} after it was queued",
        occurred_at=datetime.now(UTC),
    )
    await connections.export_async(conn_ids)
    await asyncio.to_thread(raise_incident, incident)


def interval_of(context: Mapping[str, Any] | Context) -> str | None:
    """The run's interval key; None for a run that was started without one."""
    return getattr(context.get("dag_run"), "partition_key", None)


def _message_of(error: BaseException | str | None) -> str:
    if error is None:
        return "the task ended without an error of its own (killed, or its worker was lost); see its log"
    return str(error) or type(error).__name__


def _attempt_of(ti: Any) -> str | None:
    """The attempt that the run's opening task announced; none when that task itself failed."""
    opener = getattr(getattr(ti, "task", None), "opener", None)
    if not opener or opener == ti.task_id:
        return None
    try:
        ref = ti.xcom_pull(task_ids=opener, key="run")
    except Exception:
        log.debug("no attempt known for %s", ti.task_id, exc_info=True)
        return None
    return str(ref["attempt"]) if ref else None
