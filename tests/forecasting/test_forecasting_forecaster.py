"""The wrapper of forecasters: statsforecast's models through it against statsforecast itself."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import own_forecasters as own
import pandas as pd
import pytest
import statsforecast.models as sf
from sklearn.linear_model import LinearRegression
from statsforecast import StatsForecast
from statsforecast.utils import ConformalIntervals

from modelfleet import pack
from modelfleet.forecasting import Forecaster
from modelfleet.prediction import NoModelError, Reason

pytestmark = pytest.mark.filterwarnings("ignore")
HORIZON = 9
QUANTILES = (0.1, 0.5, 0.9, 0.975)


def random_series(number: int) -> np.ndarray:
    """Daily series of many kinds: trends, seasons, counts with zeros, levels from thousandths to millions."""
    rng = np.random.default_rng(number)
    rows = int(rng.integers(40, 120))
    steps = np.arange(rows)
    y = rng.normal(size=rows) + rng.normal() * steps / 20 + rng.uniform(0, 3) * np.sin(steps * 2 * np.pi / 7)
    kind = number % 4
    if kind == 0:
        y = np.cumsum(y)
    if kind == 1:
        y = y - y.min() + 1.0
    if kind == 2:
        return np.where(rng.random(rows) < 0.4, rng.poisson(4, rows), 0).astype(float) + (steps == 0)
    return y * 10.0 ** rng.integers(-3, 6)


def assert_close(got: Any, wanted: Any, y: np.ndarray, limit: float = 1e-9) -> None:
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(got, wanted, rtol=limit, atol=limit * float(np.abs(y).max()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, count, levels",
    [
        pytest.param(sf.AutoETS(season_length=7), 200, True, id="AutoETS"),
        pytest.param(sf.AutoARIMA(season_length=7, max_p=1, max_q=1, max_P=1, max_Q=0), 24, True, id="AutoARIMA"),
        pytest.param(sf.ARIMA(order=(1, 1, 1), method="ML"), 200, True, id="ARIMA"),
        pytest.param(sf.Theta(season_length=7), 200, True, id="Theta"),
        pytest.param(sf.AutoTheta(season_length=7), 200, True, id="AutoTheta"),
        pytest.param(sf.AutoCES(season_length=7), 200, False, id="AutoCES"),
        pytest.param(sf.SeasonalNaive(season_length=7), 200, True, id="SeasonalNaive"),
        pytest.param(sf.Naive(), 200, True, id="Naive"),
        pytest.param(sf.RandomWalkWithDrift(), 200, True, id="RandomWalkWithDrift"),
        pytest.param(sf.HistoricAverage(), 200, True, id="HistoricAverage"),
        pytest.param(sf.WindowAverage(window_size=7), 200, False, id="WindowAverage"),
        pytest.param(sf.SimpleExponentialSmoothingOptimized(), 200, False, id="SES"),
        pytest.param(sf.CrostonClassic(), 200, False, id="CrostonClassic"),
        pytest.param(sf.ADIDA(), 200, False, id="ADIDA"),
        pytest.param(sf.TSB(alpha_d=0.2, alpha_p=0.2), 200, False, id="TSB"),
        pytest.param(sf.MSTL(season_length=7), 40, True, id="MSTL"),
        pytest.param(sf.TBATS(season_length=7), 24, True, id="TBATS"),
    ],
)
def test_statsforecast_models_equal_statsforecast_itself(model: Any, count: int, levels: bool) -> None:
    series = {number: random_series(number) for number in range(count)}
    if isinstance(model, sf.TSB | sf.CrostonClassic | sf.ADIDA):
        series = {number: np.abs(y) for number, y in series.items()}
    table = pd.concat([pd.DataFrame({"unique_id": i, "ds": range(len(y)), "y": y}) for i, y in series.items()])
    keywords = {"level": [80, 95]} if levels else {}
    direct = StatsForecast(models=[model], freq=1).forecast(df=table, h=HORIZON, **keywords)
    name = repr(model)
    for number, y in series.items():
        wanted = direct[direct["unique_id"] == number]
        mean, bands = Forecaster.fit(model, y).forecast(y, HORIZON, quantiles=(0.1, 0.9, 0.975) if levels else ())
        assert_close(mean, wanted[name], y)
        if levels:
            columns = [f"{name}-lo-80", f"{name}-hi-80", f"{name}-hi-95"]
            assert_close(bands, np.sort(wanted[columns].to_numpy(), axis=1), y)


INTERVALS = ConformalIntervals(n_windows=2, h=HORIZON)
MODELS = {
    "AutoETS": sf.AutoETS(season_length=7),
    "ETS-MAM": sf.AutoETS(season_length=7, model="MAM"),
    "ETS-simulated": sf.AutoETS(season_length=1, model="MMN"),
    "ETS-conformal": sf.AutoETS(season_length=7, prediction_intervals=INTERVALS),
    "Holt": sf.Holt(),
    "HoltWinters": sf.HoltWinters(season_length=7),
    "AutoARIMA": sf.AutoARIMA(season_length=7, max_p=1, max_q=1, max_P=1, max_Q=0),
    "ARIMA": sf.ARIMA(order=(1, 1, 1), season_length=7, seasonal_order=(1, 0, 0)),
    "ARIMA-drift": sf.ARIMA(order=(1, 1, 1), include_drift=True),
    "AutoRegressive": sf.AutoRegressive(lags=[1, 7]),
    "AutoTheta": sf.AutoTheta(season_length=7),
    "DynamicOptimizedTheta": sf.DynamicOptimizedTheta(season_length=7),
    "AutoCES": sf.AutoCES(season_length=7),
    "SeasonalNaive": sf.SeasonalNaive(season_length=7),
    "Naive": sf.Naive(),
    "MSTL": sf.MSTL(season_length=7),
    "ConstantModel": sf.ConstantModel(constant=3.0),
}
"""Those that can apply their parameters to another series."""
FITTED_AGAIN = {
    "AutoTheta-additive": sf.AutoTheta(season_length=7, decomposition_type="additive"),
    "ETS-t": sf.AutoETS(season_length=7, distribution="t"),
    "HistoricAverage": sf.HistoricAverage(),
    "RandomWalkWithDrift": sf.RandomWalkWithDrift(),
    "WindowAverage": sf.WindowAverage(window_size=7),
    "SeasonalWindowAverage": sf.SeasonalWindowAverage(season_length=7, window_size=2),
    "SES": sf.SimpleExponentialSmoothing(alpha=0.3),
    "SESOptimized": sf.SimpleExponentialSmoothingOptimized(),
    "SeasonalES": sf.SeasonalExponentialSmoothing(season_length=7, alpha=0.3),
    "SeasonalESOptimized": sf.SeasonalExponentialSmoothingOptimized(season_length=7),
    "ADIDA": sf.ADIDA(),
    "CrostonClassic": sf.CrostonClassic(),
    "CrostonClassic-conformal": sf.CrostonClassic(prediction_intervals=INTERVALS),
    "CrostonOptimized": sf.CrostonOptimized(),
    "CrostonSBA": sf.CrostonSBA(),
    "IMAPA": sf.IMAPA(),
    "TSB": sf.TSB(alpha_d=0.2, alpha_p=0.2),
    "MSTL-drift": sf.MSTL(season_length=7, trend_forecaster=sf.RandomWalkWithDrift()),
    "MFLES": sf.MFLES(season_length=7),
    "AutoMFLES": sf.AutoMFLES(season_length=7, test_size=7),
    "TBATS": sf.TBATS(season_length=7),
    "GARCH": sf.GARCH(),
    "UCM": sf.UCM(),
}
WITHOUT_INTERVALS = {
    *("WindowAverage", "SeasonalWindowAverage", "SeasonalES", "SeasonalESOptimized", "ADIDA", "CrostonClassic"),
    *("CrostonOptimized", "CrostonSBA", "IMAPA", "TSB", "MFLES", "AutoMFLES"),
}
BIG = {"UCM"}
"""Its fitted model is statsmodels', in one piece."""


