"""The SQL warehouse: predictions, models, decisions, runs and incidents, and the views analysts read.

It is SQLite or PostgreSQL. Importing this package loads no database driver, so that a spec can be checked against
`reserved_columns`; `Warehouse` is loaded when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelfleet.warehouse.names import check_columns, latest_view, predictions_table, reserved_columns

if TYPE_CHECKING:
    from modelfleet.warehouse.warehouse import Warehouse

__all__ = ["Warehouse", "check_columns", "latest_view", "predictions_table", "reserved_columns"]


def __getattr__(name: str) -> object:
    if name == "Warehouse":
        from modelfleet.warehouse.warehouse import Warehouse

        return Warehouse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
