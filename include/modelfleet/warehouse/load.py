"""Bulk loads: Arrow batches replace the rows of one attempt, in one transaction.

PostgreSQL: ADBC's binary COPY, streamed. Indexes that are there while rows come cost as much as the COPY itself, so the rows
of a `Load.apart` go to a table of their own, which is indexed when they are there and then made a child of the table
(``INHERIT``): who reads the table sees its rows too, waits for nothing, and skips it when asking for another interval.

SQLite: the batches first fill a temporary table, which locks nothing, and are then copied at once, so that a slow source
does not keep other writers waiting. (ADBC's SQLite driver is 1.8 times as quick, but brings a second SQLite library into
the process: when one closes the file, the other's locks on it are gone.)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Table

from modelfleet.errors import DataError, bounded
from modelfleet.warehouse.database import Database
from modelfleet.warehouse.kinds import DECIMAL, Kind, normal, sqlite_value, to_sqlite
from modelfleet.warehouse.names import sql_name
from modelfleet.warehouse.schema import ISSUES
from modelfleet.warehouse.tables import create_indexes

CHUNK_ROWS = 20_000
Statement = tuple[str, tuple[object, ...]]


@dataclass
class Load:
    """Rows for `table`, with the columns `kinds`.

    Each column comes from `fixed` (one value for all rows), or from `batches` of Arrow schema `schema`, whose other
    columns are left out; there it may have another name, told by `renamed`. No value of `required` may be null. Those of
    `lenient` are texts of exceptions: a NUL character in one shall not fail the run, and is replaced.
    `count` and `failure` are known once the batches have been read.

    The rows replace those whose columns equal `key`. `apart` is the table that they get for themselves on PostgreSQL. With
    `issue` (columns of ``prediction_issues`` beside the key) that is noted there.
    """

    fleet: str
    table: str
    kinds: Mapping[str, Kind]
    schema: Any
    batches: Iterable[Any]
    key: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    lenient: tuple[str, ...] = ()
    issue: Mapping[str, object] | None = None
    apart: Table | None = None
    count: int = 0
    failure: Exception | None = None

    def __post_init__(self) -> None:
        wanted = [name for name in self.kinds if name not in self.fixed]
        self.source = {name: self.schema.get_field_index(self.renamed.get(name, name)) for name in wanted}
        lacking = [repr(self.renamed.get(name, name)) for name, index in self.source.items() if index < 0]
        if lacking:
            raise DataError(
                f"fleet {self.fleet!r}: rows for table {self.table!r} lack column {bounded(lacking)}",
                hint=f"they have {bounded([repr(name) for name in self.schema.names], limit=30)}",
            )
        self.target = pa.schema([pa.field(name, self._arrow(name, kind)) for name, kind in self.kinds.items()])

    def read(self) -> Iterator[Any]:
        """The rows as record batches of schema `target`, at most `CHUNK_ROWS` each."""
        try:
            for whole in self.batches:
                for start in range(0, whole.num_rows, CHUNK_ROWS):
                    batch = whole.slice(start, CHUNK_ROWS)
                    columns = [self._column(field, batch) for field in self.target]
                    self.count += batch.num_rows
                    yield pa.record_batch(columns, schema=self.target)
        except Exception as exc:
            self.failure = exc
            raise

    def _arrow(self, name: str, kind: Kind) -> Any:
        if kind is not DECIMAL:
            return kind.arrow
        given = self.schema.field(self.source[name]).type
        given = given.value_type if pa.types.is_dictionary(given) else given
        return given if pa.types.is_decimal(given) else pa.decimal128(20, 0)

    def _column(self, target: Any, batch: Any) -> Any:
        if target.name in self.fixed:
            return pa.repeat(pa.scalar(self.fixed[target.name], target.type), batch.num_rows)
        values, column = batch.column(self.source[target.name]), self.renamed.get(target.name, target.name)
        if target.name in self.lenient:
            values = pc.replace_substring(values.cast(pa.string()), "\0", "\ufffd")
        values = normal(values, self.kinds[target.name], column=column, fleet=self.fleet)
        if target.name in self.required and values.null_count:
            raise DataError(
                f"fleet {self.fleet!r}: column {column!r} has nulls, which table {self.table!r} can't hold there",
                hint="leave such rows out",
            )
        return values


def replace(database: Database, load: Load) -> int:
    """Delete the rows of `load`'s key and write its rows, all or nothing; gives the number written.

    :raises DataError: for values the columns can't hold, or a partition that comes twice.
    :raises UnavailableError: when the database is down or goes down meanwhile; nothing is left then.
    """
    with loading(database, load):
        (_into_sqlite if database.dialect == "sqlite" else _into_postgresql)(database, load)
    return load.count


@contextmanager
def loading(database: Database, load: Load) -> Iterator[None]:
    """Errors in our words; where the batches failed, their own."""
    database.prepare()
    try:
        with database.errors():
            yield
    except Exception as exc:
        if load.failure is not None and exc is not load.failure:
            raise load.failure from exc  # the driver only says that its input failed
        raise


@contextmanager
def in_postgresql(database: Database, lock: str) -> Iterator[Any]:
    """ADBC's cursor in a transaction, which is committed at the end; those who name the same `lock` take turns."""
    from adbc_driver_postgresql import dbapi

    uri = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(dbapi.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 0))) AS locked", (lock,))
        cursor.fetchall()
        yield cursor
        connection.commit()


