"""The author's model code: the callables a spec names by dotted path, and the matrix their estimators receive.

``"flights.delays:build"`` names a callable that returns a scikit-learn compatible estimator. The same module may define
``features(frame) -> frame``, on one partition's rows in time order, with the columns that are known for rows to predict and
the declared features, and ``metrics(y_true, y_pred, frame) -> dict``. The same code runs at training, scoring and serving.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modelfleet
from modelfleet import libraries
from modelfleet.errors import ModelCodeError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

Matrix = Any
"""float64 ndarray of shape (rows, features), a feature after the other in memory where they are columns as they are, if all
features are numbers; else a DataFrame with their names."""


@dataclass(frozen=True)
class ModelCode:
    """What the author's module gives: `build` always, `features` and `metrics` where defined."""

    path: str
    build: Callable[..., Any]
    features: Callable[[pd.DataFrame], pd.DataFrame] | None
    metrics: Callable[[np.ndarray, np.ndarray, pd.DataFrame], Mapping[str, float]] | None
    params: Mapping[str, Any] = field(default_factory=dict)

    def estimator(self, seed: int) -> Any:
        """A fresh estimator; every ``random_state`` it leaves open is set, so that the same data gives the same model."""
        estimator = self.build(**self.params)
        if not hasattr(estimator, "get_params"):  # a forecaster need not have them
            return estimator
        return _seeded(estimator, seed)


def _seeded(estimator: Any, seed: int) -> Any:
    """The estimator, with every ``random_state`` set that is None, those of estimators inside it too.

    It does what ``get_params(deep=True)`` and ``set_params`` do, but for scikit-learn's usual classes without reading the
    signature of every class for every fit, which takes longer than many a fit's arithmetic.
    """
    held = inside(estimator)
    if held is None:
        open_states = {
            name: seed
            for name, value in estimator.get_params(deep=True).items()
            if (name == "random_state" or name.endswith("__random_state")) and value is None
        }
        return estimator.set_params(**open_states) if open_states else estimator
    for name, value in held:
        if name == "random_state" and value is None:
            estimator.random_state = seed
        elif hasattr(value, "get_params") and not isinstance(value, type):
            _seeded(value, seed)
    return estimator


def inside(estimator: Any) -> list[tuple[str, Any]] | None:
    """The parameters of an estimator, or the steps of a Pipeline; None for a class that keeps them in a way of its own."""
    from sklearn.pipeline import Pipeline

    if type(estimator) is Pipeline:
        steps = estimator.steps
        usual = isinstance(steps, list) and all(isinstance(step, tuple) and len(step) == 2 for step in steps)
        return [("", step) for _, step in steps] if usual else None
    kind: Any = type(estimator)
    names = _parameters(kind)
    return None if names is None else [(name, getattr(estimator, name)) for name in names]


@lru_cache(maxsize=256)
def _parameters(kind: Any) -> tuple[str, ...] | None:
    """The parameters of a class of scikit-learn's making; None for one that gets or sets them in a way of its own."""
    from sklearn.base import BaseEstimator

    if not issubclass(kind, BaseEstimator):
        return None
    below = kind.__mro__[: kind.__mro__.index(BaseEstimator)]
    own = ("get_params", "set_params", "_get_param_names")
    return None if any(name in vars(base) for base in below for name in own) else tuple(kind._get_param_names())


@cache
def warm_up() -> None:
    """Have scikit-learn import what it puts off until the first fit: a forked process would import it for itself."""
    from sklearn.linear_model import LinearRegression

    LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]).predict([[0.5]])


def load(path: str, params: Mapping[str, Any], *, fleet: str, problem: str) -> ModelCode:
    """Import the author's code and build one estimator to see that it is one.

    :param problem: the kind: classification needs ``predict_proba``; forecast also takes a forecaster.
    :raises ModelCodeError: naming the fleet and the dotted path.
    """
    code = imported(path, params, fleet=fleet)
    try:
        estimator = code.build(**params)
    except Exception as exc:
        raise ModelCodeError(
            f"fleet {fleet!r}: {path} could not be called with params {dict(params)!r}: {type(exc).__name__}: {exc}"
        ) from exc
    if isinstance(estimator, type):
        raise ModelCodeError(
            f"fleet {fleet!r}: {path} returned the class {estimator.__name__}",
            hint=f"return an estimator: {estimator.__name__}(...)",
        )
    needed = ["fit", "predict"]
    if problem != "forecast" or not is_forecaster(estimator):
        needed += ["get_params", "set_params"] + (["predict_proba"] if problem == "classification" else [])
    missing = [name for name in needed if not hasattr(estimator, name)]
    if missing:
        raise ModelCodeError(
            f"fleet {fleet!r}: {path} returned {type(estimator).__name__}, which has no {', '.join(missing)}",
            hint="return a scikit-learn compatible estimator"
            + (" that predicts probabilities" if missing == ["predict_proba"] else "")
            + (", or a forecaster with fit(y, X) and predict(h, X)" if problem == "forecast" else ""),
        )
    return code


