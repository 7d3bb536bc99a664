"""Rows, matrices and fits of one partition at hand."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import modelfleet
from modelfleet import (
    Candidate,
    settings,
)
from modelfleet.errors import DataError
from modelfleet.workbench import Fleet
from prepared_bench import KEY
from workbench_bench import HORIZON, Lay, at_times, daily, files, forecast


def test_frame_holds_the_partitions_rows_in_time_order(rows: Fleet) -> None:
    frame = rows.partition(shop="b/c").frame()
    own = at_times(daily()).to_pandas().query("shop == 'b/c'")
    pd.testing.assert_frame_equal(frame[own.columns], own.reset_index(drop=True), check_dtype=False)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_saved_rows_are_the_frame(suffix: str, rows: Fleet, tmp_path: Path) -> None:
    partition = rows.partition("shop=a")
    file = partition.save(tmp_path / "deep" / f"rows.{suffix}")
    frame = pq.read_table(file).to_pandas() if suffix == "parquet" else pd.read_csv(file, parse_dates=["at"])
    pd.testing.assert_frame_equal(frame, partition.frame(), check_dtype=False)


def test_rows_are_saved_as_parquet_or_csv_alone(rows: Fleet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'rows.xlsx' is neither a \.parquet nor a \.csv"):
        rows.partition("shop=a").save(tmp_path / "rows.xlsx")


def test_an_estimator_fitted_on_the_matrix_is_the_model(rows: Fleet) -> None:
    partition = rows.partition("shop=a")
    from sklearn.linear_model import Ridge

    own = Ridge(alpha=1.0).fit(partition.matrix("ridge").to_numpy(), partition.frame()["units"])
    np.testing.assert_array_equal(own.coef_, partition.fit("ridge").model.coef_)
    assert list(partition.matrix().columns) == ["price"]


def test_a_forecasts_matrix_is_of_the_step_and_names_its_features(series: Fleet) -> None:
    partition = series.partition("shop=a")
    matrix = partition.matrix("ridge")
    assert list(matrix.columns) == ["units_lag_7", "units_mean_14", "weekday"]
    units = partition.frame()["units"]
    np.testing.assert_allclose(matrix["units_lag_7"].to_numpy()[7:], units.to_numpy()[:-7])
    np.testing.assert_allclose(matrix["units_mean_14"].to_numpy()[30], units.to_numpy()[10:24].mean())
    from sklearn.linear_model import Ridge

    whole = matrix.notna().all(axis=1).to_numpy() & (np.arange(len(matrix)) >= 7)
    fitted = partition.fit("ridge", alpha=1.0).model.fitted.estimators[0]
    own = Ridge(alpha=1.0).fit(matrix.to_numpy()[whole], units[whole])
    np.testing.assert_allclose(own.coef_, fitted.coef_)
    assert list(partition.matrix("SeasonalNaive").columns) == ["weekday"], "a forecaster gets what is known ahead"


def test_a_fit_selects_among_the_candidates_and_shows_their_scores(series: Fleet) -> None:
    fit = series.partition("shop=a").fit()
    assert fit.status == "trained"
    scores = fit.candidates.set_index("candidate")["score"]
    assert list(scores.index) == ["SeasonalNaive", "ridge(alpha=1.0)", "ridge(alpha=100.0)"]
    assert fit.candidate == scores.idxmin()
    assert fit.metrics["wape"] == pytest.approx(fit.candidates.set_index("candidate").loc[fit.candidate, "fold_0"])
    shown = str(fit.explain())
    for text in ("candidates by wape", fit.candidate, "baseline", "fold 1", f"holdout: {HORIZON}"):
        assert text in shown


def test_holdout_gives_the_metrics_that_the_fit_has(series: Fleet) -> None:
    fit = series.partition("shop=a").fit()
    held = fit.holdout()
    assert list(held.columns) == ["day", "actual", "prediction", "q10", "q50", "q90", "baseline"]
    assert np.abs(held["actual"] - held["prediction"]).mean() == pytest.approx(fit.metrics["mae"])
    assert np.abs(held["actual"] - held["baseline"]).mean() == pytest.approx(fit.row["baseline_mae"])


def test_candidates_and_params_are_chosen_by_name(series: Fleet) -> None:
    partition = series.partition("shop=a")
    assert list(partition.fit("ridge").candidates["candidate"]) == ["ridge(alpha=1.0)", "ridge(alpha=100.0)"]
    assert partition.fit("ridge(alpha=100.0)").candidate == "ridge(alpha=100.0)"
    tried = partition.fit("ridge", alpha=7.0)
    assert list(tried.candidates["candidate"]) == ["ridge(alpha=7.0)"]
    assert tried.model.fitted.estimators[0].alpha == 7.0
    other = partition.fit("sklearn.linear_model:Ridge", alpha=3.0)
    assert other.candidate == "Ridge(alpha=3.0)"


@pytest.mark.parametrize(
    "candidate, params, message",
    [
        ("rigde", {}, r"has no candidate 'rigde'; it has SeasonalNaive, ridge"),
        (None, {"alpha": 1.0}, "alpha given, but not to which candidate"),
        ("boosted", {"max_iter": 5}, "'boosted' is fitted on all partitions"),
    ],
)
def test_a_candidate_that_can_not_be_tried_says_so(
    candidate: str | None, params: dict[str, Any], message: str, lay: Lay
) -> None:
    spec = forecast()
    lay(forecast(candidates=(*spec.candidates, Candidate("sales.models:boosted", scope="fleet"))), daily())
    facts = settings.home() / "lake" / "shops" / "train" / KEY
    (file,) = facts.glob("*/dataset.json")
    file.write_text(file.read_text().replace('"categories": {}', '"categories": {"shop": ["a", "b/c", "young"]}'))
    with pytest.raises(DataError, match=message):
        modelfleet.open("shops").partition("shop=a").fit(candidate, **params)


def test_a_partition_without_a_model_shows_why(series: Fleet) -> None:
    fit = series.partition("shop=young").fit()
    assert (fit.status, fit.reason, fit.model) == ("skipped", "too_few_rows", None)
    assert "10 rows with a target, 30 needed" in repr(fit)
    assert fit.holdout().empty
    assert series.partition("shop=young").fit(debug=True).status == "skipped"


def test_a_failing_candidate_shows_and_debug_lets_its_exception_through(rows: Fleet) -> None:
    partition = rows.partition("shop=a")
    fit = partition.fit("never")
    assert (fit.status, fit.reason) == ("failed", "fit_raised")
    assert "out of order" in str(fit.explain())
    assert partition.fit().candidate == "ridge", "beside another candidate it costs nothing"
    with pytest.raises(ValueError, match="out of order") as caught:
        partition.fit("never", debug=True)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].filename.endswith("sales/models.py"), "a debugger lands in the author's code"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_fits_and_looks_write_nothing(series: Fleet) -> None:
    before = files()
    partition = series.partition("shop=a")
    fit = partition.fit()
    partition.frame(), partition.matrix(), partition.explain(), fit.explain(), fit.forecast(), fit.plot()
    assert files() == before


def test_the_fit_is_the_same_each_time(series: Fleet) -> None:
    first, second = (series.partition("shop=a").fit() for _ in range(2))
    assert first.model_digest == second.model_digest
    assert first.row["fingerprint"] == second.row["fingerprint"]
