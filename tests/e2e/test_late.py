"""Late and restated data: what each run sees of it, what becomes stale by it, and that nothing is recomputed by itself."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest

from chain_bench import BULK, BULK_START, DAYS, World
from modelfleet import Data, SqlTable, prepare
from modelfleet.lake import Lake, runs
from modelfleet.lake.runs import Json
from modelfleet.status import run_states
from modelfleet.steps.inputs import sources

pytest_plugins = ["fixtures_mlflow"]

FIRST, SECOND, THIRD = DAYS
LATE = Data(SqlTable("wells_db", "readings", time="read_at", late="2D"))


@pytest.fixture
def wells(world: World) -> World:
    """The fleet with a champion, whose bulk load was ingested again when its table became late by two days."""
    made = world.with_spec(data=LATE)
    made.run("ingest", BULK, start=BULK_START, train_only=True)
    return made


def pinned(world: World, pipeline: str, interval: str) -> dict[str, Json]:
    ref = world.open(pipeline, interval)
    return dict(runs.load_attempt(Lake.open(), ref.fleet, pipeline, interval, ref.attempt).inputs)


def seen(world: World, pipeline: str, interval: str) -> dict[int, float | None]:
    """The rows that a run opened now sees: reading -> depth."""
    lake = Lake.open()
    (source,) = sources(lake, world.spec, pinned(world, pipeline, interval))
    unified = prepare.unify(source, world.spec, needed=())
    batches = [batch for chunk in unified.chunks() for batch in prepare.read(unified, chunk, lake)]
    table = pa.Table.from_batches(batches, unified.schema)
    found = dict(zip(table["reading"].to_pylist(), table["depth"].to_pylist(), strict=True))
    assert len(found) == table.num_rows, "no row twice"
    return found


def there(world: World, since: str, until: str) -> dict[int, float | None]:
    """The same from the source: what lies between two days, the first included."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(world.source)) as database:
        query = "SELECT reading, depth FROM readings WHERE read_at >= ? AND read_at < ?"
        return dict(database.execute(query, (since, until)).fetchall())


def stale(world: World) -> dict[str, tuple[str, ...]]:
    states = run_states(Lake.open(), world.spec.name)
    return {f"{state.pipeline}/{state.interval}": state.stale for state in states if state.stale}


def facts(world: World, interval: str) -> Json:
    return world.committed("ingest", interval).facts


def restate(world: World, day: str) -> None:
    """The source corrects a day: one reading changed, one deleted, one added."""
    world.execute(
        f"UPDATE readings SET depth = depth + 1 WHERE read_at = '{day} 09:30:00' AND well = 'plain' AND pad = 8",
        f"DELETE FROM readings WHERE read_at = '{day} 17:30:00' AND well = 'plain' AND pad = 8",
        "INSERT INTO readings SELECT max(reading) + 1, 'plain', 8, "
        f"'{day} 12:00:00', 500, 3, 0, NULL, NULL FROM readings",
    )


def test_late_added_to_the_spec_restates_nothing(wells: World) -> None:
    assert facts(wells, BULK)["restated"] == []
    assert facts(wells, BULK)["unchanged"]
    assert stale(wells) == {}
    assert seen(wells, "train", BULK) == there(wells, BULK_START, FIRST)


def test_day_by_day_without_corrections_pins_each_its_own_ingest_and_keeps_no_tail(wells: World) -> None:
    for day in DAYS:
        wells.run("ingest", day)

    for day in DAYS:
        assert facts(wells, day)["restated"] == []
        assert (
            sum(entry["rows"] for entry in facts(wells, day)["tables"]["data"]["files"])
            == facts(wells, day)["rows"]["data"]
        )
        assert set(pinned(wells, "score", day)) == {f"ingest/{day}", "champion"}
        assert seen(wells, "score", day) == there(wells, day, f"{day} 24")
    assert {name for name in pinned(wells, "train", BULK) if name != "champion"} == {f"ingest/{BULK}"}
    assert seen(wells, "train", THIRD) == there(wells, BULK_START, f"{THIRD} 24")
    assert stale(wells) == {}


def test_restated_day_makes_stale_what_was_made_of_it_and_is_scored_anew_when_asked(wells: World) -> None:
    wells.run("ingest", FIRST)
    wells.run("score", FIRST)
    before = wells.warehouse.predictions("wells", FIRST).num_rows
    restate(wells, FIRST)

    told = wells.run("ingest", SECOND)

    assert told["commit"]["restated"] == [FIRST]
    assert stale(wells) == {f"score/{FIRST}": (f"restated by {SECOND}",)}
    assert wells.warehouse.predictions("wells", FIRST).num_rows == before, "nothing is recomputed by itself"
    inputs = pinned(wells, "score", FIRST)
    assert inputs[f"ingest/{FIRST}"]["visible"] == {"data": []}
    assert inputs[f"ingest/{SECOND}"]["restates"] == [FIRST]
    assert seen(wells, "score", FIRST) == there(wells, FIRST, SECOND)
    assert seen(wells, "train", SECOND) == there(wells, BULK_START, THIRD)

    done = wells.run("score", FIRST)

    assert done["dataset"]["reused_from"] is None
    assert stale(wells) == {}
    again = wells.run("score", FIRST)
    assert (again["dataset"]["reused_from"], again["score"]["reused_from"]) != (None, None)


