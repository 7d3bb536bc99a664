"""Fixtures of the end-to-end tests: one world with a champion, made once; each test works on a copy of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain_bench import TESTS, World, copied, fill, wells


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session", autouse=True)
def _spark_settings() -> Iterator[None]:
    """Spark starts once for all tests of the process; its workers import the team's package from tests/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELFLEET_SPARK_MASTER", "local[2]")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory, _fresh_store: Path, _spark_settings: None) -> World:
    """A fleet with a champion, made once; not to be changed."""
    home = tmp_path_factory.mktemp("wells")
    world = World(home, wells())
    fresh(world, _fresh_store)
    with pytest.MonkeyPatch.context() as patch:
        enter(world, patch)
        world.to_champion()
    return world


@pytest.fixture
def world(past: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A fleet whose champion was trained on January to March."""
    made = copied(past, tmp_path / "home")
    enter(made, monkeypatch)
    return made


@pytest.fixture
def new_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _fresh_store: Path) -> World:
    """A fleet of which nothing has run."""
    made = World(tmp_path / "home", wells())
    fresh(made, _fresh_store)
    enter(made, monkeypatch)
    return made


def fresh(world: World, store: Path) -> None:
    """A source database and two empty registries."""
    (world.home / "mlflow").mkdir(parents=True)
    for role in ("staging", "production"):
        shutil.copy(store, world.home / "mlflow" / f"{role}.db")
    fill(world.source)


def enter(world: World, patch: pytest.MonkeyPatch) -> None:
    for name in ("MODELFLEET_HOME", "AIRFLOW_CONN_WELLS_DB"):
        patch.setenv(name, world.environment[name])
