"""Actuals: one row per partition and time, the newest reading, whatever the order they are loaded in."""

from __future__ import annotations

import itertools
import math
import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from warehouse_cases import ISSUED, SERIES, day, forecast, issue, observe, observed, picked, rows

from modelfleet.errors import DataError, NotFoundError
from modelfleet.warehouse import Warehouse


def test_actuals_loaded_twice_are_there_once_with_all_columns(warehouse: Warehouse) -> None:
    assert [observe(warehouse, 2, observed(1, [1.5, 2.5])) for _ in range(2)] == [2, 2]
    assert warehouse.actuals("demand").to_pylist() == [
        {
            "store": 1,
            "day": day(number),
            "actual": number + 0.5,
            "partition": "store=1",
            "interval": "2013-10-02",
            "attempt": "a1",
            "loaded_at": ISSUED,
        }
        for number in (1, 2)
    ]


def test_restated_actuals_take_the_place_of_the_former(warehouse: Warehouse) -> None:
    observe(warehouse, 2, observed(1, [1.0, 2.0]))
    observe(warehouse, 3, observed(2, [20.0, 30.0]), attempt="a2", hour=24)
    assert picked(warehouse.actuals("demand"), "day", "actual", "interval", "attempt") == [
        (1, 1.0, "2013-10-02", "a1"),
        (2, 20.0, "2013-10-03", "a2"),
        (3, 30.0, "2013-10-03", "a2"),
    ]


def test_reading_loaded_again_later_does_not_take_the_place_of_a_newer_one(warehouse: Warehouse) -> None:
    old = {"attempt": "z", "hour": 0}
    observe(warehouse, 2, observed(1, [1.0, 2.0]), **old)
    observe(warehouse, 3, observed(2, [20.0]), attempt="a", hour=24)
    observe(warehouse, 2, observed(1, [1.0, 2.0]), **old)
    assert picked(warehouse.actuals("demand"), "day", "actual", "attempt") == [(1, 1.0, "z"), (2, 20.0, "a")]


def test_older_interval_read_again_later_is_the_newest_reading(warehouse: Warehouse) -> None:
    observe(warehouse, 3, observed(2, [20.0]), hour=24)
    observe(warehouse, 2, observed(2, [21.0]), attempt="a2", hour=48)
    assert picked(warehouse.actuals("demand"), "actual", "interval", "attempt") == [(21.0, "2013-10-02", "a2")]


READINGS = [(1, "b", 0, 1.0), (2, "a", 0, 2.0), (2, "b", 0, 3.0)]
"""Interval, attempt, hour and value; the last is the newest: at the same moment the later interval counts, then attempt."""


@pytest.mark.parametrize("order", [pytest.param(o, id="".join(map(str, o))) for o in itertools.permutations(range(3))])
def test_readings_of_the_same_moment_give_the_same_row_in_any_order(
    warehouse: Warehouse, order: tuple[int, ...]
) -> None:
    for interval, attempt, hour, value in (READINGS[i] for i in order):
        observe(warehouse, interval, observed(1, [value]), attempt=attempt, hour=hour)
    assert picked(warehouse.actuals("demand"), "actual", "interval", "attempt") == [(3.0, "2013-10-02", "b")]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        pytest.param(pa.array([1, 2], pa.int16()), [1.0, 2.0], id="integers"),
        pytest.param(pa.array([True, False]), [1.0, 0.0], id="booleans"),
        pytest.param(pa.array([Decimal("1.50"), None]), [1.5, None], id="decimals"),
        pytest.param(pa.array([1.5, None], pa.float32()), [1.5, None], id="narrow floats"),
        pytest.param(pa.array([math.nan, -math.inf]), [None, None], id="NaN and infinity"),
        pytest.param(pa.nulls(2), [None, None], id="nulls without a type"),
    ],
)
def test_values_become_numbers_or_null(warehouse: Warehouse, given: pa.Array, stored: list[float | None]) -> None:
    observe(warehouse, 2, observed(1, [0.0, 0.0]).set_column(2, "actual", given))
    assert warehouse.actuals("demand")["actual"].to_pylist() == stored