def one_series(name: str, rows: int = 150) -> np.ndarray:
    rng = np.random.default_rng(7)
    if any(part in name for part in ("ADIDA", "Croston", "IMAPA", "TSB")):
        return np.where(rng.random(rows) < 0.4, rng.poisson(5, rows), 0).astype(float)
    steps = np.arange(rows)
    return 60 + 9 * np.sin(steps * 2 * np.pi / 7) + 0.05 * steps + rng.normal(size=rows)


def directly(model: Any, y: np.ndarray, quantiles: bool) -> dict[str, Any]:
    fitted = model.new().fit(y=y)
    return fitted.predict(h=HORIZON, **({"level": [80, 95]} if quantiles else {}))


@pytest.mark.parametrize("name", [*MODELS, *FITTED_AGAIN])
def test_every_model_forecasts_its_own_series_as_without_the_wrapper(name: str) -> None:
    model, y = (MODELS | FITTED_AGAIN)[name], one_series(name)
    y.setflags(write=False)
    wanted = directly(model, y, quantiles=name not in WITHOUT_INTERVALS)
    forecaster = pickle.loads(pack.dump_model(Forecaster.fit(model, y))[0])
    mean, bands = forecaster.forecast(y, HORIZON, quantiles=QUANTILES)
    assert_close(mean, wanted["mean"], y, 1e-12)
    if name in WITHOUT_INTERVALS:
        assert bands is None
        return
    assert bands.shape == (HORIZON, 4)
    for place, key in ((0, "lo-80"), (2, "hi-80"), (3, "hi-95")):
        assert_close(bands[:, place], wanted[key], y, 1e-12)
    assert (np.diff(bands, axis=1) >= 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_model_that_can_applies_its_parameters_to_the_series_as_it_goes_on(name: str) -> None:
    model, y = MODELS[name], one_series(name)
    fitted = model.new().fit(y=y[:130])
    wanted = fitted.forward(y=y, h=HORIZON, level=[80])
    mean, bands = Forecaster.fit(model, y[:130]).forecast(y, HORIZON, quantiles=(0.1, 0.9))
    assert_close(mean, wanted["mean"], y, 1e-12)
    assert_close(bands, np.stack([wanted["lo-80"], wanted["hi-80"]], axis=1), y, 1e-12)


@pytest.mark.parametrize("name", FITTED_AGAIN)
def test_model_that_can_not_is_fitted_again_on_the_series_as_it_goes_on(name: str) -> None:
    model, y = FITTED_AGAIN[name], one_series(name)
    mean, _ = Forecaster.fit(model, y[:130]).forecast(y, HORIZON)
    assert_close(mean, directly(model, y, quantiles=False)["mean"], y, 1e-12)


@pytest.mark.parametrize("name", ["AutoETS", "HoltWinters", "AutoTheta", "MSTL"])
def test_model_whose_state_begins_elsewhere_is_fitted_again(name: str) -> None:
    model, y = MODELS[name], one_series(name)
    moved = y[3:]
    mean, _ = Forecaster.fit(model, y[:130]).forecast(moved, HORIZON)
    assert_close(mean, directly(model, moved, quantiles=False)["mean"], y, 1e-12)
    if name in ("AutoETS", "HoltWinters"):  # its seasons would be out of step
        out_of_step = model.new().fit(y=y[:130]).forward(y=moved, h=HORIZON)["mean"]
        assert np.abs(out_of_step - mean).max() > 0.5


@pytest.mark.parametrize("name", ["AutoARIMA", "SeasonalNaive", "AutoCES"])
def test_model_whose_parameters_know_no_beginning_is_applied_to_a_moved_series(name: str) -> None:
    model, y = MODELS[name], one_series(name)
    moved = y[3:]
    mean, _ = Forecaster.fit(model, y[:130]).forecast(moved, HORIZON)
    assert_close(mean, model.new().fit(y=y[:130]).forward(y=moved, h=HORIZON)["mean"], y, 1e-12)


def test_line_that_is_not_differenced_is_fitted_again_on_a_moved_series() -> None:
    model, y = sf.ARIMA(order=(1, 0, 0), include_drift=True), one_series("")
    forecaster = Forecaster.fit(model, y[:130])
    assert_close(forecaster.forecast(y[3:], HORIZON)[0], directly(model, y[3:], quantiles=False)["mean"], y, 1e-12)


def test_restated_end_is_no_other_series() -> None:
    model, y = MODELS["AutoETS"], one_series("")
    restated = y.copy()
    restated[-3:] += 2.0
    mean, _ = Forecaster.fit(model, y).forecast(restated, HORIZON)
    assert_close(mean, model.new().fit(y=y).forward(y=restated, h=HORIZON)["mean"], y, 1e-12)


@pytest.mark.parametrize("name", ["AutoETS", "AutoARIMA", "AutoCES", "SeasonalNaive"])
def test_model_of_a_constant_learns_when_the_series_moves(name: str) -> None:
    model, y = MODELS[name], one_series("")
    y[:60] = 4.0
    forecaster = Forecaster.fit(model, y[:60])
    np.testing.assert_allclose(forecaster.forecast(y[:60], HORIZON)[0], 4.0)
    assert_close(forecaster.forecast(y, HORIZON)[0], directly(model, y, quantiles=False)["mean"], y, 1e-12)


def test_fitting_leaves_the_model_as_it_was() -> None:
    model = sf.MSTL(season_length=7)
    before = pack.dump_model(model)
    Forecaster.fit(model, one_series(""))
    assert pack.dump_model(model) == before
    assert not hasattr(sf.MSTL(season_length=7).trend_forecaster, "model_")


@pytest.mark.parametrize("quantiles", [(0.1, 0.9), (0.1, 0.5, 0.9)])
def test_all_quantiles_come_from_one_call(quantiles: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    y, calls = one_series(""), []
    forecaster = Forecaster.fit(sf.AutoETS(season_length=7), y)
    predict = sf.AutoETS.predict

    def counted(self: Any, h: int, X: Any = None, level: Any = None) -> Any:
        calls.append(level)
        return predict(self, h, X, level)

    monkeypatch.setattr(sf.AutoETS, "predict", counted)
    forecaster.forecast(y, HORIZON, quantiles=quantiles)
    assert calls == [[80] if len(quantiles) == 2 else [0, 80]]


def test_median_is_the_mean_of_normal_intervals_and_the_samples_of_simulated_ones() -> None:
    y = one_series("")
    mean, bands = Forecaster.fit(sf.AutoARIMA(max_p=1, max_q=1), y).forecast(y, HORIZON, quantiles=(0.5,))
    np.testing.assert_array_equal(bands[:, 0], mean)
    skewed = Forecaster.fit(sf.AutoETS(season_length=1, model="MMN"), np.exp(y / 20))
    mean, bands = skewed.forecast(np.exp(y / 20), HORIZON, quantiles=(0.5,))
    assert (bands[:, 0] != mean).all()
    np.testing.assert_allclose(bands[:, 0], mean, rtol=0.1)


class TestFeatures:
    """Known features reach the models that use them, and no others."""

    y = one_series("")
    X = np.column_stack([np.random.default_rng(1).normal(size=170), np.arange(170) % 7 == 0]).astype(float)

    def pair(self, model: Any, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, _ = Forecaster.fit(model, self.y, X[:150]).forecast(self.y, HORIZON, X[:150], X[150:159])
        return mean, X

    @pytest.mark.parametrize(
        "model",
        [
            pytest.param(sf.AutoARIMA(max_p=1, max_q=1), id="AutoARIMA"),
            pytest.param(sf.ARIMA(order=(1, 1, 0), include_drift=True), id="ARIMA with drift"),
            pytest.param(sf.SklearnModel(LinearRegression()), id="SklearnModel"),
            pytest.param(sf.MFLES(season_length=7), id="MFLES"),
            pytest.param(sf.MSTL(season_length=7, trend_forecaster=sf.AutoARIMA(max_p=1, max_q=1)), id="MSTL"),
        ],
    )
    def test_model_that_uses_features_equals_statsforecast(self, model: Any) -> None:
        wanted = model.new().fit(y=self.y, X=self.X[:150]).predict(h=HORIZON, X=self.X[150:159])["mean"]
        assert_close(self.pair(model, self.X)[0], wanted, self.y, 1e-12)

    def test_features_that_depend_on_others_are_left_out_of_regressions(self) -> None:
        model = sf.AutoARIMA(max_p=1, max_q=1)
        dependent = np.column_stack([np.full(170, 3.0), self.X, self.X @ [2.0, -1.0] + 5, 1e6 * self.X[:, 0]])
        with pytest.raises(ValueError, match="rank deficient"):
            model.new().fit(y=self.y, X=dependent[:150])
        wanted = model.new().fit(y=self.y, X=self.X[:150]).predict(h=HORIZON, X=self.X[150:159])["mean"]
        assert_close(self.pair(model, dependent)[0], wanted, self.y, 1e-12)
        constant = np.full((170, 2), 3.0)
        assert_close(self.pair(model, constant)[0], directly(model, self.y, quantiles=False)["mean"], self.y, 1e-12)

    def test_features_reach_the_series_as_it_goes_on(self) -> None:
        model = sf.AutoARIMA(max_p=1, max_q=1)
        wanted = (
            model.new()
            .fit(y=self.y[:130], X=self.X[:130])
            .forward(y=self.y, h=HORIZON, X=self.X[:150], X_future=self.X[150:159])["mean"]
        )
        forecaster = Forecaster.fit(model, self.y[:130], self.X[:130])
        assert_close(forecaster.forecast(self.y, HORIZON, self.X[:150], self.X[150:159])[0], wanted, self.y, 1e-12)

    def test_model_that_uses_none_gets_none(self) -> None:
        nothing = np.full((170, 1), np.nan)
        assert_close(
            self.pair(MODELS["AutoETS"], nothing)[0], directly(MODELS["AutoETS"], self.y, False)["mean"], self.y
        )

    def test_nulls_in_a_regression_are_named(self) -> None:
        X = self.X.copy()
        X[3, 0] = np.nan
        with pytest.raises(NoModelError, match="null in 1 of 150 rows; AutoARIMA needs them all") as stop:
            Forecaster.fit(sf.AutoARIMA(), self.y, X[:150])
        assert stop.value.reason is Reason.FIT_RAISED


_DUMP = """
import hashlib, sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = sys.argv[2:]
from test_forecasting_forecaster import FITTED_AGAIN, MODELS, one_series
from modelfleet import pack
from modelfleet.forecasting import Forecaster
import own_forecasters as own
for name, model in {**MODELS, **FITTED_AGAIN, "own": own.Level()}.items():
    forecaster = Forecaster.fit(model, one_series(name))
    forecaster.forecast(one_series(name), 9)
    print(name, len(pack.dump_model(forecaster)[0]), pack.dump_model(forecaster)[1])
"""


@pytest.mark.slow
def test_equal_fits_have_equal_bytes_in_every_process() -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), str(here.parent.parent / "include")]
    told = []
    for seed in ("1", "2"):
        command = [sys.executable, "-c", _DUMP, "-", *paths]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        told.append(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)
    assert told[0] == told[1]
    sizes = {line.split()[0]: int(line.split()[1]) for line in told[0].splitlines()}
    assert len(sizes) == len(MODELS) + len(FITTED_AGAIN) + 1
    # 150 values are 1,200 bytes
    assert {name: size for name, size in sizes.items() if size > 16_000 and name not in BIG} == {}
    assert max(sizes[name] for name in ("AutoETS", "ETS-MAM", "Holt", "HoltWinters", "SeasonalNaive")) < 2_000


def test_digest_knows_every_value() -> None:
    y = one_series("")
    forecaster = Forecaster.fit(own.Level(1), y)
    changed = y.copy()
    changed[0] += 1e-9
    assert forecaster.seen.same(y.copy())
    assert not forecaster.seen.same(changed)
    assert not forecaster.seen.same(y[:-1])
    assert len(hashlib.blake2b(y.tobytes(), digest_size=12).digest()) == len(forecaster.seen.digest)
