"""The warehouse's contract, run on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import servers
from modelfleet.errors import ConfigurationError, DataError, NotFoundError, UnavailableError
from modelfleet.warehouse import Warehouse, check_columns, latest_view, predictions_table, reserved_columns

CONNECTION = "modelfleet_warehouse"
ISSUED = datetime(2013, 10, 2, 5, tzinfo=UTC)
T0 = datetime(2013, 10, 1, tzinfo=UTC)
KEYS = {"key_columns": ("carrier", "dest"), "time_column": "departed_at", "id_columns": ("flight",)}


@pytest.fixture(scope="module")
def module_database(postgres_url: str) -> str:
    return servers.create_database(postgres_url, servers.database_name("warehouse"))


@pytest.fixture
def postgres(module_database: str) -> str:
    """An empty database. To empty one is much cheaper than to make one."""
    with psycopg.connect(module_database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return module_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, connect: Callable[[str, str], None]) -> Warehouse:
    if request.param == "postgresql":
        connect(CONNECTION, request.getfixturevalue("postgres"))
    else:
        connect(CONNECTION, f"sqlite:///{tmp_path}/new folder/warehouse.db")
    return Warehouse.open()


def scored(n: int = 3, *, value: float = 1.0, **more: Any) -> pa.Table:
    """`n` scored rows, as the score step hands them over, with `more` columns."""
    return pa.table(
        {
            "carrier": pa.array(["AA"] * n, pa.string()),
            "dest": pa.array(["LAX"] * n, pa.string()),
            "departed_at": pa.array([T0 + timedelta(minutes=i) for i in range(n)], pa.timestamp("us", "UTC")),
            "flight": pa.array(range(n), pa.int64()),
            "prediction": pa.array([value] * n, pa.float64()),
            "source": pa.array(["model"] * n, pa.string()),
            "partition": pa.array(["carrier=AA/dest=LAX"] * n, pa.string()),
            "model_version": pa.array([7] * n, pa.int64()),
            **more,
        }
    )


def load(warehouse: Warehouse, table: pa.Table, **changes: Any) -> int:
    given = {"fleet": "delays", "interval": "2013-10-01", "attempt": "a1", "issued_at": ISSUED, **KEYS, **changes}
    return warehouse.load_predictions(batches=table.to_reader(), **given)


def rows(warehouse: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    with warehouse.database.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


# Predictions


def test_predictions_loaded_twice_are_there_once_with_all_columns(warehouse: Warehouse) -> None:
    assert [load(warehouse, scored(3)), load(warehouse, scored(3))] == [3, 3]
    found = warehouse.predictions("delays", "2013-10-01")
    assert found.num_rows == 3
    assert found.sort_by("flight").slice(2).to_pylist() == [
        {
            "carrier": "AA",
            "dest": "LAX",
            "departed_at": T0 + timedelta(minutes=2),
            "flight": 2,
            "prediction": 1.0,
            "probability": None,
            "source": "model",
            "partition": "carrier=AA/dest=LAX",
            "model_version": 7,
            "interval": "2013-10-01",
            "issued_at": ISSUED,
            "attempt": "a1",
        }
    ]


def test_same_attempt_loaded_again_with_other_rows_replaces_them(warehouse: Warehouse) -> None:
    load(warehouse, scored(3))
    load(warehouse, scored(2, value=5.0))
    assert warehouse.predictions("delays", latest=False)["prediction"].to_pylist() == [5.0, 5.0]


def test_later_issue_is_latest_and_earlier_is_kept(warehouse: Warehouse) -> None:
    load(warehouse, scored(3), attempt="b", issued_at=ISSUED)
    load(warehouse, scored(2, value=2.0), attempt="a", issued_at=ISSUED + timedelta(hours=1))
    load(warehouse, scored(1), interval="2013-10-02")
    assert warehouse.predictions("delays", "2013-10-01")["prediction"].to_pylist() == [2.0, 2.0]
    assert warehouse.predictions("delays").num_rows == 3
    assert warehouse.predictions("delays", latest=False).num_rows == 6
    assert [(r["interval"], r["attempt"], r["source"], r["n"]) for r in warehouse.prediction_counts("delays")] == [
        ("2013-10-01", "a", "model", 2),
        ("2013-10-02", "a1", "model", 1),
    ]


def test_issues_of_the_same_instant_are_ordered_by_attempt(warehouse: Warehouse) -> None:
    load(warehouse, scored(1, value=2.0), attempt="a2")
    load(warehouse, scored(1, value=1.0), attempt="a1")
    assert warehouse.predictions("delays")["prediction"].to_pylist() == [2.0]


def test_empty_issue_leaves_no_latest_rows(warehouse: Warehouse) -> None:
    load(warehouse, scored(3), attempt="a1")
    assert load(warehouse, scored(0), attempt="a2", issued_at=ISSUED + timedelta(hours=1)) == 0
    assert warehouse.predictions("delays").num_rows == 0
    assert [(r["source"], r["n"]) for r in warehouse.prediction_counts("delays")] == [(None, 0)]


def test_other_fleets_issues_do_not_hide_rows(warehouse: Warehouse) -> None:
    load(warehouse, scored(1), fleet="delays")
    load(warehouse, scored(2), fleet="lateness", attempt="z", issued_at=ISSUED + timedelta(days=9))
    assert (warehouse.predictions("delays").num_rows, warehouse.predictions("lateness").num_rows) == (1, 2)


def test_new_id_column_is_added_and_null_before(warehouse: Warehouse) -> None:
    load(warehouse, scored(1))
    tailed = scored(1).append_column('tail "no"', pa.array(["N1"]))
    load(warehouse, tailed, interval="2013-10-02", id_columns=("flight", 'tail "no"'))
    load(warehouse, scored(1), interval="2013-10-03")
    assert warehouse.predictions("delays")['tail "no"'].to_pylist() == [None, "N1", None]


def test_integers_widen_to_a_float_column(warehouse: Warehouse) -> None:
    whole = scored(1)
    load(warehouse, whole.set_column(3, "flight", pa.array([1.5])))
    load(warehouse, whole.set_column(3, "flight", pa.array([2])), interval="2013-10-02")
    assert warehouse.predictions("delays")["flight"].to_pylist() == [1.5, 2.0]


@pytest.mark.parametrize(
    ("column", "values", "match"),
    [
        pytest.param("flight", pa.array(["x"]), r"'flight' is integer in the warehouse, and now text", id="text"),
        pytest.param("flight", pa.array([1.5]), r"'flight' is integer in the warehouse, and now float", id="float"),
        pytest.param("departed_at", pa.array([T0.date()]), r"'departed_at' is instant .* now date", id="date"),
        pytest.param("flight", pa.array([[1]]), r"'flight' is of type list<.*>, which the warehouse has no", id="list"),
        pytest.param("flight", pa.array([2**63], pa.uint64()), r"'flight' holds a value that a integer", id="uint64"),
        pytest.param("dest", pa.array(["a\0b"]), r"'dest' holds text with a NUL", id="nul"),
    ],
)
def test_column_that_does_not_fit_is_a_data_error_naming_it(
    warehouse: Warehouse, column: str, values: pa.Array, match: str
) -> None:
    load(warehouse, scored(1))
    table = scored(1)
    with pytest.raises(DataError, match=match):
        load(warehouse, table.set_column(table.column_names.index(column), column, values), attempt="a2")
    assert warehouse.predictions("delays", latest=False).num_rows == 1


def test_missing_column_is_a_data_error_naming_it(warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match="lack column 'flight'"):
        load(warehouse, scored(1).drop_columns(["flight"]))
    with pytest.raises(DataError, match="lack column 'source'"):
        load(warehouse, scored(1).drop_columns(["source"]))


def test_source_that_fails_midway_leaves_the_former_rows_and_its_own_error(warehouse: Warehouse) -> None:
    load(warehouse, scored(3))
    table = scored(5)

    def broken() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        raise NotFoundError("bucket 7 is gone")

    with pytest.raises(NotFoundError, match="bucket 7"):
        warehouse.load_predictions(
            "delays", "2013-10-01", "a1", ISSUED, pa.RecordBatchReader.from_batches(table.schema, broken()), **KEYS
        )
    assert warehouse.predictions("delays").num_rows == 3


ODD = (
    'sel"ect "from" \'t\'',
    "order",
    "Größe 東京 🛫",
    "100% %s %(x)s",
    "a:b ::c",
    "semi;colon --",
    "(par) [en]",
    "d.o.t",
    "MixedCase",
    "$1 ?",
    "back\\slash",
    " ",
    "x" * 63,
)


def test_odd_identifiers_round_trip_and_evolve(warehouse: Warehouse) -> None:
    first, rest = ODD[0], ODD[1:]
    table = scored(1)
    for name in ODD:
        table = table.append_column(name, pa.array([name]))
    load(warehouse, table, key_columns=(first,), id_columns=())
    load(warehouse, table, key_columns=(first,), id_columns=rest)
    found = warehouse.predictions("delays").to_pylist()
    assert [{name: row[name] for name in ODD} for row in found] == [{name: name for name in ODD}]


def test_longest_fleet_names_have_tables_and_views_of_their_own(warehouse: Warehouse) -> None:
    fleets = ["f" * 62 + end for end in "ab"]
    for n, fleet in enumerate(fleets, start=1):
        load(warehouse, scored(n), fleet=fleet)
    assert [warehouse.predictions(fleet).num_rows for fleet in fleets] == [1, 2]
    names = {name(fleet) for fleet in fleets for name in (predictions_table, latest_view)}
    assert len(names) == 4
    assert max(map(len, names)) <= 63


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        *(pytest.param((name,), rf"column '{name}' clashes", id=name) for name in sorted(reserved_columns())),
        pytest.param(("Interval",), "'Interval' clashes", id="other case"),
        pytest.param(("dest", "Dest"), "'dest' and 'Dest' differ only in case", id="case"),
        pytest.param(("é" * 32,), "1 to 63 bytes", id="long"),
        pytest.param(("",), "1 to 63 bytes", id="empty"),
        pytest.param(("a\0",), "NUL", id="nul"),
    ],
)
def test_columns_a_table_cannot_have_are_refused_by_name(columns: tuple[str, ...], match: str) -> None:
    with pytest.raises(DataError, match=match):
        check_columns("delays", columns)


def test_nan_and_infinity_become_null(warehouse: Warehouse) -> None:
    given = [1.0, math.nan, math.inf, -math.inf, None]
    table = scored(5, probability=pa.array(given)).set_column(4, "prediction", pa.array(given))
    load(warehouse, table)
    found = warehouse.predictions("delays").sort_by("flight")
    assert found["prediction"].to_pylist() == found["probability"].to_pylist() == [1.0, None, None, None, None]
    assert rows(warehouse, 'SELECT count(*) FROM "delays_predictions" WHERE "prediction" IS NULL') == [(4,)]


def test_values_are_stored_as_documented(warehouse: Warehouse) -> None:
    day = pa.array([date(2013, 10, 1)])
    flag = pa.array([True])
    table = scored(1, day=day, flag=flag, price=pa.array([Decimal("10.50")]))
    load(warehouse, table, id_columns=("day", "flag", "price"))
    found = rows(warehouse, 'SELECT "departed_at", "issued_at", "day", "flag", "price" FROM "delays_predictions"')
    if warehouse.database.dialect == "sqlite":
        assert found == [("2013-10-01 00:00:00.000000", "2013-10-02 05:00:00.000000", "2013-10-01", 1, "10.50")]
    else:
        assert found == [(T0, ISSUED, date(2013, 10, 1), True, Decimal("10.50"))]


_INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_INTS = st.integers(-(2**63), 2**63 - 1)
_TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (pa.int64(), _INTS),
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint64(), st.integers(0, 2**63 - 1)),
    (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    (pa.float32(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    (pa.string(), _TEXTS),
    (pa.large_string(), _TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), _TEXTS),
    (pa.bool_(), st.booleans()),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), _INSTANTS),
    (pa.timestamp("us", "UTC"), _INSTANTS.map(lambda t: t.replace(tzinfo=UTC))),
    (pa.timestamp("us", "America/New_York"), _INSTANTS.map(lambda t: t.replace(tzinfo=UTC))),
    (pa.decimal128(20, 4), st.decimals(-(10**15), 10**15, places=4)),
    (pa.binary(), st.binary(max_size=20)),
]


@st.composite
def _columns(draw: st.DrawFn) -> tuple[list[Any], list[list[Any]]]:
    """Types of some columns, and rows of values for them."""
    chosen = draw(st.lists(st.sampled_from(_TYPED), min_size=1, max_size=5))
    values = st.tuples(*(st.none() | strategy for _, strategy in chosen))
    return [type_ for type_, _ in chosen], [list(row) for row in draw(st.lists(values, max_size=8))]


_fleets = (f"h{n}" for n in count())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_columns())
def test_predictions_of_any_types_round_trip(warehouse: Warehouse, drawn: tuple[list[Any], list[list[Any]]]) -> None:
    types, values = drawn
    fleet, names = next(_fleets), [f"c{i}" for i in range(len(types))]
    table = scored(len(values))
    for i, (name, type_) in enumerate(zip(names, types, strict=True)):
        table = table.append_column(name, pa.array([row[i] for row in values], type_))
    load(warehouse, table, fleet=fleet, key_columns=names)
    found = warehouse.predictions(fleet).sort_by("flight").to_pylist()
    assert [[row[name] for name in names] for row in found] == values


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


# Several processes


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
    assert rows(warehouse, 'SELECT count(*), max("version") FROM "schema_version"') == [(1, 1)]


def _die_before_commit() -> None:
    from modelfleet.warehouse import load as module

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    module._note = die  # type: ignore[assignment]
    load(Warehouse.open(), scored(5000, value=9.0))


@pytest.mark.integration
def test_load_killed_before_its_commit_leaves_the_former_rows(warehouse: Warehouse) -> None:
    load(warehouse, scored(3))
    victim = multiprocessing.get_context("spawn").Process(target=_die_before_commit)
    victim.start()
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL
    assert warehouse.predictions("delays", latest=False)["prediction"].to_pylist() == [1.0] * 3
    assert load(warehouse, scored(4)) == 4
    assert warehouse.predictions("delays", latest=False).num_rows == 4


# Runs, models, decisions, incidents


def test_run_recorded_again_is_updated_and_keeps_what_is_not_given(warehouse: Warehouse) -> None:
    key = ("delays", "train", "2013-09-30", "a1")
    warehouse.record_run(*key, status="running", started_at=T0, spec_digest="d")
    for _ in range(2):
        warehouse.record_run(
            *key, status="committed", ended_at=ISSUED, rows=5, counts={"trained": 4}, step_seconds={"train": 1.5}
        )
    assert warehouse.runs() == [
        {
            **dict(zip(("fleet", "pipeline", "interval", "attempt"), key, strict=True)),
            "status": "committed",
            "started_at": T0,
            "ended_at": ISSUED,
            "rows": 5,
            "counts": {"trained": 4},
            "step_seconds": {"train": 1.5},
            "message": None,
            "spec_digest": "d",
            "code_version": None,
        }
    ]
    assert warehouse.run_counts() == [{"fleet": "delays", "pipeline": "train", "status": "committed", "n": 1}]


def test_run_that_failed_and_runs_again_has_neither_end_nor_message(warehouse: Warehouse) -> None:
    key = ("delays", "train", "2013-09-30", "a1")
    warehouse.record_run(*key, status="failed", ended_at=ISSUED, message="odd \0 \ud800 text")
    assert warehouse.runs()[0]["message"] in ("odd \ufffd ? text",)
    warehouse.record_run(*key, status="running")
    assert (warehouse.runs()[0]["ended_at"], warehouse.runs()[0]["message"]) == (None, None)


def test_run_of_unknown_status_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="'done'; allowed are running, committed"):
        warehouse.record_run("delays", "train", "2013-09-30", "a1", status="done")


def test_waiting_intervals_are_those_whose_latest_score_run_waits(warehouse: Warehouse) -> None:
    def run(
        interval: str, attempt: str, status: str, hour: int, pipeline: str = "score", fleet: str = "delays"
    ) -> None:
        warehouse.record_run(fleet, pipeline, interval, attempt, status=status, started_at=T0 + timedelta(hours=hour))

    run("2013-10-02", "a", "waiting", 1)
    run("2013-10-01", "a", "failed", 1)
    run("2013-10-01", "b", "waiting", 2)
    run("2013-10-03", "z", "waiting", 1)
    run("2013-10-03", "a", "committed", 2)
    run("2013-10-04", "a", "waiting", 1, pipeline="train")
    run("2013-10-05", "a", "waiting", 1, fleet="lateness")
    assert warehouse.waiting_intervals("delays") == ["2013-10-01", "2013-10-02"]


def test_latest_attempt_is_the_committed_one_that_started_last(warehouse: Warehouse) -> None:
    for hour, (interval, attempt, status) in enumerate(
        [("2013-10-01", "b", "committed"), ("2013-10-02", "a", "empty"), ("2013-10-01", "a", "committed"),
         ("2013-10-01", "c", "failed"), ("2013-10-03", "a", "running")]
    ):  # fmt: skip
        warehouse.record_run("f", "train", interval, attempt, status=status, started_at=T0 + timedelta(hours=hour))
    assert warehouse.latest_attempt("f", "train") == ("2013-10-01", "a")
    assert warehouse.latest_attempt("f", "train", "2013-10-02") == ("2013-10-02", "a")
    assert warehouse.latest_attempt("f", "train", statuses=("failed",)) == ("2013-10-01", "c")
    assert warehouse.latest_attempt("f", "score") is None


def trained() -> pa.Table:
    return pa.table(
        {
            "partition": ["carrier=AA", "carrier=DL", "carrier=UA"],
            "carrier": ["AA", "DL", "UA"],
            "status": pa.array(["trained", "skipped", "failed"]).dictionary_encode(),
            "reason": [None, "too_few_rows", "fit_raised"],
            "message": [None, None, "ValueError: \0"],
            "n_rows": pa.array([100, 3, 50], pa.int32()),
            "window_start": pa.array([T0, None, None], pa.timestamp("ns", "UTC")),
            "mae": [1.5, math.nan, None],
            "baseline_mae": [2.5, None, None],
            "within_5": [0.5, math.inf, None],
            "champion_within_5": [0.25, None, None],
        }
    )


def test_models_loaded_twice_are_there_once_with_own_metrics_as_json(warehouse: Warehouse) -> None:
    for _ in range(2):
        args = ("delays", "2013-09-30", "a1", trained())
        assert warehouse.load_models(*args, version=4, own_metrics=("within_5",)) == 3
    warehouse.record_run("delays", "train", "2013-09-30", "a1", status="committed")
    found = warehouse.models("delays").to_pylist()
    assert [(r["partition"], r["status"], r["mae"], r["n_rows"], r["model_version"], r["rmse"]) for r in found] == [
        ("carrier=AA", "trained", 1.5, 100, 4, None),
        ("carrier=DL", "skipped", None, 3, 4, None),
        ("carrier=UA", "failed", None, 50, 4, None),
    ]
    assert found[0]["own_metrics"] == '{"within_5": 0.5, "champion_within_5": 0.25}'
    assert found[1]["own_metrics"] == '{"within_5": null, "champion_within_5": null}'
    assert (found[0]["window_start"], found[2]["message"]) == (T0, "ValueError: \ufffd")
    assert warehouse.models("delays", partition="carrier=DL")["reason"].to_pylist() == ["too_few_rows"]
    counts = warehouse.model_counts("delays", "2013-09-30")
    assert [(row["status"], row["n"]) for row in sorted(counts, key=lambda r: r["status"])] == [
        ("failed", 1), ("skipped", 1), ("trained", 1)]  # fmt: skip


def test_partition_that_comes_twice_is_a_data_error_and_leaves_nothing(warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match="refuses the rows"):
        warehouse.load_models("delays", "2013-09-30", "a1", pa.concat_tables([trained(), trained()]))
    assert warehouse.models("delays", "2013-09-30", attempt="a1").num_rows == 0


def test_run_that_took_over_a_killed_attempts_steps_has_its_rows(warehouse: Warehouse) -> None:
    for hour, (attempt, status) in enumerate([("z", "committed"), ("b", "running"), ("a", "reused"), ("c", "failed")]):
        started = T0 + timedelta(hours=hour)
        warehouse.record_run("delays", "train", "2013-09-30", attempt, status=status, started_at=started)
        if attempt != "a":
            warehouse.load_models("delays", "2013-09-30", attempt, trained())
    assert set(warehouse.models("delays")["attempt"].to_pylist()) == {"b"}


def test_models_without_a_committed_run_are_not_found(warehouse: Warehouse) -> None:
    warehouse.load_models("delays", "2013-09-30", "a1", trained())
    with pytest.raises(NotFoundError, match=r"'delays' has no committed train run of interval 2013-09-30"):
        warehouse.models("delays", "2013-09-30")


def test_predictions_of_a_fleet_never_scored_are_not_found(warehouse: Warehouse) -> None:
    with pytest.raises(NotFoundError, match="'delays' has no predictions yet"):
        warehouse.predictions("delays")
    assert warehouse.prediction_counts("delays") == []


def test_decisions_loaded_twice_are_there_once(warehouse: Warehouse) -> None:
    table = pa.table(
        {
            "fleet": ["delays"] * 2,
            "interval": ["2013-09-30"] * 2,
            "partition": ["carrier=AA", "carrier=DL"],
            "decision": ["promoted", "rejected"],
            "rule": [None, "mae < baseline.mae"],
            "reason": ["all rules pass", "rule is not TRUE"],
            "mode": ["enforce"] * 2,
            "serves_version": pa.array([1, None], pa.int64()),
            "champion_interval": pa.nulls(2),
        }
    )
    for _ in range(2):
        assert warehouse.load_decisions("delays", "2013-09-30", "p1", table) == 2
    warehouse.record_run("delays", "promote", "2013-09-30", "p1", status="committed")
    assert warehouse.decisions("delays").drop_columns(["attempt"]).to_pylist() == table.to_pylist()
    assert [row["n"] for row in warehouse.decision_counts("delays")] == [1, 1]


def test_incident_recorded_twice_is_there_once(warehouse: Warehouse) -> None:
    event = {"id": "i1", "fleet": "delays", "kind": "step_failed", "severity": "error", "title": "t", "occurred_at": T0}
    assert [warehouse.record_incident(**event), warehouse.record_incident(**event)] == [True, False]
    assert [(row["id"], row["occurred_at"]) for row in warehouse.incidents("delays", unresolved=True)] == [("i1", T0)]
    assert warehouse.incidents("lateness") == []


# The database itself


def test_warehouse_of_a_newer_modelfleet_is_refused(warehouse: Warehouse) -> None:
    with warehouse.database.writing() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version = 99"))
    with pytest.raises(ConfigurationError, match="schema version 99, this Modelfleet knows 1"):
        Warehouse.open().runs()


def test_fixed_table_without_a_column_gets_it(warehouse: Warehouse) -> None:
    warehouse.record_run("delays", "train", "2013-09-30", "a1", status="committed")
    with warehouse.database.writing() as connection:
        connection.execute(sa.text('ALTER TABLE runs DROP COLUMN "code_version"'))
        connection.execute(sa.text("UPDATE schema_version SET version = 0"))
    assert Warehouse.open().runs()[0]["code_version"] is None


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
    postgres: str, connect: Callable[[str, str], None]
) -> None:
    connect(CONNECTION, postgres)
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


@pytest.mark.parametrize(
    ("uri", "match"),
    [
        pytest.param("mysql://u:p@h/db", "of type 'mysql'; allowed are sqlite and postgresql", id="other database"),
        pytest.param("sqlite:////proc/nowhere/w.db", "folder /proc/nowhere can't be made", id="no folder"),
        pytest.param(f"sqlite:///{__file__}", "file is not a database", id="not a database"),
    ],
)
def test_warehouse_that_cannot_be_one_is_a_configuration_error(
    uri: str, match: str, connect: Callable[[str, str], None]
) -> None:
    connect(CONNECTION, uri)
    with pytest.raises(ConfigurationError, match=match):
        Warehouse.open().runs()
