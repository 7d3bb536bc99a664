"""Bulk loads: Arrow batches replace the rows of one attempt, in one transaction.

PostgreSQL: ADBC's binary COPY, streamed. SQLite: the batches first fill a temporary table, which locks nothing, and are
then copied at once, so that a slow source does not keep other writers waiting. (ADBC's SQLite driver is 1.8 times as
quick, but brings a second SQLite library into the process: when one closes the file, the other's locks on it are gone.)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from modelfleet.errors import DataError, bounded
from modelfleet.warehouse.database import Database
from modelfleet.warehouse.kinds import DECIMAL, Kind, normal, sqlite_value, to_sqlite
from modelfleet.warehouse.names import sql_name
from modelfleet.warehouse.schema import ISSUES

CHUNK_ROWS = 20_000
Statement = tuple[str, tuple[object, ...]]


@dataclass
class Load:
    """Rows for `table`, with the columns `kinds`.

    Each column comes from `fixed` (one value for all rows), or from `batches` of Arrow schema `schema`, whose other
    columns are left out; there it may have another name, told by `renamed`. No value of `required` may be null.
    `count` and `failure` are known once the batches have been read.

    The rows replace those whose columns equal `key`. With `issue` (columns of ``prediction_issues`` beside the key) that
    is noted there.
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
    issue: Mapping[str, object] | None = None
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
    """A write transaction, with the rows in the temporary table ``staged``."""
    columns, kinds = ", ".join(sql_name(name) for name in load.kinds), tuple(load.kinds.values())
    insert = f"INSERT INTO temp.staged VALUES ({', '.join('?' * len(kinds))})"
    with closing(database.engine.raw_connection()) as pooled:
        connection: sqlite3.Connection = pooled.driver_connection  # type: ignore[assignment]
        connection.execute(f"CREATE TEMP TABLE staged AS SELECT {columns} FROM {sql_name(load.table)} LIMIT 0")
        connection.execute("BEGIN")
        for batch in load.read():
            lists = [to_sqlite(values, kind) for values, kind in zip(batch.columns, kinds, strict=True)]
            connection.executemany(insert, zip(*lists, strict=True))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def _into_postgresql(database: Database, load: Load) -> None:
    # Two who load the same attempt take turns: neither would see the other's rows to delete.
    with in_postgresql(database, "/".join((load.table, *load.key.values()))) as cursor:
        cursor.execute(*_delete(load.table, load.key, "${}"))
        cursor.adbc_ingest(load.table, pa.RecordBatchReader.from_batches(load.target, load.read()), mode="append")
        for statement in _note(load, "${}"):
            cursor.execute(*statement)


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
