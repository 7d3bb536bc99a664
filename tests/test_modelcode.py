"""The author's code: refused by name where it is none, made deterministic, given what it is promised."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, HistGradientBoostingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

import author_models
import modelfleet
from modelfleet import modelcode
from modelfleet.errors import ModelCodeError
from modelfleet.modelcode import ModelCode


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an importable package of an author, empty but for its ``__init__``."""
    folder = tmp_path / "authors_shop"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] == "authors_shop"]:
        monkeypatch.delitem(sys.modules, name)
    return folder


@pytest.mark.parametrize(
    "name, params, problem, message",
    [
        ("no_such_package.model:build", {}, "regression", "can't be imported: ModuleNotFoundError"),
        ("author_models:no_such", {}, "regression", "module 'author_models' has no callable 'no_such'"),
        ("author_models:not_callable", {}, "regression", "module 'author_models' has no callable 'not_callable'"),
        ("author_models", {}, "regression", "module 'author_models' has no callable ''"),
        ("author_models:raises", {}, "regression", "could not be called with params {}: RuntimeError: no model today"),
        ("author_models:build", {"beta": 1}, "regression", r"params {'beta': 1}: TypeError"),
        (
            "author_models:nothing",
            {},
            "regression",
            "returned NoneType, which has no fit, predict, get_params, set_params",
        ),
        ("author_models:no_estimator", {}, "regression", "returned dict, which has no fit"),
        ("author_models:a_class", {}, "regression", "returned the class Ridge"),
        ("author_models:build", {}, "classification", "returned Pipeline, which has no predict_proba"),
        ("author_models:no_estimator", {}, "forecast", "returned dict, which has no fit, predict, get_params"),
        ("author_forecasters:last", {}, "regression", "returned Last, which has no get_params, set_params"),
        ("author_forecasters:mute", {}, "forecast", "returned Mute, which has no fit"),
    ],
)
def test_code_that_is_none_is_refused_naming_fleet_and_path(
    name: str, params: dict[str, Any], problem: str, message: str
) -> None:
    with pytest.raises(ModelCodeError) as error:
        modelcode.load(name, params, fleet="shops", problem=problem)
    assert str(error.value).startswith(f"fleet 'shops': {name}")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "name, problem, hint",
    [
        ("build", "classification", "that predicts probabilities"),
        ("a_class", "regression", "Ridge(...)"),
        ("no_estimator", "forecast", "or a forecaster with fit(y, X) and predict(h, X)"),
    ],
)
def test_hints_say_what_to_return(name: str, problem: str, hint: str) -> None:
    with pytest.raises(ModelCodeError) as error:
        modelcode.load(f"author_models:{name}", {}, fleet="shops", problem=problem)
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    "path, problem, forecasts",
    [
        ("author_models:logistic", "classification", False),
        ("author_models:build", "forecast", False),
        ("author_forecasters:last", "forecast", True),
        ("statsforecast.models:Naive", "forecast", True),
    ],
)
def test_estimators_and_for_a_forecast_forecasters_are_taken(path: str, problem: str, forecasts: bool) -> None:
    code = modelcode.load(path, {}, fleet="shops", problem=problem)
    assert modelcode.is_forecaster(code.estimator(7)) == forecasts


def test_module_that_raises_is_refused_with_its_error(package: Path) -> None:
    (package / "broken.py").write_text("raise OSError('no licence')")
    with pytest.raises(
        ModelCodeError, match=r"authors_shop\.broken:build can't be imported: OSError: no licence"
    ) as error:
        modelcode.resolve("authors_shop.broken:build", fleet="shops")
    assert isinstance(error.value.__cause__, OSError)


def test_hooks_of_the_same_module_are_found_and_params_passed(package: Path) -> None:
    text = "from author_models import build\ndef features(frame): return frame\ndef metrics(y_true, y_pred, frame): return {}\n"
    (package / "model.py").write_text(text)
    code = modelcode.load("authors_shop.model:build", {"alpha": 3.0}, fleet="shops", problem="regression")
    assert code.features is not None
    assert code.metrics is not None
    assert code.estimator(1).get_params()["ridge__alpha"] == 3.0
    without = modelcode.load("author_models:build", {}, fleet="shops", problem="regression")
    assert (without.features, without.metrics) == (None, None)


