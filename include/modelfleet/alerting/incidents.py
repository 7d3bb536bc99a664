"""Incidents: one row of the warehouse and one line of the log for each failure, however often it is reported."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal, get_args

MAX_MESSAGE = 2000
MAX_TITLE = 200
IncidentKind = Literal["step_failed", "run_failed", "deadline_missed", "dag_import_error", "quality_warning"]
Severity = Literal["error", "warning"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incident:
    """Something that someone has to know of. Title and message are cut to 200 and 2000 characters.

    `interval`, `attempt` and `step` are None where the failure has none (a DAG file that can't be imported).
    """

    fleet: str
    pipeline: str | None
    interval: str | None
    attempt: str | None
    step: str | None
    kind: IncidentKind
    severity: Severity
    title: str
    message: str
    occurred_at: datetime
    source_url: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("kind", get_args(IncidentKind)), ("severity", get_args(Severity))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"incident {name} {getattr(self, name)!r}; allowed are {', '.join(allowed)}")
        if self.occurred_at.tzinfo is None:
            raise ValueError("incident occurred_at must be aware")
        object.__setattr__(self, "title", _cut(self.title, MAX_TITLE))
        object.__setattr__(self, "message", _cut(self.message, MAX_MESSAGE))
        object.__setattr__(self, "occurred_at", self.occurred_at.astimezone(UTC))

    @property
    def id(self) -> str:
        """The same failure, reported again, has the same id.

        It is where and what: fleet, pipeline, interval, attempt, step, kind. Failures outside an attempt have
        the message too, and the day, so that a file broken again a month later is a new incident.
        """
        identity = [self.fleet, self.pipeline, self.interval, self.attempt, self.step, self.kind]
        if self.attempt is None:
            identity += [self.message, self.occurred_at.date().isoformat()]
        return hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).hexdigest()


def raise_incident(event: Incident) -> None:
    """Write `event` to the warehouse, once, and log it. Never raises: alerting must not kill what it watches."""
    _log.error("incident %s", _line(event))
    try:
        from modelfleet.warehouse import Warehouse

        row = {f.name: getattr(event, f.name) for f in fields(event)}
        Warehouse.open().record_incident(id=event.id, **row)
    except Exception as exc:
        _log.critical("incident %s COULD NOT BE RECORDED: %s", event.id, _flat(f"{type(exc).__name__}: {exc}"))


def _line(event: Incident) -> str:
    where = "/".join(part for part in (event.fleet, event.pipeline, event.interval, event.attempt, event.step) if part)
    line = f"{event.id} {event.kind} [{event.severity}] {where}: {event.title}: {event.message}"
    return _flat(f"{line} ({event.source_url})" if event.source_url else line)


def _flat(text: str) -> str:
    """`text` on one line."""
    return " ".join(text.split())


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
