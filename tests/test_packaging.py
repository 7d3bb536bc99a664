"""Which code travels with a pack as an MLflow model, and what it requires."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from modelfleet.registry import PackModel
from modelfleet.steps.packaging import _code_of

INCLUDE = Path(__file__).resolve().parents[1] / "include"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An author's package, which imports what others install."""
    folder = tmp_path / "authors_own"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import json\nimport sklearn.linear_model\nfrom lightgbm import LGBMRegressor\n"
    )
    (folder / "more.py").write_text("import authors_own\nfrom . import other\nimport yaml\nimport modelfleet\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "authors_own"


def test_code_that_is_installed_is_required_and_the_rest_travels() -> None:
    code, requirements = _code_of(["modelfleet", "lightgbm", "flights"])
    assert code == (INCLUDE / "modelfleet", INCLUDE / "flights")
    assert "lightgbm" in requirements


def test_what_an_authors_code_imports_is_required_by_the_name_of_its_distribution(package: str) -> None:
    code, requirements = _code_of(["modelfleet", package])
    assert [folder.name for folder in code] == ["modelfleet", package]
    assert set(requirements) == {"lightgbm", "PyYAML"}
    for name in requirements:
        assert metadata.version(name)


def test_what_modelfleet_itself_requires_is_not_named_twice() -> None:
    _, requirements = _code_of(["modelfleet", "sklearn", "numpy"])
    assert not set(requirements) & set(PackModel.requirements)
    assert requirements == ()
