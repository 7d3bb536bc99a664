"""Predictions: issues, the latest of them, and the columns a fleet may have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pyarrow as pa
import pytest
from warehouse_cases import ISSUED, KEYS, T0, load, scored

from modelfleet.errors import DataError, NotFoundError
from modelfleet.warehouse import Warehouse


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
            "step": None,
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


def test_predictions_of_a_fleet_never_scored_are_not_found(warehouse: Warehouse) -> None:
    with pytest.raises(NotFoundError, match="'delays' has no predictions yet"):
        warehouse.predictions("delays")
    assert warehouse.prediction_counts("delays") == []
