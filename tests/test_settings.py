"""Connections and places: Airflow's two forms, nothing dropped, nothing secret shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from modelfleet import settings
from modelfleet.errors import ConfigurationError
from modelfleet.settings import Connection

Connect = Callable[[str, str], None]


@pytest.mark.parametrize(
    "value, expected",
    [
        pytest.param(
            "postgresql://ada:s3cret@db.example:5433/flights",
            Connection("c", "postgresql", "db.example", 5433, "ada", "s3cret", "flights"),
            id="uri",
        ),
        pytest.param(
            "postgres://ada:p%40ss%2Fw%3Ard@db/flights?sslmode=require&application_name=a%20b",
            Connection(
                *("c", "postgres", "db", None, "ada", "p@ss/w:rd", "flights"),
                extra={"sslmode": "require", "application_name": "a b"},
            ),
            id="quoted password and query",
        ),
        pytest.param(
            "http://mlflow:5000/?__extra__=%7B%22a%22%3A%20%7B%22b%22%3A%201%7D%7D",
            Connection("c", "http", "mlflow", 5000, extra={"a": {"b": 1}}),
            id="nested extra",
        ),
        pytest.param("  http://mlflow:5000 ", Connection("c", "http", "mlflow", 5000), id="spaces around"),
        pytest.param("postgresql://db", Connection("c", "postgresql", "db"), id="host alone"),
        pytest.param(
            "postgresql://u@[::1]:5432/d", Connection("c", "postgresql", "::1", 5432, "u", "", "d"), id="IPv6"
        ),
        pytest.param(
            "sqlite:////data/source.db", Connection("c", "sqlite", "/data/source.db"), id="sqlite, four slashes"
        ),
        pytest.param("sqlite:///data/source.db", Connection("c", "sqlite", "/data/source.db"), id="sqlite, as Airflow"),
        pytest.param("sqlite://data/source.db", Connection("c", "sqlite", "data/source.db"), id="sqlite, relative"),
        pytest.param(
            "sqlite:////my%20data/s.db?mode=ro",
            Connection("c", "sqlite", "/my data/s.db", extra={"mode": "ro"}),
            id="sqlite, quoted, query",
        ),
        pytest.param(
            '{"conn_type": "postgres", "host": "db", "port": "5432", "login": "ada", "password": "p@ss", '
            '"schema": "flights", "extra": {"sslmode": "require"}}',
            Connection("c", "postgres", "db", 5432, "ada", "p@ss", "flights", {"sslmode": "require"}),
            id="json",
        ),
        pytest.param(
            '{"conn_type": "sqlite", "host": "/data/s.db", "extra": "{\\"mode\\": \\"ro\\"}"}',
            Connection("c", "sqlite", "/data/s.db", extra={"mode": "ro"}),
            id="json, extra as text",
        ),
        pytest.param(
            '{"conn_type": "postgres", "host": null, "port": null, "extra": null}',
            Connection("c", "postgres"),
            id="json, nulls",
        ),
    ],
)
def test_connection_is_read_whole(connect: Connect, value: str, expected: Connection) -> None:
    connect("c", value)
    assert settings.connection("c") == expected


@pytest.mark.parametrize(
    "value, url",
    [
        (
            "postgres://ada:p%40ss%2Fw%3Ard%25@db:5432/flights",
            "postgresql+psycopg://ada:p%40ss%2Fw%3Ard%25@db:5432/flights",
        ),
        ("postgresql://db/flights?sslmode=require", "postgresql+psycopg://db/flights"),
        ("postgresql://u@[::1]:5432/d", "postgresql+psycopg://u@[::1]:5432/d"),
        ("sqlite:////data/s.db", "sqlite:////data/s.db"),
        ("https://ada:pw@mlflow.example", "https://ada:pw@mlflow.example"),
    ],
)
def test_url_quotes_what_it_is_made_of(connect: Connect, value: str, url: str) -> None:
    connect("c", value)
    connection = settings.connection("c")
    assert connection.url == url
    parsed = sa.make_url(connection.url)
    assert (parsed.password or "", parsed.host or "") == (
        connection.password,
        "" if connection.conn_type == "sqlite" else connection.host,
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("s3cret", id="neither"),
        pytest.param("postgresql://ada:s3cret@db:port/flights", id="port is no number"),
        pytest.param("postgresql://ada:s3cret@[db/flights", id="bracket"),
        pytest.param("postgresql://ada:s3cret@db/flights?sslmode", id="query without value"),
        pytest.param("postgresql://db/?__extra__=s3cret", id="extra is no JSON"),
        pytest.param("postgresql://db/?__extra__=%22s3cret%22", id="extra is no object"),
        pytest.param('{"conn_type": "postgres", "password": "s3cret"', id="broken JSON"),
        pytest.param('{"password": "s3cret"}', id="JSON without conn_type"),
        pytest.param('{"conn_type": "postgres", "port": "s3cret"}', id="JSON port is no number"),
        pytest.param('{"conn_type": "postgres", "extra": "[\\"s3cret\\"]"}', id="JSON extra is no object"),
        pytest.param('{"conn_type": "postgres", "extra": ["s3cret"]}', id="JSON extra is a list"),
    ],
)
def test_malformed_connection_is_refused_without_showing_it(connect: Connect, value: str) -> None:
    connect("flights_db", value)
    with pytest.raises(
        ConfigurationError, match="connection 'flights_db' in AIRFLOW_CONN_FLIGHTS_DB is neither"
    ) as error:
        settings.connection("flights_db")
    assert error.value.hint
    assert "s3cret" not in repr(error.value) + str(error.value)
    assert error.value.__cause__ is None  # it would show the value
    assert error.value.__suppress_context__


def test_connection_shows_neither_password_nor_extra(connect: Connect) -> None:
    connect("c", "postgresql://ada:s3cret@db/flights?token=t0ken")
    shown = f"{settings.connection('c')!r} {settings.connection('c')}"
    assert "ada" in shown
    assert "s3cret" not in shown
    assert "t0ken" not in shown


def test_missing_connection_says_how_to_define_it() -> None:
    with pytest.raises(ConfigurationError, match="connection 'no_such' is not defined") as error:
        settings.connection("no_such")
    assert error.value.hint is not None
    assert "set AIRFLOW_CONN_NO_SUCH, for example 'postgresql://" in error.value.hint


def test_embedded_defaults_lie_under_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELFLEET_WAREHOUSE", "MLFLOW_STAGING", "MLFLOW_PRODUCTION"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}", raising=False)
    home = tmp_path / "home"
    assert settings.home() == home
    assert settings.lake_uri() == str(home / "lake")
    assert settings.warehouse().url == f"sqlite:///{home}/warehouse.db"
    assert settings.registry_uri("staging") == f"sqlite:///{home}/mlflow/staging.db"
    assert settings.registry_uri("production") == f"sqlite:///{home}/mlflow/production.db"


def test_defined_connections_replace_the_embedded_defaults(connect: Connect) -> None:
    connect("modelfleet_warehouse", "postgresql://dwh/fleet")
    connect("mlflow_production", "https://mlflow.example:8443")
    assert settings.warehouse().url == "postgresql+psycopg://dwh/fleet"
    assert settings.registry_uri("production") == "https://mlflow.example:8443"
