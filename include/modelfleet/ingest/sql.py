"""A table of a SQL database as Arrow batches of the lake's types; what its kinds of database have in common.

A reader reflects the table, says how each column is selected, and streams. Rows come ordered by the time column (ties
in no order). Memory holds a batch or two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from modelfleet.errors import ConfigurationError, DataError, UnavailableError, bounded
from modelfleet.ingest.schema import nearest
from modelfleet.ingest.time import Cut
from modelfleet.settings import Connection

if TYPE_CHECKING:
    from modelfleet.interval import Interval
    from modelfleet.spec import FleetSpec, SqlTable


@dataclass(frozen=True)
class Column:
    """A column of a table: its declared type, and the lake type it is stored as (None: unsupported)."""

    name: str
    declared: str
    stored: pa.DataType | None


@dataclass(frozen=True)
class TableSource:
    """One SQL table of a fleet and all that reading it takes. `zone` is the one of its naive timestamps."""

    fleet: str
    name: str
    table: SqlTable
    connection: Connection
    zone: str
    sensitive: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: FleetSpec, name: str, table: SqlTable) -> TableSource:
        from modelfleet import settings

        zone = table.timezone or spec.timezone
        return cls(spec.name, name, table, settings.connection(table.connection), zone, tuple(spec.quality.sensitive))

    @property
    def utc(self) -> bool:
        """Whether naive timestamps are stored as instants: when the table says its zone."""
        return self.table.timezone is not None

    @property
    def described(self) -> str:
        """Connection and table, without secrets: a manifest's `source`."""
        schema = f"{self.table.schema_name}." if self.table.schema_name else ""
        return f"{self.table.connection}: {schema}{self.table.table}"

    @property
    def label(self) -> str:
        """For messages."""
        schema = f"{self.table.schema_name}." if self.table.schema_name else ""
        named = f"{schema}{self.table.table}"
        return f"fleet {self.fleet!r}, table {self.name!r}: connection {self.table.connection!r}, table {named!r}"

    @property
    def quoted_table(self) -> str:
        schema = f"{quoted(self.table.schema_name)}." if self.table.schema_name else ""
        return schema + quoted(self.table.table)

    def shown(self, column: str, value: object) -> str:
        """A value for a message, short; nothing of it where the column is sensitive."""
        return "a value not shown (sensitive)" if column in self.sensitive else f"{str(value)[:40]!r}"


class SqlReader(ABC):
    """Reads one table; one subclass per kind of database."""

    def __init__(self, source: TableSource) -> None:
        self.source = source

    @abstractmethod
    def reflect(self) -> list[Column]:
        """All columns of the table, in its order.

        :raises DataError: when there is no such table; names what there is.
        :raises UnavailableError: when the database can't be reached.
        """

    @abstractmethod
    def batches(self, columns: Sequence[Column], cut: Cut | None) -> Iterator[pa.RecordBatch]:
        """The rows as batches of exactly the stored types; of `cut`, at least all rows inside.

        :raises DataError: when values do not fit their column's type.
        :raises UnavailableError: when the database goes away.
        """

    def missing_table(self, there_is: Sequence[str]) -> DataError:
        return DataError(
            f"{self.source.label}: there is no such table; there is {nearest(self.source.table.table, there_is)}",
            hint="names are case-sensitive; give another schema than the default as schema=; privileges may hide it",
        )

    def unavailable(self, exc: BaseException) -> UnavailableError:
        """The driver's error without the password, which some drivers repeat."""
        connection, text = self.source.connection, " ".join(str(exc).split())[:500]
        if connection.password:
            text = text.replace(connection.password, "***")
        return UnavailableError(f"{self.source.label}: the database can't be read: {text}")


@dataclass(frozen=True)
class Selection:
    """The columns read, and the names of those stored: the time column is read also where it is not stored."""

    read: tuple[Column, ...]
    stored: pa.Schema
    cut: Cut | None


def open_reader(source: TableSource) -> SqlReader:
    """The reader for the connection's kind of database.

    :raises ConfigurationError: for a kind that is not built yet.
    """
    kind = source.connection.conn_type
    if kind == "sqlite":
        from modelfleet.ingest.sqlite import SqliteReader

        return SqliteReader(source)
    if kind in ("postgres", "postgresql"):
        from modelfleet.ingest.postgresql import PostgresReader

        return PostgresReader(source)
    raise ConfigurationError(f"{source.label}: connections of type {kind!r} are not built yet; sqlite and postgres are")


def select(source: TableSource, there: Sequence[Column], interval: Interval) -> Selection:
    """Which columns to read and to store.

    :raises DataError: for columns that are not there, types the lake does not store, a time column that holds no time.
    """
    table, by_name = source.table, {column.name: column for column in there}
    wanted = tuple(table.columns) if table.columns is not None else tuple(by_name)
    read = wanted if table.time is None or table.time in wanted else (*wanted, table.time)
    missing = [name for name in read if name not in by_name]
    if missing:
        listed = bounded([repr(name) for name in missing])
        raise DataError(f"{source.label}: there is no column {listed}; there is {nearest(missing[0], by_name)}")
    unsupported = [f"{name!r} ({by_name[name].declared})" for name in read if by_name[name].stored is None]
    if unsupported:
        raise DataError(
            f"{source.label}: column {bounded(unsupported)} has a type that is not supported",
            hint="list the columns to read in `columns`, or read a view that casts them",
        )
    cut = None
    if table.time is not None:
        time = by_name[table.time]
        if not (pa.types.is_date(time.stored) or pa.types.is_timestamp(time.stored)):
            what = time.declared or time.stored
            raise DataError(f"{source.label}: time column {time.name!r} is {what}, not a date or timestamp")
        cut = Cut(table.time, interval, source.zone)
    stored = pa.schema([(name, by_name[name].stored) for name in wanted])
    return Selection(tuple(by_name[name] for name in read), stored, cut)


def stored_batches(reader: SqlReader, selection: Selection) -> Iterator[pa.RecordBatch]:
    """The table's batches as they are stored: rows cut exactly, only the stored columns."""
    for batch in reader.batches(selection.read, selection.cut):
        kept = selection.cut.keep(batch) if selection.cut else batch
        if kept.num_rows:
            yield kept.select(selection.stored.names)


def quoted(identifier: str) -> str:
    """An identifier as both kinds of database write it."""
    return '"' + identifier.replace('"', '""') + '"'
