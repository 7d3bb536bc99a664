"""PostgreSQL tables through ADBC, which streams them with COPY in binary."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import pyarrow as pa

from modelfleet.errors import DataError, UnavailableError
from modelfleet.ingest.schema import NAIVE_TIMESTAMP, UTC_TIMESTAMP, lake_type
from modelfleet.ingest.sql import Column, SqlReader, quoted
from modelfleet.ingest.time import WALL_SLACK, Cut, to_instants, wall_times

_BATCH_BYTES = 16 << 20
_CONNECT_SECONDS = 10
_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "options")
_AUTHORS_FAULT = ("22", "42", "0A")  # SQLSTATE classes: data exception, wrong name or no privilege, not supported
_TRANSIENT = ("canceling statement", "could not", "deadlock", "out of memory", "out of shared memory", "No space left")


class PostgresReader(SqlReader):
    """Reflects with SQLAlchemy, reads with ADBC; sessions are in UTC."""

    def reflect(self) -> list[Column]:
        import sqlalchemy as sa

        table = self.source.table
        engine = sa.create_engine(self._url("postgresql+psycopg"), poolclass=sa.NullPool)
        try:
            inspector = sa.inspect(engine)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", sa.exc.SAWarning)  # a type it does not know: `select` says so
                    columns = inspector.get_columns(table.table, schema=table.schema_name)
            except sa.exc.NoSuchTableError:
                there = inspector.get_table_names(schema=table.schema_name)
                there += inspector.get_view_names(schema=table.schema_name)
                raise self.missing_table(there) from None
        except sa.exc.OperationalError as exc:
            raise self.unavailable(exc.orig or exc) from None
        except sa.exc.ProgrammingError as exc:
            raise DataError(f"{self.source.label}: {exc.orig}") from None
        finally:
            engine.dispose()
        return [self._column(column["name"], column["type"]) for column in columns]

    def batches(self, columns: Sequence[Column], cut: Cut | None) -> Iterator[pa.RecordBatch]:
        schema = pa.schema([(c.name, c.stored) for c in columns])
        for raw in self._stream(columns, cut):
            arrays = []
            for column, values in zip(columns, raw.columns, strict=True):
                arrays.append(self._converted(column, values))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _column(self, name: str, kind: Any) -> Column:
        arrow = _arrow_type(kind)
        stored = None if arrow is None else lake_type(arrow, utc=self.source.utc)
        declared = "TIMESTAMP WITH TIME ZONE" if getattr(kind, "timezone", False) else str(kind)
        return Column(name, declared, stored)

    def _stream(self, columns: Sequence[Column], cut: Cut | None) -> Iterator[pa.RecordBatch]:
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi as adbc

        selected = ", ".join(f"{_expression(c)} AS {quoted(c.name)}" for c in columns)
        order = f" ORDER BY {quoted(cut.column)}" if cut else ""
        query = f"SELECT {selected} FROM {self.source.quoted_table}{_where(columns, cut)}{order}"
        try:
            with adbc.connect(self._url("postgresql")) as connection, connection.cursor() as cursor:
                cursor.execute("SET TIME ZONE 'UTC'")
                cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": _BATCH_BYTES})
                cursor.execute(query)
                yield from cursor.fetch_record_batch()
        except adbc_driver_manager.Error as exc:
            raise self._failed(exc, (exc.sqlstate or "")[:2] in _AUTHORS_FAULT) from exc
        except (pa.ArrowException, OSError) as exc:
            # Half way through a stream the driver keeps no SQLSTATE, only the server's text.
            text = str(exc)
            raise self._failed(exc, "ERROR:" in text and not any(t in text for t in _TRANSIENT)) from exc

    def _failed(self, exc: Exception, authors_fault: bool) -> DataError | UnavailableError:
        if authors_fault:
            return DataError(f"{self.source.label}: {' '.join(str(exc).split())[:500]}")
        return self.unavailable(exc)

    def _converted(self, column: Column, values: pa.Array) -> pa.Array:
        if values.type == column.stored:
            return values
        try:
            if column.stored == UTC_TIMESTAMP and pa.types.is_timestamp(values.type):
                return to_instants(values, self.source.zone)
            return values.cast(column.stored)
        except pa.ArrowInvalid as exc:
            raise DataError(f"{self.source.label}: column {column.name!r} ({column.declared}): {exc}") from exc

    def _url(self, scheme: str) -> str:
        connection = self.source.connection
        login = quote(connection.login, safe="")
        if connection.password:
            login += f":{quote(connection.password, safe='')}"
        place = f"{connection.host}{f':{connection.port}' if connection.port else ''}"
        options = {name: str(connection.extra[name]) for name in _OPTIONS if name in connection.extra}
        query = urlencode({"connect_timeout": str(_CONNECT_SECONDS), **options})
        return f"{scheme}://{login}{'@' if login else ''}{place}/{quote(connection.schema, safe='')}?{query}"


def _arrow_type(kind: Any) -> pa.DataType | None:
    import sqlalchemy as sa

    if isinstance(kind, sa.Numeric | sa.Float):
        digits = kind.precision if kind.scale == 0 and not isinstance(kind, sa.Float) else None
        return pa.float64() if digits is None else pa.decimal128(min(digits, 38), 0)
    if isinstance(kind, sa.DateTime):
        return UTC_TIMESTAMP if kind.timezone else NAIVE_TIMESTAMP
    for sql, arrow in (
        (sa.Boolean, pa.bool_()),
        (sa.Integer, pa.int64()),
        (sa.Date, pa.date32()),
        (sa.LargeBinary, pa.binary()),
        ((sa.String, sa.Uuid), pa.string()),
    ):
        if isinstance(kind, sql):
            return arrow
    return None


def _expression(column: Column) -> str:
    """The column as selected: cast where ADBC's own form (of numeric, enum, uuid) is not the stored one."""
    if pa.types.is_string(column.stored):
        return f"{quoted(column.name)}::text"
    if column.declared.startswith(("NUMERIC", "DECIMAL")):
        return f"{quoted(column.name)}::{'bigint' if pa.types.is_integer(column.stored) else 'float8'}"
    return quoted(column.name)


def _where(columns: Sequence[Column], cut: Cut | None) -> str:
    """Instants and dates are cut exactly here; wall times a little wider, and exactly by `Cut`."""
    if cut is None:
        return ""
    (time,) = (column for column in columns if column.name == cut.column)
    bounds: tuple[str, ...]
    if pa.types.is_date(time.stored):
        bounds = tuple(f"DATE '{day}'" for day in cut.dates)
    elif "WITH TIME ZONE" in time.declared:
        bounds = tuple(f"TIMESTAMPTZ '{instant.isoformat()}'" for instant in cut.interval.utc)
    else:
        bounds = tuple(f"TIMESTAMP '{wall.isoformat()}'" for wall in wall_times(cut.interval, cut.zone, WALL_SLACK))
    return f" WHERE {quoted(time.name)} >= {bounds[0]} AND {quoted(time.name)} < {bounds[1]}"
