"""Where things are: the environment, read in one place. One function per setting; nothing is read at import.

Connections are Airflow's, named by id and kept in the environment (``AIRFLOW_CONN_<ID>``, as URI or JSON) or in
Airflow's secret backend, from which the Airflow layer exports them to the process that needs them. So the command line, the
Spark jobs and the DAGs see the same connections.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from modelfleet.errors import ConfigurationError

WAREHOUSE_CONNECTION = "modelfleet_warehouse"
LAKE_CONNECTION = "modelfleet_lake"
REGISTRY_CONNECTIONS = {"staging": "mlflow_staging", "production": "mlflow_production"}
RegistryRole = Literal["staging", "production"]


@dataclass(frozen=True)
class Connection:
    """An Airflow connection: `host` holds the file's path for SQLite, `extra` the query of a URI (``?sslmode=require``)."""

    id: str
    conn_type: str
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL (sqlite, postgresql) or the http URL (MLflow servers)."""
        if self.conn_type == "sqlite":
            return f"sqlite:///{self.host}"
        scheme = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}.get(
            self.conn_type, self.conn_type
        )
        user = quote(self.login, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        host = f"[{self.host}]" if ":" in self.host else self.host  # IPv6
        port = f":{self.port}" if self.port else ""
        return f"{scheme}://{user}{'@' if user else ''}{host}{port}{'/' + self.schema if self.schema else ''}"


def home() -> Path:
    """The folder of the embedded default (lake, warehouse, registries): ``MODELFLEET_HOME``, or ``./.modelfleet``."""
    return Path(os.environ.get("MODELFLEET_HOME", ".modelfleet")).resolve()


def lake_uri() -> str:
    """The lake's root: ``MODELFLEET_LAKE`` (a path, ``file://`` or ``abfs://`` URI), or ``lake`` under `home`."""
    return os.environ.get("MODELFLEET_LAKE") or str(home() / "lake")


def lake_connection() -> Connection | None:
    """The credentials of a lake in an object store: connection ``modelfleet_lake``, or ``AZURE_STORAGE_CONNECTION_STRING``.

    None where neither is defined: then the identity of the process counts.
    """
    if os.environ.get(connection_variable(LAKE_CONNECTION)):
        return connection(LAKE_CONNECTION)
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    return Connection(LAKE_CONNECTION, "wasb", extra={"connection_string": text}) if text else None


def dags_folder() -> Path:
    """Where fleet files are: ``AIRFLOW__CORE__DAGS_FOLDER``, or ``./dags``."""
    return Path(os.environ.get("AIRFLOW__CORE__DAGS_FOLDER", "dags")).resolve()


def spark_master() -> str:
    """The Spark master of runs started outside spark-submit: ``MODELFLEET_SPARK_MASTER``, or ``local[*]``."""
    return os.environ.get("MODELFLEET_SPARK_MASTER", "local[*]")


def connection(conn_id: str) -> Connection:
    """The connection `conn_id`.

    :raises ConfigurationError: when it is neither in the environment nor one of the embedded defaults.
    """
    variable = connection_variable(conn_id)
    value = os.environ.get(variable)
    if value:
        return _parse(conn_id, value)
    if conn_id == WAREHOUSE_CONNECTION:
        return Connection(conn_id, "sqlite", host=str(home() / "warehouse.db"))
    for role, registry in REGISTRY_CONNECTIONS.items():
        if conn_id == registry:
            return Connection(conn_id, "sqlite", host=str(home() / "mlflow" / f"{role}.db"))
    raise ConfigurationError(
        f"connection {conn_id!r} is not defined",
        hint=f"set {variable}, for example 'postgresql://user:password@host:5432/db' or 'sqlite:////path/to.db'",
    )


def connection_variable(conn_id: str) -> str:
    """The environment variable that holds connection `conn_id` (Airflow's convention)."""
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def warehouse() -> Connection:
    """The SQL warehouse predictions, models, decisions and runs are written to."""
    return connection(WAREHOUSE_CONNECTION)


def registry_uri(role: RegistryRole) -> str:
    """The MLflow tracking and registry URI of one of the two registries: an ``http`` URL or ``sqlite:///`` path."""
    return connection(REGISTRY_CONNECTIONS[role]).url


def _parse(conn_id: str, value: str) -> Connection:
    text = value.strip()
    try:
        if text.startswith("{"):
            given = json.loads(text)
            extra = given.get("extra") or {}
            extra = json.loads(extra) if isinstance(extra, str) else extra
            if not isinstance(extra, dict):
                raise TypeError("extra is no object")
            return Connection(
                conn_id,
                given["conn_type"],
                host=given.get("host") or "",
                port=int(given["port"]) if given.get("port") else None,
                login=given.get("login") or "",
                password=given.get("password") or "",
                schema=given.get("schema") or "",
                extra=extra,
            )
        parts = urlsplit(text)
        if not parts.scheme:
            raise ValueError("no scheme")
        path = unquote(parts.path)
        extra = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        extra |= json.loads(extra.pop("__extra__", "{}"))  # how Airflow writes what a query can't hold
        if parts.scheme == "sqlite":
            file = unquote(parts.netloc) + path
            return Connection(conn_id, "sqlite", host=file[1:] if file.startswith("//") else file, extra=extra)
        return Connection(
            conn_id,
            parts.scheme,
            host=unquote(parts.hostname or ""),
            port=parts.port,
            login=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            schema=path.lstrip("/"),
            extra=extra,
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError(
            f"connection {conn_id!r} in {connection_variable(conn_id)} is neither a URI nor Airflow's JSON form "
            f"({type(exc).__name__})",
            hint='for example \'postgresql://user:password@host:5432/db\' or \'{"conn_type": "sqlite", "host": "/path/to.db"}\'',
        ) from None
