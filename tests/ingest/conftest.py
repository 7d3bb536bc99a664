"""Source databases of both kinds, and the bench that ingests from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ingest_bench import Bench, Source
from modelfleet.lake import Lake


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Lake(tmp_path / "lake"))


@pytest.fixture
def sqlite_source(tmp_path: Path, connect: Callable[[str, str], None]) -> Source:
    uri = f"sqlite:///{tmp_path / 'shop.db'}"
    connect("shop", uri)
    source = Source("sqlite", uri)
    source.run("CREATE TABLE _made (x)", "DROP TABLE _made")
    return source


@pytest.fixture
def postgres_source(postgres_database: str, connect: Callable[[str, str], None]) -> Source:
    connect("shop", postgres_database)
    return Source("postgresql", postgres_database)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def source(request: pytest.FixtureRequest) -> Source:
    """Each test that takes this one runs on both kinds of database."""
    name = "sqlite_source" if request.param == "sqlite" else "postgres_source"
    made: Source = request.getfixturevalue(name)
    return made
