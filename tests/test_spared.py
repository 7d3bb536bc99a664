"""Checks of scikit-learn that are spared: the models are the same, and what is wrong is still found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import BaggingRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelfleet.pack import dump_model
from modelfleet.prediction import NoModelError, fit
from modelfleet.spared import know_arrays, spared

X = np.random.default_rng(1).normal(size=(60, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + 3.0


class Recording(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Remembers under which configuration it was fitted."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Recording:
        self.config_ = sklearn.get_config()
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(len(x))


def config_of(estimator: Any, x: Any = X, y: np.ndarray = Y) -> dict[str, Any]:
    """The configuration while an estimator is fitted; twice, as the second fit is spared more."""
    for _ in range(2):
        with spared(estimator, x, y):
            config = dict(sklearn.get_config())
    return config


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: Ridge(alpha=0.5), id="ridge"),
        pytest.param(lambda: HistGradientBoostingRegressor(max_iter=5, random_state=7), id="boosting"),
        pytest.param(lambda: make_pipeline(StandardScaler(), Ridge()), id="pipeline"),
        pytest.param(lambda: BaggingRegressor(Ridge(), n_estimators=3, random_state=7), id="bagging"),
    ],
)
def test_models_are_the_same_bytes_as_without_it(build: Any) -> None:
    plain = dump_model(build().fit(X, Y))
    assert [dump_model(fit(build, X, Y)) for _ in range(3)] == [plain] * 3


def test_classes_are_learned_the_same() -> None:
    labels = (Y > 3).astype(float)
    plain = LogisticRegression().fit(X, labels)
    made = [fit(LogisticRegression, X, labels) for _ in range(2)]
    assert all(np.array_equal(plain.coef_, each.coef_) for each in made)


def test_scikit_learns_own_estimators_are_spared_both_checks_the_second_time() -> None:
    config = config_of(Ridge(alpha=0.125))
    assert config["assume_finite"]
    assert config["skip_parameter_validation"]
    assert not sklearn.get_config()["assume_finite"]


@pytest.mark.parametrize(
    ("estimator", "x"),
    [
        pytest.param(make_pipeline(StandardScaler(), Ridge()), X, id="a pipeline, whose scaler may make NaN"),
        pytest.param(BaggingRegressor(Ridge()), X, id="an ensemble that holds an estimator"),
        pytest.param(Recording(), X, id="an author's own"),
        pytest.param(Ridge(), pd.DataFrame(X), id="a data frame"),
    ],
)
def test_others_are_left_alone(estimator: Any, x: Any) -> None:
    config = config_of(estimator, x)
    assert not config["assume_finite"]
    assert not config["skip_parameter_validation"]


@given(
    values=hnp.arrays(
        np.float64, (6, 2), elements=st.one_of(st.floats(-1e300, 1e300), st.sampled_from([math.nan, math.inf, 1e308]))
    )
)
def test_values_count_as_finite_only_if_all_are(values: np.ndarray) -> None:
    with spared(Ridge(), values, np.ones(6)):
        told = sklearn.get_config()["assume_finite"]
    assert not told or np.isfinite(values).all()


@pytest.mark.parametrize("large", [1e39, -1e200])
def test_values_that_overflow_inside_an_estimator_are_not_taken_for_moderate(large: float) -> None:
    values = X.copy()
    values[3, 2] = large
    assert not config_of(Ridge(), values)["assume_finite"]
    with pytest.raises(NoModelError, match="too large for dtype"):
        fit(lambda: GradientBoostingRegressor(n_estimators=2, random_state=0), values, Y)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_wrong_values_are_found_after_right_ones(wrong: float) -> None:
    fit(Ridge, X, Y)
    broken = X.copy()
    broken[7, 1] = wrong
    with pytest.raises(NoModelError, match="Input X contains"):
        fit(Ridge, broken, Y)
    target = Y.copy()
    target[7] = wrong
    with pytest.raises(NoModelError, match="Input y contains"):
        fit(Ridge, X, target)


def test_wrong_parameters_are_found_after_right_ones() -> None:
    for _ in range(2):
        fit(lambda: Ridge(alpha=1.0), X, Y)
    for wrong in (-1.0, "much", None):
        with pytest.raises(NoModelError, match="'alpha' parameter of Ridge must be"):
            fit(lambda wrong=wrong: Ridge(alpha=wrong), X, Y)  # type: ignore[misc]


def test_data_frames_are_still_told_from_arrays() -> None:
    know_arrays()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    made = Ridge().fit(frame, Y)
    assert made.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        made.predict(frame.rename(columns={"a": "z"}))


def test_scikit_learn_still_asks_where_it_is_spared() -> None:
    """A scikit-learn that asks in another place would leave each fit a fifth slower: look again where."""
    from sklearn.utils import validation

    assert hasattr(validation, "_nw_into_df_or_series")