def test_restated_training_data_makes_training_and_promotion_stale(wells: World) -> None:
    wells.run("ingest", FIRST)
    wells.execute("UPDATE readings SET depth = depth + 1 WHERE read_at = '2024-03-31 09:30:00' AND well = 'plain'")

    wells.run("ingest", SECOND)

    assert facts(wells, SECOND)["restated"] == [BULK]
    assert stale(wells) == {
        f"train/{BULK}": (f"restated by {SECOND}",),
        f"promote/{BULK}": (f"train/{BULK} is stale",),
    }
    assert seen(wells, "train", BULK) == there(wells, BULK_START, FIRST)
    used = wells.committed("train", BULK).attempt
    assert wells.run("train", BULK)["commit"]["digest"]
    assert wells.committed("train", BULK).attempt != used
    assert "train" not in {name.partition("/")[0] for name in stale(wells)}


def test_an_older_interval_ingested_again_is_the_newest_reading_of_it(wells: World) -> None:
    wells.run("ingest", FIRST)
    restate(wells, FIRST)
    wells.run("ingest", SECOND)
    wells.execute(f"UPDATE readings SET depth = depth + 1 WHERE read_at LIKE '{FIRST}%'")

    wells.run("ingest", FIRST)

    assert seen(wells, "score", FIRST) == there(wells, FIRST, SECOND)
    assert seen(wells, "train", SECOND) == there(wells, BULK_START, THIRD)
    assert set(pinned(wells, "score", FIRST)) == {f"ingest/{FIRST}", "champion"}


def test_a_correction_taken_back_leaves_what_was_made_before_it_fresh(wells: World) -> None:
    wells.run("ingest", FIRST)
    wells.run("score", FIRST)
    wells.execute(f"UPDATE readings SET depth = depth + 1 WHERE read_at LIKE '{FIRST}%'")
    wells.run("ingest", SECOND)
    assert stale(wells) == {f"score/{FIRST}": (f"restated by {SECOND}",)}
    wells.execute(f"UPDATE readings SET depth = depth - 1 WHERE read_at LIKE '{FIRST}%'")

    assert wells.run("ingest", THIRD)["commit"]["restated"] == [FIRST]

    assert stale(wells) == {}
    assert seen(wells, "score", FIRST) == there(wells, FIRST, SECOND)


def test_days_ingested_the_wrong_way_round_show_the_same(wells: World) -> None:
    for day in (THIRD, FIRST, SECOND):
        wells.run("ingest", day)

    assert seen(wells, "train", THIRD) == there(wells, BULK_START, f"{THIRD} 24")
    for day in DAYS:
        assert facts(wells, day)["restated"] == []
        assert seen(wells, "score", day) == there(wells, day, f"{day} 24")


def test_a_gap_shows_what_the_tail_after_it_has(wells: World) -> None:
    wells.run("ingest", THIRD)
    assert seen(wells, "train", THIRD) == there(wells, BULK_START, f"{THIRD} 24")

    wells.run("ingest", FIRST)
    wells.run("ingest", SECOND)

    assert stale(wells) == {}
    assert seen(wells, "train", FIRST) == there(wells, BULK_START, SECOND)


def test_rows_of_an_empty_day_that_come_late_are_scored_when_asked(wells: World) -> None:
    wells.execute(
        f"UPDATE readings SET read_at = replace(read_at, '{FIRST}', '2030-01-01') WHERE read_at LIKE '{FIRST}%'"
    )
    assert wells.run("ingest", FIRST)["commit"]["rows"] == {"data": 0}
    assert wells.committed("ingest", FIRST).status == "empty"
    wells.execute(f"UPDATE readings SET read_at = replace(read_at, '2030-01-01', '{FIRST}') WHERE read_at LIKE '2030%'")

    told = wells.run("ingest", SECOND)

    assert told["commit"]["restated"] == [FIRST]
    assert told["commit"]["rows"] == {"data": len(there(wells, SECOND, THIRD))}
    assert seen(wells, "score", FIRST) == there(wells, FIRST, SECOND)


def test_a_window_starts_where_it_should_whoever_read_its_first_day(wells: World) -> None:
    for day in (FIRST, SECOND, THIRD):
        wells.run("ingest", day)
    restate(wells, SECOND)
    wells.run("ingest", THIRD)
    short = wells.with_spec(training=wells.spec.training.model_copy(update={"window": "2D", "holdout": "1D"}))

    assert seen(short, "train", THIRD) == there(wells, SECOND, f"{THIRD} 24")


def test_files_that_went_missing_with_the_rows_are_named(wells: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wells.run("ingest", FIRST)
    restate(wells, FIRST)
    wells.run("ingest", SECOND)
    tables: Any = facts(wells, SECOND)["tables"]["data"]
    names = [entry["path"].rpartition("/")[2] for entry in tables["files"]]
    assert [name.rsplit("-", 1)[0] for name in names] == ["data-late-0000", "data-0000"]
    (wells.home / "lake" / tables["files"][0]["path"]).write_bytes(b"other")

    with pytest.raises(Exception, match=rf"{re.escape(names[0])}' does not match the digest"):
        seen(wells, "score", FIRST)