class OwnWay(Ridge):
    """Says itself what its parameters are."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"random_state": self.random_state}


NESTED = (
    Ridge,
    lambda: Ridge(random_state=3),
    HistGradientBoostingRegressor,
    OwnWay,
    lambda: BaggingRegressor(DecisionTreeRegressor()),
    lambda: make_pipeline(StandardScaler(), BaggingRegressor(RandomForestRegressor(random_state=1))),
    lambda: Pipeline([("a", "passthrough"), ("b", make_pipeline(OwnWay()))]),
    lambda: VotingRegressor([("a", Ridge()), ("b", BaggingRegressor(OwnWay()))]),
    lambda: TransformedTargetRegressor(make_pipeline(Ridge())),
)


@pytest.mark.parametrize("build", NESTED)
def test_open_random_states_are_those_that_get_params_names(build: Any) -> None:
    plain = build()
    wanted = {name: 5 for name, value in plain.get_params().items() if "random_state" in name and value is None}
    plain.set_params(**wanted)
    assert repr(ModelCode("", build, None, None).estimator(5).get_params()) == repr(plain.get_params())


def test_open_random_states_are_set_from_the_seed_and_others_left() -> None:
    states = lambda code, seed: {  # noqa: E731
        name: value for name, value in code.estimator(seed).get_params().items() if name.endswith("random_state")
    }
    forest = ModelCode("author_models:forest", author_models.forest, None, None)
    assert states(forest, 5) == {"randomforestregressor__random_state": 5}
    assert states(ModelCode("p", author_models.forest, None, None, {"random_state": 1}), 5) == {
        "randomforestregressor__random_state": 1
    }
    assert states(ModelCode("p", author_models.bagged, None, None), 2**32 - 1) == {
        "baggingregressor__random_state": 2**32 - 1,
        "baggingregressor__estimator__random_state": 7,
    }
    assert states(ModelCode("p", author_models.build, None, None), 5) == {"ridge__random_state": 5}


def version(*paths: str) -> str:
    modelcode.code_version.cache_clear()
    return modelcode.code_version(*paths)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: (folder / "model.py").write_text("x = 2"), id="edited"),
        pytest.param(lambda folder: (folder / "features.sql").write_text("SELECT 2"), id="SQL edited"),
        pytest.param(lambda folder: (folder / "deep" / "new.py").write_text(""), id="added"),
        pytest.param(lambda folder: (folder / "model.py").unlink(), id="removed"),
        pytest.param(lambda folder: (folder / "model.py").rename(folder / "renamed.py"), id="renamed"),
        pytest.param(lambda folder: (folder / "model.py").rename(folder / "deep" / "model.py"), id="moved"),
    ],
)
@pytest.mark.parametrize("namespace", [False, True], ids=["package", "namespace package"])
def test_any_change_of_the_authors_package_changes_the_version(package: Path, change: Any, namespace: bool) -> None:
    if namespace:
        (package / "__init__.py").unlink()
    (package / "model.py").write_text("x = 1")
    (package / "features.sql").write_text("SELECT 1")
    before = version("authors_shop.model:build")
    assert version("authors_shop.model:build", "authors_shop:features.sql") == before
    (package / "notes.txt").write_text("not code")
    assert version("authors_shop.model:build") == before
    change(package)
    assert version("authors_shop.model:build") != before


def test_version_names_modelfleets_and_covers_modules_without_a_package(package: Path) -> None:
    module = package.parent / "single_model.py"
    module.write_text("x = 1")
    before = version("single_model:build")
    assert before.startswith(f"{modelfleet.__version__}+")
    module.write_text("x = 2")
    importlib.invalidate_caches()
    assert len({version("single_model:build"), before, version(), version("authors_shop:build")}) == 4
    assert version("no_such_package:build") == version()


def code(features: Any = None) -> ModelCode:
    return ModelCode("author_models:build", author_models.build, features, None)


ROWS = pa.table(
    {
        "store": ["A", "A", "A"],
        "day": pa.array([1, 2, 3], pa.date32()),
        "n": pa.array([1, None, 3], pa.int64()),
        "x": pa.array([0.5, float("nan"), None], pa.float32()),
        "open": [True, None, False],
        "kind": ["b", None, "c"],
        "target": [1.0, 2.0, 3.0],
    }
)


def test_numbers_and_bools_become_floats_with_nulls_as_nan() -> None:
    nan = np.nan
    for name, expected in {"open": [1, nan, 0], "n": [1, nan, 3], "x": [0.5, nan, nan]}.items():
        found = modelcode.numbers(ROWS.column(name))
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_()], ids=str)
@pytest.mark.parametrize("cuts", [(), (2,), (0, 1, 3)], ids=["one chunk", "two", "an empty one"])
def test_numbers_are_the_same_in_any_chunks(kind: pa.DataType, cuts: tuple[int, ...]) -> None:
    values = pa.array([True, False, True, True]).cast(pa.int8()).cast(kind)
    chunks = [values[start:end] for start, end in zip((0, *cuts), (*cuts, 4), strict=True)]
    found = modelcode.numbers(pa.chunked_array(chunks, kind))
    assert found.dtype == np.float64
    assert found.tolist() == [1.0, 0.0, 1.0, 1.0]


def test_an_author_computes_with_doubles_alone() -> None:
    found = modelcode.widened(ROWS)
    assert found.schema.field("x").type == pa.float64()
    assert found.drop_columns(["x"]).equals(ROWS.drop_columns(["x"]))


@pytest.mark.parametrize("names, numeric", [(("open", "n", "x"), True), (("kind", "n"), False), (("n", "day"), False)])
def test_columns_are_all_numbers_or_not(names: tuple[str, ...], numeric: bool) -> None:
    assert modelcode.all_numbers(ROWS.schema, names) == numeric


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_features_hook_with_another_number_of_rows_is_refused(rows: int) -> None:
    wrong = code(lambda frame: pd.DataFrame({"n": range(rows)}))
    with pytest.raises(ModelCodeError, match=rf"features\(\) of author_models:build returned {rows} rows for 3"):
        modelcode.authors_matrix(ROWS.select(["n"]).to_pandas(), wrong)


def test_rows_are_taken_by_position_whatever_the_index() -> None:
    frame = pd.DataFrame({"n": [1, 2, 3]}, index=[2.5, 0.5, 1.5])
    assert modelcode.take(frame, slice(1, None))["n"].tolist() == [2, 3]
    assert modelcode.take(np.array([[1], [2], [3]]), slice(-1, None)).tolist() == [[3]]


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_that_are_taken_keep_the_layout_of_the_matrix(order: Literal["C", "F"]) -> None:
    whole = np.arange(12.0).reshape(4, 3).copy(order=order)
    found = modelcode.take(whole, np.array([0, 2, 3]))
    assert found.tolist() == whole[[0, 2, 3]].tolist()
    assert found.flags.f_contiguous == (order == "F")
