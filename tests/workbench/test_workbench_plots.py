"""Predictions and plots of a fit."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import modelfleet
from modelfleet import (
    Classification,
)
from modelfleet.errors import DataError, NotFoundError
from modelfleet.workbench import Fleet
from modelfleet.workbench.fitting import candidates_frame
from prepared_bench import KEY, readings
from workbench_bench import HORIZON, Lay, at_times, daily


def test_a_fit_forecasts_the_steps_after_the_interval(series: Fleet) -> None:
    made = series.partition("shop=a").fit().forecast()
    assert list(made["step"]) == list(range(1, HORIZON + 1))
    first = date.fromisoformat(KEY) + timedelta(days=1)
    assert list(pd.to_datetime(made["day"]).dt.date) == [first + timedelta(days=n) for n in range(HORIZON)]
    assert (made["q10"] <= made["q90"]).all()
    assert set(made["source"]) == {"model"}


def test_a_skipped_partition_is_forecast_by_the_baseline(series: Fleet) -> None:
    assert set(series.partition("shop=young").fit().forecast()["source"]) == {"baseline"}


def test_without_a_training_there_is_no_stored_model(series: Fleet) -> None:
    with pytest.raises(NotFoundError, match="has no models\nHint: fit"):
        series.partition("shop=a").forecast()


def test_a_regression_predicts_its_own_rows_and_others(rows: Fleet) -> None:
    fit = rows.partition("shop=a").fit()
    own = fit.predict()
    assert list(own.columns) == ["at", "units", "prediction", "source"]
    np.testing.assert_allclose(own["prediction"], fit.model.predict(rows.partition("shop=a").matrix().to_numpy()))
    frame = pd.DataFrame({"at": [pd.Timestamp("2024-04-01", tz="UTC")], "price": [1.5]})
    np.testing.assert_allclose(fit.predict(frame)["prediction"], fit.model.predict([[1.5]]))
    with pytest.raises(DataError, match="the rows lack 'price'"):
        fit.predict(frame.drop(columns="price"))
    with pytest.raises(DataError, match="is a regression, no forecast"):
        fit.forecast()


def names_of(figure: Any) -> list[str]:
    return [trace.name for trace in figure.data]


def test_a_forecasts_plot_shows_series_band_baseline_and_prediction(series: Fleet) -> None:
    fit = series.partition("shop=a").fit()
    figure = fit.plot()
    assert names_of(figure) == ["units", "q10 to q90", "baseline", "prediction"]
    np.testing.assert_allclose(figure.data[-1].y, fit.holdout()["prediction"])
    assert fit.candidate in figure.layout.title.text


def test_a_regressions_plot_shows_truth_against_prediction(rows: Fleet) -> None:
    fit = rows.partition("shop=a").fit()
    figure = fit.plot()
    assert names_of(figure) == ["exact", "prediction"]
    np.testing.assert_allclose(figure.data[1].x, fit.holdout()["actual"])


def test_a_classifications_plot_shows_the_probability(lay: Lay) -> None:
    table = at_times(daily())
    late = pa.array((table["units"].to_numpy() > 21).astype(np.int64))
    table = table.drop_columns(["units"]).append_column("late", late)
    lay(readings(name="shops", problem=Classification(target="late"), model="author_models:logistic"), table)
    fit = modelfleet.open("shops").partition("shop=a").fit()
    assert names_of(fit.plot()) == ["exact", "probability"]
    assert {"actual", "prediction", "probability", "baseline"} <= set(fit.holdout().columns)


def test_a_skipped_partitions_plot_shows_its_target_and_why(series: Fleet) -> None:
    figure = series.partition("shop=young").fit().plot()
    assert names_of(figure) == ["units"]
    assert "too_few_rows" in figure.layout.title.text


def test_candidates_are_a_table_with_a_column_per_fold() -> None:
    table = candidates_frame(
        [
            {"name": "a", "score": 1.0, "folds": {"0": 1.0, "1": 1.0}, "seconds": 0.1},
            {"name": "b", "score": 2.0, "folds": {"0": 2.0}, "seconds": 0.1, "failed": {"1": "ValueError: no"}},
            {"name": "c", "score": 3.0, "folds": {"0": 3.0}, "seconds": 0.1, "dropped": True},
        ]
    )
    assert list(table.columns) == ["candidate", "score", "fold_0", "fold_1", "seconds", "failed", "dropped"]
    assert list(table["failed"]) == [None, "ValueError: no", None]
    assert table["dropped"].tolist() == [False, False, True]
    assert candidates_frame([]).empty
