"""A small client of Airflow's REST API: unpause, trigger with a partition key, list runs and tasks, read logs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from modelfleet.errors import ModelfleetError, UnavailableError

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a request that the server failed on is sent again."""
FINISHED = ("success", "failed")


@dataclass(frozen=True)
class Run:
    """A DAG run: `interval` is its partition key."""

    dag_id: str
    id: str
    interval: str
    state: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def finished(self) -> bool:
        return self.state in FINISHED


@dataclass(frozen=True)
class Task:
    """A task of a run, by its last try."""

    id: str
    state: str
    seconds: float
    tries: int
    started_at: datetime | None
    queued_at: datetime | None


class AirflowClient:
    """Airflow behind `url`, as the given user; logs in when first used.

    :raises UnavailableError: from any call, when the server does not answer.
    :raises ModelfleetError: from any call that the server refuses, with what it said.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._credentials = {"username": user, "password": password}
        self._http = httpx.Client(base_url=self.url, timeout=30.0)

    def close(self) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Whether API server, scheduler and DAG processor all run."""
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=2.0)
            said = answer.json() if answer.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor")
        return all((said.get(part) or {}).get("status") == "healthy" for part in parts)

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self._pages("/dags", "dags")}

    def import_errors(self) -> dict[str, str]:
        """What keeps DAG files out, by file."""
        return {error["filename"]: error["stack_trace"] for error in self._pages("/importErrors", "import_errors")}

    def unpause(self, dag_ids: Iterable[str]) -> None:
        for dag_id in dag_ids:
            self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, interval: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of an interval; returns the run's id."""
        # With an id of ours, a request that is sent again can't start a second run.
        run_id = f"manual__{interval}__{secrets.token_hex(4)}"
        body = {"dag_run_id": run_id, "partition_key": interval, "conf": dict(conf or {}), "logical_date": None}
        self._call("POST", f"/dags/{dag_id}/dagRuns", json=body, known=(httpx.codes.CONFLICT,))
        return run_id

    def runs(self, dag_id: str = "~") -> list[Run]:
        """The runs of a DAG, or of all, oldest first."""
        found = self._pages(f"/dags/{dag_id}/dagRuns", "dag_runs", order_by="id")
        return [
            Run(
                run["dag_id"],
                run["dag_run_id"],
                run["partition_key"] or "",
                run["state"],
                _time(run["queued_at"]),
                _time(run["start_date"]),
                _time(run["end_date"]),
            )
            for run in found
        ]

    def tasks(self, run: Run) -> list[Task]:
        """The tasks of a run."""
        found = self._pages(f"/dags/{run.dag_id}/dagRuns/{quote(run.id, safe='')}/taskInstances", "task_instances")
        return [
            Task(
                task["task_id"],
                task["state"] or "none",
                task["duration"] or 0.0,
                task["try_number"],
                _time(task["start_date"]),
                _time(task["queued_when"]),
            )
            for task in found
        ]

    def running_tasks(self) -> list[tuple[str, str, str]]:
        """(DAG id, run id, task id) of the tasks that run now."""
        found = self._pages("/dags/~/dagRuns/~/taskInstances", "task_instances", state="running")
        return [(task["dag_id"], task["dag_run_id"], task["task_id"]) for task in found]

    def log(self, run: Run, task: Task) -> str:
        """The log of a task's last try, as text."""
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.id, safe='')}/taskInstances/{task.id}/logs/{task.tries}"
        content = self._call("GET", path).get("content") or []
        return "\n".join(str(line.get("event", "")) if isinstance(line, dict) else str(line) for line in content)

    def ensure_pool(self, name: str, slots: int, description: str = "") -> None:
        """Make the pool, or give it that many slots."""
        body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        if name in {pool["name"] for pool in self._pages("/pools", "pools")}:
            self._call("PATCH", f"/pools/{name}", json=body)
        else:
            self._call("POST", "/pools", json=body)

    def add_connection(self, conn_id: str, **fields: Any) -> None:
        """Define a connection in Airflow's own database: `conn_type`, `host`, `login`, `password` and so on."""
        self._call("POST", "/connections", json={"connection_id": conn_id, **fields})

    def _pages(self, path: str, member: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = self._call("GET", path, params={**query, "limit": 100, "offset": len(found)})
            found += answer[member]
            if not answer[member] or len(found) >= (answer.get("total_entries") or 0):
                return found

    def _call(self, method: str, path: str, *, known: Collection[int] = (), **request: Any) -> dict[str, Any]:
        """The answer's JSON; `known` are error codes that are none when the request was sent again."""
        answer = self._answer(method, path, **request)
        for pause in PAUSES:
            if not answer.is_server_error:
                break
            time.sleep(pause)  # such as a SQLite database that was locked for too long
            answer = self._answer(method, path, **request)
            if answer.status_code in known:
                return {}
        if answer.is_error:
            raise ModelfleetError(f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:500]}")
        return dict(answer.json()) if answer.content else {}

    def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            if "Authorization" not in self._http.headers:
                self._log_in()
            return self._http.request(method, f"/api/v2{path}", **request)
        except httpx.HTTPError as exc:
            raise UnavailableError(f"Airflow at {self.url} does not answer ({type(exc).__name__}: {exc})") from exc

    def _log_in(self) -> None:
        answer = self._http.post("/auth/token", json=self._credentials)
        if answer.is_error:
            raise ModelfleetError(
                f"Airflow at {self.url} refused the login of {self._credentials['username']!r}: {answer.status_code}"
            )
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
