"""Where a fleet's rows come from: tables in SQL databases, files in the lake, and the author's step that joins them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Discriminator, Field, Tag, model_validator

from modelfleet.errors import Failure, bounded
from modelfleet.interval import duration
from modelfleet.spec.base import Findings, Part
from modelfleet.spec.values import Columns, Text, refuse, shown

SINGLE_TABLE = "data"
"""The name of the table of ``Data(SqlTable(...))``."""

CODE_FORM = "a dotted path 'package.module:name'"
PREPARE_FORM = f"{CODE_FORM}, or 'package:file.sql'"
_NAME = r"[A-Za-z_]\w*"
_CODE = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*")
_SQL = re.compile(rf"{_NAME}(\.{_NAME})*:(?!/)(?!.*\.\.)[\w./-]+\.sql")
_TAKEN = ("spark", "prepare", "tables")


def check_code(path: str) -> None:
    """Refuse what is no dotted path to code."""
    if not _CODE.fullmatch(path):
        raise ValueError(CODE_FORM)


def check_zone(name: str) -> None:
    """Refuse a timezone that is not in the IANA database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, a folder of the database
        raise ValueError("a name of the IANA timezone database, such as 'UTC' or 'Europe/Berlin'") from None


def _check_prepare(path: str) -> None:
    if not (_CODE.fullmatch(path) or _SQL.fullmatch(path)):
        raise ValueError(PREPARE_FORM)


def _check_table(name: str) -> None:
    if "." in name:
        raise ValueError("a table's name alone; its schema goes into the field 'schema'")


Zone = Annotated[str, refuse(check_zone)]
Duration = Annotated[str, refuse(duration)]


class SqlTable(Part):
    """A table or view of a SQL database: ``SqlTable("flights_db", "flights", time="departed_at")``."""

    positional: ClassVar[tuple[str, ...]] = ("connection", "table")
    if TYPE_CHECKING:

        def __init__(
            self,
            connection: str,
            table: str,
            *,
            time: str | None = None,
            schema: str | None = None,
            columns: tuple[str, ...] | list[str] | None = None,
            timezone: str | None = None,
            late: str | None = None,
            ahead: str | None = None,
        ) -> None: ...

    kind: Literal["sql"] = "sql"
    """Tells tables apart in YAML; may be left out."""
    connection: Text
    """The id of the Airflow connection."""
    table: Annotated[Text, refuse(_check_table)]
    """The table's or view's name, as the database writes it."""
    time: Text | None = None
    """The column that says when a row happened: an interval reads its own rows. Without it, a run reads a snapshot."""
    schema_name: Annotated[Text | None, Field(alias="schema")] = None
    """The database schema; default: the connection's."""
    columns: Columns | None = None
    """The columns to read; default: all."""
    timezone: Zone | None = None
    """The zone of timestamps that carry none; default: the fleet's."""
    late: Duration | None = None
    """How far back rows still arrive or change: an ingest reads that span again, and its rows replace the earlier ones."""
    ahead: Duration | None = None
    """How far beyond the interval's end rows are known, as of a calendar or of planned prices: they are read too."""

    def describe(self) -> str:
        """Where it is, in words; no secrets."""
        return f"{self.connection}:{f'{self.schema_name}.' if self.schema_name else ''}{self.table}"

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if self.columns is not None and (not self.columns or (self.time is not None and self.time not in self.columns)):
            wanted = "columns, the time column among them" if self.time else "columns"
            raise Findings([Failure("columns", shown(self.columns), f"allowed: the table's {wanted}")])
        return self


class LakeTable(Part):
    """Files read in place, by reference, never copied: ``LakeTable("calendar/promo", time="day")``."""

    positional: ClassVar[tuple[str, ...]] = ("path",)
    if TYPE_CHECKING:

        def __init__(
            self,
            path: str,
            *,
            time: str | None = None,
            format: Literal["parquet", "csv"] = "parquet",
            timezone: str | None = None,
            ahead: str | None = None,
        ) -> None: ...

    kind: Literal["lake"] = "lake"
    """Tells tables apart in YAML; may be left out."""
    path: Text
    """A file or folder: absolute, or relative to the lake's root."""
    time: Text | None = None
    """The column an interval selects its rows by. Without it, the whole is one snapshot."""
    format: Literal["parquet", "csv"] = "parquet"
    """How the files are written."""
    timezone: Zone | None = None
    """The zone of timestamps that carry none; default: the fleet's."""
    ahead: Duration | None = None
    """How far beyond the interval's end rows are known, as of a calendar or of planned prices: they are read too."""

    def describe(self) -> str:
        """Where it is, in words."""
        return f"{self.path} ({self.format})"


