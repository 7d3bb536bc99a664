"""Airflow's own backfill and the command line's, of a fleet with late data: the same ingests, the same predictions."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from test_chain_airflow import PATIENCE, ROOT, fill
from typer.testing import CliRunner

from modelfleet.airflow.standalone import Standalone
from modelfleet.cli import app
from modelfleet.lake import Lake, runs
from modelfleet.warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(900)]
pytest_plugins = ["fixtures_mlflow"]

BULK, DAYS = "2024-02-27", ("2024-02-28", "2024-02-29", "2024-03-01")


@pytest.fixture
def home(tmp_path: Path, _fresh_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose fleet, late by two days, has a champion trained on a bulk load and one day, restated since."""
    made = tmp_path / "shops"
    (made / "mlflow").mkdir(parents=True)
    for role in ("staging", "production"):
        shutil.copy(_fresh_store, made / "mlflow" / f"{role}.db")
    dags = made / "dags"
    dags.mkdir()
    text = (ROOT / "tests" / "dags" / "shops.py").read_text()
    (dags / "shops.py").write_text(text.replace('time="sold_at"', 'time="sold_at", late="2D"'))
    fill(made / "shops.db")
    monkeypatch.setenv("AIRFLOW_CONN_SHOPS_DB", f"sqlite:///{made / 'shops.db'}")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(dags))
    monkeypatch.setenv("MODELFLEET_HOME", str(made))
    modelfleet("run", "shops", "--interval", BULK, "--start", "2024-01-01", "--train-only")
    modelfleet("run", "shops", "--interval", DAYS[0], "--step", "ingest", "--step", "score")
    with closing(sqlite3.connect(made / "shops.db")) as database, database:
        database.execute("UPDATE sales SET visitors = 99 WHERE sold_at >= '2024-02-28' AND visitors < 50")
        database.execute("DELETE FROM sales WHERE sold_at >= '2024-02-27' AND shop = 'shop 3' AND visitors > 150")
    return made


@pytest.fixture
def airflow(home: Path) -> Iterator[Standalone]:
    env = {"PYTHONPATH": os.pathsep.join([str(ROOT / "include"), os.environ.get("PYTHONPATH", "")])}
    with Standalone(home, dags=home / "dags", plugins=ROOT / "plugins", env=env) as started:
        dag_ids = [f"shops_{pipeline}" for pipeline in ("ingest", "score")]
        started.wait_for_dags(dag_ids)
        started.client.unpause(dag_ids)
        yield started


def modelfleet(*arguments: str) -> None:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"


def wait_for_scores(airflow: Standalone) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        scores = [run for run in airflow.client.runs("shops_score") if run.interval in DAYS and run.finished]
        if len(scores) == len(DAYS):
            assert {run.interval: run.state for run in scores} == dict.fromkeys(DAYS, "success")
            return
        time.sleep(1.0)
    raise AssertionError(f"not all intervals were scored; there are {airflow.client.runs()}")


def left(home: Path) -> dict[str, Any]:
    """What the backfilled intervals are in this home: digests of ingests and predictions, and the latest predictions."""
    lake = Lake(home / "lake")
    committed = {
        f"{pipeline}/{run.interval.key}": (run.digest, run.facts.get("restated"))
        for pipeline in ("ingest", "score")
        for run in runs.all_committed(lake, "shops", pipeline)
        if run.interval.key in (BULK, *DAYS)  # Airflow's scheduler also starts the interval of its own last tick
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELFLEET_HOME", str(home))
        found = {day: Warehouse.open().predictions("shops", day).to_pylist() for day in DAYS}
    per_issue = ("attempt", "issued_at")
    rows = {
        day: sorted(({k: v for k, v in row.items() if k not in per_issue} for row in listed), key=str)
        for day, listed in found.items()
    }
    return {**committed, **rows}


def test_airflows_backfill_and_the_command_lines_give_the_same(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    other = tmp_path / "other"
    shutil.copytree(home, other, ignore=shutil.ignore_patterns("*-artifacts"))
    airflow: Standalone = request.getfixturevalue("airflow")

    command = ("backfill", "create", "--dag-id", "shops_ingest", "--from-date", DAYS[0], "--to-date", DAYS[-1])
    subprocess.run(
        [sys.executable, "-m", "airflow", *command, "--max-active-runs", "1"],
        env=airflow.env,
        check=True,
        capture_output=True,
    )
    wait_for_scores(airflow)
    keys = [run.interval for run in airflow.client.runs("shops_ingest") if run.id.startswith("backfill")]
    monkeypatch.setenv("MODELFLEET_HOME", str(other))
    modelfleet("backfill", "shops", "--from", DAYS[0], "--to", DAYS[-1])

    assert sorted(keys) == list(DAYS)
    by_airflow, by_command = left(home), left(other)
    assert by_airflow == by_command
    assert by_airflow[f"ingest/{DAYS[0]}"][1] == [BULK]
    assert all(by_airflow[day] for day in DAYS)
