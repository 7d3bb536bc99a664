"""Rows for the warehouse's tests, and ways to load and read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from modelfleet.warehouse import Warehouse

CONNECTION = "modelfleet_warehouse"
ISSUED = datetime(2013, 10, 2, 5, tzinfo=UTC)
T0 = datetime(2013, 10, 1, tzinfo=UTC)
KEYS = {"key_columns": ("carrier", "dest"), "time_column": "departed_at", "id_columns": ("flight",)}


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
