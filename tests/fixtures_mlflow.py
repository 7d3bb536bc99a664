"""Fixtures with MLflow registries: embedded stores made once and copied, and two real servers for the session.

A test module that uses them says ``pytest_plugins = ["fixtures_mlflow"]``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlflow_servers import two_mlflow_servers
from modelfleet import registry, settings


@pytest.fixture(scope="session")
def mlflow_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URLs of a staging and a production server. They outlive a test: use a fleet name of your own."""
    with two_mlflow_servers(tmp_path_factory.mktemp("mlflow-servers")) as urls:
        yield urls


@pytest.fixture
def mlflow_servers(mlflow_urls: tuple[str, str], connect: Callable[[str, str], None]) -> tuple[str, str]:
    """The two registries are servers for the length of the test."""
    for conn_id, url in zip(("mlflow_staging", "mlflow_production"), mlflow_urls, strict=True):
        connect(conn_id, url)
    return mlflow_urls


@pytest.fixture(scope="session")
def _embedded_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fresh stores: making one takes seconds, copying it nothing."""
    home = tmp_path_factory.mktemp("mlflow-embedded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELFLEET_HOME", str(home))
        registry.ensure("staging")
        registry.ensure("production")
    return home / "mlflow"


@pytest.fixture
def mlflow_embedded(_embedded_stores: Path, _own_home: None) -> None:
    """The test's own home has the two embedded stores already."""
    target = settings.home() / "mlflow"
    target.mkdir(parents=True)
    for role in ("staging", "production"):
        shutil.copy(_embedded_stores / f"{role}.db", target)


@pytest.fixture(params=["embedded", "servers"])
def mlflow_registries(request: pytest.FixtureRequest) -> str:
    """Both kinds of registry, one after the other."""
    request.getfixturevalue(f"mlflow_{request.param}")
    return str(request.param)
