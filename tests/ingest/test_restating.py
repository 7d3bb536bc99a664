"""Several tables, each with its own lateness: which rows a run sees of each, and by whom they were restated."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chain_bench import World
from modelfleet import Data, FleetSpec, LakeTable, Regression, SqlTable, prepare
from modelfleet.errors import DataError
from modelfleet.lake import Lake, RunManifest, runs
from modelfleet.lake.runs import Json
from modelfleet.prepare import Source
from modelfleet.status import run_states
from modelfleet.steps import restating
from modelfleet.steps.inputs import sources

FIRST = date(2024, 4, 1)
DAYS = [f"{FIRST + timedelta(days=n)}" for n in range(-3, 9)]
MON, TUE, WED, THU = DAYS[3:7]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Sales that never change, weather that is late by two days, items without time, promotions known three days ahead."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"sqlite:///{home / 'source.db'}")
    with closing(sqlite3.connect(home / "source.db")) as database, database:
        database.execute("CREATE TABLE sales (day DATE, units INTEGER)")
        database.execute("CREATE TABLE weather (day DATE, rain INTEGER)")
        database.execute("CREATE TABLE items (item TEXT)")
        for table in ("sales", "weather"):
            database.executemany(f"INSERT INTO {table} VALUES (?, 1)", [(day,) for day in DAYS])
        database.execute("INSERT INTO items VALUES ('apple')")
    promos(home, "first", 1, DAYS)
    spec = FleetSpec(
        name="shop",
        owner="tests",
        data=Data(
            sales=SqlTable("shop", "sales", time="day"),
            weather=SqlTable("shop", "weather", time="day", late="2D"),
            items=SqlTable("shop", "items"),
            promo=LakeTable("promo", time="day", ahead="3D"),
            prepare="shop.prepare:join",
        ),
        partition_by=("item",),
        problem=Regression(target="units"),
        features=("rain", "price"),
        model="shop.model:build",
    )
    return World(home, spec)


def promos(home: Path, name: str, price: int, days: list[str]) -> Path:
    path = home / "lake" / "promo" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"day": [date.fromisoformat(day) for day in days], "price": [price] * len(days)})
    pq.write_table(table, path)
    return path


def ingested(world: World) -> list[RunManifest]:
    return runs.all_committed(Lake.open(), world.spec.name, "ingest")


def pin(world: World, *days: str) -> dict[str, Json]:
    every = ingested(world)
    return restating.pin("shop", [run for run in every if run.interval.key in days], every)


def seen(world: World, inputs: dict[str, Json]) -> dict[str, dict[str, Any]]:
    """What a run with these inputs sees: of each table day -> value; of items the list of them."""
    lake = Lake.open()
    tables = {source.name: rows(source, world, lake) for source in sources(lake, world.spec, inputs)}
    found = {
        name: {str(day): value for day, value in zip(*table.columns, strict=True)}
        for name, table in tables.items()
        if name != "items"
    }
    assert {name: len(days) for name, days in found.items()} == {name: tables[name].num_rows for name in found}
    shown = {name: {day: value.as_py() for day, value in days.items()} for name, days in found.items()}
    return {**shown, "items": tables["items"]["item"].to_pylist()}


def rows(source: Source, world: World, lake: Lake) -> pa.Table:
    unified = prepare.unify(source, world.spec, needed=())
    batches = [batch for chunk in unified.chunks() for batch in prepare.read(unified, chunk, lake)]
    return pa.Table.from_batches(batches, unified.schema)


def test_each_table_shows_what_its_own_lateness_restated(shop: World) -> None:
    shop.run("ingest", MON)
    shop.execute(
        f"UPDATE weather SET rain = 2 WHERE day = '{MON}'",
        f"UPDATE sales SET units = 2 WHERE day = '{MON}'",
        "INSERT INTO items VALUES ('pear')",
    )
    shop.run("ingest", TUE)

    inputs = pin(shop, MON)

    assert inputs[f"ingest/{TUE}"]["restates"] == [MON]
    assert seen(shop, inputs) == {
        "sales": {MON: 1},
        "weather": {DAYS[1]: 1, DAYS[2]: 1, MON: 2},
        "items": ["apple"],
        "promo": dict.fromkeys(DAYS[3:7], 1),
    }
    both = seen(shop, pin(shop, MON, TUE))
    assert both["sales"] == dict.fromkeys((MON, TUE), 1)
    assert both["items"] == ["apple", "pear"]


def test_what_is_ahead_is_as_the_runs_own_ingests_knew_it(shop: World) -> None:
    shop.run("ingest", MON)
    before = seen(shop, pin(shop, MON))["promo"]
    promos(shop.home, "more", 1, ["2024-04-05", "2024-04-06"])
    shop.run("ingest", TUE)

    assert seen(shop, pin(shop, MON))["promo"] == before == dict.fromkeys((MON, TUE, WED, THU), 1)
    assert shop.committed("ingest", TUE).facts["restated"] == []


def test_days_ahead_become_days_of_their_own(shop: World) -> None:
    for day in (MON, TUE, WED):
        shop.run("ingest", day)

    inputs = pin(shop, MON, TUE, WED)

    assert inputs[f"ingest/{MON}"].get("visible", {}).get("promo") is None
    (span,) = inputs[f"ingest/{WED}"]["visible"]["promo"]
    assert [bound[:10] for bound in span] == [WED, DAYS[9]]
    assert seen(shop, inputs)["promo"] == dict.fromkeys(DAYS[3:9], 1)


def test_a_row_count_is_of_the_interval_alone(shop: World) -> None:
    assert shop.run("ingest", MON)["commit"]["rows"] == {"sales": 1, "weather": 1, "items": 1, "promo": 1}


def test_status_tells_by_which_interval_a_table_of_a_run_was_restated(shop: World) -> None:
    shop.run("ingest", MON)
    used = pin(shop, MON)
    scored(shop, MON, used)
    shop.run("ingest", TUE)
    assert stale(shop) == {}
    shop.execute(f"UPDATE weather SET rain = 5 WHERE day = '{MON}'")

    shop.run("ingest", WED)

    assert stale(shop) == {f"score/{MON}": (f"restated by {WED}",)}
    scored(shop, MON, pin(shop, MON))
    assert stale(shop) == {}
    shop.execute(f"UPDATE weather SET rain = 6 WHERE day = '{MON}'")
    shop.run("ingest", WED)
    assert stale(shop) == {f"score/{MON}": (f"ingest/{WED} was made again",)}


def test_an_ingest_that_no_longer_reads_a_restated_day_hides_nothing(shop: World) -> None:
    """The table's lateness was taken out of the spec: the next ingest of that interval still reads as far as before."""
    shop.run("ingest", MON)
    shop.execute(f"UPDATE weather SET rain = 2 WHERE day = '{MON}'")
    shop.run("ingest", TUE)
    shop.run("ingest", WED)
    tables = {**shop.spec.data.tables, "weather": SqlTable("shop", "weather", time="day")}
    plain = replace(
        shop, spec=shop.spec.model_copy(update={"data": shop.spec.data.model_copy(update={"tables": tables})})
    )

    plain.run("ingest", TUE)
    plain.run("ingest", THU)

    assert seen(plain, pin(plain, MON))["weather"][MON] == 2
    assert seen(plain, pin(plain, MON, TUE, WED, THU))["weather"] == {
        **dict.fromkeys((DAYS[1], DAYS[2], TUE, WED, THU), 1),
        MON: 2,
    }