def _kind_of_table(value: Any) -> str | None:
    if isinstance(value, SqlTable | LakeTable):
        return f"<{value.kind}>"
    if not isinstance(value, Mapping):
        return None
    kind = value.get("kind", "lake" if "path" in value else "sql" if {"connection", "table"} & set(value) else None)
    return f"<{kind}>" if kind in ("sql", "lake") else None


Table = Annotated[
    Annotated[SqlTable, Tag("<sql>")] | Annotated[LakeTable, Tag("<lake>")],
    Discriminator(
        _kind_of_table,
        custom_error_type="table",
        custom_error_message="allowed: a SqlTable (connection, table) or a LakeTable (path)",
    ),
]


class Data(Part):
    """The tables of a fleet and how they become one.

    ``Data(SqlTable(...))`` for one table, which is then called ``data``; or ``Data(flights=SqlTable(...),
    weather=LakeTable(...), prepare="package.module:function")``. In YAML the tables are fields by name too, or the
    fields of the only table.
    """

    unnamed: ClassVar[str | None] = "tables"
    if TYPE_CHECKING:

        def __init__(
            self,
            table: SqlTable | LakeTable | None = None,
            /,
            *,
            prepare: str | None = None,
            **tables: SqlTable | LakeTable,
        ) -> None: ...

    tables: dict[str, Table]
    """By name, in order. The first is the main one: its `time` column cuts intervals, orders rows, sets the holdout."""
    prepare: Annotated[str | None, refuse(_check_prepare)] = None
    """Makes one table of them: ``package.module:function``, called with (spark, **tables) and returning a Spark
    DataFrame; or ``package:file.sql``, one query over views with the tables' names."""

    @classmethod
    def _named(cls, args: tuple[Any, ...], fields: Mapping[str, Any]) -> dict[str, Any]:
        rest = dict(fields)
        given: dict[str, Any] = {name: rest.pop(name) for name in ("prepare", "tables") if name in rest}
        if "tables" in given:
            return super()._named(args, {**given, **rest})
        if len(args) == 1 and not rest:
            return {"tables": {SINGLE_TABLE: args[0]}, **given}
        if isinstance(rest.get("connection"), str) or isinstance(rest.get("path"), str):
            rest = {SINGLE_TABLE: rest}
        return super()._named(args, {"tables": rest, **given})

    @model_validator(mode="after")
    def _check(self) -> Self:
        failures = [
            Failure(
                f"tables.{name}",
                shown(name),
                "allowed: a table's name that is a Python name, other than " + ", ".join(_TAKEN),
            )
            for name in self.tables
            if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name) or name in _TAKEN
        ]
        if not self.tables:
            failures.append(Failure("tables", "nothing", "at least one table is required"))
        elif self.main[1].time is None:
            failures.append(
                Failure(f"tables.{self.main[0]}.time", "nothing", "is required: the first table's time cuts intervals")
            )
        for name, table in self.tables.items():
            for field in ("late", "ahead"):
                value = getattr(table, field, None)
                if value is not None and table.time is None:
                    failures.append(
                        Failure(
                            f"tables.{name}.{field}",
                            shown(value),
                            "allowed: with `time`, which says what is late or ahead",
                        )
                    )
        joined = [name for name, table in list(self.tables.items())[1:] if table.ahead is None]
        if joined and self.prepare is None:
            failures.append(
                Failure(
                    "prepare",
                    "nothing",
                    f"is required to join {bounded(joined)}: {PREPARE_FORM}; only tables with `ahead` are joined without it",
                )
            )
        if failures:
            raise Findings(failures)
        return self

    @property
    def main(self) -> tuple[str, SqlTable | LakeTable]:
        """The first table, with its name."""
        return next(iter(self.tables.items()))

    @property
    def time(self) -> str:
        """The main table's time column."""
        time = self.main[1].time
        assert time is not None  # checked when the spec was parsed
        return time
