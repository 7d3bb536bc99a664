"""What code needs: packages of one's own, however they are reached, and installed distributions."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from modelfleet import libraries, modelcode
from modelfleet.errors import DataError
from modelfleet.steps.packaging import _code_of


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
        "needing": (packages / "needing",),
        "needed": (packages / "needed",),
        "needed_module": (packages / "needed_module.py",),
    }
    assert set(distributions) == {"scikit-learn", "PyYAML"}


def test_installed_packages_are_not_looked_into() -> None:
    assert libraries.needs(["sklearn", "modelfleet", "not_there"]) == ({}, ("scikit-learn",))


def test_what_lies_beside_installed_packages_but_is_of_no_distribution_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages" / "dropped_in"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import yaml\n")
    monkeypatch.syspath_prepend(folder.parent)
    assert libraries.needs(["dropped_in"]) == ({"dropped_in": (folder,)}, ("PyYAML",))


def test_every_folder_of_a_package_counts_and_several_can_not_be_logged(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = tmp_path / "more" / "needed"
    more.mkdir(parents=True)
    (more / "late.py").write_text("x = 1\n")
    before = version()
    monkeypatch.syspath_prepend(more.parent)
    assert set(libraries.needs(["needed"]).own["needed"]) == {more, packages / "needed"}
    both = version()
    (more / "late.py").write_text("x = 2\n")
    assert len({before, both, version()}) == 3
    with pytest.raises(DataError, match=r"package 'needed' lies in several folders.*more/needed"):
        _code_of(["needing"])


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
