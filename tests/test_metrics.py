"""Metrics against scikit-learn and utilsforecast, and every edge where they have no useful answer."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
import utilsforecast.losses as uf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelfleet import metric_names, metrics

NAN = math.nan
# Thousandths: ties and exact zeros are common, and no result hangs on the last bit of a cancelled sum.
NUMBERS = st.integers(-5_000_000, 5_000_000).map(lambda i: i / 1000) | st.sampled_from([0.0, 0.1, 1.0, -1.0])
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40)
CHANCES = st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 1.0])
ROWS = st.lists(st.tuples(st.integers(0, 1), CHANCES, st.integers(0, 1)), min_size=1, max_size=40)


def close(got: float, wanted: float) -> bool:
    return math.isnan(got) if math.isnan(wanted) else math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=150, deadline=None)
@given(PAIRS)
@example([(0.1, 1.0)] * 3)
@example([(0.0, 1.0), (0.0, 0.0)])
@example([(2.0, 3.0)])
def test_regression_equals_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    y, p = (np.array(column) for column in zip(*pairs, strict=True))
    nonzero = y != 0
    wanted = {
        "mae": sk.mean_absolute_error(y, p),
        "rmse": sk.root_mean_squared_error(y, p),
        "mape": sk.mean_absolute_percentage_error(y[nonzero], p[nonzero]) if nonzero.any() else NAN,
        "wape": sk.mean_absolute_error(y, p) / np.mean(np.abs(y)) if nonzero.any() else NAN,
        "r2": sk.r2_score(y, p) if len(set(y)) > 1 else NAN,
        "bias": np.mean(p - y),
    }
    got = metrics.regression(y, p)
    assert tuple(got) == metric_names.REGRESSION
    assert {name: value for name, value in got.items() if not close(value, wanted[name])} == {}


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from([np.float64, np.float32]))
@example([(1, 0.5, 1), (0, 0.5, 0), (1, 0.5, 0), (0, 0.5, 1)], np.float64)
@example([(0, 1.0, 0), (1, 0.0, 0)], np.float32)
@example([(1, 0.0, 1)], np.float64)
def test_classification_equals_scikit_learn(rows: list[tuple[int, float, int]], dtype: Any) -> None:
    y, p, c = (np.array(column) for column in zip(*rows, strict=True))
    p = p.astype(dtype)
    wanted = {
        "accuracy": sk.accuracy_score(y, c),
        "log_loss": sk.log_loss(y, np.column_stack([1 - p, p]), labels=[0, 1]),
        "roc_auc": sk.roc_auc_score(y, p) if len(set(y)) > 1 else NAN,
        "f1": sk.f1_score(y, c, zero_division=NAN),
        "brier": sk.brier_score_loss(y, p.astype(float), pos_label=1),
    }
    got = metrics.classification(y, p, c)
    assert tuple(got) == metric_names.CLASSIFICATION
    # float32: scikit-learn forms 1 - p in float32.
    tolerance = 1e-9 if dtype is np.float64 else 1e-5
    for name, value in got.items():
        assert value == pytest.approx(wanted[name], rel=tolerance, abs=tolerance, nan_ok=True), name


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=30),
    st.lists(NUMBERS, min_size=2, max_size=40),
    st.integers(1, 8),
)
@example([(1.0, 1.0, 0.0, 1.0, 2.0)], [3.0, 3.0, 3.0], 1)
def test_forecast_equals_scikit_learn_and_utilsforecast(
    rows: list[tuple[float, ...]], history: list[float], season: int
) -> None:
    table = np.array(rows)
    y, p, bands = table[:, 0], table[:, 1], np.sort(table[:, 2:], axis=1)
    quantiles = (0.1, 0.5, 0.975)
    past = np.array(history)
    scale = metrics.scale(past, season)
    got = metrics.forecast(y, p, quantiles=quantiles, predicted=bands, scale=scale)
    assert tuple(got) == metric_names.FORECAST
    assert {name: got[name] for name in metric_names.REGRESSION} == pytest.approx(metrics.regression(y, p), nan_ok=True)
    losses = [sk.mean_pinball_loss(y, bands[:, place], alpha=q) for place, q in enumerate(quantiles)]
    assert close(got["pinball"], float(np.mean(losses)))

    frame = pd.DataFrame({"unique_id": 0, "ds": range(len(y)), "y": y, "model": p})
    frame[["q10", "q50", "q97_5"]] = bands
    names = {"model": ["q10", "q50", "q97_5"]}
    assert close(got["pinball"], uf.mqloss(frame, names, np.array(quantiles))["model"].item())
    frame["model-lo-80"], frame["model-hi-80"] = bands[:, 0], bands[:, -1]
    assert close(got["coverage"], uf.coverage(frame, ["model"], level=80)["model"].item())
    if not math.isnan(scale):
        train = pd.DataFrame({"unique_id": 0, "ds": range(-len(past), 0), "y": past})
        wanted = uf.mase(frame, ["model"], seasonality=season, train_df=train)["model"].item()
        assert close(got["mase"], wanted if scale > 0 else NAN)


@pytest.mark.parametrize(
    "y, season, wanted",
    [
        pytest.param([1, 3, 2], 1, 1.5, id="one step"),
        pytest.param([1, 3, 2, 7], 2, 2.5, id="a season"),
        pytest.param([1, 3], 2, NAN, id="no longer than a season"),
        pytest.param([], 1, NAN, id="nothing"),
        pytest.param([4, 4, 4], 1, 0.0, id="a constant"),
    ],
)
def test_scale_is_the_mean_seasonal_difference(y: Any, season: int, wanted: float) -> None:
    assert close(metrics.scale(y, season), wanted)


@pytest.mark.parametrize(
    "keywords, wanted",
    [
        pytest.param({"scale": 2.0}, (0.5, NAN, NAN), id="no quantiles"),
        pytest.param({"scale": 0.0}, (NAN, NAN, NAN), id="a scale of zero"),
        pytest.param({"scale": NAN}, (NAN, NAN, NAN), id="no scale"),
        pytest.param({"scale": 2.0, "quantiles": (0.1, 0.9)}, (0.5, NAN, NAN), id="quantiles that are not there"),
        pytest.param(
            {"scale": 2.0, "quantiles": (0.5,), "predicted": [[2], [2]]}, (0.5, 0.25, NAN), id="one has no coverage"
        ),
        pytest.param(
            {"scale": 2.0, "quantiles": (0.1, 0.9), "predicted": [[1, 3], [2.5, 4]]}, (0.5, 0.2125, 0.5), id="two"
        ),
    ],
)
def test_forecast_edge_is_as_defined(keywords: Any, wanted: tuple[float, ...]) -> None:
    got = metrics.forecast([1, 2], [2, 3], **keywords)
    assert [got[name] for name in ("mase", "pinball", "coverage")] == pytest.approx(wanted, nan_ok=True)


def test_forecast_without_rows_is_nan() -> None:
    got = metrics.forecast([], [], quantiles=(0.1, 0.9), predicted=np.empty((0, 2)), scale=1.0)
    assert tuple(got) == metric_names.FORECAST
    assert all(math.isnan(value) for value in got.values())


@pytest.mark.parametrize(
    "truth, predicted, name, wanted",
    [
        pytest.param([0, 0, 2], [1, 5, 1], "mape", 0.5, id="mape leaves out zero targets"),
        pytest.param([0, 0], [1, 5], "mape", NAN, id="mape with zero targets only"),
        pytest.param([0, 0], [1, 5], "wape", NAN, id="wape with zero targets only"),
        pytest.param([1, -1], [2, -1], "wape", 0.5, id="wape takes absolute targets"),
        pytest.param([3], [3], "r2", NAN, id="r2 of one row"),
        pytest.param([3, 3], [3, 3], "r2", NAN, id="r2 of a constant, met exactly"),
        pytest.param([0.1] * 3, [1, 2, 3], "r2", NAN, id="r2 of a constant that is not its own mean"),
        pytest.param([1e-200, 0], [0, 0], "r2", NAN, id="r2 whose spread underflows"),
        pytest.param([1, 2], [3, 3], "bias", 1.5, id="bias is prediction minus target"),
        pytest.param([], [], "mae", NAN, id="no rows"),
        pytest.param([1, 2], [1e200, 0], "rmse", math.inf, id="squares that overflow"),
        pytest.param([[1], [2]], [[2], [3]], "mae", 1.0, id="columns do not broadcast"),
        pytest.param([True, False], [1, 1], "mae", 0.5, id="bools"),
    ],
)
def test_regression_edge_is_as_defined(truth: Any, predicted: Any, name: str, wanted: float) -> None:
    assert close(metrics.regression(truth, predicted)[name], wanted)


@pytest.mark.parametrize(
    "truth, chance, predicted, name, wanted",
    [
        pytest.param([1, 1], [0.2, 0.9], [0, 1], "roc_auc", NAN, id="auc with one class"),
        pytest.param([1, 0], [0.5, 0.5], [1, 1], "roc_auc", 0.5, id="auc of a tie"),
        pytest.param([0, 0], [0.1, 0.2], [0, 0], "f1", NAN, id="f1 with no positive anywhere"),
        pytest.param([0, 0], [0.1, 0.9], [0, 1], "f1", 0.0, id="f1 with a false positive only"),
        pytest.param([1, 0], [0.1, 0.2], [0, 0], "f1", 0.0, id="f1 with nothing found"),
        pytest.param([0, 0], [0.5, 0.5], [0, 0], "log_loss", math.log(2), id="log_loss with one class"),
        pytest.param([1], [0.0], [0], "log_loss", -math.log(np.finfo(float).eps), id="log_loss is clipped"),
        pytest.param([], [], [], "accuracy", NAN, id="no rows"),
        pytest.param([True, False], [1, 0], [True, False], "accuracy", 1.0, id="bools"),
    ],
)
def test_classification_edge_is_as_defined(truth: Any, chance: Any, predicted: Any, name: str, wanted: float) -> None:
    assert close(metrics.classification(truth, chance, predicted)[name], wanted)


@pytest.mark.parametrize(
    "call, match",
    [
        (
            lambda: metrics.regression([1, 2, 3], [NAN, math.inf, 1]),
            "y_pred holds 2 of 3 values that are NaN or infinite",
        ),
        (lambda: metrics.regression([1, NAN], [1, 2]), "y_true holds 1 of 2 values that are NaN"),
        (lambda: metrics.regression([1, 2], [1]), "y_pred has 1 values for 2 rows"),
        (lambda: metrics.regression([1, 2], [[1, 2], [3, 4]]), r"y_pred has shape \(2, 2\)"),
        (lambda: metrics.regression([1], 1.0), r"y_pred has shape \(\)"),
        (lambda: metrics.classification([0, 1], [0.5, NAN], [0, 1]), "probability holds 1 of 2 values that are NaN"),
        (
            lambda: metrics.classification([0, 1], [0.5, 1.5], [0, 1]),
            r"probability holds 1 of 2 values outside \[0, 1\]",
        ),
        (lambda: metrics.classification([0, 1], [0.5, 0.5], [0, NAN]), "y_pred holds 1 of 2 values that are NaN"),
        (
            lambda: metrics.classification([0, 1], [0.5, 0.5], [0, 2]),
            "y_pred holds 1 of 2 values that are neither 0 nor 1",
        ),
        (lambda: metrics.classification([-1, 1], [0.5, 0.5], [0, 1]), "y_true holds 1 of 2 values that are neither"),
        (
            lambda: metrics.forecast([1, 2], [1, 2], quantiles=(0.1, 0.9), predicted=[[1, 2]], scale=1.0),
            r"predicted has shape \(1, 2\) for 2 rows and 2 quantiles",
        ),
        (
            lambda: metrics.forecast([1], [1], quantiles=(0.1, 0.9), predicted=[[1, NAN]], scale=1.0),
            "predicted holds 1 of 2 values that are NaN",
        ),
    ],
)
def test_bad_values_raise_with_their_number(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_inputs_are_left_as_they_were() -> None:
    arrays = [np.array(values) for values in ([0.0, 1.0, 1.0], [0.9, 0.2, 0.5], [1.0, 0.0, 1.0])]
    copies = [array.copy() for array in arrays]
    metrics.classification(*arrays)
    metrics.regression(arrays[0], arrays[1])
    assert all((array == copy).all() for array, copy in zip(arrays, copies, strict=True))


def test_every_metric_has_a_direction() -> None:
    assert set(metric_names.DIRECTIONS) == {*metric_names.FORECAST, *metric_names.CLASSIFICATION}
    higher = {name for name in metric_names.DIRECTIONS if metric_names.lower_is_better(name) is False}
    assert higher == {"r2", "accuracy", "roc_auc", "f1"}
    assert {name for name in metric_names.DIRECTIONS if metric_names.lower_is_better(name) is None} == {
        "bias",
        "coverage",
    }
    assert metric_names.lower_is_better("of_an_author") is None


def test_names_of_a_problem_and_refusal_of_others() -> None:
    assert metric_names.names("regression") == metric_names.REGRESSION
    assert metric_names.names("classification") == metric_names.CLASSIFICATION
    assert metric_names.names("forecast") == metric_names.FORECAST
    with pytest.raises(ValueError, match="'ranking'; allowed: regression, classification, forecast"):
        metric_names.names("ranking")


def test_names_are_importable_without_numpy() -> None:
    code = "import sys, modelfleet.metric_names; sys.exit('numpy' in sys.modules)"
    path = str(metric_names.__file__).rsplit("/modelfleet/", 1)[0]
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, check=False)
    assert done.returncode == 0
