"""A warehouse on SQLite and on a real PostgreSQL, empty for every test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from warehouse_cases import CONNECTION

from modelfleet.warehouse import Warehouse


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, connect: Callable[[str, str], None]) -> Warehouse:
    if request.param == "postgresql":
        connect(CONNECTION, request.getfixturevalue("postgres_database"))
    else:
        connect(CONNECTION, f"sqlite:///{tmp_path}/new folder/warehouse.db")
    return Warehouse.open()
