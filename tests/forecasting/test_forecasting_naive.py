"""Naive forecasts and their intervals against statsforecast's own models."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from statsforecast.models import HistoricAverage, Naive, RandomWalkWithDrift, SeasonalNaive

from modelfleet.forecasting import naive, naive_quantiles

KINDS = ("seasonal_naive", "last", "mean", "drift")
QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
VALUES = st.floats(-1e3, 1e3) | st.floats(-1e12, 1e12) | st.floats(-1e-9, 1e-9) | st.integers(0, 3).map(float)
SERIES = st.lists(VALUES, min_size=2, max_size=60) | st.tuples(VALUES, st.integers(2, 40)).map(
    lambda pair: [pair[0]] * pair[1]
)


def directly(kind: str, y: np.ndarray, horizon: int, season: int) -> dict[str, np.ndarray]:
    model: Any = {
        "seasonal_naive": lambda: SeasonalNaive(season),
        "last": Naive,
        "mean": HistoricAverage,
        "drift": RandomWalkWithDrift,
    }[kind]()
    made = model.forecast(y=y, h=horizon, level=[80, 95])
    again = model.new().fit(y=y).predict(h=horizon, level=[80, 95])
    for name in again:
        np.testing.assert_allclose(again[name], made[name], rtol=1e-12)
    return made


def assert_close(got: np.ndarray, wanted: np.ndarray, y: np.ndarray) -> None:
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9 * float(np.abs(y).max()))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=120, deadline=None)
@given(SERIES, st.integers(1, 30), st.integers(1, 12))
@example([1.0, 2.0, 4.0], 7, 3)
@example([1e12, -1e12, 3e11], 9, 1)
@example([5.0] * 14, 20, 7)
def test_naive_forecast_equals_statsforecast(kind: Any, values: list[float], horizon: int, season: int) -> None:
    y = np.array(values)
    if kind == "seasonal_naive":
        season = min(season, len(y))
    wanted = directly(kind, y, horizon, season)
    assert_close(naive(kind, y, horizon, season), wanted["mean"], y)
    got = naive_quantiles(kind, y, horizon, season, QUANTILES)
    names = ("lo-95", "lo-80", "mean", "hi-80", "hi-95")
    for place, name in enumerate(names):
        assert_close(got[:, place], wanted[name], y)


@pytest.mark.parametrize(
    "kind, values, season, wanted",
    [
        pytest.param("seasonal_naive", [1, 2, 3], 7, [3, 3, 3], id="shorter than a season: the last value"),
        pytest.param("seasonal_naive", [1, 2, 3], 3, [1, 2, 3], id="one season"),
        pytest.param("seasonal_naive", [9, 1, 2], 2, [1, 2, 1], id="the last season again and again"),
        pytest.param("drift", [4], 7, [4, 4, 4], id="no drift of one value"),
        pytest.param("drift", [4, 6], 7, [8, 10, 12], id="the line through the first and last value"),
        pytest.param("mean", [4], 7, [4, 4, 4], id="the mean of one value"),
        pytest.param("last", [4, 5], 7, [5, 5, 5], id="the last value"),
        *(pytest.param(kind, [], 7, [np.nan] * 3, id=f"{kind} of nothing") for kind in KINDS),
    ],
)
def test_naive_forecast_of_short_series_is_as_defined(
    kind: Any, values: list[float], season: int, wanted: list
) -> None:
    np.testing.assert_array_equal(naive(kind, np.array(values, dtype=float), 3, season), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_of_one_value_are_the_forecast(kind: Any) -> None:
    np.testing.assert_array_equal(naive_quantiles(kind, np.array([4.0]), 3, 7, QUANTILES), np.full((3, 5), 4.0))
    assert np.isnan(naive_quantiles(kind, np.array([]), 3, 7, QUANTILES)).all()


def test_quantiles_of_a_series_shorter_than_a_season_are_those_of_the_last_value() -> None:
    y = np.array([1.0, 5.0, 2.0])
    np.testing.assert_array_equal(
        naive_quantiles("seasonal_naive", y, 5, 7, QUANTILES), naive_quantiles("last", y, 5, 7, QUANTILES)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_values_whose_squares_overflow_do_not_warn(kind: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bands = naive_quantiles(kind, np.array([1e200, -1e200, 1e199] * 3), 4, 3, (0.1, 0.9))
    assert bands.shape == (4, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_naive_forecast_takes_microseconds(kind: Any) -> None:
    y = np.random.default_rng(0).normal(size=730)
    best = {}
    for name, call in {
        "mean": lambda: naive(kind, y, 28, 7),
        "quantiles": lambda: naive_quantiles(kind, y, 28, 7, (0.1, 0.5, 0.9)),
    }.items():
        times = []
        for _ in range(50):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        best[name] = min(times)
    assert best["mean"] < 100e-6
    assert best["quantiles"] < 300e-6
