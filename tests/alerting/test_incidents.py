"""Incidents: recorded once, logged always, never fatal."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from modelfleet.alerting import Incident, raise_incident
from modelfleet.warehouse import Warehouse

T0 = datetime(2013, 10, 2, 5, tzinfo=UTC)
FAILED = Incident(
    fleet="delays",
    pipeline="train",
    interval="2013-09-30",
    attempt="a1",
    step="quality",
    kind="step_failed",
    severity="error",
    title="quality failed",
    message="not_null.dest: 3 rows\nrows 1, 2, 3",
    occurred_at=T0,
    source_url="http://127.0.0.1:8080/dags/delays_train",
)
BROKEN_FILE = replace(FAILED, pipeline=None, interval=None, attempt=None, step=None, kind="dag_import_error")


def test_same_failure_reported_twice_is_one_row_and_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    raise_incident(FAILED)
    raise_incident(replace(FAILED, message="reported by the listener", occurred_at=T0 + timedelta(minutes=1)))
    found = Warehouse.open().incidents("delays")
    assert [(row["id"], row["message"], row["occurred_at"]) for row in found] == [(FAILED.id, FAILED.message, T0)]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    line = caplog.records[0].getMessage()
    assert "\n" not in line
    assert "delays/train/2013-09-30/a1/quality: quality failed: not_null.dest: 3 rows rows 1, 2, 3 (http" in line


@pytest.mark.parametrize(
    ("event", "other", "same"),
    [
        pytest.param(FAILED, replace(FAILED, occurred_at=T0 + timedelta(days=9)), True, id="attempt, reported later"),
        pytest.param(FAILED, replace(FAILED, attempt="a2"), False, id="next attempt"),
        pytest.param(FAILED, replace(FAILED, step=None), False, id="run and step"),
        pytest.param(FAILED, replace(FAILED, kind="deadline_missed"), False, id="other kind"),
        pytest.param(BROKEN_FILE, replace(BROKEN_FILE, occurred_at=T0 + timedelta(hours=3)), True, id="same day"),
        pytest.param(BROKEN_FILE, replace(BROKEN_FILE, occurred_at=T0 + timedelta(days=9)), False, id="later day"),
        pytest.param(BROKEN_FILE, replace(BROKEN_FILE, message="other"), False, id="other message"),
    ],
)
def test_id_tells_failures_apart_and_reports_of_one_not(event: Incident, other: Incident, same: bool) -> None:
    assert (event.id == other.id) is same


def test_long_texts_are_cut() -> None:
    event = replace(FAILED, title="t" * 999, message="m" * 9999)
    assert (len(event.title), len(event.message), event.message[-2:]) == (200, 2000, "m…")


def test_times_are_kept_in_utc() -> None:
    local = datetime.fromisoformat("2013-10-02T07:00:00+02:00")
    assert replace(FAILED, occurred_at=local).occurred_at.isoformat() == "2013-10-02T05:00:00+00:00"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        pytest.param({"kind": "oops"}, "kind 'oops'; allowed are step_failed", id="kind"),
        pytest.param({"severity": "bad"}, "severity 'bad'; allowed are error", id="severity"),
        pytest.param({"occurred_at": T0.replace(tzinfo=None)}, "must be aware", id="naive time"),
    ],
)
def test_malformed_incident_is_refused(changes: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        replace(FAILED, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("postgresql://user:s3cret@127.0.0.1:1/none", id="server down"),
        pytest.param("nonsense", id="malformed connection"),
        pytest.param("mysql://h/db", id="unknown database"),
    ],
)
def test_warehouse_that_fails_is_logged_loudly_and_not_raised(
    uri: str, connect: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    connect("modelfleet_warehouse", uri)
    raise_incident(FAILED)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.CRITICAL]
    assert f"incident {FAILED.id} COULD NOT BE RECORDED" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.integration
def test_incident_written_to_postgresql(postgres_database: str, connect: Callable[[str, str], None]) -> None:
    connect("modelfleet_warehouse", postgres_database)
    raise_incident(FAILED)
    assert [row["step"] for row in Warehouse.open().incidents()] == ["quality"]


def test_importing_alerting_loads_no_driver() -> None:
    imports = "import sys, modelfleet.alerting, modelfleet.warehouse"
    code = f"{imports}; print(sorted({{'sqlalchemy', 'pyarrow'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
