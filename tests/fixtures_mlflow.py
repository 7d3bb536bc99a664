"""Fixtures with MLflow registries and packs to log: embedded stores made once and copied, and two real servers for the session.

A test module that uses them says ``pytest_plugins = ["fixtures_mlflow"]``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlflow_servers import two_mlflow_servers
from modelfleet import registry, settings
from registry_bench import COLUMNS, LOADER


@pytest.fixture(scope="session")
def mlflow_urls(tmp_path_factory: pytest.TempPathFactory, _fresh_store: Path) -> Iterator[tuple[str, str]]:
    """The URLs of a staging and a production server. They outlive a test: use a fleet name of your own."""
    with two_mlflow_servers(tmp_path_factory.mktemp("mlflow-servers"), store=_fresh_store) as urls:
        yield urls


@pytest.fixture
def mlflow_servers(mlflow_urls: tuple[str, str], connect: Callable[[str, str], None]) -> tuple[str, str]:
    """The two registries are servers for the length of the test."""
    for conn_id, url in zip(("mlflow_staging", "mlflow_production"), mlflow_urls, strict=True):
        connect(conn_id, url)
    return mlflow_urls


@pytest.fixture(scope="session")
def _fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh SQLite store: making one takes seconds, copying it nothing."""
    home = tmp_path_factory.mktemp("mlflow-embedded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELFLEET_HOME", str(home))
        registry.ensure("staging")
    return home / "mlflow" / "staging.db"


@pytest.fixture
def mlflow_embedded(_fresh_store: Path, _own_home: None) -> None:
    """The test's own home has the two embedded stores already."""
    target = settings.home() / "mlflow"
    target.mkdir(parents=True)
    for role in ("staging", "production"):
        shutil.copy(_fresh_store, target / f"{role}.db")


@pytest.fixture(params=["embedded", "servers"])
def mlflow_registries(request: pytest.FixtureRequest) -> str:
    """Both kinds of registry, one after the other."""
    request.getfixturevalue(f"mlflow_{request.param}")
    return str(request.param)


@pytest.fixture
def a_pack(tmp_path: Path) -> Callable[..., registry.PackModel]:
    """Makes packs, each of a number that its model predicts."""
    code = tmp_path / "code" / f"loader_{os.urandom(4).hex()}"
    (code / "__pycache__").mkdir(parents=True)
    (code / "__pycache__" / "stale.pyc").write_bytes(b"stale")
    (code / "__init__.py").write_text(LOADER)

    def make(number: int = 1) -> registry.PackModel:
        folder = tmp_path / f"pack-{number}"
        folder.mkdir(exist_ok=True)
        (folder / "pack.json").write_text(json.dumps({"number": number}))
        (folder / "models-000.parquet").write_bytes(b"PAR1" * number)
        return registry.PackModel(folder, COLUMNS, required=("carrier",), code=(code,), loader_module=code.name)

    return make
