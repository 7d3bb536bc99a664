"""Rows for the warehouse's tests, and ways to load and read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
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


# Forecasts: fleet `demand`, one per store and day

SERIES: dict[str, Any] = {"key_columns": ("store",), "time_column": "day"}
DAY1 = date(2013, 10, 1)


def day(number: int) -> date:
    """Day 1 is the first of October 2013."""
    return DAY1 + timedelta(days=number - 1)


def forecast(first: int, values: Sequence[float | None], *, store: int = 1, **more: Any) -> pa.Table:
    """The forecast of a store for the days from number `first` on; `more` are columns, such as quantiles."""
    n = len(values)
    return pa.table(
        {
            "store": pa.array([store] * n, pa.int64()),
            "day": pa.array([day(first + i) for i in range(n)], pa.date32()),
            "step": pa.array(range(1, n + 1), pa.int32()),
            "prediction": pa.array(values, pa.float64()),
            "source": pa.array(["model"] * n, pa.string()),
            "partition": pa.array([f"store={store}"] * n, pa.string()),
            "model_version": pa.array([7] * n, pa.int64()),
            **more,
        }
    )


def issue(
    warehouse: Warehouse, interval: int, table: pa.Table, *, attempt: str = "a1", hour: int = 0, **more: Any
) -> int:
    """Load a forecast of the interval that ends with day number `interval`, issued `hour` hours after the first of all."""
    given = {"fleet": "demand", "interval": str(day(interval)), "issued_at": ISSUED + timedelta(hours=hour), **SERIES}
    return warehouse.load_predictions(batches=table.to_reader(), attempt=attempt, **(given | more))


def observed(first: int, values: Sequence[float | None], *, store: int = 1) -> pa.Table:
    """What a store's days from number `first` on came to."""
    return (
        forecast(first, values, store=store).rename_columns({"prediction": "actual"}).drop_columns(["step", "source"])
    )


def observe(
    warehouse: Warehouse, interval: int, table: pa.Table, *, attempt: str = "a1", hour: int = 0, **more: Any
) -> int:
    """Load actuals that the run of the interval that ends with day number `interval` read at `hour`."""
    given = {"fleet": "demand", "interval": str(day(interval)), "loaded_at": ISSUED + timedelta(hours=hour), **SERIES}
    return warehouse.load_actuals(batches=table.to_reader(), attempt=attempt, **(given | more))


def picked(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    """The rows of some columns; days as numbers."""
    rows = table.select(list(columns)).to_pylist()
    return [tuple((v - DAY1).days + 1 if type(v) is date else v for v in row.values()) for row in rows]
