"""SQLite tables through ADBC.

SQLite's types are advice: a column declared INTEGER may hold a text. ADBC takes a column's type from the first rows it
sees, so the query starts with one row of the wanted types, which is dropped; what does not fit is then found by the
driver or by the schema, and looked up for the message. Timestamps are texts, in any of the ISO forms.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError
from modelfleet.ingest.schema import NAIVE_TIMESTAMP, UTC_TIMESTAMP
from modelfleet.ingest.sql import Column, SqlReader, quoted
from modelfleet.ingest.time import ISO_TIME, Cut, parse_dates, parse_times, text_dates

_BATCH_ROWS = 32_768
_BUSY_MILLISECONDS = 60_000
_ALLOWED = {"int64": ("integer",), "bool": ("integer",), "double": ("real", "integer"), "binary": ("blob",), "null": ()}
_PROTOTYPE = {"int64": "0", "bool": "0", "double": "0.0", "binary": "x''", "null": "NULL"}
_RAW = {"int64": pa.int64(), "bool": pa.int64(), "null": pa.int64(), "double": pa.float64(), "binary": pa.binary()}
_INFERRED = {
    frozenset({"integer"}): pa.int64(),
    frozenset({"real"}): pa.float64(),
    frozenset({"integer", "real"}): pa.float64(),
    frozenset({"text"}): pa.string(),
    frozenset({"blob"}): pa.binary(),
    frozenset[str](): pa.null(),
}


class SqliteReader(SqlReader):
    """Opens the file read-only; a missing file is an error, not an empty database."""

    def reflect(self) -> list[Column]:
        table = self.source.table
        schema = quoted(table.schema_name) + "." if table.schema_name else ""
        rows = self._query(f"PRAGMA {schema}table_xinfo({quoted(table.table)})")
        if not rows:
            there = self._query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
            raise self.missing_table([row[0] for row in there if not row[0].startswith("sqlite_")])
        columns = [self._column(row[1], row[2]) for row in rows]
        unknown = [column for column in columns if column.stored is None and self._is_read(column.name)]
        inferred = {column.name: self._infer(column) for column in unknown}
        return [Column(c.name, c.declared, inferred.get(c.name, c.stored)) for c in columns]

    def batches(self, columns: Sequence[Column], cut: Cut | None) -> Iterator[pa.RecordBatch]:
        if cut is not None:
            self._check_times(cut.column)
        expected = pa.schema([(c.name, _RAW.get(str(c.stored), pa.string())) for c in columns])
        first = True
        for raw in self._stream(columns, cut):
            if raw.schema.types != expected.types:
                raise self._misfit(columns, cut, "")
            batch = raw.slice(1) if first else raw
            first = False
            yield self._convert(batch, columns, cut)

    def _column(self, name: str, declared: str) -> Column:
        stored = _declared_type(declared, utc=self.source.utc)
        if name == self.source.table.time and stored in (None, pa.string()):
            stored = self._timestamp  # many SQLite databases declare times as TEXT or not at all
        return Column(name, declared, stored)

    @property
    def _timestamp(self) -> pa.DataType:
        return UTC_TIMESTAMP if self.source.utc else NAIVE_TIMESTAMP

    def _is_read(self, name: str) -> bool:
        return self.source.table.columns is None or name in self.source.table.columns

    def _infer(self, column: Column) -> pa.DataType:
        """The type of a column without a known declaration (views, mostly), from all its values."""
        rows = self._query(f"SELECT DISTINCT typeof({quoted(column.name)}) FROM {self.source.quoted_table}")
        seen = frozenset(row[0] for row in rows) - {"null"}
        if seen not in _INFERRED:
            kinds = " and ".join(sorted(seen))
            raise DataError(
                f"{self.source.label}: column {column.name!r} has no declared type and holds {kinds}",
                hint="clean the values, or list the columns to read in `columns`",
            )
        return _INFERRED[seen]

    def _check_times(self, name: str) -> None:
        """The least and the greatest time are ISO texts: others would sort outside of every interval and go unseen."""
        column, table = quoted(name), self.source.quoted_table
        ends = self._query(f"SELECT (SELECT min({column}) FROM {table}), (SELECT max({column}) FROM {table})")[0]
        for value in ends:
            if value is not None and not (isinstance(value, str) and re.fullmatch(ISO_TIME, value)):
                raise DataError(
                    f"{self.source.label}: time column {name!r} holds {self.source.shown(name, value)} in "
                    f"{self._row_number(f'{column} = ?', (value,))}, not an ISO text such as '2013-09-30 12:00:00'"
                )

    def _stream(self, columns: Sequence[Column], cut: Cut | None) -> Iterator[pa.RecordBatch]:
        import adbc_driver_manager
        import adbc_driver_sqlite.dbapi as adbc

        prototype = ", ".join(f"{_PROTOTYPE.get(str(c.stored), repr(''))} AS {quoted(c.name)}" for c in columns)
        selected = ", ".join(quoted(c.name) for c in columns)
        order = f" ORDER BY {quoted(cut.column)}" if cut else ""
        rows = f"SELECT {selected} FROM {self.source.quoted_table}{self._where(columns, cut)}{order}"
        try:
            with adbc.connect(self._uri) as connection, connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": _BATCH_ROWS})
                cursor.execute(f"SELECT {prototype} UNION ALL SELECT * FROM ({rows})")
                yield from cursor.fetch_record_batch()
        except (adbc_driver_manager.Error, pa.ArrowException, OSError) as exc:
            if "Type mismatch" in str(exc):
                raise self._misfit(columns, cut, str(exc)) from exc
            raise self.unavailable(exc) from exc

    def _where(self, columns: Sequence[Column], cut: Cut | None) -> str:
        if cut is None:
            return ""
        is_date = any(c.name == cut.column and pa.types.is_date(c.stored) for c in columns)
        start, end = cut.dates if is_date else text_dates(cut.interval, cut.zone)
        return f" WHERE {quoted(cut.column)} >= '{start}' AND {quoted(cut.column)} < '{end}'"

    def _convert(self, batch: pa.RecordBatch, columns: Sequence[Column], cut: Cut | None) -> pa.RecordBatch:
        arrays = []
        for column, raw in zip(columns, batch.columns, strict=True):
            arrays.append(self._converted(column, raw, columns, cut))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([(c.name, c.stored) for c in columns]))

    def _converted(self, column: Column, raw: pa.Array, columns: Sequence[Column], cut: Cut | None) -> pa.Array:
        kind = column.stored

        def fail(_: int, value: object) -> DataError:
            return self._unfit_value(column, value)

        if pa.types.is_timestamp(kind):
            return parse_times(raw, self.source.zone if self.source.utc else None, fail)
        if pa.types.is_date(kind):
            return parse_dates(raw, fail)
        if pa.types.is_null(kind):
            return pa.nulls(len(raw))
        if pa.types.is_boolean(kind):
            odd = pc.fill_null(pc.and_(pc.not_equal(raw, 0), pc.not_equal(raw, 1)), False)
            if pc.any(odd).as_py():
                raise fail(0, raw.filter(odd)[0].as_py())
            return raw.cast(pa.bool_())
        if pa.types.is_string(kind):
            try:
                raw.validate(full=True)
            except pa.ArrowInvalid as exc:
                raise self._misfit(columns, cut, f"column {column.name!r} holds text that is not UTF-8") from exc
        return raw

    def _unfit_value(self, column: Column, value: object) -> DataError:
        place = self._row_number(f"{quoted(column.name)} = ?", (value,))
        hint = None
        if pa.types.is_timestamp(column.stored):
            allowed = "an ISO text such as '2013-09-30 12:00:00', with up to six digits of fraction"
            if not self.source.utc:
                allowed += " and no offset"
                hint = "give the table a timezone: texts with an offset are then read as instants, others in that zone"
        else:
            allowed = "0 or 1" if pa.types.is_boolean(column.stored) else "a text such as '2013-09-30'"
        shown = self.source.shown(column.name, value)
        return DataError(
            f"{self.source.label}: column {column.name!r} ({column.declared}) holds {shown} in {place}; "
            f"allowed is {allowed}",
            hint=hint,
        )

    def _misfit(self, columns: Sequence[Column], cut: Cut | None, detail: str) -> DataError:
        """Which column holds values of which class that its type does not take, with a row as example."""
        where = self._where(columns, cut)
        for column in columns:
            allowed = ", ".join(repr(a) for a in (*_ALLOWED.get(str(column.stored), ("text",)), "null"))
            wrong = f"typeof({quoted(column.name)}) NOT IN ({allowed})"
            found = self._query(
                f"SELECT typeof({quoted(column.name)}), count(*) FROM {self.source.quoted_table}"
                f"{where}{' AND' if where else ' WHERE'} {wrong} GROUP BY 1"
            )
            if found:
                kinds = " and ".join(f"{kind} ({count} {'row' if count == 1 else 'rows'})" for kind, count in found)
                extra = where.replace(" WHERE ", " AND ")
                return DataError(
                    f"{self.source.label}: column {column.name!r} is {column.declared or column.stored} "
                    f"but holds {kinds}, the first in {self._row_number(wrong + extra, ())}",
                    hint="clean the values, or list the columns to read in `columns`",
                )
        return DataError(f"{self.source.label}: values do not fit their columns' types; {detail}")

    def _row_number(self, predicate: str, values: tuple[Any, ...]) -> str:
        """The rowid of the first row, as `row 12`; a view has none: then its position."""
        table = self.source.quoted_table
        try:
            rows = self._query(f"SELECT rowid FROM {table} WHERE {predicate} ORDER BY rowid LIMIT 1", values)
            found = rows[0][0] if rows else None
        except DataError:
            found = None
        if found is None:
            numbered = f"SELECT row_number() OVER () AS n, ({predicate}) AS wrong FROM {table}"
            rows = self._query(f"SELECT n FROM ({numbered}) WHERE wrong LIMIT 1", values)
            found = rows[0][0] if rows else "?"
        return f"row {found}"

    @property
    def _uri(self) -> str:
        return f"file:{quote(self.source.connection.host)}?mode=ro"

    def _query(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        path = self.source.connection.host
        if not Path(path).is_file():
            raise self.unavailable(FileNotFoundError(f"no database file {path!r}"))
        try:
            with closing(sqlite3.connect(self._uri, uri=True, timeout=_BUSY_MILLISECONDS / 1000)) as connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as exc:
            if "no such column" in str(exc):
                raise DataError(f"{self.source.label}: {exc}") from exc
            raise self.unavailable(exc) from exc


def _declared_type(declared: str, *, utc: bool) -> pa.DataType | None:
    """The lake type of a declared type, by SQLite's own rules of affinity; None where only the values can tell."""
    name, _, arguments = declared.upper().partition("(")
    name = name.strip()
    if name.startswith(("TIMESTAMP", "DATETIME")):
        return UTC_TIMESTAMP if utc else NAIVE_TIMESTAMP
    if name.startswith("BOOL"):
        return pa.bool_()
    if name == "DATE":
        return pa.date32()
    if name in ("NUMERIC", "DECIMAL", "NUMBER"):
        digits = [int(d) for d in re.findall(r"\d+", arguments)]
        whole = len(digits) > 0 and digits[0] <= 18 and sum(digits[1:]) == 0
        return pa.int64() if whole else pa.float64()
    for parts, stored in (
        (("INT",), pa.int64()),
        (("CHAR", "CLOB", "TEXT"), pa.string()),
        (("BLOB",), pa.binary()),
        (("REAL", "FLOA", "DOUB"), pa.float64()),
    ):
        if any(part in name for part in parts):
            return stored
    return None
