"""Column types: which SQL type holds which Arrow type, and the values on their way in and out.

========== ============================ =========================================
kind       PostgreSQL                   SQLite (declared; what is stored)
========== ============================ =========================================
integer    bigint                       BIGINT
float      double precision             DOUBLE; NaN and infinity are NULL in both
text       text                         TEXT
boolean    boolean                      BOOLEAN; 0 or 1
date       date                         DATE; text ``YYYY-MM-DD``
timestamp  timestamp without time zone  TIMESTAMP; text ``YYYY-MM-DD HH:MM:SS.ffffff``
instant    timestamp with time zone     TIMESTAMPTZ; the same text, in UTC
decimal    numeric                      DECIMAL_TEXT; exact, as text
binary     bytea                        BLOB
========== ============================ =========================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import UserDefinedType

from modelfleet.errors import DataError


@dataclass(frozen=True)
class Kind:
    """A column type; `arrow` is None where the column keeps its own Arrow type (decimals)."""

    name: str
    arrow: Any
    postgresql: str
    sqlite: str


INTEGER = Kind("integer", pa.int64(), "bigint", "BIGINT")
FLOAT = Kind("float", pa.float64(), "double precision", "DOUBLE")
TEXT = Kind("text", pa.string(), "text", "TEXT")
BOOLEAN = Kind("boolean", pa.bool_(), "boolean", "BOOLEAN")
DATE = Kind("date", pa.date32(), "date", "DATE")
TIMESTAMP = Kind("timestamp", pa.timestamp("us"), "timestamp without time zone", "TIMESTAMP")
INSTANT = Kind("instant", pa.timestamp("us", "UTC"), "timestamp with time zone", "TIMESTAMPTZ")
DECIMAL = Kind("decimal", None, "numeric", "DECIMAL_TEXT")
BINARY = Kind("binary", pa.binary(), "bytea", "BLOB")
KINDS = (INTEGER, FLOAT, TEXT, BOOLEAN, DATE, TIMESTAMP, INSTANT, DECIMAL, BINARY)
_WIDENED = {(INTEGER, FLOAT), (INTEGER, DECIMAL)}
_TESTS: tuple[tuple[Callable[[Any], bool], Kind], ...] = (
    (pa.types.is_integer, INTEGER),
    (pa.types.is_floating, FLOAT),
    (lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t), TEXT),
    (pa.types.is_boolean, BOOLEAN),
    (pa.types.is_date, DATE),
    (lambda t: pa.types.is_timestamp(t) and t.tz is None, TIMESTAMP),
    (pa.types.is_timestamp, INSTANT),
    (pa.types.is_decimal, DECIMAL),
    (lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t), BINARY),
)


def kind_of(arrow: Any, *, column: str, fleet: str) -> Kind | None:
    """The kind that holds Arrow type `arrow`; None for Arrow's null type, which any kind holds.

    :raises DataError: for a type the warehouse has no column for (lists, structs, durations, times of day).
    """
    if isinstance(arrow, pa.BaseExtensionType):
        arrow = arrow.storage_type
    if pa.types.is_dictionary(arrow):
        arrow = arrow.value_type
    if pa.types.is_null(arrow):
        return None
    kind = next((kind for test, kind in _TESTS if test(arrow)), None)
    if kind is None:
        raise DataError(
            f"fleet {fleet!r}: column {column!r} is of type {arrow}, which the warehouse has no column for",
            hint="cast it in `prepare` to a number, string, bool, date, timestamp, decimal or binary",
        )
    return kind


def fits(kind: Kind, column: Kind) -> bool:
    """Whether values of `kind` may be written to a column made for kind `column`."""
    return kind == column or (kind, column) in _WIDENED


def normal(values: Any, kind: Kind, *, column: str, fleet: str) -> Any:
    """The Arrow array `values` in the Arrow type of `kind`, without NaN, infinity or fractions of a microsecond.

    :raises DataError: for a value that the column can't hold exactly, or text with a NUL character.
    """
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    nanoseconds = pa.types.is_timestamp(values.type) and values.type.unit == "ns"
    try:
        if kind.arrow is not None:
            values = values.cast(kind.arrow, safe=not nanoseconds)
        elif pa.types.is_integer(values.type) or pa.types.is_null(values.type):
            values = values.cast(pa.decimal128(20, 0))
    except pa.ArrowInvalid as exc:
        raise DataError(
            f"fleet {fleet!r}: column {column!r} holds a value that a {kind.name} column can't hold: {str(exc)[:200]}",
            hint="cast the column in `prepare`, for example to a string",
        ) from exc
    if kind is FLOAT:
        return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    if kind is TEXT and pc.any(pc.match_substring(values, "\0")).as_py():
        raise DataError(f"fleet {fleet!r}: column {column!r} holds text with a NUL character, which no database stores")
    return values


def to_sqlite(values: Any, kind: Kind) -> list[Any]:
    """The `normal` Arrow array as the values SQLite stores."""
    if kind is INSTANT:
        values = values.cast(pa.timestamp("us"))
    if kind in (INSTANT, TIMESTAMP, DATE):
        values = values.cast(pa.string())
    items: list[Any] = values.to_pylist()
    return [None if v is None else str(v) for v in items] if kind is DECIMAL else items


class SqlType(UserDefinedType[Any]):
    """SQLAlchemy's view of a `Kind`: its DDL, and the values of small statements."""

    cache_ok = True

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def bind_processor(self, dialect: Any) -> Callable[[Any], Any]:
        if self.kind is TEXT:
            return lambda v: None if v is None else _storable(v)
        if dialect.name == "sqlite":
            return sqlite_value
        return lambda v: v

    def result_processor(self, dialect: Any, coltype: object) -> Callable[[Any], Any] | None:
        parse = _PARSERS.get(self.kind.name) if dialect.name == "sqlite" else _POSTGRES_PARSERS.get(self.kind.name)
        return None if parse is None else lambda v: None if v is None else parse(v)


@compiles(SqlType)
def _ddl(element: SqlType, compiler: Any, **_: Any) -> str:
    return element.kind.sqlite if compiler.dialect.name == "sqlite" else element.kind.postgresql


def _storable(text: str) -> str:
    """`text` without what PostgreSQL refuses: NUL characters and lone surrogates, as in messages of odd exceptions."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def sqlite_value(value: Any) -> Any:
    """A Python value as SQLite stores it."""
    if isinstance(value, datetime):
        utc = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return utc.isoformat(sep=" ", timespec="microseconds")
    return str(value) if isinstance(value, date | Decimal) else value


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "instant": lambda v: datetime.fromisoformat(v).replace(tzinfo=UTC),
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "boolean": bool,
    "decimal": Decimal,
}
_POSTGRES_PARSERS: dict[str, Callable[[Any], Any]] = {"instant": lambda v: v.astimezone(UTC), "binary": bytes}
