"""The database behind the warehouse: connections, transactions, tables made on demand, errors in our words.

SQLite: WAL, one writer at a time, who waits up to 60 s for its turn. PostgreSQL: psycopg for small statements, ADBC for
bulk loads (`load`). A connection lives as long as its transaction, so that a process may fork between two.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from modelfleet import settings
from modelfleet.errors import ConfigurationError, DataError, ModelfleetError, UnavailableError
from modelfleet.warehouse.kinds import Kind
from modelfleet.warehouse.schema import FIXED, SCHEMA, SCHEMA_VERSION
from modelfleet.warehouse.tables import columns_of, lacks, make, missing_columns, summarize
from modelfleet.warehouse.views import View

BUSY_SECONDS = 60
_CONNECT_SECONDS = 10
_DDL_LOCK = 7_305_413_906_178_921  # one number for all who make tables in one PostgreSQL database
_LIBPQ_EXTRAS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "application_name")
_NOT_PRIVILEGED = "42501"
_STATES: dict[str, Literal["unavailable", "data"]] = {
    **dict.fromkeys(("22", "23"), "data"),
    # connection, authorization, no such database, rollback, resources, object state, shutdown, system
    **dict.fromkeys(("08", "28", "3D", "40", "53", "55", "57", "58"), "unavailable"),
}
"""PostgreSQL's classes of SQLSTATE."""
_SQLITE_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
}


class Database:
    """One warehouse connection; opens nothing until first used."""

    def __init__(self, connection: settings.Connection) -> None:
        self.id = connection.id
        self.secrets = [s for s in (connection.password, quote(connection.password, safe="")) if s]
        self.dialect, self.url = _url_of(connection)
        self.engine = _sqlite_engine(self.url) if self.dialect == "sqlite" else _postgresql_engine(self.url)
        self._prepared = False

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read from."""
        self.prepare()
        with self.errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, or leaves nothing."""
        self.prepare()
        with self._writing() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        writer = self.engine.execution_options(modelfleet_writes=True)
        with self.errors(), writer.begin() as connection:
            yield connection

    def prepare(self) -> None:
        """Make the fixed tables, once, or what they lack.

        :raises ConfigurationError: when a newer Modelfleet has made them.
        """
        if self._prepared:
            return
        if self.dialect == "sqlite":
            _make_folder(self.id, Path(str(self.url.database)).parent)
        with self.errors(), self.engine.connect() as connection:
            version = _schema_version(connection)
            complete = version >= SCHEMA_VERSION and not any(lacks(connection, table) for table in FIXED)
        if version <= SCHEMA_VERSION and not complete:
            with self._writing() as connection:
                self._lock_ddl(connection)
                for table in (SCHEMA, *FIXED):
                    make(connection, table)
                version = _schema_version(connection)
                if version == 0:
                    connection.execute(sa.insert(SCHEMA).values(version=SCHEMA_VERSION))
                elif version < SCHEMA_VERSION:
                    connection.execute(sa.update(SCHEMA).values(version=SCHEMA_VERSION))
        if version > SCHEMA_VERSION:
            raise ConfigurationError(
                f"warehouse {self.id!r} has schema version {version}, this Modelfleet knows {SCHEMA_VERSION}",
                hint="use the newer Modelfleet that made it, or another warehouse",
            )
        self._prepared = True

    def ensure(self, *tables: Table, views: Callable[[Connection], Iterable[View]] = lambda _: ()) -> None:
        """Make the tables, or add the columns they lack; then the views that are not as they should be.

        Safe when several processes do so at once.

        :param views: told once the tables are there.
        :raises DataError: naming a column whose type is another than the table's.
        """
        with self.reading() as connection:
            missing = [column for table in tables for column in missing_columns(connection, table)]
            if not missing and all(view.stands(connection) for view in views(connection)):
                return
        with self.writing() as connection:
            self._lock_ddl(connection)
            for table in tables:
                make(connection, table)
            for view in views(connection):
                if not view.stands(connection):
                    view.make(connection)

    def summarize(self, table: str) -> None:
        """Let indexes find new rows of `table` at once; where that must wait, autovacuum does it."""
        if self.dialect == "postgresql":
            with suppress(UnavailableError), self.writing() as connection:
                summarize(connection, table)

    def columns(self, connection: Connection, table: str) -> dict[str, Kind]:
        """The columns of `table` in order; empty if there is no such table."""
        return {name: kind for name, kind in columns_of(connection, table).items() if isinstance(kind, Kind)}

    def has(self, name: str) -> bool:
        """Whether there is a table or view of this name."""
        with self.reading() as connection:
            return sa.inspect(connection).has_table(name)

    def _lock_ddl(self, connection: Connection) -> None:
        """Two CREATE TABLE at once would fail on PostgreSQL; on SQLite the write transaction is lock enough."""
        if self.dialect == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _DDL_LOCK})

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn a driver's expected errors into ours, without the password."""
        try:
            yield
        except ModelfleetError:
            raise
        except Exception as exc:
            driver_error = exc.orig if isinstance(exc, DBAPIError) and exc.orig else exc
            error = self.translated(driver_error)
            if error is None:
                raise
            raise error from exc

    def translated(self, exc: BaseException) -> ModelfleetError | None:
        """Our error for a driver's `exc`; None where it is not an expected one."""
        reason = " ".join(str(exc).split())[:500]
        for secret in self.secrets:
            reason = reason.replace(secret, "***")
        named = f"warehouse {self.id!r} ({self.dialect})"
        match _condition(exc):
            case "unavailable":
                return UnavailableError(
                    f"{named} can't be reached: {reason}",
                    hint=f"see that it runs and that {settings.connection_variable(self.id)} is right",
                )
            case "refused":
                return ConfigurationError(f"{named} can't be used: {reason}")
            case "data":
                return DataError(f"{named} refuses the rows: {reason}")
            case _:
                return None


