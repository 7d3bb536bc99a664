"""Alerting: what goes wrong becomes an incident. `raise_incident` is what failure callbacks call."""

from __future__ import annotations

from modelfleet.alerting.incidents import Incident, IncidentKind, Severity, raise_incident

__all__ = ["Incident", "IncidentKind", "Severity", "raise_incident"]