def test_target_and_partition_may_have_names_of_their_own(warehouse: Warehouse) -> None:
    table = observed(1, [1.0, 2.0])
    table = table.set_column(3, "_partition", table["partition"].dictionary_encode()).rename_columns(
        {"actual": "units"}
    )
    observe(warehouse, 2, table, target="units", partition="_partition")
    assert picked(warehouse.actuals("demand"), "partition", "actual") == [("store=1", 1.0), ("store=1", 2.0)]


def test_value_that_is_no_longer_known_becomes_null(warehouse: Warehouse) -> None:
    observe(warehouse, 2, observed(1, [1.0, 2.0]))
    observe(warehouse, 2, observed(2, [None]), attempt="a2", hour=1)
    assert picked(warehouse.actuals("demand"), "day", "actual") == [(1, 1.0), (2, None)]


def test_new_key_column_is_added_and_null_before(warehouse: Warehouse) -> None:
    observe(warehouse, 2, observed(1, [1.0]))
    items = observed(2, [2.0]).append_column("item", pa.array(["x"]))
    observe(warehouse, 2, items, key_columns=("store", "item"), attempt="a2", hour=1)
    assert picked(warehouse.actuals("demand"), "day", "item") == [(1, None), (2, "x")]


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        pytest.param(
            pa.concat_tables([observed(1, [1.0, 2.0]), observed(2, [3.0])]),
            r"come more than once: day '2013-10-02.*', partition 'store=1', and 0 more\nHint: .*each day and partition",
            id="twice",
        ),
        pytest.param(
            pa.concat_tables([observed(1, [1.0, 2.0], store=s) for s in (2, 1, 1, 2, 2)]),
            r"once: day '2013-10-01.*', partition 'store=1', and 3 more",
            id="many twice",
        ),
        pytest.param(
            _with(observed(1, [1.0, 2.0]), "day", pa.array([day(1), None])), "column 'day' has nulls", id="no time"
        ),
        pytest.param(
            _with(observed(1, [1.0, 2.0]), "partition", pa.array(["store=1", None])),
            "column 'partition' has nulls, which table 'demand_actuals' can't hold there",
            id="no partition",
        ),
        pytest.param(
            _with(observed(1, [1.0, 2.0]), "actual", pa.array(["many", "few"])),
            "'actual' holds a value that a float column can't hold",
            id="text",
        ),
        pytest.param(_with(observed(1, [1.0, 2.0]), "day", pa.nulls(2)), "'day' has no type", id="untyped time"),
        pytest.param(observed(1, [1.0]).drop_columns(["actual"]), "lack column 'actual'", id="no target"),
        pytest.param(observed(1, [1.0]).drop_columns(["store"]), "lack column 'store'", id="no key"),
        pytest.param(
            _with(observed(1, [1.0]), "store", pa.array(["one"])), "'store' is integer .* now text", id="other key type"
        ),
    ],
)
def test_actuals_that_cannot_be_kept_are_a_data_error_and_change_nothing(
    warehouse: Warehouse, table: pa.Table, match: str
) -> None:
    observe(warehouse, 1, observed(1, [9.0]))
    with pytest.raises(DataError, match=match):
        observe(warehouse, 2, table, attempt="a2", hour=24)
    assert picked(warehouse.actuals("demand"), "day", "actual", "attempt") == [(1, 9.0, "a1")]


@pytest.mark.parametrize("name", ["actual", "loaded_at", "Interval", "error", "_rank"])
def test_key_column_named_as_one_of_the_warehouses_is_refused(warehouse: Warehouse, name: str) -> None:
    table = observed(1, [1.0]).append_column(name, pa.array([1]))
    with pytest.raises(DataError, match=f"column '{name}' clashes"):
        observe(warehouse, 1, table, key_columns=("store", name))


