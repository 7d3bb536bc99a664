"""``modelfleet new``: the files of a new fleet, which parse, plan and pass their test at once; from a CSV file or made up."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelfleet.errors import ConflictError, Failure, SpecError, bounded
from modelfleet.scaffold.drafting import Draft, draft
from modelfleet.spec import loader

Kind = Literal["forecast", "regression", "classification"]

__all__ = ["Created", "Kind", "new"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Created:
    """What `new` made: the files, what it took the data for, and the commands to go on with."""

    files: tuple[Path, ...]
    taken: dict[str, str]
    notes: tuple[str, ...]
    commands: tuple[str, ...]


def new(
    name: str,
    kind: Kind = "forecast",
    *,
    dags: Path,
    csv: Path | None = None,
    time: str | None = None,
    target: str | None = None,
    keys: Sequence[str] = (),
    freq: str | None = None,
    horizon: int | None = None,
) -> Created:
    """Write a fleet file, a package for its model code, and a test with sample rows. All of them, or none.

    :param dags: the folder of fleet files; ``include`` and ``tests`` are beside it.
    :param csv: rows of the fleet; read, never copied. Parts that are not given are guessed from it.
    :raises SpecError: for a name that can't be a fleet's or a package's, or columns that can't be a fleet's.
    :raises DataError: when the CSV file can't be read, or holds no column for some part.
    :raises ConflictError: when one of the files is there already.
    """
    root = dags.parent
    _check_name(name, root)
    places = {
        "fleet.py": dags / f"{name}.py",
        "__init__.py": root / "include" / name / "__init__.py",
        "models.py": root / "include" / name / "models.py",
        "test.py": root / "tests" / name / f"test_{name}_models.py",
        "sample.csv": root / "tests" / name / "sample.csv",
    }
    there = [str(place.relative_to(root)) for place in places.values() if place.exists()]
    if there:
        raise ConflictError(
            f"fleet {name!r}: already in {root}: {bounded(there)}; nothing was written", hint="choose another name"
        )
    made = draft(name, kind, csv=csv, time=time, target=target, keys=keys, freq=freq, horizon=horizon)
    _check_fleet(name, made, places["fleet.py"])
    for part, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(made.files[part])
    importlib.invalidate_caches()
    notes = made.notes
    if importlib.util.find_spec(name) is None:
        notes = (*notes, f"{root / 'include'} is not on Python's path: add it to PYTHONPATH")
    return Created(tuple(places.values()), made.taken, notes, made.commands)


def _check_name(name: str, root: Path) -> None:
    """The name is a fleet's and a package's, and hides no package there is."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        allowed = "allowed: a Python name of lower-case letters, digits and '_', at most 63 characters"
        raise SpecError([Failure("name", repr(name), allowed)], fleet=name, source=None)
    found = None if name in sys.modules else importlib.util.find_spec(name)
    taken = name in sys.modules or name in sys.stdlib_module_names
    origin = None if found is None else found.origin or next(iter(found.submodule_search_locations or ()), None)
    if taken or (origin is not None and not Path(origin).is_relative_to(root)):
        allowed = "allowed: a name that no installed package has, since its model code becomes a package of that name"
        raise SpecError([Failure("name", repr(name), allowed)], fleet=name, source=None)


def _check_fleet(name: str, made: Draft, place: Path) -> None:
    """The drafted file is a fleet's, and no other file of the folder declares its name."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / place.name
            file.write_text(made.files["fleet.py"], encoding="utf-8")
            (spec,) = loader.load_file(file)
            if place.parent.is_dir():
                loader.check_unique_name(spec, place.parent)
    except SpecError as exc:
        hint = f"{exc.hint}; nothing was written" if exc.hint else "nothing was written"
        raise SpecError(exc.failures, fleet=name, source=str(place), hint=hint) from None
