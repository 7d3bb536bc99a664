"""A pack as an MLflow model: the raw columns it reads, the packages of code that travel with it, what it requires."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import modelfleet
from modelfleet import libraries, pack, registry
from modelfleet.errors import DataError, bounded
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
    code, requirements = _code_of([name for name in every if name in own or find_spec(name) is not None])
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

    Of code that is logged, what it imports goes with it; Modelfleet's own needs are known.

    :raises DataError: for a package that lies in several folders, of which MLflow would keep one.
    """
    found = libraries.needs(packages)
    for name, folders in found.own.items():
        if len(folders) > 1:
            raise DataError(
                f"package {name!r} lies in several folders, so it can't be logged with the model: {bounded(map(str, folders))}",
                hint="add an __init__.py to the one that is meant",
            )
    code = Path(modelfleet.__file__).parent, *(folder for (folder,) in found.own.values())
    return code, tuple(name for name in found.distributions if name not in registry.PackModel.requirements)
