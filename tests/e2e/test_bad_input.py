"""Bad input: each ends with a message that says what is wrong and where, and nothing is committed."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from typing import Any

import pytest

from chain_bench import BULK, BULK_START, COLUMNS, DAYS, EXPECTED, HEALTHY, World
from modelfleet import Data, Gate, Quality, SqlTable, Training, registry
from modelfleet.errors import (
    CorruptionError,
    DataError,
    ModelCodeError,
    ModelfleetError,
    QualityError,
    UnavailableError,
    is_retryable,
)
from modelfleet.lake import Lake, runs

pytest_plugins = ["fixtures_mlflow"]

DAY, OTHER = DAYS[:2]
TABLE = SqlTable("wells_db", "readings", time="read_at")


def failing(world: World, pipeline: str, interval: str, **options: Any) -> ModelfleetError:
    """The error of a pipeline; nothing of it is committed, and the run is recorded as failed."""
    before = runs.committed(Lake.open(), "wells", pipeline, interval)
    with pytest.raises(ModelfleetError) as caught:
        world.run(pipeline, interval, **options)
    assert runs.committed(Lake.open(), "wells", pipeline, interval) == before
    return caught.value


# --- source ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table, kind, message, retryable",
    [
        pytest.param(
            SqlTable("wells_db", "reading", time="read_at"),
            DataError,
            "connection 'wells_db', table 'reading': there is no such table; there is 'readings'",
            False,
            id="no such table",
        ),
        pytest.param(
            SqlTable("wells_db", "readings", time="read_on"),
            DataError,
            "connection 'wells_db', table 'readings': there is no column 'read_on'; there is 'reading', 'read_at', 'depth'",
            False,
            id="no such time column",
        ),
        pytest.param(
            SqlTable("wells_db", "readings", time="read_at", columns=(*COLUMNS, "depths")),
            DataError,
            "there is no column 'depths'; there is 'depth'",
            False,
            id="no such column",
        ),
        pytest.param(
            SqlTable("wells_db", "readings", time="high"),
            DataError,
            "time column 'high'",
            False,
            id="time column without times",
        ),
        pytest.param(
            SqlTable("away_db", "readings", time="read_at"),
            UnavailableError,
            "connection 'away_db', table 'readings': the database can't be read",
            True,
            id="database down",
        ),
    ],
)
def test_source_that_can_not_be_read(
    table: SqlTable,
    kind: type[ModelfleetError],
    message: str,
    retryable: bool,
    new_world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWAY_DB", "postgresql://someone:hunter2@127.0.0.1:9/wells")
    world = new_world.with_spec(data=Data(table))

    error = failing(world, "ingest", DAY)

    assert isinstance(error, kind)
    assert message in str(error)
    assert "hunter2" not in str(error)
    assert is_retryable(error) is retryable
    run = world.warehouse.runs("wells")[0]
    assert (run["status"], run["message"].startswith("extract: fleet 'wells'")) == ("failed", True)


def test_connection_that_is_not_defined_says_how_to_define_it(new_world: World) -> None:
    error = failing(new_world.with_spec(data=Data(SqlTable("no_db", "readings", time="read_at"))), "ingest", DAY)
    assert "connection 'no_db' is not defined\nHint: set AIRFLOW_CONN_NO_DB" in str(error)


def test_overlapping_interval_is_refused(world: World) -> None:
    error = failing(world, "ingest", "2024-02-20")
    assert f"overlaps {BULK} (2024-01-01" in str(error)


@pytest.mark.parametrize("key", ["2024-13-01", "yesterday", "../../etc", "2024-01-01/x", ""])
def test_malformed_interval_names_what_is_allowed(key: str, world: World) -> None:
    for pipeline in ("ingest", "train", "promote", "score"):
        error = failing_to_open(world, pipeline, key)
        assert "a day such as '2013-09-30'" in str(error) or "is not ingested" in str(error)


def failing_to_open(world: World, pipeline: str, key: str) -> DataError:
    with pytest.raises(DataError) as caught:
        world.open(pipeline, key)
    return caught.value


# --- types that drift ------------------------------------------------------------------------------------------------


def remade(world: World, **columns: str) -> None:
    """The source table as it became meanwhile: with other types, more or fewer columns."""
    with closing(sqlite3.connect(world.source)) as database, database:
        given = [(row[1], row[2]) for row in database.execute("PRAGMA table_info(readings)")]
        declared = {name: kind for name, kind in {**dict(given), **columns}.items() if kind}
        shared = ", ".join(f'"{name}"' for name in declared if name in dict(given))
        database.execute("ALTER TABLE readings RENAME TO before")
        database.execute(f"CREATE TABLE readings ({', '.join(f'{n} {k}' for n, k in declared.items())})")
        database.execute(f"INSERT INTO readings ({shared}) SELECT {shared} FROM before")
        database.execute("DROP TABLE before")


def test_int_that_became_float_and_a_new_column_are_read_and_noted(world: World) -> None:
    remade(world, mood="REAL", colour="TEXT")
    world.execute(f"UPDATE readings SET flow = 60 WHERE read_at LIKE '{DAY}%'")
    world.run("ingest", DAY)

    facts = world.run("train", DAY)["dataset"]

    assert facts["notes"] == [
        f"table 'data': column mood: int64 in {BULK}, double in {DAY}: read as double",
        f"table 'data': column colour: new, not in {BULK}: null there",
    ]
    assert facts["partitions"] == len(EXPECTED) + 1
    assert world.run("score", DAY)["score"]["scored"] == len(HEALTHY)


def test_lost_column_that_is_needed_names_it_and_the_interval(world: World) -> None:
    remade(world, pressure="")
    world.run("ingest", DAY)

    error = failing(world, "train", DAY)
    assert f"fleet 'wells', table 'data': column 'pressure' is needed but was lost in {DAY}" in str(error)
    error = failing(world, "score", DAY)
    assert "column 'pressure'" in str(error)


def test_types_that_do_not_go_together_name_column_and_intervals(world: World) -> None:
    remade(world, depth="TEXT")
    world.run("ingest", DAY)

    error = failing(world, "train", DAY)
    assert "column 'depth'" in str(error)
    assert BULK in str(error)
    assert DAY in str(error)
    error = failing(world, "score", DAY)
    assert "depth" in str(error)


# --- keys ------------------------------------------------------------------------------------------------------------


def test_float_key_is_refused_with_the_hint_to_cast(new_world: World) -> None:
    world = new_world
    remade(world, pad="REAL")
    world.run("ingest", BULK, start=BULK_START)

    error = failing(world, "train", BULK)

    assert "key column 'pad' is of type double; allowed are string, int, bool and date" in str(error)
    assert "CAST(pad AS STRING)" in str(error)


def test_dates_and_bools_are_keys_too(new_world: World) -> None:
    world = new_world
    with closing(sqlite3.connect(world.source)) as database, database:
        database.execute("ALTER TABLE readings ADD COLUMN opened DATE")
        database.execute("ALTER TABLE readings ADD COLUMN deep BOOLEAN")
        database.execute("UPDATE readings SET opened = CASE pad WHEN 1 THEN '2020-01-31' WHEN 2 THEN '1969-12-31' END")
        database.execute("UPDATE readings SET deep = CASE WHEN pad < 3 THEN 1 WHEN pad < 6 THEN 0 END, mood = 0")
    world = world.with_spec(partition_by=("opened", "deep"), gate=Gate(each=("mae >= 0",)))

    world.to_champion()
    world.run("ingest", DAY)
    world.run("score", DAY)

    found = set(world.warehouse.predictions("wells", DAY).column("partition").to_pylist())
    assert found == {
        "opened=2020-01-31/deep=true",
        "opened=1969-12-31/deep=true",
        "opened=!null/deep=true",
        "opened=!null/deep=false",
        "opened=!null/deep=!null",
    }
    assert world.warehouse.models("wells", BULK).num_rows == len(found)
    places = {path.name for path in (world.home / "lake").rglob("*")}
    assert not any("opened" in name for name in places), "a key is never a path"


def test_champion_of_other_partitions_is_neither_compared_nor_replaced(world: World) -> None:
    error = failing_to_open(world.with_spec(partition_by=("well",)), "train", BULK)
    assert "champion version 1 is a regression by well, pad; the spec is a regression by well" in str(error)
    world.run("ingest", DAY)
    error = failing(world.with_spec(partition_by=("well",)), "score", DAY)
    assert "partition_by is ['well'], but the champion's keys are ['well', 'pad']" in str(error)


def test_key_whose_type_changed_is_not_mixed_with_the_champions(world: World) -> None:
    remade(world, pad="TEXT")
    world.run("ingest", BULK)
    world.run("train", BULK)

    error = failing(world, "promote", BULK)

    assert "the keys of 2024-03-31 are well (string), pad (string), the champion's well (string), pad (int)" in str(
        error
    )
    assert getattr(registry.champion("wells"), "version", None) == 1


# --- model code ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model": "wells.pumps:build"}, "wells.pumps:build can't be imported: ModuleNotFoundError"),
        ({"model": "wells.gauges:builds"}, "wells.gauges:builds: module 'wells.gauges' has no callable 'builds'"),
        (
            {"model": "wells.gauges:build_nothing"},
            "wells.gauges:build_nothing returned object, which has no fit, predict",
        ),
        ({"params": {"beta": 1}}, "wells.gauges:build could not be called with params {'beta': 1}: TypeError"),
        ({"data": Data(TABLE, prepare="wells.preparing:nope")}, "has no callable 'nope'"),
        ({"data": Data(TABLE, prepare="wells:nope.sql")}, "prepare wells:nope.sql can't be read"),
        ({"data": Data(TABLE, prepare="welds:nope.sql")}, "prepare welds:nope.sql can't be read"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) and "model" in value else None,
)
@pytest.mark.parametrize("pipeline", ["train", "score"])
def test_code_that_can_not_be_used_fails_before_data_is_read(
    pipeline: str, changes: dict[str, Any], message: str, world: World
) -> None:
    world.run("ingest", DAY)
    interval = BULK if pipeline == "train" else DAY
    before = attempts(world, pipeline)
    if pipeline == "score" and "data" not in changes:
        # The champion's own code and parameters score; those of the spec of now are for the next training.
        assert world.with_spec(**changes).run("score", DAY)["score"]["failed"] == 0
        return
    with pytest.raises(ModelCodeError) as caught:
        world.with_spec(**changes).open(pipeline, interval)
    assert message in str(caught.value)
    assert attempts(world, pipeline) == before, "no attempt is opened"


def test_champion_whose_code_is_gone_fails_before_data_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run("ingest", DAY)
    monkeypatch.setitem(sys.modules, "wells.gauges", None)

    with pytest.raises(ModelCodeError, match=r"wells\.gauges:build can't be imported"):
        world.with_spec(model="flights.delays:build").open("score", DAY)
    assert attempts(world, "score") == []


PREPARES = [
    ("wells.preparing:without_keys", "the prepared rows have no column 'pad'; they have"),
    ("wells:without_keys.sql", "the prepared rows have no column 'pad'; they have"),
    ("wells.preparing:raising", "prepare wells.preparing:raising failed: KeyError: 'no such well'"),
    ("wells:raising.sql", "prepare wells:raising.sql failed: AnalysisException"),
    (
        "wells.preparing:raising_on_rows",
        "failed while its rows were made: SparkRuntimeException: [USER_RAISED_EXCEPTION",
    ),
    ("wells.preparing:raising_in_python", "failed while its rows were made: PythonException"),
    ("wells.preparing:no_frame", "prepare wells.preparing:no_frame returned str, not a Spark DataFrame"),
    ("wells.preparing:nothing", "the prepared rows are empty"),
]


@pytest.mark.parametrize("prepare, message", PREPARES, ids=[name for name, _ in PREPARES])
def test_prepare_that_breaks_is_named(prepare: str, message: str, world: World) -> None:
    error = failing(world.with_spec(data=Data(TABLE, prepare=prepare)), "train", BULK)
    assert message in str(error)
    assert isinstance(error, DataError)
    assert "Traceback" not in str(error)
    assert len(str(error)) < 2500


@pytest.mark.parametrize("prepare", ["wells.preparing:deeper", "wells:deeper.sql"])
def test_prepare_gives_what_features_name(prepare: str, new_world: World) -> None:
    world = new_world.with_spec(
        data=Data(TABLE, prepare=prepare), features=("double_depth", "depth", "mood"), gate=Gate(each=("mae >= 0",))
    )
    world.to_champion()
    world.run("ingest", DAY)
    assert world.run("score", DAY)["score"]["scored"] >= len(HEALTHY)


def test_file_of_the_lake_that_was_damaged_is_said_also_when_spark_reads_it(world: World) -> None:
    for entry in world.manifest("ingest", BULK, "extract").files["data"]:
        path = world.home / "lake" / entry.path
        path.write_bytes(path.read_bytes()[:-1] + b"?")

    error = failing(world.with_spec(data=Data(TABLE, prepare="wells:deeper.sql")), "train", BULK)

    assert isinstance(error, CorruptionError)
    assert "does not match the digest recorded in its manifest" in str(error)


# --- rows ------------------------------------------------------------------------------------------------------------


def test_failing_expectation_stops_before_training_and_says_what_and_where(world: World) -> None:
    quality = Quality(
        between={"depth": (0, 200)}, sensitive=("depth",), not_null=("pressure",), warn=("not_null.pressure",)
    )
    spec = world.with_spec(quality=quality)

    error = failing(spec, "train", BULK)

    assert isinstance(error, QualityError)
    assert "depth" in str(error)
    assert "pressure" not in str(error).split("Hint")[0]
    folders = list((world.home / "lake" / "wells" / "train" / BULK).glob("*/train"))
    assert len(folders) == 1, "only the first training fitted anything"


def test_training_window_without_rows_says_so(world: World) -> None:
    error = failing_to_open(
        world.with_spec(training=Training(window="5D", holdout="2D", min_rows=20)), "train", "2025-01-01"
    )
    assert "no rows to train on" in str(error)
    assert f"ingested are {BULK}" in str(error)


def test_training_of_an_interval_that_cuts_an_ingest_says_so(world: World) -> None:
    error = failing_to_open(world, "train", "2024-02-15")
    assert BULK in str(error)


def test_promotion_and_scoring_without_what_they_need(new_world: World) -> None:
    assert "nothing was trained for interval" in str(failing_to_open(new_world, "promote", BULK))
    assert f"interval {DAY} is not ingested" in str(failing_to_open(new_world, "score", DAY))
    assert "ingested are none" in str(failing_to_open(new_world, "train", BULK))


def test_pack_that_was_tampered_with_is_not_unpickled(world: World) -> None:
    world.run("ingest", DAY)
    files = [world.home / "lake" / entry.path for entry in world.manifest("train", BULK, "train").files["models"]]
    published = list((world.home / "lake" / "wells" / "promote" / BULK).glob("*/publish/pack-*.parquet"))
    assert published
    for path in (*files, *published):
        data = bytearray(path.read_bytes())
        data[64] ^= 0xFF  # among the rows: a footer that was read before is not read again
        path.write_bytes(bytes(data))

    error = failing(world, "score", DAY)

    assert isinstance(error, CorruptionError)
    assert "does not hold the bytes its header records" in str(error)


def test_table_whose_name_needs_quotes_is_read(new_world: World) -> None:
    world = new_world.with_spec(data=Data(SqlTable("wells_db", 'wells "of" 2024', time="read_at")))
    world.execute('ALTER TABLE readings RENAME TO "wells ""of"" 2024"')
    world.run("ingest", BULK, start=BULK_START)
    assert world.committed("ingest", BULK).facts["rows"]["data"] > 2000


def attempts(world: World, pipeline: str) -> list[str]:
    folder = world.home / "lake" / "wells" / pipeline
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*/attempt.json"))
