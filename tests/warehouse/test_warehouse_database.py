"""The database itself: its version, and connections that can't be one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from warehouse_cases import CONNECTION

from modelfleet.errors import ConfigurationError
from modelfleet.warehouse import Warehouse
from modelfleet.warehouse.schema import SCHEMA_VERSION


def test_warehouse_of_a_newer_modelfleet_is_refused(warehouse: Warehouse) -> None:
    with warehouse.database.writing() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version = 99"))
    with pytest.raises(ConfigurationError, match=rf"schema version 99, this Modelfleet knows {SCHEMA_VERSION}\n"):
        Warehouse.open().runs()


@pytest.mark.parametrize(
    ("uri", "match"),
    [
        pytest.param("mysql://u:p@h/db", "of type 'mysql'; allowed are sqlite and postgresql", id="other database"),
        pytest.param("sqlite:////proc/nowhere/w.db", "folder /proc/nowhere can't be made", id="no folder"),
        pytest.param(f"sqlite:///{__file__}", "file is not a database", id="not a database"),
    ],
)
def test_warehouse_that_cannot_be_one_is_a_configuration_error(
    uri: str, match: str, connect: Callable[[str, str], None]
) -> None:
    connect(CONNECTION, uri)
    with pytest.raises(ConfigurationError, match=match):
        Warehouse.open().runs()
