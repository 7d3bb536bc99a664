"""Names of quantile columns, and quantiles made of errors out of fold."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet import pack
from modelfleet.forecasting import Residuals, quantile_name

BAND = (0.1, 0.9)


@pytest.mark.parametrize(
    "quantile, wanted",
    [(0.1, "q10"), (0.5, "q50"), (0.9, "q90"), (0.025, "q2_5"), (0.975, "q97_5"), (0.001, "q0_1"), (0.05, "q5")],
)
def test_quantile_is_named_in_percent(quantile: float, wanted: str) -> None:
    assert quantile_name(quantile) == wanted


def white(rng: np.random.Generator, folds: int, steps: int) -> np.ndarray:
    return rng.normal(size=(folds, steps))


def skewed(rng: np.random.Generator, folds: int, steps: int) -> np.ndarray:
    return rng.exponential(size=(folds, steps)) - 0.3


def growing(rng: np.random.Generator, folds: int, steps: int) -> np.ndarray:
    return rng.normal(size=(folds, steps)) * np.sqrt(np.arange(1, steps + 1))


def wandering(rng: np.random.Generator, folds: int, steps: int) -> np.ndarray:
    return np.cumsum(rng.normal(size=(folds, steps)), axis=1)


def lingering(rng: np.random.Generator, folds: int, steps: int) -> np.ndarray:
    errors = rng.normal(size=(folds, steps))
    for step in range(1, steps):
        errors[:, step] += 0.5 * errors[:, step - 1]
    return errors


def covered(noise: Callable[..., np.ndarray], folds: int, steps: int, quantiles: tuple[float, ...]) -> float:
    """The mean share of new errors inside the band, over many series of the same noise."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(1500):
        bands = Residuals.of(noise(rng, folds, steps), quantiles).apply(np.zeros(steps))
        new = noise(rng, 1, steps)[0]
        shares.append(np.mean((bands[:, 0] <= new) & (new <= bands[:, -1])))
    return float(np.mean(shares))


@pytest.mark.parametrize(
    "noise, folds, steps",
    [
        pytest.param(white, 4, 7, id="4 folds of 7 steps"),
        pytest.param(skewed, 4, 7, id="of one-sided errors"),
        pytest.param(growing, 4, 7, id="of errors that grow with the step"),
        pytest.param(lingering, 4, 7, id="of errors that linger"),
        pytest.param(wandering, 8, 7, id="8 folds of errors that add up"),
        pytest.param(white, 3, 28, id="3 folds of 28 steps"),
        pytest.param(white, 1, 28, id="one fold of 28 steps"),
        pytest.param(white, 30, 1, id="30 folds of one step"),
    ],
)
def test_interval_of_80_percent_covers_75_to_85(noise: Callable[..., np.ndarray], folds: int, steps: int) -> None:
    assert 0.75 <= covered(noise, folds, steps, BAND) <= 0.85


def test_interval_of_95_percent_covers_93_to_97_where_there_are_errors_enough() -> None:
    assert 0.93 <= covered(white, 4, 14, (0.025, 0.975)) <= 0.97


def test_steps_far_ahead_have_wider_bands_where_errors_grow() -> None:
    errors = growing(np.random.default_rng(0), 8, 28)
    bands = Residuals.of(errors, BAND).apply(np.zeros(28))
    width = bands[:, 1] - bands[:, 0]
    assert width[20:].mean() > 1.5 * width[:5].mean()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 20))
def test_offsets_are_the_quantiles_of_all_errors_where_those_are_few(seed: int, folds: int, steps: int) -> None:
    errors = np.random.default_rng(seed).normal(size=(folds, steps)).round(1)
    errors[np.random.default_rng(seed).random(errors.shape) < 0.1] = np.nan
    if not np.isfinite(errors).any():
        return
    quantiles = (0.1, 0.25, 0.5, 0.9)
    made = Residuals.of(errors, quantiles)
    assert made.offsets.shape == (steps, 4)
    assert (np.diff(made.offsets, axis=1) >= 0).all()
    known = errors[np.isfinite(errors)]
    if known.size <= 20:
        wanted = np.quantile(known, quantiles, method="weibull")
        np.testing.assert_allclose(made.offsets, np.tile(wanted, (steps, 1)), atol=1e-12)


def test_each_step_has_errors_of_its_own_where_folds_are_many() -> None:
    errors = np.arange(40.0)[:, None] + np.array([0.0, 1000.0, 2000.0])
    wanted = [np.quantile(errors[:, step], BAND, method="weibull") for step in range(3)]
    np.testing.assert_allclose(Residuals.of(errors, BAND).offsets, wanted)


def test_forecast_that_is_too_low_moves_all_its_quantiles_up() -> None:
    errors = np.full((4, 7), 5.0)
    np.testing.assert_array_equal(
        Residuals.of(errors, (0.1, 0.5)).apply(np.array([1.0, 2.0])), [[6.0, 6.0], [7.0, 7.0]]
    )


def test_no_known_error_is_refused() -> None:
    with pytest.raises(ValueError, match="no error is known: 2 folds of 3 steps"):
        Residuals.of(np.full((2, 3), np.nan), BAND)


def test_residuals_are_pickled_alike() -> None:
    made = Residuals.of(white(np.random.default_rng(0), 4, 7), BAND)
    data, _ = pack.dump_model(made)
    assert len(data) < 500
    np.testing.assert_array_equal(pickle.loads(data).offsets, made.offsets)
