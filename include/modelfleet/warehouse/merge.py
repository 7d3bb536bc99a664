"""Bulk merges: of rows for the same thing the table keeps one, the newest, whatever the order they are loaded in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from modelfleet.errors import DataError
from modelfleet.warehouse.database import Database
from modelfleet.warehouse.load import Load, in_postgresql, in_sqlite, loading
from modelfleet.warehouse.names import sql_name

STAGED = "staged"


def merge(database: Database, load: Load, *, identity: Sequence[str], newest: Sequence[str]) -> int:
    """Write the rows of `load`, all or nothing; gives their number.

    A row takes the place of the one with the same `identity` (columns of a unique index), unless that one comes later by
    the columns `newest`.

    :raises DataError: for values the columns can't hold, or two rows of one identity.
    :raises UnavailableError: when the database is down or goes down meanwhile; nothing is left then.
    """
    upsert = _upsert(load, identity, newest)
    with loading(database, load):
        if database.dialect == "sqlite":
            with in_sqlite(database, load) as connection:
                _refuse_doubles(load, identity, connection.execute(_doubles(identity)).fetchone())
                connection.execute(upsert)
        else:
            # Those who merge into one table take turns: in different orders of rows they would wait for each other.
            with in_postgresql(database, load.table) as cursor:
                columns = ", ".join(sql_name(name) for name in load.kinds)
                table = sql_name(load.table)
                cursor.execute(f"CREATE TEMP TABLE {STAGED} ON COMMIT DROP AS SELECT {columns} FROM {table} LIMIT 0")
                reader = pa.RecordBatchReader.from_batches(load.target, load.read())
                cursor.adbc_ingest(STAGED, reader, mode="append", temporary=True)
                cursor.execute(_doubles(identity))
                _refuse_doubles(load, identity, cursor.fetchone())
                cursor.execute(upsert)
    return load.count


def _doubles(identity: Sequence[str]) -> str:
    """The query for the first of the identities that come twice, as text, and how many they are."""
    groups = ", ".join(sql_name(name) for name in identity)
    shown = ", ".join(f"CAST({sql_name(name)} AS TEXT)" for name in identity)
    return f"SELECT {shown}, count(*) OVER () FROM {STAGED} GROUP BY {groups} HAVING count(*) > 1 ORDER BY {groups} LIMIT 1"


def _refuse_doubles(load: Load, identity: Sequence[str], found: Sequence[Any] | None) -> None:
    if found is None:
        return
    *first, count = found
    named = ", ".join(f"{name} {value!r}" for name, value in zip(identity, first, strict=True))
    raise DataError(
        f"fleet {load.fleet!r}: rows for table {load.table!r} come more than once: {named}, and {count - 1} more",
        hint=f"there is one row for each {' and '.join(identity)}; leave the others out",
    )


def _upsert(load: Load, identity: Sequence[str], newest: Sequence[str]) -> str:
    columns = ", ".join(sql_name(name) for name in load.kinds)
    keys = ", ".join(sql_name(name) for name in identity)
    changed = ", ".join(f"{sql_name(name)} = excluded.{sql_name(name)}" for name in load.kinds if name not in identity)
    theirs, ours = (", ".join(f"{table}.{sql_name(name)}" for name in newest) for table in ("excluded", "kept"))
    # In the order of the index, or each row would touch another page of it. SQLite takes ON CONFLICT for a join without
    # the WHERE.
    return (
        f"INSERT INTO {sql_name(load.table)} AS kept ({columns}) SELECT {columns} FROM {STAGED} WHERE true "
        f"ORDER BY {keys} ON CONFLICT ({keys}) DO UPDATE SET {changed} WHERE ({theirs}) >= ({ours})"
    )
