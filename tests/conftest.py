"""Fixtures for all tests: an own home per test, and real databases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

import servers

# The command line's tables are as wide as the terminal, which tests need not have.
os.environ["COLUMNS"] = "200"
# A busy machine makes one example slow, which says nothing of the code.
hypothesis.settings.register_profile("modelfleet", deadline=None)
hypothesis.settings.load_profile("modelfleet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the PostgreSQL server is an integration test."""
    for item in items:
        if "postgres_url" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own MODELFLEET_HOME; no test sees another's lake or warehouse, or the developer's."""
    monkeypatch.setenv("MODELFLEET_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MODELFLEET_LAKE", raising=False)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The base URL of a PostgreSQL server that lives as long as the test session."""
    try:
        server = servers.postgres()
        url = server.__enter__()
    except servers.PostgresMissingError as exc:
        if os.environ.get("MODELFLEET_REQUIRE_POSTGRES") == "1":
            pytest.fail(f"MODELFLEET_REQUIRE_POSTGRES=1, but {exc}")
        pytest.skip(str(exc))
    try:
        yield url
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def _shared_database(postgres_url: str) -> str:
    return servers.create_database(postgres_url, "shared")


@pytest.fixture
def postgres_database(_shared_database: str) -> str:
    """The URL of an empty database. One for all tests, emptied before each: twenty times as fast as making one."""
    servers.empty_database(_shared_database)
    return _shared_database


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Define connection `conn_id` as `uri` for the length of the test."""

    def define(conn_id: str, uri: str) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", uri)

    return define