def _condition(exc: BaseException) -> Literal["unavailable", "refused", "data"] | None:
    if isinstance(exc, sqlite3.Error):
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code in _SQLITE_UNAVAILABLE:
            return "unavailable"
        return {sqlite3.SQLITE_NOTADB: "refused", sqlite3.SQLITE_CONSTRAINT: "data"}.get(code)  # type: ignore[return-value]
    module = type(exc).__module__
    if not module.startswith(("psycopg", "adbc_driver")):
        return None
    state = str(getattr(exc, "sqlstate", None) or "")
    if state == _NOT_PRIVILEGED:
        return "refused"
    if state:
        return _STATES.get(state[:2])
    return "unavailable" if type(exc).__name__ in ("OperationalError", "InterfaceError") else None


def _make_folder(conn_id: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(
            f"warehouse {conn_id!r}: folder {folder} can't be made: {exc.strerror}",
            hint=f"set {settings.connection_variable(conn_id)} to a path that can be written",
        ) from exc


def _url_of(connection: settings.Connection) -> tuple[Literal["sqlite", "postgresql"], sa.URL]:
    if connection.conn_type == "sqlite":
        return "sqlite", sa.URL.create("sqlite", database=connection.host)
    if connection.conn_type in ("postgres", "postgresql"):
        extras = {name: str(connection.extra[name]) for name in _LIBPQ_EXTRAS if name in connection.extra}
        url = sa.make_url(connection.url)
        return "postgresql", url.update_query_dict({"connect_timeout": str(_CONNECT_SECONDS), **extras})
    raise ConfigurationError(
        f"warehouse {connection.id!r} is of type {connection.conn_type!r}; allowed are sqlite and postgresql",
        hint=f"set {settings.connection_variable(connection.id)}",
    )


def _postgresql_engine(url: sa.URL) -> Engine:
    return sa.create_engine(url, poolclass=NullPool)


def _sqlite_engine(url: sa.URL) -> Engine:
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None})

    @sa.event.listens_for(engine, "connect")
    def _connected(driver_connection: sqlite3.Connection, _record: object) -> None:
        set_up_sqlite(driver_connection)

    @sa.event.listens_for(engine, "begin")
    def _began(connection: Connection) -> None:
        # A write begins as one: a reader that turns writer fails at once when another has written in between.
        writes = connection.get_execution_options().get("modelfleet_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def set_up_sqlite(connection: sqlite3.Connection) -> None:
    """WAL, so that readers and the writer do not wait for each other. The switch itself ignores the busy timeout."""
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous = NORMAL")


def _schema_version(connection: Connection) -> int:
    if not sa.inspect(connection).has_table(SCHEMA.name):
        return 0
    return connection.execute(sa.select(SCHEMA.c.version)).scalar() or 0
