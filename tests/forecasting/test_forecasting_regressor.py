"""Estimators as forecasters: which rows and which matrix they meet, and the recursion."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from lightgbm import LGBMRegressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from modelfleet import pack
from modelfleet.features import Recipe
from modelfleet.forecasting import DirectRegressor, RecursiveRegressor
from modelfleet.forecasting.weights import fit_estimator, weight_argument
from modelfleet.prediction import NoModelError, Reason
from modelfleet.spec import Features
from modelfleet.spec.features import Lag, Rolling

ROWS, ORIGIN = 40, 33


class Table:
    """A series with a price, as a bucket of one partition, and its matrices by the real recipe."""

    def __init__(self, *past: Any, traffic: bool = False) -> None:
        rng = np.random.default_rng(3)
        self.price = rng.normal(size=ROWS).round(2)
        self.y = (10 + 0.4 * np.arange(ROWS) + 3 * self.price + np.tile([0, 1, 5, 2, 0, 8, 1], 6)[:ROWS]).round(3)
        self.traffic = rng.normal(size=ROWS)
        columns = {"units": self.y, "price": self.price, "traffic": self.traffic}
        columns["day"] = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(ROWS)]
        self.rows = pa.table(columns)
        declared = Features(past=past or (Lag("units", 1, 2, 7), Rolling("units", 3, "mean")), known_ahead=("price",))
        self.recipe = Recipe(declared, target="units", frequency="D", timezone="UTC", categories={})

    def matrix(self, ahead: int, rows: pa.Table | None = None) -> np.ndarray:
        table = self.rows if rows is None else rows
        return self.recipe.compute(table, np.array([0]), time="day", ahead=ahead)

    def past(self, ahead: int) -> np.ndarray:
        return ~self.recipe.known(ahead)

    def shuffled_after(self, origin: int) -> pa.Table:
        """What is not known at the moment of issue is something else."""
        table = self.rows
        for name in ("units", "traffic"):
            values = table.column(name).to_numpy().copy()
            values[origin:] = np.random.default_rng(9).normal(size=ROWS - origin) * 100
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
        return table


class Recorder:
    """Keeps what it was fitted on, and predicts the sum of each row."""

    def fit(self, x: Any, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Recorder:
        self.x, self.y, self.weights = x, y, sample_weight
        return self

    def predict(self, x: Any) -> np.ndarray:
        return np.asarray(x).sum(axis=1)


class TestDirect:
    blocks = ((1, 3), (4, 6), (7, 7))

    def fitted(self, table: Table, **keywords: Any) -> DirectRegressor:
        arguments = {"upto": ORIGIN, "past": table.past, **keywords}
        return DirectRegressor.fit(Recorder, table.matrix, table.y, self.blocks, **arguments)

    def test_each_block_is_fitted_on_what_is_known_at_its_last_step(self) -> None:
        table = Table()
        model = self.fitted(table)
        for (_, ahead), estimator in zip(self.blocks, model.estimators, strict=True):
            matrix = table.matrix(ahead)[:ORIGIN]
            begin = max(ahead, 7)  # lag 7, or the window that ends `ahead` steps before
            np.testing.assert_array_equal(estimator.x, matrix[begin:])
            np.testing.assert_array_equal(estimator.y, table.y[begin:ORIGIN])
            assert not np.isnan(estimator.x).any()

    def test_each_step_is_forecast_by_its_block(self) -> None:
        table = Table()
        wanted = np.concatenate(
            [table.matrix(last)[ORIGIN + first - 1 : ORIGIN + last].sum(axis=1) for first, last in self.blocks]
        )
        model = self.fitted(table)
        np.testing.assert_allclose(model.forecast(table.matrix, ORIGIN, 7), wanted)
        np.testing.assert_allclose(model.forecast(table.matrix, ORIGIN, 5), wanted[:5])

    def test_forecast_reads_nothing_after_its_origin(self) -> None:
        table = Table(Lag("units", 1, 7), Rolling("units", 3, "mean"), Lag("traffic", 1, 7))
        later = table.shuffled_after(ORIGIN)
        models = [
            DirectRegressor.fit(
                Ridge, lambda ahead, rows=rows: table.matrix(ahead, rows), y, self.blocks, upto=ORIGIN, past=table.past
            ).forecast(lambda ahead, rows=rows: table.matrix(ahead, rows), ORIGIN, 7)
            for rows, y in ((table.rows, table.y), (later, later.column("units").to_numpy()))
        ]
        np.testing.assert_array_equal(*models)

    def test_rows_without_a_target_and_before_begin_are_left_out(self) -> None:
        table = Table()
        y = table.y.copy()
        y[[15, 20]] = np.nan
        weights = np.arange(ROWS, dtype=float)
        model = DirectRegressor.fit(
            Recorder, table.matrix, y, ((1, 7),), upto=ORIGIN, begin=12, past=table.past, weights=weights
        )
        rows = [row for row in range(12, ORIGIN) if row not in (15, 20)]
        np.testing.assert_array_equal(model.estimators[0].x, table.matrix(7)[rows])
        np.testing.assert_array_equal(model.estimators[0].y, y[rows])
        np.testing.assert_array_equal(model.estimators[0].weights, weights[rows])

    def test_nulls_after_the_warm_up_are_the_estimators_own_affair(self) -> None:
        table = Table()
        matrix = table.matrix(7).copy()
        matrix[20, 1] = np.nan
        model = DirectRegressor.fit(Recorder, lambda ahead: matrix, table.y, ((1, 7),), upto=ORIGIN, past=table.past)
        np.testing.assert_array_equal(model.estimators[0].x, matrix[7:ORIGIN])

    def test_frame_of_an_author_is_cut_by_position(self) -> None:
        table = Table()
        frame = pd.DataFrame({"price": table.price, "name": ["a", "b"] * (ROWS // 2)}, index=range(100, 100 + ROWS))
        model = DirectRegressor.fit(Recorder, lambda ahead: frame, table.y, ((1, 7),), upto=ORIGIN, past=table.past)
        pd.testing.assert_frame_equal(model.estimators[0].x, frame.iloc[:ORIGIN])
        model.estimators[0] = LinearRegression().fit(frame[["price"]], table.y)
        made = model.forecast(lambda ahead: frame[["price"]], ORIGIN, 7)
        np.testing.assert_allclose(made, model.estimators[0].predict(frame[["price"]].iloc[ORIGIN:]))

    def test_series_that_is_too_young_gets_no_model(self) -> None:
        table = Table(Lag("units", 30))
        with pytest.raises(NoModelError, match="none of 20 rows with a target has all features that look back") as stop:
            DirectRegressor.fit(Ridge, table.matrix, table.y, ((1, 7),), upto=20, past=table.past)
        assert (stop.value.status, stop.value.reason) == ("skipped", Reason.TOO_FEW_ROWS)

    def test_series_without_a_target_gets_no_model(self) -> None:
        table = Table()
        with pytest.raises(NoModelError, match="none of 0 rows"):
            DirectRegressor.fit(Ridge, table.matrix, np.full(ROWS, np.nan), ((1, 7),), upto=20)

    def test_fit_that_raises_fails_with_what_it_said(self) -> None:
        table = Table()
        with pytest.raises(NoModelError, match="Input X contains NaN") as stop:
            DirectRegressor.fit(Ridge, table.matrix, table.y, ((1, 7),), upto=ORIGIN)
        assert stop.value.reason is Reason.FIT_RAISED

    def test_missing_future_rows_fail_with_their_number(self) -> None:
        table = Table()
        with pytest.raises(NoModelError, match="2 of 7 rows to forecast are missing") as stop:
            DirectRegressor.fit(Ridge, table.matrix, table.y, ((1, 7),), upto=ORIGIN, past=table.past).forecast(
                table.matrix, ROWS - 5, 7
            )
        assert stop.value.reason is Reason.PREDICTION_INVALID

    def test_longer_horizon_than_was_fitted_is_refused(self) -> None:
        table = Table()
        with pytest.raises(ValueError, match="8 steps are asked for; the estimators were fitted for 7"):
            self.fitted(table).forecast(table.matrix, 20, 8)

    def test_prediction_that_is_not_finite_fails(self) -> None:
        table = Table()
        matrix = table.matrix(7).copy()
        model = DirectRegressor.fit(Recorder, lambda ahead: matrix, table.y, ((1, 7),), upto=ORIGIN, past=table.past)
        matrix[ORIGIN + 2, 0] = np.nan
        with pytest.raises(NoModelError, match="NaN or infinity for 1 of 7 rows"):
            model.forecast(lambda ahead: matrix, ORIGIN, 7)


class TestRecursive:
    def plain(self, table: Table, estimator: Any, horizon: int) -> np.ndarray:
        """One step after the other, each by the whole table's matrix."""
        y = table.y.copy()
        for row in range(ORIGIN, ORIGIN + horizon):
            y[row:] = np.nan
            rows = table.rows.set_column(0, "units", pa.array(y, from_pandas=True))
            y[row] = estimator.predict(table.matrix(1, rows)[row : row + 1])[0]
        return y[ORIGIN : ORIGIN + horizon]

    def test_predictions_take_the_place_of_what_is_not_known(self) -> None:
        table = Table(Lag("units", 1, 2, 7), Rolling("units", 3, "mean"), Rolling("units", 5, "std"))
        x = table.matrix(1)
        model = RecursiveRegressor.fit(Ridge, x, table.y, upto=ORIGIN, past=table.past(1))
        np.testing.assert_array_equal(model.estimator.coef_, Ridge().fit(x[7:ORIGIN], table.y[7:ORIGIN]).coef_)
        made = model.forecast(table.recipe, x, table.y[:ORIGIN], ORIGIN, 7)
        np.testing.assert_allclose(made, self.plain(table, model.estimator, 7), rtol=1e-12)
        assert not np.allclose(made, model.estimator.predict(x[ORIGIN:]))

    def test_forecast_reads_nothing_after_its_origin(self) -> None:
        table = Table(Lag("units", 1, 7), Lag("traffic", 1), Rolling("traffic", 3, "mean"))
        later = table.shuffled_after(ORIGIN)
        made = [
            RecursiveRegressor.fit(Ridge, x, y, upto=ORIGIN, past=table.past(1)).forecast(table.recipe, x, y, ORIGIN, 7)
            for x, y in (
                (table.matrix(1), table.y),
                (table.matrix(1, later), later.column("units").to_numpy()),
            )
        ]
        np.testing.assert_array_equal(*made)

    def test_inputs_are_left_as_they_were(self) -> None:
        table = Table()
        x, y = table.matrix(1), table.y.copy()
        before = x.copy()
        RecursiveRegressor.fit(Ridge, x, y, upto=ORIGIN, past=table.past(1)).forecast(table.recipe, x, y, ORIGIN, 7)
        np.testing.assert_array_equal(x, before)
        np.testing.assert_array_equal(y, table.y)

    def test_features_that_do_not_look_back_need_no_recursion(self) -> None:
        table = Table()
        recipe = Recipe(Features(known_ahead=("price",)), target=None, frequency="D", timezone="UTC", categories={})
        x = recipe.compute(table.rows, np.array([0]), time="day")
        model = RecursiveRegressor.fit(Ridge, x, table.y, upto=ORIGIN)
        np.testing.assert_allclose(
            model.forecast(recipe, x, table.y[:ORIGIN], ORIGIN, 7), model.estimator.predict(x[ORIGIN:])
        )

    def test_frame_of_an_author_is_refused(self) -> None:
        table = Table()
        frame = pd.DataFrame({"price": table.price})
        model = RecursiveRegressor.fit(Ridge, frame, table.y, upto=ORIGIN)
        with pytest.raises(NoModelError, match="leave out features"):
            model.forecast(table.recipe, frame, table.y, ORIGIN, 7)


