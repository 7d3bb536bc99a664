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
    """Packages of one's own with their folders (a single module: its file), and names of installed distributions."""

    own: Mapping[str, tuple[Path, ...]]
    distributions: tuple[str, ...]


def needs(packages: Iterable[str]) -> Needs:
    """What these packages are and all that they import, but for the standard library and Modelfleet.

    What is not there (an import that may fail) is left out.
    """
    own: dict[str, tuple[Path, ...]] = {}
    distributions: dict[str, None] = {}
    waiting, seen = [*packages], {"modelfleet"}
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        places = _places(name)
        known = _distributions(name) if any(_INSTALLED & set(place.parts) for place in places) else ()
        distributions |= dict.fromkeys(known)
        if places and not known:  # also what was put beside installed ones, but belongs to none
            own[name] = places
            waiting += chain.from_iterable(map(_imported, places))
    return Needs(own, tuple(distributions))


def _places(name: str) -> tuple[Path, ...]:
    """The folders of a package, several where it has no ``__init__.py``, or the file of a module; none if it is not there."""
    try:
        found = find_spec(name)
    except (ImportError, ValueError):
        return ()
    if found is None:
        return ()
    if found.submodule_search_locations:
        return tuple(map(Path, found.submodule_search_locations))
    return (Path(found.origin),) if found.origin and found.has_location else ()


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
