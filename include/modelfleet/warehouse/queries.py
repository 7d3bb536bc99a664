"""How queries run: small results as rows, large ones as Arrow tables. Times are aware and in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import ColumnElement, Select, Table

from modelfleet.warehouse.database import Database
from modelfleet.warehouse.kinds import SqlType

Row = dict[str, Any]
_BATCH_ROWS = 20_000


class Queries:
    """Runs queries on the warehouse."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def _rows(self, query: Select[Any]) -> list[Row]:
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _table(self, query: Select[Any]) -> pa.Table:
        """The rows as an Arrow table, built in chunks: as Python objects they would be many times its size."""
        columns = list(query.selected_columns)
        names = [column.name for column in columns]
        chunks = [pa.table([_array(column, ()) for column in columns], names)]
        with self.database.reading() as connection:
            for part in connection.execution_options(yield_per=_BATCH_ROWS).execute(query).partitions():
                values = zip(columns, zip(*part, strict=True), strict=True)
                chunks.append(pa.table([_array(column, items) for column, items in values], names))
        return pa.concat_tables(chunks, promote_options="permissive")


def _array(column: ColumnElement[Any], values: Sequence[object]) -> Any:
    assert isinstance(column.type, SqlType)
    return pa.array(values, column.type.kind.arrow)


def equal(table: Table, **values: str | None) -> list[ColumnElement[bool]]:
    """The conditions that columns have these values; None asks for nothing."""
    return [table.c[name] == value for name, value in values.items() if value is not None]
