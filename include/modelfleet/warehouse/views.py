"""The views of a fleet: the issue in force, the latest forecast, and forecasts beside what came true.

A view names its columns one by one. On PostgreSQL a view can only be replaced by one with the same columns and more at
the end, so that columns stay where they are; on SQLite it is made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from modelfleet.warehouse.kinds import FLOAT, Kind
from modelfleet.warehouse.names import (
    actuals_table,
    forecast_actuals_view,
    forecast_view,
    latest_view,
    predictions_table,
    quantile_of,
    sql_name,
)
from modelfleet.warehouse.schema import ISSUES


@dataclass(frozen=True)
class View:
    """A view: its columns, each with the expression it is, and the ``FROM`` they are of."""

    name: str
    columns: Mapping[str, str]
    source: str

    def stands(self, connection: Connection) -> bool:
        """Whether the database has the view as it should be."""
        if connection.dialect.name == "sqlite":
            query = "SELECT sql FROM sqlite_master WHERE type = 'view' AND name = :name"
            return connection.execute(text(query), {"name": self.name}).scalar() == self._create(self._select(()))
        query = "SELECT obj_description(to_regclass(:name), 'pg_class')"
        note = connection.execute(text(query), {"name": sql_name(self.name)}).scalar()
        return note == _note(self._select(self._existing(connection)))

    def make(self, connection: Connection) -> None:
        """Make the view, or replace it."""
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {sql_name(self.name)}")
            connection.exec_driver_sql(self._create(self._select(())))
            return
        select = self._select(self._existing(connection))
        create = self._create(select).replace("CREATE", "CREATE OR REPLACE", 1).replace("%", "%%")
        connection.exec_driver_sql(create)
        connection.exec_driver_sql(f"COMMENT ON VIEW {sql_name(self.name)} IS '{_note(select)}'")

    def _create(self, select: str) -> str:
        return f"CREATE VIEW {sql_name(self.name)} AS {select}"

    def _select(self, existing: Iterable[str]) -> str:
        names = dict.fromkeys([*(name for name in existing if name in self.columns), *self.columns])
        return f"SELECT {', '.join(f'{self.columns[name]} AS {sql_name(name)}' for name in names)} {self.source}"

    def _existing(self, connection: Connection) -> list[str]:
        query = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0 ORDER BY attnum"
        return list(connection.execute(text(query), {"name": sql_name(self.name)}).scalars())


def of_fleet(fleet: str, columns: Mapping[str, Kind], dialect: str, *, time: str | None = None) -> tuple[View, ...]:
    """The views over the predictions table of `fleet`, which has `columns`.

    :param time: the column of target times of a fleet that forecasts; None for another fleet.
    """
    latest = View(latest_view(fleet), _of("p", columns), _latest_source(fleet, dialect))
    if time is None:
        return (latest,)
    forecast = View(forecast_view(fleet), _of("f", columns), _forecast_source(fleet, columns, time))
    beside = {**_of("p", columns), "actual": 'a."actual"', "error": 'p."prediction" - a."actual"'}
    covered = _covered(columns)
    if covered:
        beside["covered"] = covered
    return latest, forecast, View(forecast_actuals_view(fleet), beside, _beside_source(fleet, time))


def quantiles(columns: Mapping[str, Kind]) -> list[str]:
    """The quantile columns among those of a predictions table, the lowest first."""
    found = {name: quantile_of(name) for name, kind in columns.items() if kind is FLOAT}
    return sorted((n for n, level in found.items() if level is not None), key=lambda n: found[n] or 0.0)


def _latest_source(fleet: str, dialect: str) -> str:
    """For each interval, the rows of the attempt issued last.

    PostgreSQL guesses how many rows DISTINCT ON gives, but takes a rank of 1 for one row, and then reads the whole table
    for every interval.
    """
    issues = f'FROM "{ISSUES.name}" WHERE "fleet" = \'{fleet}\''
    if dialect == "sqlite":
        order = 'PARTITION BY "interval" ORDER BY "issued_at" DESC, "attempt" DESC'
        ranked = f'SELECT "interval", "attempt", ROW_NUMBER() OVER ({order}) AS n {issues}'
        latest = f'SELECT "interval", "attempt" FROM ({ranked}) r WHERE r.n = 1'
    else:
        order = '"interval", "issued_at" DESC, "attempt" DESC'
        latest = f'SELECT DISTINCT ON ("interval") "interval", "attempt" {issues} ORDER BY {order}'
    same = 'p."interval" = i."interval" AND p."attempt" = i."attempt"'
    return f"FROM {sql_name(predictions_table(fleet))} p JOIN ({latest}) i ON {same}"


def _forecast_source(fleet: str, columns: Mapping[str, Kind], time: str) -> str:
    """For each partition and target time, the row of the newest interval whose issue in force covers it."""
    inner = ", ".join(_of("p", columns).values())
    at = sql_name(time)
    return (
        f'FROM (SELECT {inner}, ROW_NUMBER() OVER (PARTITION BY p."partition", p.{at} '
        'ORDER BY p."interval" DESC, p."issued_at" DESC, p."attempt" DESC) AS "_rank" '
        f'FROM {sql_name(latest_view(fleet))} p WHERE p.{at} IS NOT NULL) f WHERE f."_rank" = 1'
    )


def _beside_source(fleet: str, time: str) -> str:
    """Each interval's forecasts in force whose actual is known."""
    at = sql_name(time)
    return (
        f"FROM {sql_name(latest_view(fleet))} p JOIN {sql_name(actuals_table(fleet))} a "
        f'ON a.{at} = p.{at} AND a."partition" = p."partition" WHERE a."actual" IS NOT NULL'
    )


def _covered(columns: Mapping[str, Kind]) -> str | None:
    """Whether the actual lies within a row's outermost quantiles, 1 or 0; null where it has fewer than two.

    Rows of one table may have different quantiles, since a fleet may change them.
    """
    names = [f"p.{sql_name(name)}" for name in quantiles(columns)]
    if len(names) < 2:
        return None
    given = " + ".join(f"CASE WHEN {name} IS NULL THEN 0 ELSE 1 END" for name in names)
    low, high = ", ".join(names), ", ".join(reversed(names))
    return (
        f'CASE WHEN {given} < 2 THEN NULL WHEN a."actual" BETWEEN COALESCE({low}) AND COALESCE({high}) '
        "THEN 1 ELSE 0 END"
    )


def _of(table: str, columns: Iterable[str]) -> dict[str, str]:
    return {name: f"{table}.{sql_name(name)}" for name in columns}


def _note(select: str) -> str:
    return f"made by Modelfleet, definition {hashlib.blake2b(select.encode(), digest_size=8).hexdigest()}"