@contextmanager
def in_sqlite(database: Database, load: Load) -> Iterator[sqlite3.Connection]:
    """A write transaction, with the rows in the temporary view ``staged``; what is the same in all is stored once."""
    columns = {name: load.kinds[name] for name in load.source}
    names = ", ".join(sql_name(name) for name in columns)
    insert = f"INSERT INTO temp.given VALUES ({', '.join('?' * len(columns))})"
    with closing(database.engine.raw_connection()) as pooled:
        connection: sqlite3.Connection = pooled.driver_connection  # type: ignore[assignment]
        connection.execute(f"CREATE TEMP TABLE given AS SELECT {names} FROM {sql_name(load.table)} LIMIT 0")
        fixed = {
            name: connection.execute("SELECT quote(?)", (sqlite_value(value),)).fetchone()[0]
            for name, value in load.fixed.items()
        }
        every = ", ".join(f"{fixed.get(name, sql_name(name))} AS {sql_name(name)}" for name in load.kinds)
        connection.execute(f"CREATE TEMP VIEW staged AS SELECT {every} FROM temp.given")
        connection.execute("BEGIN")
        for batch in load.read():
            lists = [to_sqlite(batch.column(name), kind) for name, kind in columns.items()]
            connection.executemany(insert, zip(*lists, strict=True))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def _into_postgresql(database: Database, load: Load) -> None:
    # Two who load the same attempt take turns: neither would see the other's rows to delete.
    with in_postgresql(database, "/".join((load.table, *load.key.values()))) as cursor:
        cursor.execute(*_delete(load.table, load.key, "${}"))
        apart = load.apart if load.apart is not None and _may_stand(cursor, load.table, load.apart) else None
        if apart is not None:
            same = " AND ".join(f"{sql_name(name)} = {_literal(value)}" for name, value in load.key.items())
            cursor.execute(f"CREATE TABLE {sql_name(apart.name)} (LIKE {sql_name(load.table)}, CHECK ({same}))")
        into = load.table if apart is None else str(apart.name)
        cursor.adbc_ingest(into, pa.RecordBatchReader.from_batches(load.target, load.read()), mode="append")
        if apart is not None:
            for index in create_indexes(apart):
                cursor.execute(index)
            cursor.execute(f"ALTER TABLE {sql_name(apart.name)} INHERIT {sql_name(load.table)}")
        for statement in _note(load, "${}"):
            cursor.execute(*statement)


def _may_stand(cursor: Any, table: str, apart: Table) -> bool:
    """Whether `apart` can be made and become a child of `table`: it is not there from an earlier load of the same attempt,
    and the login may do so."""
    query = (
        "SELECT to_regclass($2) IS NULL AND has_schema_privilege(current_schema(), 'CREATE') "
        "AND pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1)"
    )
    cursor.execute(query, (sql_name(table), sql_name(str(apart.name))))
    return bool(cursor.fetchone()[0])


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _into_sqlite(database: Database, load: Load) -> None:
    columns = ", ".join(sql_name(name) for name in load.kinds)
    with in_sqlite(database, load) as connection:
        connection.execute(*_delete(load.table, load.key, "?"))
        connection.execute(f"INSERT INTO {sql_name(load.table)} ({columns}) SELECT * FROM temp.staged")
        for statement in _note(load, "?"):
            connection.execute(*statement)


def _note(load: Load, mark: str) -> list[Statement]:
    """The statements that note an issue of predictions, for the view of the latest."""
    if load.issue is None:
        return []
    key = {"fleet": load.fleet, **load.key}
    values = {**key, **load.issue, "rows": load.count}
    if mark == "?":
        values = {name: sqlite_value(value) for name, value in values.items()}
    marks = ", ".join(mark.format(i) for i in range(1, len(values) + 1))
    names = ", ".join(sql_name(name) for name in values)
    insert = f"INSERT INTO {sql_name(ISSUES.name)} ({names}) VALUES ({marks})"
    return [_delete(ISSUES.name, key, mark), (insert, tuple(values.values()))]


def _delete(table: str, key: Mapping[str, str], mark: str) -> Statement:
    equal = " AND ".join(f"{sql_name(name)} = {mark.format(i)}" for i, name in enumerate(key, start=1))
    return f"DELETE FROM {sql_name(table)} WHERE {equal}", tuple(key.values())
