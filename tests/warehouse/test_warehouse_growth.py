"""A warehouse made by an earlier Modelfleet, and tables and views that grow: nothing is lost, and columns stay in place."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from warehouse_cases import ISSUED, T0, forecast, issue, load, observe, observed, picked, rows, scored, trained

from modelfleet.warehouse import Warehouse
from modelfleet.warehouse.kinds import FLOAT, INSTANT, INTEGER, TEXT, Kind
from modelfleet.warehouse.schema import FIXED, SCHEMA, SCHEMA_VERSION, make_table, unique
from modelfleet.warehouse.tables import make

METRICS = ("mae", "rmse", "mape", "wape", "r2", "bias", "accuracy", "log_loss", "roc_auc", "f1", "brier")
"""Of version 1."""
MODELS_1: dict[str, Kind] = {
    **dict.fromkeys(("fleet", "interval", "attempt", "partition", "status", "reason", "message", "candidate"), TEXT),
    **dict.fromkeys(("n_rows", "n_null_target", "n_train", "n_test"), INTEGER),
    **dict.fromkeys(("window_start", "window_end"), INSTANT),
    "fit_seconds": FLOAT,
    **dict.fromkeys(METRICS, FLOAT),
    "baseline_status": TEXT,
    **{f"baseline_{metric}": FLOAT for metric in METRICS},
    "champion_status": TEXT,
    **{f"champion_{metric}": FLOAT for metric in METRICS},
    "baseline_value": FLOAT,
    **dict.fromkeys(("own_metrics", "model_digest"), TEXT),
    "model_version": INTEGER,
}
ISSUES_1: dict[str, Kind] = {
    **dict.fromkeys(("fleet", "interval", "attempt"), TEXT),
    "issued_at": INSTANT,
    "rows": INTEGER,
}
PREDICTIONS_1: dict[str, Kind] = {
    **dict.fromkeys(("carrier", "dest"), TEXT),
    "departed_at": INSTANT,
    "flight": INTEGER,
    **dict.fromkeys(("prediction", "probability"), FLOAT),
    **dict.fromkeys(("source", "partition"), TEXT),
    "model_version": INTEGER,
    "interval": TEXT,
    "issued_at": INSTANT,
    "attempt": TEXT,
}
LATEST_1 = """CREATE VIEW "delays_predictions_latest" AS SELECT p.* FROM "delays_predictions" p JOIN (SELECT "interval",
"attempt", ROW_NUMBER() OVER (PARTITION BY "interval" ORDER BY "issued_at" DESC, "attempt" DESC) AS n FROM
"prediction_issues" WHERE "fleet" = 'delays') i ON p."interval" = i."interval" AND p."attempt" = i."attempt" WHERE i.n = 1"""


@pytest.fixture
def earlier(warehouse: Warehouse) -> Warehouse:
    """A warehouse of version 1 with a training and a day of predictions, as they were stored then."""
    key = {"fleet": "delays", "interval": "2013-10-01", "attempt": "a0"}
    of_attempt = unique("fleet", "interval", "attempt")
    tables = {
        "models": (MODELS_1, (unique("fleet", "interval", "attempt", "partition"),)),
        "prediction_issues": (ISSUES_1, (of_attempt,)),
        "delays_predictions": (PREDICTIONS_1, ()),
        "schema_version": ({"version": INTEGER}, ()),
    }
    values: dict[str, dict[str, Any]] = {
        "models": {**key, "partition": "carrier=AA", "status": "trained", "mae": 1.25},
        "prediction_issues": {**key, "issued_at": T0, "rows": 1},
        "delays_predictions": {
            **dict(zip(PREDICTIONS_1, ("AA", "LAX", T0, 1, 0.5, None, "model", "carrier=AA", 3), strict=False)),
            **{"interval": "2013-10-01", "issued_at": T0, "attempt": "a0"},
        },
        "schema_version": {"version": 1},
    }
    if warehouse.database.dialect == "sqlite":
        Path(str(warehouse.database.url.database)).parent.mkdir()
    warehouse.database._prepared = True  # or today's tables would be made
    with warehouse.database.writing() as connection:
        for name, (columns, constraints) in tables.items():
            table = make_table(name, columns, *constraints)
            make(connection, table)
            connection.execute(sa.insert(table).values(values[name]))
        connection.exec_driver_sql(LATEST_1)
    return Warehouse.open()


def test_earlier_warehouse_is_brought_up_to_date_and_keeps_its_rows(earlier: Warehouse) -> None:
    (kept,) = earlier.models("delays", "2013-10-01", attempt="a0").to_pylist()
    assert (kept["mae"], kept["status"], kept["mase"], kept["candidates"], kept["n_folds"]) == (
        1.25, "trained", None, None, None)  # fmt: skip
    with earlier.database.reading() as connection:
        for table in (SCHEMA, *FIXED):
            assert set(earlier.database.columns(connection, table.name)) == {str(c.name) for c in table.columns}
    assert rows(earlier, 'SELECT "version" FROM "schema_version"') == [(SCHEMA_VERSION,)]


def test_models_with_what_is_new_are_loaded_beside_those_of_an_earlier_version(earlier: Warehouse) -> None:
    new = {
        "mase": [0.9, None, None],
        "coverage": [0.8, None, None],
        "candidates": ["[]", None, None],
        "n_folds": [4] * 3,
    }
    table = trained()
    for name, values in new.items():
        table = table.append_column(name, pa.array(values))
    assert earlier.load_models("delays", "2013-10-02", "a1", table, version=4) == 3
    first = earlier.models("delays", "2013-10-02", attempt="a1", partition="carrier=AA").to_pylist()[0]
    assert {name: first[name] for name in new} == {name: values[0] for name, values in new.items()}
    assert (first["mae"], first["n_rows"], first["model_version"], first["status"]) == (1.5, 100, 4, "trained")
    assert rows(earlier, 'SELECT count(*) FROM "models"') == [(4,)]


def test_predictions_are_issued_beside_those_of_an_earlier_version(earlier: Warehouse) -> None:
    load(earlier, scored(1, value=2.0), interval="2013-10-02")
    found = earlier.predictions("delays")
    assert picked(found, "interval", "prediction", "step") == [("2013-10-01", 0.5, None), ("2013-10-02", 2.0, None)]
    load(earlier, scored(1, value=3.0), interval="2013-10-01", attempt="a9")
    assert earlier.predictions("delays")["prediction"].to_pylist() == [3.0, 2.0]
    assert rows(earlier, 'SELECT "prediction" FROM "delays_predictions_latest" ORDER BY "interval"') == [(3.0,), (2.0,)]


def _open(barrier: Any) -> None:
    warehouse = Warehouse.open()
    barrier.wait()
    warehouse.runs()


@pytest.mark.integration
def test_processes_that_bring_a_warehouse_up_to_date_at_once_both_succeed(earlier: Warehouse) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    users = [spawn.Process(target=_open, args=(barrier,)) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join(60)
    assert [user.exitcode for user in users] == [0, 0]
    assert earlier.models("delays", "2013-10-01", attempt="a0").num_rows == 1


@pytest.mark.parametrize("version", [0, 1, SCHEMA_VERSION])
def test_fixed_table_without_a_column_gets_it_whatever_the_version_says(warehouse: Warehouse, version: int) -> None:
    warehouse.record_run("delays", "train", "2013-09-30", "a1", status="committed")
    with warehouse.database.writing() as connection:
        connection.execute(sa.text('ALTER TABLE runs DROP COLUMN "code_version"'))
        connection.execute(sa.text("UPDATE schema_version SET version = :version"), {"version": version})
    assert Warehouse.open().runs()[0]["code_version"] is None


FINGERPRINTS = {2: "40b5dae3e4d8f53e"}
"""Of the fixed tables, by version."""


def test_change_of_the_fixed_tables_raises_their_version() -> None:
    columns = {table.name: {str(c.name): c.type.kind.name for c in table.columns} for table in (SCHEMA, *FIXED)}
    given = hashlib.blake2b(repr(columns).encode(), digest_size=8).hexdigest()
    assert FINGERPRINTS.get(SCHEMA_VERSION) == given, "raise SCHEMA_VERSION, say what is new, and add its fingerprint"


# Views


def _definitions(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Something that changes with every statement that changes tables or views."""
    if warehouse.database.dialect == "sqlite":
        return rows(warehouse, "PRAGMA schema_version")
    query = "SELECT relname, c.xmin::text, d.xmin::text FROM pg_class c LEFT JOIN pg_rewrite d ON d.ev_class = c.oid"
    return sorted(rows(warehouse, f"{query} WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'"))