def test_fitted_regressors_are_pickled_alike() -> None:
    table = Table()
    dumped = [
        pack.dump_model(
            DirectRegressor.fit(Ridge, table.matrix, table.y, ((1, 3), (4, 7)), upto=ORIGIN, past=table.past)
        )
        for _ in range(2)
    ]
    assert dumped[0] == dumped[1]
    loaded = pickle.loads(dumped[0][0])
    assert loaded.forecast(table.matrix, ORIGIN, 7).shape == (7,)


class TestWeights:
    x = np.random.default_rng(0).normal(size=(30, 2))
    y = np.random.default_rng(1).normal(size=30)
    weights = np.arange(30) % 2.0

    @pytest.mark.parametrize(
        "build, argument",
        [
            pytest.param(Ridge, "sample_weight", id="an estimator"),
            pytest.param(lambda: make_pipeline(StandardScaler(), Ridge()), "ridge__sample_weight", id="a pipeline"),
            pytest.param(
                lambda: Pipeline([("a", StandardScaler()), ("b", make_pipeline(Ridge()))]),
                "b__ridge__sample_weight",
                id="a pipeline in a pipeline",
            ),
            pytest.param(
                lambda: TransformedTargetRegressor(Ridge(), func=np.exp, inverse_func=np.log),
                "sample_weight",
                id="a transformed target",
            ),
            pytest.param(
                lambda: TransformedTargetRegressor(make_pipeline(Ridge())), "ridge__sample_weight", id="of a pipeline"
            ),
            pytest.param(lambda: GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=2), "sample_weight", id="a search"),
            pytest.param(
                lambda: LGBMRegressor(n_estimators=5, min_child_samples=2, verbose=-1), "sample_weight", id="LightGBM"
            ),
            pytest.param(KNeighborsRegressor, None, id="one that takes none"),
            pytest.param(lambda: make_pipeline(KNeighborsRegressor()), None, id="a pipeline that takes none"),
            pytest.param(lambda: Pipeline([("a", StandardScaler()), ("b", "passthrough")]), None, id="no last step"),
        ],
    )
    def test_weights_reach_the_estimator(self, build: Any, argument: str | None) -> None:
        assert weight_argument(build()) == argument
        if argument is None:
            with pytest.raises(TypeError, match="takes no sample_weight: leave out the weight of training, or use"):
                fit_estimator(build(), self.x, self.y, self.weights)
            return
        weighted = fit_estimator(build(), self.x, self.y, self.weights)
        plain = fit_estimator(build(), self.x, self.y)
        assert not np.allclose(weighted.predict(self.x), plain.predict(self.x))

    def test_weight_of_zero_leaves_a_row_out(self) -> None:
        weighted = fit_estimator(make_pipeline(LinearRegression()), self.x, self.y, self.weights)
        np.testing.assert_allclose(
            weighted.predict(self.x), LinearRegression().fit(self.x[1::2], self.y[1::2]).predict(self.x)
        )

    def test_estimator_that_takes_none_fails_with_the_remedy(self) -> None:
        table = Table()
        with pytest.raises(NoModelError, match="with the last step KNeighborsRegressor takes no sample_weight") as stop:
            DirectRegressor.fit(
                lambda: make_pipeline(StandardScaler(), KNeighborsRegressor()),
                table.matrix,
                table.y,
                ((1, 7),),
                upto=ORIGIN,
                past=table.past,
                weights=np.ones(ROWS),
            )
        assert (stop.value.status, stop.value.reason) == ("failed", Reason.FIT_RAISED)
