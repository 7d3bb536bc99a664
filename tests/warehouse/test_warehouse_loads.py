"""Loads: streamed, several at once, killed, or with a database that goes away."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from warehouse_cases import CONNECTION, ISSUED, KEYS, load, observe, observed, rows, scored, trained

from modelfleet.errors import UnavailableError
from modelfleet.warehouse import Warehouse


def test_long_load_is_streamed(warehouse: Warehouse) -> None:
    """300,000 rows of which never more than a few batches are in memory."""
    total, each = 300_000, 5_000
    batch = scored(each).to_batches()[0]
    before, peak = pa.total_allocated_bytes(), 0

    def stream() -> Iterator[pa.RecordBatch]:
        nonlocal peak
        for _ in range(total // each):
            peak = max(peak, pa.total_allocated_bytes() - before)
            yield batch.take(pa.array(range(each)))  # a copy, with memory of its own

    reader = pa.RecordBatchReader.from_batches(batch.schema, stream())
    assert warehouse.load_predictions("delays", "2013-10-01", "a1", ISSUED, reader, **KEYS) == total
    assert rows(warehouse, 'SELECT count(*) FROM "delays_predictions_latest"') == [(total,)]
    assert 0 < peak < 15 * batch.nbytes, f"{peak / batch.nbytes:.1f} of {total // each} batches were in memory"


def _write(number: int, barrier: Any) -> None:
    warehouse = Warehouse.open()
    barrier.wait()
    for turn in range(3):
        load(warehouse, scored(2000), attempt=f"own{number}")
        load(warehouse, scored(500, value=float(number)), attempt="shared")
        warehouse.record_run("delays", "score", "2013-10-01", "shared", status="running", counts={"turn": turn})


@pytest.mark.integration
def test_processes_writing_at_once_to_a_fresh_database_lose_and_double_nothing(warehouse: Warehouse) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    writers = [spawn.Process(target=_write, args=(number, barrier)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    counted = 'SELECT "attempt", count(*), count(DISTINCT "prediction") FROM "delays_predictions" GROUP BY 1'
    found = rows(warehouse, counted)
    assert sorted(found) == [("own0", 2000, 1), ("own1", 2000, 1), ("shared", 500, 1)]
    assert len(warehouse.runs("delays")) == 1
    assert rows(warehouse, 'SELECT count(*), count(DISTINCT "version") FROM "schema_version"') == [(1, 1)]


def _die_before_commit(name: str) -> None:
    from modelfleet.warehouse import load as loading
    from modelfleet.warehouse import merge as merging

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if name == "predictions":
        loading._note = die  # type: ignore[assignment]
        load(Warehouse.open(), scored(5000, value=9.0))
    else:
        merging._refuse_doubles = die  # type: ignore[assignment]
        observe(Warehouse.open(), 1, observed(1, [9.0] * 5000), hour=9)


@pytest.mark.integration
def test_load_killed_before_its_commit_leaves_the_former_rows(warehouse: Warehouse) -> None:
    load(warehouse, scored(3))
    observe(warehouse, 1, observed(1, [1.0] * 3))
    spawn = multiprocessing.get_context("spawn")
    for name in ("predictions", "actuals"):
        victim = spawn.Process(target=_die_before_commit, args=(name,))
        victim.start()
        victim.join(60)
        assert victim.exitcode == -signal.SIGKILL
    assert warehouse.predictions("delays", latest=False)["prediction"].to_pylist() == [1.0] * 3
    assert warehouse.actuals("demand")["actual"].to_pylist() == [1.0] * 3
    assert (load(warehouse, scored(4)), observe(warehouse, 1, observed(1, [2.0] * 4))) == (4, 4)
    assert warehouse.predictions("delays", latest=False).num_rows == 4
    assert warehouse.actuals("demand")["actual"].to_pylist() == [2.0] * 4


def test_server_that_is_down_is_unavailable_by_connection_id_without_the_password(
    connect: Callable[[str, str], None],
) -> None:
    connect(CONNECTION, "postgresql://user:s3cr%2Ft@127.0.0.1:1/none")
    for call in (lambda w: w.runs(), lambda w: load(w, scored(1)), _bulk):
        with pytest.raises(UnavailableError, match=r"'modelfleet_warehouse' \(postgresql\) can't be") as caught:
            call(Warehouse.open())
        assert "s3cr" not in str(caught.value)


def _bulk(warehouse: Warehouse) -> None:
    warehouse.database._prepared = True  # reach the bulk driver
    warehouse.load_models("delays", "2013-09-30", "a1", trained())


@pytest.mark.integration
def test_server_that_goes_down_during_a_load_is_unavailable_and_leaves_nothing(
    postgres_database: str, connect: Callable[[str, str], None]
) -> None:
    connect(CONNECTION, postgres_database)
    warehouse = Warehouse.open()
    load(warehouse, scored(3))
    table = scored(5)

    def stream() -> Iterator[pa.RecordBatch]:
        for _ in range(200):
            yield from table.to_batches()
        rows(
            warehouse,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        for _ in range(20_000):
            yield from table.to_batches()

    with pytest.raises(UnavailableError, match="modelfleet_warehouse"):
        warehouse.load_predictions(
            "delays", "2013-10-01", "a1", ISSUED, pa.RecordBatchReader.from_batches(table.schema, stream()), **KEYS
        )
    assert warehouse.predictions("delays", latest=False).num_rows == 3


def test_sqlite_writer_that_never_gets_its_turn_is_unavailable(
    tmp_path: Path, connect: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelfleet.warehouse.database.BUSY_SECONDS", 0.1)
    connect(CONNECTION, f"sqlite:///{tmp_path}/warehouse.db")
    Warehouse.open().runs()
    other = sqlite3.connect(tmp_path / "warehouse.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="database is locked"):
        Warehouse.open().record_run("delays", "train", "2013-09-30", "a1", status="running")
    assert Warehouse.open().runs() == []  # reading does not wait
    other.close()
