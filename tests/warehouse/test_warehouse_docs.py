"""docs/warehouse.md: what it says of forecasts is what there is, and its queries run. (tests/test_docs.py sees to the rest.)"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from warehouse_cases import ISSUED, day, forecast, issue, observe, observed

from modelfleet.warehouse import Warehouse
from modelfleet.warehouse.schema import OBSERVED

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "warehouse.md").read_text()
QUERIES = re.findall(r"^([^\n]*):\n\n```sql forecast\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
FLEET = "route_seats"
ROUTE: dict[str, Any] = {"fleet": FLEET, "key_columns": ("origin", "dest")}


def documented(title: str) -> list[str]:
    """The columns in the table of a section."""
    (section,) = re.findall(rf"^### {re.escape(title)}\n(.*?)(?=^##)", TEXT, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


def of_route(table: pa.Table) -> pa.Table:
    names = {"origin": "JFK", "dest": "LAX", "partition": "origin=JFK/dest=LAX"}
    table = table.drop_columns(["store", "partition"])
    for name, value in names.items():
        table = table.append_column(name, pa.array([value] * table.num_rows))
    return table


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    """A warehouse with forecasts of two days, their actuals, a training and a backtest."""
    bands: dict[str, Any] = {"q10": [90.0] * 3, "q50": [100.0] * 3, "q90": [110.0] * 3}
    for interval in (1, 2):
        issue(warehouse, interval, of_route(forecast(interval + 1, [100.0] * 3, **bands)), **ROUTE)
    for interval in (2, 3):
        observe(warehouse, interval, of_route(observed(2, [95.0, 120.0])), hour=24 * interval, **ROUTE)
    route = ["origin=JFK/dest=LAX"]
    measured: dict[str, Any] = {"partition": route, "candidate": ["ridge"], "wape": [0.1], "coverage": [0.8]}
    trained: dict[str, Any] = {"status": ["trained"], "fallback_wape": [0.2], "fit_seconds": [0.5], **measured}
    warehouse.load_models(FLEET, "2013-09-30", "a1", pa.table(trained))
    for number in (1, 2):
        folds = pa.table({"fold": [str(day(number))], "baseline_wape": [0.2], **measured})
        warehouse.load_backtest(FLEET, f"b{number}", folds, made_at=ISSUED + timedelta(days=number))
    return warehouse


def test_queries_of_forecasts_run_and_find_rows(filled: Warehouse) -> None:
    assert len(QUERIES) == TEXT.count("```sql forecast")
    with filled.database.reading() as connection:
        found = {title: connection.execute(sa.text(query)).all() for title, query in QUERIES}
    assert [title for title, result in found.items() if not result] == []
    ahead = found["Error and coverage by how far ahead the forecast was made"]
    assert [(step, n, mae, float(coverage)) for step, n, mae, _, coverage in ahead] == [
        (1, 2, 12.5, 0.5),
        (2, 1, 20.0, 0.0),
    ]
    (restated,) = found["Days that were restated after their own run, and by which"]
    assert restated[3] == "2013-10-03"
    assert [row[0] for row in found["The last backtest, by cutoff"]] == ["2013-10-02"]


def test_columns_of_actuals_are_documented(filled: Warehouse) -> None:
    assert documented("Table `<fleet>_actuals`") == list(OBSERVED)
    assert filled.actuals(FLEET).column_names == ["origin", "dest", "day", *OBSERVED]


def test_columns_of_forecasts_beside_actuals_are_documented(filled: Warehouse) -> None:
    predicted = filled.predictions(FLEET).column_names
    assert filled.forecast_actuals(FLEET).column_names == [*predicted, *documented("View `<fleet>_forecast_actuals`")]
    assert filled.forecasts(FLEET).column_names == predicted
