"""Forecasters that authors write: what they may give, and how their errors are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import own_forecasters as own
import pytest
import statsforecast.models as sf
from sklearn.linear_model import LinearRegression

from modelfleet.forecasting import Forecaster, is_forecaster
from modelfleet.prediction import NoModelError, Reason

pytestmark = pytest.mark.filterwarnings("ignore")


class TestAuthorsOwn:
    """Forecasters that authors write."""

    y = np.array([3.0, 1.0, 2.0, 5.0, 4.0, 9.0, 7.0, 8.0])
    X = np.column_stack([np.ones(12), np.arange(12)]).astype(float)

    def test_array_without_quantiles(self) -> None:
        y = self.y.copy()
        forecaster = Forecaster.fit(own.Level(2), y)
        mean, bands = forecaster.forecast(y, 3, quantiles=(0.1, 0.9))
        np.testing.assert_array_equal(mean, [9.0] * 3)
        assert bands is None
        np.testing.assert_array_equal(y, self.y)

    def test_mapping_with_quantiles_which_are_put_in_order(self) -> None:
        forecaster = Forecaster.fit(own.Line(), self.y, self.X[:8])
        mean, bands = forecaster.forecast(self.y, 4, self.X[:8], self.X[8:], quantiles=(0.1, 0.9))
        slope, intercept = np.polyfit(np.arange(8), self.y, 1)
        np.testing.assert_allclose(mean, intercept + slope * np.arange(8, 12))
        np.testing.assert_allclose(bands, np.stack([mean - 1, mean + 1], axis=1))
        assert forecaster.fitted.model.asked == (0.1, 0.9)
        assert forecaster.forecast(self.y, 4, self.X[:8], self.X[8:], quantiles=(0.3,))[1] is None

    def test_another_series_is_fitted_by_a_fresh_copy(self) -> None:
        model = own.Line()
        forecaster = Forecaster.fit(model, self.y[:6], self.X[:6])
        kept = forecaster.fitted.model.weights.copy()
        mean, _ = forecaster.forecast(self.y, 4, self.X[:8], self.X[8:])
        np.testing.assert_allclose(
            mean, Forecaster.fit(model, self.y, self.X[:8]).forecast(self.y, 4, None, self.X[8:])[0]
        )
        np.testing.assert_array_equal(forecaster.fitted.model.weights, kept)
        assert not hasattr(model, "weights")

    @pytest.mark.parametrize(
        "given, match",
        [
            pytest.param([1.0, 2.0], r"gave shape \(2,\) for 3 steps", id="too short"),
            pytest.param([[1.0, 2.0, 3.0]], r"gave shape \(1, 3\) for 3 steps", id="a table"),
            pytest.param([1.0, np.nan, np.inf], "NaN or infinity for 2 of 3 values", id="not finite"),
            pytest.param(["a", "b", "c"], "raised ValueError: could not convert", id="words"),
            pytest.param(None, r"gave shape \(\)", id="nothing"),
            pytest.param(RuntimeError("no"), "raised RuntimeError: no", id="an exception"),
            pytest.param(SystemExit(3), "raised SystemExit: 3", id="an exit"),
            pytest.param({"q10": [1, 2, 3]}, "returned 'q10' without 'mean'", id="no mean"),
            pytest.param({"mean": [1, 2, 3], "q10": [1, 2, 3]}, "'mean', 'q10' without 'q90'", id="half the quantiles"),
            pytest.param(
                {"mean": [1, 2, 3], "q10": [1, 2, 3], "q90": [1, 2, np.nan]}, "for 1 of 6 values", id="a NaN quantile"
            ),
            pytest.param({"mean": [1, 2, 3], "q10": [1, 2], "q90": [1, 2]}, r"shape \(2, 2\)", id="short quantiles"),
            pytest.param({"mean": [1, 2, 3], "q10": [1, 2], "q90": [1]}, "raised ValueError", id="uneven quantiles"),
        ],
    )
    def test_bad_forecast_fails_with_what_is_wrong(self, given: Any, match: str) -> None:
        forecaster = Forecaster.fit(own.Returning(given), self.y)
        with pytest.raises(NoModelError, match=match) as stop:
            forecaster.forecast(self.y, 3, quantiles=(0.1, 0.9))
        assert (stop.value.status, stop.value.reason) == ("failed", Reason.PREDICTION_INVALID)

    @pytest.mark.parametrize(
        "model, rows, match",
        [
            pytest.param(own.Unfit(), 8, r"RuntimeError: no such luck \(fitting Unfit on 8 values\)", id="own"),
            pytest.param(sf.AutoETS(), 4, r"tiny datasets \(fitting AutoETS on 4 values\)", id="statsforecast"),
            pytest.param(sf.Naive(), 0, r"IndexError.* \(fitting Naive on 0 values\)", id="no values"),
        ],
    )
    def test_fit_that_raises_fails_with_what_it_said(self, model: Any, rows: int, match: str) -> None:
        with pytest.raises(NoModelError, match=match) as stop:
            Forecaster.fit(model, self.y[:rows])
        assert (stop.value.status, stop.value.reason) == ("failed", Reason.FIT_RAISED)


@pytest.mark.parametrize(
    "model, wanted",
    [
        (sf.AutoETS(), True),
        (own.Line(), True),
        (own.Level(), True),
        (LinearRegression(), False),
        (object(), False),
        (None, False),
    ],
)
def test_forecaster_is_known_by_its_signature(model: Any, wanted: bool) -> None:
    assert is_forecaster(model) is wanted