def test_renamed_time_column_is_refused_with_the_statement_that_mends_it(warehouse: Warehouse) -> None:
    issue(warehouse, 1, forecast(2, [1.0]))
    observe(warehouse, 2, observed(2, [1.0]))
    renamed, keys = {"day": "sold_on"}, {"time_column": "sold_on"}
    with pytest.raises(DataError, match="the time of table 'demand_actuals' is 'day', and now 'sold_on'") as caught:
        issue(warehouse, 2, forecast(3, [2.0]).rename_columns(renamed), **keys)
    with pytest.raises(DataError, match="is 'day', and now 'sold_on'"):
        observe(warehouse, 3, observed(3, [2.0]).rename_columns(renamed), **keys)
    with warehouse.database.writing() as connection:
        connection.execute(sa.text(str(caught.value.hint)))
    issue(warehouse, 2, forecast(3, [2.0]).rename_columns(renamed), **keys)
    observe(warehouse, 3, observed(3, [2.0]).rename_columns(renamed), **keys)
    assert picked(warehouse.forecast_actuals("demand"), "sold_on", "error") == [(3, 0.0)]
    assert picked(warehouse.actuals("demand"), "sold_on") == [(2,), (3,)]


def test_naive_moment_of_loading_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="loaded_at must be aware"):
        observe(warehouse, 1, observed(1, [1.0]), loaded_at=ISSUED.replace(tzinfo=None))


def test_source_that_fails_midway_leaves_the_former_rows_and_its_own_error(warehouse: Warehouse) -> None:
    observe(warehouse, 2, observed(1, [1.0, 2.0]))
    table = observed(1, [8.0, 9.0])

    def broken() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        raise NotFoundError("bucket 7 is gone")

    reader = pa.RecordBatchReader.from_batches(table.schema, broken())
    with pytest.raises(NotFoundError, match="bucket 7"):
        warehouse.load_actuals("demand", "2013-10-03", "a2", ISSUED + timedelta(days=1), reader, **SERIES)
    assert picked(warehouse.actuals("demand"), "actual") == [(1.0,), (2.0,)]


def test_long_load_is_streamed_and_merged(warehouse: Warehouse) -> None:
    """Twice 200,000 rows of which never more than a few batches are in memory."""
    total, each = 200_000, 5_000
    first = pa.concat_tables([observed(1, [1.0] * 100, store=store) for store in range(each // 100)]).combine_chunks()
    nbytes, before, peak = first.nbytes, pa.total_allocated_bytes(), 0

    def stream(value: float) -> Iterator[pa.RecordBatch]:
        nonlocal peak
        for number in range(total // each):
            peak = max(peak, pa.total_allocated_bytes() - before)
            names = pa.array([f"{name}.{number}" for name in first["partition"].to_pylist()])
            copied = _with(_with(first, "partition", names), "actual", pa.array([value] * each))
            yield from copied.to_batches()

    for hour, value in enumerate((1.0, 2.0)):
        reader = pa.RecordBatchReader.from_batches(first.schema, stream(value))
        loaded_at = ISSUED + timedelta(hours=hour)
        assert warehouse.load_actuals("demand", "2013-10-01", f"a{hour}", loaded_at, reader, **SERIES) == total
    assert rows(warehouse, 'SELECT count(*), min("actual") FROM "demand_actuals"') == [(total, 2.0)]
    assert 0 < peak < 15 * nbytes, f"{peak / nbytes:.1f} of {total // each} batches were in memory"


def _merge(number: int, barrier: Any) -> None:
    warehouse = Warehouse.open()
    barrier.wait()
    stores = list(range(20)) if number else list(range(19, -1, -1))
    for turn in range(4):
        table = pa.concat_tables([observed(1, [float(10 * turn + number)] * 50, store=store) for store in stores])
        observe(warehouse, 1, table, attempt=f"a{number}", hour=turn)
        issue(warehouse, turn + 1, forecast(turn + 1, [1.0], q10=[0.0], q90=[2.0]), attempt=f"a{number}")


@pytest.mark.integration
def test_processes_merging_at_once_into_a_fresh_database_keep_the_newest(warehouse: Warehouse) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    mergers = [spawn.Process(target=_merge, args=(number, barrier)) for number in range(2)]
    for merger in mergers:
        merger.start()
    for merger in mergers:
        merger.join(120)
    assert [merger.exitcode for merger in mergers] == [0, 0]
    found = rows(warehouse, 'SELECT count(*), min("actual"), max("actual"), min("attempt") FROM "demand_actuals"')
    assert found == [(1000, 31.0, 31.0, "a1")]
    assert warehouse.predictions("demand", latest=False).num_rows == 8
    assert picked(warehouse.forecast_actuals("demand"), "attempt", "error", "covered") == [("a1", -30.0, 0)] * 4