def test_load_of_the_same_columns_changes_no_definition(warehouse: Warehouse) -> None:
    quantiles: Mapping[str, Any] = {"q10": [0.0], "q90": [2.0]}
    issue(warehouse, 1, forecast(2, [1.0], **quantiles))
    before = _definitions(warehouse)
    assert before
    issue(warehouse, 2, forecast(3, [1.0], **quantiles))
    issue(warehouse, 3, forecast(4, [1.0]))
    assert _definitions(warehouse) == before


def test_views_follow_new_columns_and_those_that_others_built_on_them_stay(warehouse: Warehouse) -> None:
    issue(warehouse, 1, forecast(2, [1.0]))
    before = warehouse.database
    with before.writing() as connection:
        connection.exec_driver_sql(
            'CREATE VIEW "mine" AS SELECT "day", "error" FROM "demand_forecast_actuals" WHERE "store" = 1'
        )
    items = forecast(3, [2.0], q10=[0.0], q90=[3.0]).append_column("item", pa.array(["x"]))
    issue(warehouse, 2, items, key_columns=("store", "item"))
    observe(warehouse, 3, observed(2, [0.5, 0.5]))
    assert picked(warehouse.forecasts("demand"), "day", "item", "q10") == [(2, None, None), (3, "x", 0.0)]
    assert picked(warehouse.forecast_actuals("demand"), "day", "item", "error", "covered") == [
        (2, None, 0.5, None), (3, "x", 1.5, 1)]  # fmt: skip
    assert [error for _, error in rows(warehouse, 'SELECT * FROM "mine" ORDER BY "day"')] == [0.5, 1.5]


