"""Finding the fleets of a folder: files are executed with `many_models` only recording, so Airflow is not needed."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Literal

from modelfleet.errors import Failure, NotFoundError, SpecError, bounded
from modelfleet.spec.base import nearest
from modelfleet.spec.fleet import FleetSpec

_MARKER = b"many_models"
_UNIQUE = "allowed: a name no other file of the folder uses"
_collected: ContextVar[list[FleetSpec] | None] = ContextVar("_collected", default=None)


class Fleets(dict[str, FleetSpec]):
    """Specs by fleet name; `errors` holds what kept files from being read."""

    errors: tuple[SpecError, ...] = ()


def record(spec: FleetSpec) -> None:
    """Keep a spec if specs are being collected; called by `modelfleet.airflow.many_models`."""
    specs = _collected.get()
    if specs is not None:
        specs.append(spec)


def collecting() -> bool:
    """Whether fleet files are being executed for their specs alone, so that no DAG is to be built."""
    return _collected.get() is not None


def load_fleets(folder: str | Path, on_error: Literal["raise", "collect"] = "raise") -> Fleets:
    """The fleets of every ``*.py`` file of a folder that mentions many_models.

    With ``on_error="collect"`` broken files hide no others: their errors are in `Fleets.errors`. A name that two files
    declare is an error of both and neither is given, for which of them is meant can't be known.

    :raises SpecError: with ``on_error="raise"``, the first error, after all files were read.
    """
    specs: list[FleetSpec] = []
    errors: list[SpecError] = []
    for path in fleet_files(folder):
        try:
            specs += load_file(path)
        except SpecError as exc:
            errors.append(exc)
    twice = {spec.name: [s for s in specs if s.name == spec.name] for spec in specs}
    for name, same in twice.items():
        if len(same) > 1:
            files = ", ".join(str(spec.source) for spec in same)
            errors.append(SpecError([Failure("name", repr(name), _UNIQUE)], fleet=name, source=files))
    if errors and on_error == "raise":
        raise errors[0]
    fleets = Fleets({spec.name: spec for spec in specs if len(twice[spec.name]) == 1})
    fleets.errors = tuple(errors)
    return fleets


def load_fleet(name: str, folder: str | Path) -> FleetSpec:
    """The fleet of this name; files of other fleets may be broken.

    :raises NotFoundError: naming the nearest fleets there are.
    :raises SpecError: where two files declare it, or the file that mentions it could not be read.
    """
    fleets = load_fleets(folder, on_error="collect")
    if name in fleets:
        return fleets[name]
    for error in fleets.errors:
        if _concerns(error, name):
            raise error
    there = bounded(sorted(fleets)) or "none"
    broken = f"; {len(fleets.errors)} more files could not be read" if fleets.errors else ""
    raise NotFoundError(
        f"fleet {name!r} is not in {folder}; there are: {there}{broken}", hint=nearest(name, list(fleets))
    )


def fleet_files(folder: str | Path) -> list[Path]:
    """The Python files of a folder that mention many_models, sorted."""
    root = Path(folder)
    if not root.is_dir():
        raise NotFoundError(
            f"folder {folder} is not there", hint="fleet files are looked for in AIRFLOW__CORE__DAGS_FOLDER, or ./dags"
        )
    return [path for path in sorted(root.glob("*.py")) if _MARKER in path.read_bytes()]


def load_file(path: str | Path) -> list[FleetSpec]:
    """The specs one file passes to many_models, in order.

    :raises SpecError: whatever goes wrong in the file; an exception other than SpecError is its cause.
    """
    file = Path(path).resolve()
    specs: list[FleetSpec] = []
    token = _collected.set(specs)
    try:
        with _importable(file.parent):
            _execute(file)
    except SpecError:
        raise
    except (Exception, SystemExit) as exc:
        got = f"{type(exc).__name__}{_line(exc, file)}: {' '.join(str(exc).split())[:300]}"
        raise SpecError([Failure("file", got, "allowed: a file that runs")], fleet=None, source=str(file)) from exc
    finally:
        _collected.reset(token)
    return specs


def check_unique_name(spec: FleetSpec, folder: str | Path | None = None) -> None:
    """Refuse a name that another file of the folder declares too, in ``FleetSpec(name="...")`` or in YAML.

    Files are only read, not executed (Airflow parses each in a process of its own): computed names go unseen.

    :param folder: default: that of the file that wrote the spec.
    :raises SpecError: naming both files.
    """
    own = Path(spec.source).resolve() if spec.source else None
    place = Path(folder) if folder is not None else own.parent if own else None
    if place is None or not place.is_dir():
        return
    for path in sorted(place.iterdir()):
        if path.suffix in (".py", ".yaml", ".yml") and path.resolve() != own and _declares(path, spec.name):
            files = f"{own or 'a spec'} and {path}"
            raise SpecError([Failure("name", repr(spec.name), _UNIQUE)], fleet=spec.name, source=files)


def _declares(path: Path, name: str) -> bool:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    if path.suffix != ".py":
        return re.search(rf"^name:\s*(['\"]?){re.escape(name)}\1\s*(#.*)?$", text, re.MULTILINE) is not None
    if name not in text or "FleetSpec" not in text:  # parsing is for the few files that may
        return False
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return any(_names_fleet(node, name) for node in ast.walk(tree))


def _names_fleet(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    values = (keyword.value for keyword in node.keywords if keyword.arg == "name")
    return called == "FleetSpec" and any(isinstance(value, ast.Constant) and value.value == name for value in values)


def _concerns(error: SpecError, name: str) -> bool:
    """Whether a file that could not be read is the one that holds the fleet."""
    if error.fleet is not None or error.source is None:
        return error.fleet == name
    return Path(error.source).is_file() and name.encode() in Path(error.source).read_bytes()


def _line(error: BaseException, file: Path) -> str:
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f" in line {lines[-1]}" if lines else ""


def _execute(file: Path) -> None:
    """Run a file as a module of its own, registered while it runs as pickle and dataclasses expect."""
    name = f"modelfleet_fleet_file_{file.stem}"
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module
    try:
        exec(compile(file.read_bytes(), str(file), "exec", dont_inherit=True), module.__dict__)
    finally:
        sys.modules.pop(name, None)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """A fleet file may import modules beside it, after all others as under Airflow: dags/flights.py hides no package."""
    before = list(sys.path)
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path[:] = [place for place in sys.path if place != str(folder) or place in before]
