"""Models of series against a computation by hand: what they are fitted on, what they see, and what is measured of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from forecast_bench import LAST, RIDGE, Part, Row, day, model_of, part, problem, sample, spec, train
from modelfleet import Candidate, FleetSpec, Training
from modelfleet.forecasting import Residuals, naive
from modelfleet.metrics import forecast, scale
from modelfleet.training.selection import compete

ITEM = ("S", "I")
DAYS, HORIZON = 84, 7
ORIGIN = DAYS - HORIZON
GIVEN = part(DAYS, seed=1)
Y = np.array(GIVEN["y"])
WARM = 8
"""The rows before have no lag of 8."""
QUANTILES = (0.1, 0.5, 0.9)


def only(of: FleetSpec, given: Part = GIVEN) -> Row:
    return train({ITEM: given}, of)[ITEM]


def ridge(**changes: Any) -> FleetSpec:
    """A fleet with one candidate, which is not fitted again on the holdout."""
    training = {"folds": 3, "min_rows": 20, "refit": False, **changes.pop("training", {})}
    return spec(**{"candidates": (Candidate(RIDGE),), "training": Training(**training), **changes})


def features(y: np.ndarray, ahead: int) -> np.ndarray:
    """The columns of `forecast_bench.spec`, by pandas: price, two lags, a rolling mean, the weekday."""
    series = pd.Series(y)
    past = [series.shift(steps) for steps in (7, 8) if steps >= ahead]
    past.append(series.shift(ahead).rolling(14, min_periods=1).mean())
    weekdays = [moment.weekday() for moment in GIVEN["day"]]
    return np.column_stack([GIVEN["price"], *past, weekdays])


def fitted(x: np.ndarray, upto: int = ORIGIN, begin: int = WARM, **fit: Any) -> Ridge:
    rows = slice(begin, upto)
    return Ridge(alpha=1.0).fit(x[rows], Y[rows], **{name: values[rows] for name, values in fit.items()})


def assert_measured(row: Row, predicted: np.ndarray) -> None:
    assert row["status"] == "trained", row["message"]
    expected = forecast(Y[ORIGIN:], predicted, scale=scale(Y[:ORIGIN], 7))
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_direct_estimator_sees_what_is_known_a_horizon_before_each_step() -> None:
    x = features(Y, HORIZON)
    assert_measured(only(ridge()), fitted(x).predict(x[ORIGIN:]))


@pytest.mark.parametrize("steps", [1, 3])
def test_each_block_of_steps_has_an_estimator_that_sees_so_much_more(steps: int) -> None:
    expected = np.empty(HORIZON)
    for first in range(0, HORIZON, steps):
        block = slice(first, min(first + steps, HORIZON))
        x = features(Y, block.stop)
        assert len(x[0]) == 5
        begin = max(WARM, block.stop)
        expected[block] = fitted(x, begin=begin).predict(x[ORIGIN:][block])
    row = only(ridge(problem=problem(steps_per_model=steps)))
    assert_measured(row, expected)
    assert len(model_of(row).fitted.estimators) == -(-HORIZON // steps)


def test_recursive_estimator_takes_its_predictions_for_what_is_not_known_yet() -> None:
    model = fitted(features(Y, 1))
    known = Y.copy()
    known[ORIGIN:] = np.nan
    for row in range(ORIGIN, DAYS):
        known[row] = model.predict(features(known, 1)[row : row + 1])[0]
    assert_measured(only(ridge(problem=problem(strategy="recursive"))), known[ORIGIN:])


def test_forecaster_sees_the_series_alone() -> None:
    row = only(ridge(candidates=(Candidate(LAST, params={"shift": 0.5}),)))
    assert_measured(row, np.full(HORIZON, Y[ORIGIN - 1] + 0.5))
    assert row["code"] == LAST


def test_statsforecast_model_forecasts_as_by_itself() -> None:
    from statsforecast.models import WindowAverage

    expected = WindowAverage(14).fit(Y[:ORIGIN]).predict(HORIZON)["mean"]
    path = "statsforecast.models:WindowAverage"
    assert_measured(only(ridge(candidates=(Candidate(path, params={"window_size": 14}),))), expected)


def test_baseline_is_the_naive_forecast_of_the_rows_before_the_holdout() -> None:
    for kind in ("seasonal_naive", "last", "mean", "drift"):
        row = only(ridge(problem=problem(baseline=kind)))
        expected = forecast(Y[ORIGIN:], naive(kind, Y[:ORIGIN], HORIZON, 7), scale=scale(Y[:ORIGIN], 7))
        assert row["baseline_wape"] == expected["wape"], kind
        assert (row["baseline_status"], row["baseline_value"]) == ("compared", None)


def test_weights_reach_the_estimator() -> None:
    x = features(Y, HORIZON)
    row = only(ridge(training={"weight": "w"}))
    assert_measured(row, fitted(x, sample_weight=np.array(GIVEN["w"])).predict(x[ORIGIN:]))
    assert row["mae"] != only(ridge())["mae"]


def test_rows_in_the_gap_are_not_fitted_on_but_looked_back_on() -> None:
    x = features(Y, HORIZON)
    row = only(ridge(training={"gap": "3D"}))
    assert_measured(row, fitted(x, upto=ORIGIN - 3).predict(x[ORIGIN:]))
    assert row["n_train"] == ORIGIN - 3


def test_refit_model_has_seen_the_holdout_and_the_metrics_have_not() -> None:
    x = features(Y, HORIZON)
    row = only(ridge(training={"refit": True}))
    assert_measured(row, fitted(x).predict(x[ORIGIN:]))
    again = model_of(row).fitted.estimators[0]
    np.testing.assert_allclose(again.coef_, fitted(x, upto=DAYS).coef_, rtol=1e-9)


def test_every_fold_is_fitted_on_the_rows_before_it_and_their_mean_score_is_kept() -> None:
    x = features(Y, HORIZON)
    wapes = {}
    for fold in range(3):
        origin = DAYS - HORIZON * (fold + 1)
        window = slice(origin, origin + HORIZON)
        error = np.abs(fitted(x, upto=origin).predict(x[window]) - Y[window])
        wapes[str(fold)] = error.sum() / np.abs(Y[window]).sum()
    row = only(ridge())
    (told,) = json.loads(row["candidates"])
    assert told["folds"] == pytest.approx(wapes, rel=1e-9)
    assert told["score"] == pytest.approx(np.mean(list(wapes.values())), rel=1e-9)
    assert (row["n_folds"], row["n_train"], row["n_test"]) == (3, ORIGIN, HORIZON)
    assert (row["window_start"].date(), row["window_end"].date()) == (GIVEN["day"][0], day("2013-03-31"))


class TestQuantiles:
    @staticmethod
    def errors(given: Part) -> list[np.ndarray]:
        """What the candidate errs in each fold, the holdout first."""
        at = sample(given, ridge())
        (trial,) = compete(at, at.plan.learners, metric="wape")
        return [np.array(given["y"])[slice(*at.span(fold)[1:])] - trial.predicted[fold].values for fold in range(3)]

    @staticmethod
    def predicted(given: Part) -> np.ndarray:
        at = sample(given, ridge())
        (trial,) = compete(at, at.plan.learners, metric="wape")
        return trial.predicted[0].values

    def test_measured_ones_are_made_of_the_errors_of_the_folds_before_the_holdout(self) -> None:
        mean, errors = self.predicted(GIVEN), self.errors(GIVEN)
        bands = Residuals.of(np.stack(errors[1:]), QUANTILES).apply(mean)
        expected = forecast(Y[ORIGIN:], mean, quantiles=QUANTILES, predicted=bands, scale=1.0)
        row = only(ridge(problem=problem(quantiles=QUANTILES)))
        assert (row["pinball"], row["coverage"]) == pytest.approx((expected["pinball"], expected["coverage"]))

    def test_served_ones_know_the_errors_of_the_holdout_too(self) -> None:
        row = only(ridge(problem=problem(quantiles=QUANTILES)))
        wanted = Residuals.of(np.stack(self.errors(GIVEN)), QUANTILES)
        np.testing.assert_allclose(model_of(row).residuals.offsets, wanted.offsets, rtol=1e-9)

    def test_holdout_that_is_like_nothing_before_is_not_covered(self) -> None:
        changed = {**GIVEN, "y": [*Y[:ORIGIN].tolist(), *(Y[ORIGIN:] + 50.0).tolist()]}
        row = only(ridge(problem=problem(quantiles=QUANTILES)), changed)
        assert row["coverage"] == 0.0
        assert model_of(row).residuals.offsets[:, -1].min() > 40.0

    def test_of_one_fold_there_are_none_to_measure(self) -> None:
        row = only(ridge(problem=problem(quantiles=QUANTILES), training={"folds": 1}))
        assert (np.isnan(row["pinball"]), np.isnan(row["coverage"])) == (True, True)
        assert model_of(row).residuals is not None

    @pytest.mark.parametrize("intervals, own", [("model", True), ("residuals", False)])
    def test_forecaster_gives_its_own_unless_residuals_are_asked_for(self, intervals: Any, own: bool) -> None:
        of = ridge(
            candidates=(Candidate("author_forecasters:band"),),
            problem=problem(quantiles=QUANTILES, intervals=intervals),
        )
        row = only(of)
        last = np.full(HORIZON, Y[ORIGIN - 1])
        bands = np.column_stack([last - 1.0, last, last + 1.0])
        expected = forecast(Y[ORIGIN:], last, quantiles=QUANTILES, predicted=bands, scale=1.0)
        assert (row["pinball"] == pytest.approx(expected["pinball"])) == own

    def test_baseline_has_its_textbook_ones(self) -> None:
        row = only(ridge(problem=problem(quantiles=QUANTILES)))
        assert 0.0 < row["baseline_pinball"] < row["baseline_mae"]
        assert 0.0 <= row["baseline_coverage"] <= 1.0