def test_view_that_was_dropped_is_made_again(warehouse: Warehouse) -> None:
    issue(warehouse, 1, forecast(2, [1.0]))
    with warehouse.database.writing() as connection:
        connection.exec_driver_sql('DROP VIEW "demand_forecast"')
    issue(warehouse, 2, forecast(3, [2.0]))
    assert picked(warehouse.forecasts("demand"), "prediction") == [(1.0,), (2.0,)]


def test_fleet_that_begins_to_forecast_gets_the_views(warehouse: Warehouse) -> None:
    keys = {"key_columns": ("store",), "time_column": "day"}
    plain = forecast(1, [1.0]).drop_columns(["step"])
    load(warehouse, plain, fleet="demand", interval="2013-10-01", issued_at=ISSUED, **keys, id_columns=())
    issue(warehouse, 2, forecast(3, [2.0]))
    assert picked(warehouse.forecasts("demand"), "day", "prediction", "step") == [(1, 1.0, None), (3, 2.0, 1)]


@pytest.mark.integration
def test_postgresql_finds_forecasts_by_an_index_that_covers_every_row(
    postgres_database: str, connect: Callable[[str, str], None]
) -> None:
    connect("modelfleet_warehouse", postgres_database)
    warehouse = Warehouse.open()
    issue(warehouse, 1, forecast(2, [1.0]))
    ((definition,),) = rows(warehouse, "SELECT indexdef FROM pg_indexes WHERE tablename = 'demand_predictions'")
    assert "USING brin" in definition
    assert "partition text_bloom_ops, day)" in definition
    for interval in (1, 2):
        issue(warehouse, interval, forecast(2, [1.0] * 20_000))
        assert rows(warehouse, "SELECT brin_summarize_new_values('demand_predictions_interval')") == [(0,)]


@pytest.mark.integration
def test_load_does_not_wait_for_a_vacuum_of_its_table(
    postgres_database: str, connect: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelfleet.warehouse.tables.SUMMARIZE_SECONDS", 1)
    connect("modelfleet_warehouse", postgres_database)
    warehouse = Warehouse.open()
    issue(warehouse, 1, forecast(2, [1.0]))
    with warehouse.database.writing() as vacuum:
        vacuum.exec_driver_sql('LOCK TABLE "demand_predictions" IN SHARE UPDATE EXCLUSIVE MODE')
        assert issue(warehouse, 2, forecast(3, [2.0])) == 1
    assert picked(warehouse.forecasts("demand"), "prediction") == [(1.0,), (2.0,)]
