"""What code needs: packages of one's own, whose files travel with it, and installed distributions, which are named.

Found by what its modules import, wherever in them they do; what an installed distribution needs, it says itself.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import NamedTuple

_INSTALLED = {"site-packages", "dist-packages"}


class Needs(NamedTuple):
    """Packages of one's own, with their folder (a single module: its file), and names of installed distributions."""

    own: Mapping[str, Path]
    distributions: tuple[str, ...]


def needs(packages: Iterable[str]) -> Needs:
    """What these packages are and all that they import, but for the standard library and Modelfleet.

    What is not there (an import that may fail) is left out.
    """
    own: dict[str, Path] = {}
    installed: dict[str, None] = {}
    waiting, seen = [*packages], {"modelfleet"}
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        place = _place(name)
        if place is None:
            continue
        if _INSTALLED & set(place.parts):
            installed[name] = None
        else:
            own[name] = place
            waiting += _imported(place)
    return Needs(own, tuple(dict.fromkeys(chain.from_iterable(map(_distributions, installed)))))


def _place(name: str) -> Path | None:
    try:
        found = find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    folders = found.submodule_search_locations
    if folders:
        return Path(next(iter(folders)))
    return Path(found.origin) if found.origin and found.has_location else None


def _imported(place: Path) -> list[str]:
    """The top-level packages that the modules of a folder (or a single module) import."""
    found = set()
    for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue  # whoever imports it is told
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return sorted(found - sys.stdlib_module_names)


def _distributions(package: str) -> tuple[str, ...]:
    """The installed distributions that a package comes from; mostly one of its own name."""
    try:
        return (metadata.distribution("scikit-learn" if package == "sklearn" else package).name,)
    except metadata.PackageNotFoundError:
        return tuple(sorted(set(_by_package().get(package, ()))))


@cache
def _by_package() -> Mapping[str, list[str]]:
    """All installed distributions by the packages they bring; to read them takes half a second."""
    return metadata.packages_distributions()
