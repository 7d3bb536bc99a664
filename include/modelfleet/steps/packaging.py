"""A pack as an MLflow model: the raw columns it reads, the packages of code that travel with it, what it requires."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from modelfleet import pack, registry
from modelfleet.errors import DataError
from modelfleet.ingest.schema import schema_of
from modelfleet.lake.local import LocalFiles

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.lake import Lake
    from modelfleet.spec import FleetSpec


def pack_model(spec: FleetSpec, header: pack.PackHeader, folder: Path) -> registry.PackModel:
    """A pack as an MLflow model: the raw columns it reads, and the packages of code it needs."""
    import pyarrow as pa

    key_types = {"string": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "date": pa.date32()}
    fields = [pa.field(name, key_types[kind]) for name, kind in header.key_types]
    features = schema_of(header.feature_types)
    named = {name for name, _ in header.key_types}
    fields += [features.field(name) for name in header.features if name not in named]
    required = tuple(field.name for field in fields)
    if header.problem == "forecast":
        required = (*(name for name, _ in header.key_types), header.time, header.target)
        fields.append(pa.field(header.target, pa.float64()))
    if header.time not in {*named, *header.features}:
        fields.append(pa.field(header.time, pa.timestamp("us", "UTC")))
    own = {learner.path.partition(":")[0].partition(".")[0] for learner in header.fleet_spec.learners}
    every = dict.fromkeys(path.partition(":")[0].partition(".")[0] for path in header.code)
    # The package of a kept champion may be gone by now; then its baseline serves, and scoring says why.
    code, requirements = _code_of(["modelfleet", *(n for n in every if n in own or find_spec(n) is not None)])
    return registry.PackModel(
        folder=folder,
        columns=pa.schema(fields),
        required=required,
        code=code,
        requirements=(*registry.PackModel.requirements, *requirements),
    )


def pack_folder(lake: Lake, header: pack.PackHeader, folder: Path) -> None:
    """The pack as a local folder, for MLflow: links to a local lake's files, which MLflow copies or uploads once."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / pack.HEADER).write_bytes(header.to_json())
    for entry in (*header.files, *header.groups):
        target = folder / PurePosixPath(entry.path).name
        if isinstance(lake.files, LocalFiles):
            target.symlink_to(lake.location(entry.path))
        else:
            lake.copy_to(entry.path, target)


def index_batches(opened: pack.Pack, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
    """The rows of a pack without the models' bytes, a file of it at a time; of `columns` those that it has."""
    import pyarrow as pa

    first = next(opened.index_parts(columns))
    batches = (batch for part in opened.index_parts(columns) for batch in part.to_batches())
    return pa.RecordBatchReader.from_batches(first.schema, batches)


def _code_of(packages: Sequence[str]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Which packages are logged as code, and which are installed distributions, named as requirements instead.

    Of code that is logged, what it imports is required too; Modelfleet's own needs are known.
    """
    own: dict[str, Path] = {}
    needed: list[str] = []
    for name in dict.fromkeys(packages):
        folder = _package_folder(name)
        if "site-packages" in folder.parts:
            needed.append(name)
            continue
        own[name] = folder
        if name != "modelfleet":
            needed += _imported(folder)
    others = dict.fromkeys(name for name in needed if name not in {"modelfleet", *own})
    found = dict.fromkeys(chain.from_iterable(map(_distributions, others)))
    known = {*registry.PackModel.requirements, "modelfleet"}
    return tuple(own.values()), tuple(name for name in found if name not in known)


def _distributions(package: str) -> tuple[str, ...]:
    """The installed distributions that a package comes from; mostly one of its own name."""
    try:
        return (metadata.distribution("scikit-learn" if package == "sklearn" else package).name,)
    except metadata.PackageNotFoundError:
        return tuple(_by_package().get(package, ()))


@cache
def _by_package() -> Mapping[str, list[str]]:
    """All installed distributions by the packages they bring; to read them takes half a second."""
    return metadata.packages_distributions()


def _imported(folder: Path) -> list[str]:
    """The top-level packages that the modules of a folder (or a single module) import."""
    found = set()
    for file in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return sorted(found - sys.stdlib_module_names)


def _package_folder(name: str) -> Path:
    found = find_spec(name)
    if found is None or found.origin is None:
        raise DataError(f"package {name!r} has no files to log with the model", hint="add an __init__.py to it")
    origin = Path(found.origin)
    return origin.parent if origin.name == "__init__.py" else origin
