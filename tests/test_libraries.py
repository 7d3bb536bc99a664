"""What code needs: packages of one's own, however they are reached, and installed distributions."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from modelfleet import libraries, modelcode


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An author's package, which imports another one and a module beside it."""
    files = {
        "needing/__init__.py": "import json\nimport sklearn.linear_model\nfrom needed.deep import thing\n",
        "needing/more.py": "import needing\nfrom . import other\nimport modelfleet\nif needing.json:\n    import not_there\n",
        "needing/broken.py": "def (",
        "needed/deep.py": "import needed_module\nthing = 1\n",
        "needed_module.py": "import yaml\nimport needing\n",
        "unneeded/__init__.py": "import lightgbm\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_own_packages_are_followed_and_installed_ones_named(packages: Path) -> None:
    own, distributions = libraries.needs(["needing"])
    assert own == {
        "needing": packages / "needing",
        "needed": packages / "needed",
        "needed_module": packages / "needed_module.py",
    }
    assert set(distributions) == {"scikit-learn", "PyYAML"}


def test_installed_packages_are_not_looked_into() -> None:
    assert libraries.needs(["sklearn", "modelfleet", "not_there"]) == ({}, ("scikit-learn",))


def version() -> str:
    modelcode.code_version.cache_clear()
    return modelcode.code_version("needing.more:build")


@pytest.mark.parametrize(
    "file, counts", [("needed/deep.py", True), ("needed_module.py", True), ("unneeded/__init__.py", False)]
)
def test_code_version_covers_what_the_package_imports(packages: Path, file: str, counts: bool) -> None:
    before = version()
    (packages / file).write_text((packages / file).read_text() + "other = 2\n")
    assert (version() != before) == counts


@pytest.mark.parametrize("name, counts", [("scikit-learn", True), ("PyYAML", True), ("lightgbm", False)])
def test_code_version_changes_with_the_version_of_a_library_it_imports(
    packages: Path, monkeypatch: pytest.MonkeyPatch, name: str, counts: bool
) -> None:
    before, plain = version(), metadata.version
    monkeypatch.setattr(metadata, "version", lambda given: "99.0" if given == name else plain(given))
    assert (version() != before) == counts
