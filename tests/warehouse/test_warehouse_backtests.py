"""Backtests: one row per fold and partition; the one made last is read unless another is named."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from warehouse_cases import ISSUED

from modelfleet.errors import DataError, NotFoundError
from modelfleet.warehouse import Warehouse


def folds(*wape: float, **more: Any) -> pa.Table:
    """Two folds a partition, the later one first, as a replay may hand them over."""
    n = len(wape)
    return pa.table(
        {
            "fold": [("2013-10-08", "2013-10-01")[i % 2] for i in range(n)],
            "partition": [f"store={i // 2}" for i in range(n)],
            "candidate": ["ridge"] * n,
            "source": pa.array(["model"] * n).dictionary_encode(),
            "n_test": pa.array([7] * n, pa.int32()),
            "wape": wape,
            "coverage": [0.8] * n,
            "baseline_wape": [0.5] * n,
            "unknown": [0] * n,
            **more,
        }
    )


def keep(warehouse: Warehouse, backtest: str, table: pa.Table, *, day: int = 0, **more: Any) -> int:
    return warehouse.load_backtest("demand", backtest, table, made_at=ISSUED + timedelta(days=day), **more)


def test_backtest_loaded_again_replaces_its_rows(warehouse: Warehouse) -> None:
    assert keep(warehouse, "b1", folds(0.1, 0.2, 0.3, 0.4)) == 4
    assert keep(warehouse, "b1", folds(0.3, math.nan), day=1) == 2
    found = warehouse.backtest("demand").to_pylist()
    assert [(r["fold"], r["partition"], r["wape"], r["mae"], r["n_test"], r["source"]) for r in found] == [
        ("2013-10-01", "store=0", None, None, 7, "model"),
        ("2013-10-08", "store=0", 0.3, None, 7, "model"),
    ]
    assert {(r["fleet"], r["backtest"], r["made_at"], r["baseline_wape"], r["coverage"]) for r in found} == {
        ("demand", "b1", ISSUED + timedelta(days=1), 0.5, 0.8)
    }


def test_backtest_made_last_is_read_unless_another_is_named(warehouse: Warehouse) -> None:
    keep(warehouse, "b1", folds(0.1, 0.1, 0.1, 0.1), day=2)
    keep(warehouse, "b2", folds(0.2, 0.2), day=1)
    warehouse.load_backtest("returns", "b3", folds(0.3), made_at=ISSUED + timedelta(days=3))
    assert set(warehouse.backtest("demand")["wape"].to_pylist()) == {0.1}
    assert warehouse.backtest("demand", "b2")["wape"].to_pylist() == [0.2, 0.2]
    assert warehouse.backtest("demand", partition="store=1")["partition"].to_pylist() == ["store=1"] * 2
    assert warehouse.backtest("demand", partition="store=9").num_rows == 0


def test_backtest_there_is_not_is_not_found_and_those_there_are_named(warehouse: Warehouse) -> None:
    with pytest.raises(NotFoundError, match="fleet 'demand' has no backtest yet"):
        warehouse.backtest("demand")
    keep(warehouse, "b1", folds(0.1))
    with pytest.raises(NotFoundError, match="fleet 'demand' has no backtest 'b9'\nHint: there are b1"):
        warehouse.backtest("demand", "b9")


def test_partition_that_comes_twice_in_a_fold_is_a_data_error_and_leaves_the_former_rows(warehouse: Warehouse) -> None:
    keep(warehouse, "b1", folds(0.1))
    with pytest.raises(DataError, match="refuses the rows"):
        keep(warehouse, "b1", pa.concat_tables([folds(0.2), folds(0.3)]))
    assert warehouse.backtest("demand")["wape"].to_pylist() == [0.1]


def test_own_metrics_and_messages_of_a_backtest_are_kept(warehouse: Warehouse) -> None:
    more = {"within_5": [0.5], "baseline_within_5": [math.inf], "message": ["ValueError: \0"]}
    keep(warehouse, "b1", folds(0.1, **more), own_metrics=("within_5",))
    (row,) = warehouse.backtest("demand").to_pylist()
    assert row["own_metrics"] == '{"within_5": 0.5, "baseline_within_5": null}'
    assert row["message"] == "ValueError: \ufffd"


def test_naive_moment_of_a_backtest_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="made_at must be aware"):
        warehouse.load_backtest("demand", "b1", folds(0.1), made_at=ISSUED.replace(tzinfo=None))
