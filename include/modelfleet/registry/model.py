"""A pack as an MLflow pyfunc model folder: signature, requirements, code.

The signature names every raw column and types none (MLflow's "any"). MLflow's typed columns refuse what a frame of the
same data may hold: null in a ``long`` column, int64 in a ``double`` one, pandas' nullable and categorical types, a
string column that is all null. The loader knows the fleet's types and checks them itself; the Arrow types are kept in
the model's metadata. The price is 0.9 microseconds per cell at ``predict``.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from modelfleet.errors import ConfigurationError
from modelfleet.registry.records import PackModel

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

PACK = "pack"
_NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@contextmanager
def model_folder(pack: PackModel, logged: LoggedModel) -> Iterator[Path]:
    """A temporary folder with all of the model but the pack's own files, which belong in ``data/pack`` of it.

    Packs are large: they go from the lake to the registry without a copy in between.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    with tempfile.TemporaryDirectory(prefix="modelfleet-model-") as temporary:
        root = Path(temporary)
        empty = root / PACK
        empty.mkdir()
        folder = root / "model"
        model = Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=logged.source_run_id,
            model_id=logged.model_id,
            metadata={"columns": {field.name: str(field.type) for field in pack.columns}},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for an input example
            mlflow.pyfunc.save_model(
                path=str(folder),
                loader_module=pack.loader_module,
                data_path=str(empty),
                code_paths=[str(path) for path in _copy_code(pack.code, root / "code")],
                mlflow_model=model,
                signature=signature(pack),
                pip_requirements=pinned(pack.requirements),
            )
        model.model_size_bytes = sum(
            f.stat().st_size for top in (folder, pack.folder) for f in top.rglob("*") if f.is_file()
        )
        model.save(str(folder / "MLmodel"))
        yield folder


def signature(pack: PackModel) -> ModelSignature:
    """The names of the raw columns, typed "any"; and of what ``predict`` returns."""
    from mlflow.models import ModelSignature

    inputs = _any_schema(pack.columns, required=pack.required)
    outputs = None if pack.outputs is None else _any_schema(pack.outputs, required=tuple(pack.outputs.names))
    return ModelSignature(inputs=inputs, outputs=outputs)


def pinned(distributions: tuple[str, ...]) -> list[str]:
    """``name==version`` of each installed distribution. MLflow's own inference takes seconds and guesses.

    :raises ConfigurationError: naming one that is not installed.
    """
    try:
        return [f"{name}=={metadata.version(name)}" for name in distributions]
    except metadata.PackageNotFoundError as exc:
        raise ConfigurationError(f"a pack requires {exc.name!r}, which is not installed here") from None


def _any_schema(columns: pa.Schema, *, required: tuple[str, ...]) -> Schema:
    from mlflow.types.schema import AnyType, ColSpec, Schema

    return Schema([ColSpec(AnyType(), name, required=name in required) for name in columns.names])


def _copy_code(packages: tuple[Path, ...], target: Path) -> list[Path]:
    """Copies without caches and hidden files, which MLflow's own copy keeps in part."""
    copies = []
    for package in packages:
        copy = target / package.name
        if package.is_dir():
            shutil.copytree(package, copy, ignore=_NOT_CODE)
        else:
            target.mkdir(exist_ok=True)
            shutil.copy(package, copy)
        copies.append(copy)
    return copies
