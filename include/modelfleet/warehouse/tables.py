"""Tables as they are in a database: their columns, and making or extending them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from modelfleet.errors import DataError
from modelfleet.warehouse.kinds import KINDS, Kind, SqlType, fits
from modelfleet.warehouse.names import fold, sql_name
from modelfleet.warehouse.schema import DIALECT

SUMMARIZE_SECONDS = 5
"""How long a load waits for a VACUUM of its table, before it leaves its indexes to autovacuum."""


def columns_of(connection: Connection, table: str) -> dict[str, Kind | str]:
    """Column name -> its kind, or the database's name of a type that is none of ours."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, type FROM pragma_table_info(:name)"
    else:
        query = (
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = to_regclass(:name) "
            "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        table = sql_name(table)
    kinds = {getattr(kind, connection.dialect.name): kind for kind in KINDS}
    return {name: kinds.get(type_, type_) for name, type_ in connection.execute(sa.text(query), {"name": table})}


def lacks(connection: Connection, table: Table) -> bool:
    """Whether the database has no column of some name that `table` has."""
    return not {column.name for column in table.columns} <= columns_of(connection, table.name).keys()


def missing_columns(connection: Connection, table: Table) -> list[Any]:
    """The columns of `table` that the database's lacks: all of them if it has no such table.

    :raises DataError: for a column of another type, or whose name differs from an existing one only in case.
    """
    existing = columns_of(connection, table.name)
    folded = {fold(name): name for name in existing}
    missing = []
    for column in table.columns:
        kind, found = _kind(column), existing.get(column.name)
        if found is None and fold(column.name) in folded:
            former = folded[fold(column.name)]
            raise DataError(f"table {table.name!r}: column {column.name!r} differs from {former!r} in case only")
        if found is None:
            missing.append(column)
        elif isinstance(found, str) or not fits(kind, found):
            raise DataError(
                f"table {table.name!r}: column {column.name!r} is {found if isinstance(found, str) else found.name} "
                f"in the warehouse, and now {kind.name}",
                hint="cast it in `prepare` to the former type, or rename the column; the old table can also be renamed",
            )
    return missing


def make(connection: Connection, table: Table) -> None:
    """Make `table`, or add the columns it lacks (its indexes are made with it alone)."""
    missing = missing_columns(connection, table)
    if len(missing) == len(table.columns):
        connection.execute(CreateTable(table))
        for index in table.indexes:
            if index.info.get(DIALECT, connection.dialect.name) == connection.dialect.name:
                connection.execute(CreateIndex(index))
        return
    preparer = connection.dialect.identifier_preparer
    for column in missing:
        named = f"{preparer.format_column(column)} {column.type.compile(dialect=connection.dialect)}"
        connection.exec_driver_sql(f"ALTER TABLE {preparer.format_table(table)} ADD COLUMN {named}")


def create_indexes(table: Table) -> list[str]:
    """The statements that make the indexes `table` has on PostgreSQL."""
    wanted = (index for index in table.indexes if index.info.get(DIALECT, "postgresql") == "postgresql")
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return [str(CreateIndex(index).compile(dialect=dialect)) for index in wanted]


def summarize(connection: Connection, table: str) -> None:
    """Have PostgreSQL's BRIN indexes of `table` cover its new rows, as autovacuum would in a minute or more.

    Until then each look-up reads all new rows. Only the table's owner may ask for it.
    """
    query = (
        "SELECT brin_summarize_new_values(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = to_regclass(:name) AND a.amname = 'brin' "
        "AND pg_has_role(c.relowner, 'USAGE')"
    )
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{SUMMARIZE_SECONDS}s'")
    connection.execute(sa.text(query), {"name": sql_name(table)})


def _kind(column: Any) -> Kind:
    assert isinstance(column.type, SqlType)
    return column.type.kind
