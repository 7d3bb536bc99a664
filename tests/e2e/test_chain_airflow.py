"""The chain under Airflow's own scheduler: ingest before any champion, then training; the rest by asset events."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from modelfleet.airflow.rest import Run, Task
from modelfleet.airflow.standalone import Standalone
from modelfleet.warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SHOPS = 12
BULK, WAITING, OUT_OF_BOUNDS, OVERLAPPING = "2024-02-29", "2024-03-01", "2024-03-02", "2024-02-20"
PATIENCE = 420.0


@dataclass
class Chain:
    """Airflow while the chain runs."""

    airflow: Standalone

    def start(self, pipeline: str, interval: str, **conf: object) -> None:
        self.airflow.client.trigger(f"shops_{pipeline}", interval, conf)

    def wait(self, pipeline: str, interval: str, *, number: int = 1) -> Run:
        """The `number`th run of that interval, when it has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            runs = [run for run in self.airflow.client.runs(f"shops_{pipeline}") if run.interval == interval]
            if len(runs) >= number and runs[number - 1].finished:
                return runs[number - 1]
            time.sleep(1.0)
        raise AssertionError(
            f"run {number} of {pipeline} {interval} did not end; there are {self.airflow.client.runs()}"
        )

    def tasks(self, run: Run) -> dict[str, Task]:
        return {task.id: task for task in self.airflow.client.tasks(run)}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    home = tmp_path_factory.mktemp("chain")
    source = home / "shops.db"
    fill(source)
    env = {
        "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "include"), os.environ.get("PYTHONPATH", "")]),
    }
    dag_ids = [f"shops_{pipeline}" for pipeline in ("ingest", "train", "promote", "score")]
    with Standalone(home, dags=ROOT / "tests" / "dags", plugins=ROOT / "plugins", env=env) as airflow:
        airflow.wait_for_dags(dag_ids)
        # Not in the environment: tasks ask Airflow for it.
        airflow.client.add_connection("shops_db", conn_type="sqlite", host=str(source))
        airflow.client.unpause(dag_ids)
        yield Chain(airflow)


@pytest.fixture
def warehouse(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("MODELFLEET_HOME", str(chain.airflow.home))
    return Warehouse.open()


def test_score_before_any_champion_waits_and_is_scored_after_the_first_promotion(
    chain: Chain, warehouse: Warehouse
) -> None:
    chain.start("train", BULK)  # its sensor waits for the bulk ingest
    chain.start("ingest", BULK, start="2024-01-01", train_only=True)
    chain.start("ingest", WAITING)
    early = chain.wait("score", WAITING)
    assert early.state == "success"
    assert {task.id: task.state for task in chain.tasks(early).values()} == dict.fromkeys(
        ("pin", "score", "commit", "load"), "skipped"
    )
    assert warehouse.waiting_intervals("shops") == [WAITING]

    trained = chain.wait("train", BULK)
    promoted = chain.wait("promote", BULK)
    scored = chain.wait("score", WAITING, number=2)

    assert [run.state for run in (trained, promoted, scored)] == ["success"] * 3
    assert not [run for run in chain.airflow.client.runs("shops_score") if run.interval == BULK], (
        "train_only is not scored"
    )
    assert sum(row["n"] for row in warehouse.model_counts("shops")) == SHOPS
    assert sum(row["n"] for row in warehouse.decision_counts("shops")) == SHOPS
    assert [(row["interval"], row["n"]) for row in warehouse.prediction_counts("shops")] == [(WAITING, SHOPS * 4)]
    assert warehouse.waiting_intervals("shops") == []
    assert warehouse.incidents("shops") == []


def test_retry_without_a_failure_skips_the_training_and_starts_nothing(chain: Chain, warehouse: Warehouse) -> None:
    trained, promoted = len(warehouse.runs("shops", pipeline="train")), len(chain.airflow.client.runs("shops_promote"))

    chain.start("train", BULK, retry="failed")

    run = chain.wait("train", BULK, number=2)
    states = {name: task.state for name, task in chain.tasks(run).items() if name != "await_data"}
    assert states == dict.fromkeys(("pin", "train", "commit", "register"), "skipped")
    assert len(warehouse.runs("shops", pipeline="train")) == trained
    assert len(chain.airflow.client.runs("shops_promote")) == promoted
    assert [row for row in warehouse.incidents("shops") if row["pipeline"] == "train"] == []


def test_data_error_in_the_spark_job_is_not_retried_and_leaves_an_incident(chain: Chain, warehouse: Warehouse) -> None:
    chain.start("ingest", OUT_OF_BOUNDS)

    failed = chain.wait("score", OUT_OF_BOUNDS)

    score = chain.tasks(failed)["score"]
    assert (failed.state, score.state, score.tries) == ("failed", "failed", 1)
    (incident,) = [row for row in warehouse.incidents("shops") if row["step"] == "score"]
    assert (incident["pipeline"], incident["interval"], incident["kind"]) == ("score", OUT_OF_BOUNDS, "step_failed")
    assert "visitors" in incident["message"]
    assert incident["attempt"]
    assert incident["source_url"].startswith(chain.airflow.client.url)
    assert OUT_OF_BOUNDS not in {row["interval"] for row in warehouse.prediction_counts("shops")}


def test_overlapping_interval_is_refused_once_and_changes_nothing(chain: Chain, warehouse: Warehouse) -> None:
    chain.start("ingest", OVERLAPPING)

    failed = chain.wait("ingest", OVERLAPPING)

    assert chain.tasks(failed)["extract"].tries == 1
    (incident,) = [row for row in warehouse.incidents("shops") if row["step"] == "extract"]
    assert "overlaps" in incident["message"]


def fill(path: Path) -> None:
    """Sales of each shop four times a day; one day has more visitors than the fleet allows."""
    chance = random.Random(7)
    rows = []
    for day in (date(2024, 1, 1) + timedelta(days=n) for n in range(62)):
        for shop in range(SHOPS):
            for hour in (9, 12, 15, 18):
                visitors = 5000 if f"{day}" == OUT_OF_BOUNDS else chance.randint(10, 200)
                sales = (2 + shop) * visitors + chance.gauss(0, 5)
                rows.append((f"shop {shop}", f"{day} {hour:02}:00:00", visitors, day.weekday(), sales))
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE sales (shop TEXT, sold_at TIMESTAMP, visitors INTEGER, weekday INTEGER, sales REAL)"
        )
        database.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?)", rows)
