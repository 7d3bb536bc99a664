"""Airflow's connections for steps that know no Airflow: looked up once, put into this process's environment.

Steps and Spark jobs read connections from ``AIRFLOW_CONN_<ID>`` (see `modelfleet.settings`). A connection kept in a
secret backend or in Airflow's database is exported there before a step starts; one that exists nowhere is left out, so
that the embedded defaults apply or the step itself says what is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from modelfleet import settings

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from modelfleet import FleetSpec

PLATFORM = (settings.WAREHOUSE_CONNECTION, settings.LAKE_CONNECTION, *settings.REGISTRY_CONNECTIONS.values())


def named_by(spec: FleetSpec) -> tuple[str, ...]:
    """The ids of all connections a fleet's steps may use: its sources, its outputs and the platform's own."""
    tables = (*spec.data.tables.values(), *spec.outputs)
    own = (table.connection for table in tables if hasattr(table, "connection"))
    return tuple(dict.fromkeys((*own, *PLATFORM)))


def export(conn_ids: Iterable[str]) -> None:
    """Put the connections that Airflow knows, and the environment does not hold yet, into the environment."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    for conn_id in _unset(conn_ids):
        with suppress(AirflowNotFoundException):
            _set(BaseHook.get_connection(conn_id))


async def export_async(conn_ids: Iterable[str]) -> None:
    """The same inside the triggerer's event loop."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    for conn_id in _unset(conn_ids):
        with suppress(AirflowNotFoundException):
            _set(await BaseHook.aget_connection(conn_id))


def _unset(conn_ids: Iterable[str]) -> list[str]:
    return [conn_id for conn_id in conn_ids if settings.connection_variable(conn_id) not in os.environ]


def _set(connection: Connection) -> None:
    fields = ("conn_type", "host", "port", "login", "password", "schema", "extra")
    given = {name: value for name in fields if (value := getattr(connection, name, None)) is not None}
    os.environ[settings.connection_variable(connection.conn_id)] = json.dumps(given)