def test_a_table_that_older_ingests_lack_is_still_named(shop: World) -> None:
    shop.run("ingest", MON)
    more = {**shop.spec.data.tables, "holidays": SqlTable("shop", "sales", time="day", late="1D")}
    spec = shop.spec.model_copy(update={"data": shop.spec.data.model_copy(update={"tables": more})})
    later = World(shop.home, spec)
    later.run("ingest", TUE)

    with pytest.raises(DataError, match=f"table 'holidays' was not ingested in {MON}"):
        sources(Lake.open(), spec, pin(later, MON, TUE))
    assert [source.name for source in sources(Lake.open(), spec, pin(later, TUE))][-1] == "holidays"


def scored(world: World, day: str, inputs: dict[str, Json]) -> None:
    """A committed run with these inputs; what it made of them does not matter here."""
    lake, interval = Lake.open(), world.committed("ingest", day).interval
    attempt = runs.begin(
        lake,
        fleet="shop",
        pipeline="score",
        interval=interval,
        spec_json=world.spec.to_json(),
        spec_digest=world.spec.digest,
        code_version="c",
        inputs=inputs,
        options={},
    )
    runs.commit(lake, attempt, status="committed", steps=(), facts={})


def stale(world: World) -> dict[str, tuple[str, ...]]:
    return {f"{run.pipeline}/{run.interval}": run.stale for run in run_states(Lake.open(), "shop") if run.stale}