def is_forecaster(model: object) -> bool:
    """Whether a model forecasts a series by itself: its ``predict`` takes the number of steps, `h`, first."""
    predict = getattr(model, "predict", None)
    if predict is None:
        return False
    try:
        parameters = list(inspect.signature(predict).parameters)
    except (TypeError, ValueError):
        return False
    return parameters[:1] == ["h"]


def imported(path: str, params: Mapping[str, Any], *, fleet: str) -> ModelCode:
    """Import the author's code without building anything.

    :raises ModelCodeError: naming the fleet and the dotted path.
    """
    build = resolve(path, fleet=fleet)
    module = importlib.import_module(path.partition(":")[0])
    return ModelCode(path, build, getattr(module, "features", None), getattr(module, "metrics", None), params)


def resolve(path: str, *, fleet: str) -> Callable[..., Any]:
    """The callable a dotted path names.

    :raises ModelCodeError: when it can't be imported or is not callable.
    """
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as exc:
        raise ModelCodeError(
            f"fleet {fleet!r}: {path} can't be imported: {type(exc).__name__}: {exc}",
            hint=f"is the package of {module_name!r} under include/ and installed (`make setup`)?",
        ) from exc
    found = getattr(module, attribute, None)
    if not callable(found):
        raise ModelCodeError(f"fleet {fleet!r}: {path}: module {module_name!r} has no callable {attribute!r}")
    return found


@lru_cache
def code_version(*paths: str) -> str:
    """A digest of all source files of the packages that the dotted paths name, with Modelfleet's version in front.

    Any change in the author's packages makes a new version, and so does another version of an installed distribution that
    they import. A fleet without author's code has Modelfleet's alone.
    """
    digest = hashlib.blake2b(digest_size=8)
    found = libraries.needs(sorted({path.partition(":")[0].partition(".")[0] for path in paths}))
    for package in sorted(found.own):
        for name, file in sorted(chain.from_iterable(map(_source_files, found.own[package]))):
            digest.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
    for name in sorted(found.distributions):
        digest.update(f"{name}=={importlib.metadata.version(name)}\0".encode())
    return f"{modelfleet.__version__}+{digest.hexdigest()}"


def _source_files(place: Path) -> list[tuple[str, Path]]:
    """The files of a package or a single module, with their names relative to it."""
    if not place.is_dir():
        return [(place.stem, place)]
    found = [path for path in place.rglob("*") if path.suffix in {".py", ".sql"}]
    return [(path.relative_to(place).as_posix(), path) for path in found]


def authors_matrix(rows: pd.DataFrame, code: ModelCode) -> pd.DataFrame:
    """What the author's ``features(frame)`` makes of one partition's rows, in time order.

    :raises ModelCodeError: when it does not return one row for each.
    """
    assert code.features is not None
    made = code.features(rows)
    if len(made) != len(rows):
        raise ModelCodeError(f"features() of {code.path} returned {len(made)} rows for {len(rows)}")
    return made


def take(x: Matrix, rows: slice | np.ndarray) -> Matrix:
    """Rows of a matrix by position, whatever index the author's ``features(frame)`` gave it; an array keeps its layout."""
    if hasattr(x, "iloc"):
        return x.iloc[rows]
    taken = x[rows]
    return taken if isinstance(rows, slice) else taken.copy(order="F" if x.flags.fnc else "C")


def all_numbers(schema: pa.Schema, names: Sequence[str]) -> bool:
    """Whether columns are all numbers or bool, so that estimators get an ndarray of them."""
    import pyarrow.types as t

    kinds = [schema.field(name).type for name in names]
    return all(t.is_integer(kind) or t.is_floating(kind) or t.is_boolean(kind) for kind in kinds)


def widened(rows: pa.Table) -> pa.Table:
    """The rows with measurements of single precision as double: what models and an author's code compute with."""
    return rows.cast(widened_schema(rows.schema))


def widened_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of `widened` rows."""
    import pyarrow as pa

    wide = [field.with_type(pa.float64()) if field.type == pa.float32() else field for field in schema]
    return pa.schema(wide, schema.metadata)


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A numeric column as float64, null as NaN."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if column.null_count == 0 and column.num_chunks > 1 and (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return np.concatenate([chunk.to_numpy() for chunk in column.chunks], dtype=np.float64)
    # bool has no direct cast to double in Arrow
    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    return column.cast(pa.float64(), safe=False).to_numpy()
