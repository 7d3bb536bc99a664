"""Large issues of predictions: on PostgreSQL each gets a table of its own, which nobody who reads has to know of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from warehouse_cases import CONNECTION, ISSUED, day, forecast, issue, load, observe, observed, picked, rows, scored

from modelfleet.errors import NotFoundError
from modelfleet.warehouse import Warehouse
from modelfleet.warehouse.predictions import APART_ROWS

LARGE: dict[str, Any] = {"expected": APART_ROWS}
CHILDREN = "SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1"


def test_large_issues_are_read_and_replaced_like_others(warehouse: Warehouse) -> None:
    load(warehouse, scored(2, value=1.0))
    load(warehouse, scored(3, value=2.0), interval="2013-10-02", attempt="it's", **LARGE)
    load(warehouse, scored(1, value=3.0), interval="2013-10-02", attempt="b", issued_at=ISSUED + timedelta(hours=1))
    assert warehouse.predictions("delays")["prediction"].to_pylist() == [1.0, 1.0, 3.0]
    assert warehouse.predictions("delays", latest=False).num_rows == 6
    for again in (LARGE, {}):
        load(warehouse, scored(4, value=4.0), interval="2013-10-02", attempt="it's", **again)
        assert rows(warehouse, 'SELECT "prediction", count(*) FROM "delays_predictions" GROUP BY 1 ORDER BY 1') == [
            (1.0, 2),
            (3.0, 1),
            (4.0, 4),
        ]


def test_forecasts_of_large_issues_meet_actuals_and_get_new_columns(warehouse: Warehouse) -> None:
    issue(warehouse, 1, forecast(2, [11.0, 12.0, 13.0]), **LARGE)
    issue(warehouse, 2, forecast(3, [21.0], q10=[20.0], q90=[22.0]), **LARGE)
    observe(warehouse, 3, observed(2, [10.0, 20.0]))
    assert picked(warehouse.forecasts("demand"), "day", "prediction", "q10") == [
        (2, 11.0, None),
        (3, 21.0, 20.0),
        (4, 13.0, None),
    ]
    found = warehouse.forecast_actuals("demand", interval=str(day(2)))
    assert picked(found, "day", "error", "covered") == [(3, 1.0, 1)]


@pytest.fixture
def in_postgresql(postgres_database: str, connect: Callable[[str, str], None]) -> Warehouse:
    connect(CONNECTION, postgres_database)
    return Warehouse.open()


@pytest.mark.integration
class TestInPostgresql:
    def test_large_issue_has_a_table_with_the_indexes_of_all(self, in_postgresql: Warehouse) -> None:
        issue(in_postgresql, 1, forecast(2, [1.0]))
        assert rows(in_postgresql, CHILDREN) == []
        issue(in_postgresql, 2, forecast(3, [2.0]), **LARGE)
        assert rows(in_postgresql, CHILDREN) == [('"demand_predictions_2013-10-02_a1"',)]
        indexes = (
            "SELECT tablename, split_part(indexdef, ' USING ', 2) FROM pg_indexes WHERE tablename LIKE 'demand_pred%'"
        )
        found = dict(rows(in_postgresql, indexes.replace("%", "%%")))
        assert len(found) == 2
        assert len(set(found.values())) == 1

    def test_query_of_one_interval_skips_the_tables_of_others(self, in_postgresql: Warehouse) -> None:
        for number in (1, 2, 3):
            issue(in_postgresql, number, forecast(number + 1, [1.0]), **LARGE)
        query = "EXPLAIN SELECT * FROM demand_predictions WHERE \"interval\" = '2013-10-02'"
        plan = " ".join(line for (line,) in rows(in_postgresql, query))
        assert [f"2013-10-0{n}_a1" in plan for n in (1, 2, 3)] == [False, True, False]

    def test_reader_does_not_wait_for_a_large_load_nor_sees_half_of_it(self, in_postgresql: Warehouse) -> None:
        load(in_postgresql, scored(2), **LARGE)
        table, seen = scored(3), []

        def stream() -> Any:
            yield from table.to_batches()
            seen.append(in_postgresql.predictions("delays", latest=False).num_rows)

        reader = pa.RecordBatchReader.from_batches(table.schema, stream())
        keys: dict[str, Any] = {"key_columns": ("carrier", "dest"), "time_column": "departed_at"}
        in_postgresql.load_predictions("delays", "2013-10-02", "a2", ISSUED, reader, **keys, **LARGE)
        assert seen == [2]
        assert in_postgresql.predictions("delays", latest=False).num_rows == 5

    def test_large_load_that_fails_leaves_no_table(self, in_postgresql: Warehouse) -> None:
        load(in_postgresql, scored(2))
        table = scored(3)

        def broken() -> Any:
            yield from table.to_batches()
            raise NotFoundError("bucket 7 is gone")

        reader = pa.RecordBatchReader.from_batches(table.schema, broken())
        keys: dict[str, Any] = {"key_columns": ("carrier", "dest"), "time_column": "departed_at"}
        with pytest.raises(NotFoundError, match="bucket 7"):
            in_postgresql.load_predictions("delays", "2013-10-02", "a2", ISSUED, reader, **keys, **LARGE)
        assert rows(in_postgresql, CHILDREN) == []
        assert in_postgresql.predictions("delays", latest=False).num_rows == 2
