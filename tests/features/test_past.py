"""Features of the past, beside a plain computation of each partition window by window."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from feature_cases import (
    STATISTICS,
    Bucket,
    assert_close,
    assert_same,
    buckets,
    daily,
    forecast_fleet,
    irregular_buckets,
    regression_fleet,
    statistic,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelfleet import Difference, Expanding, Features, Forecast, Lag, Rolling
from modelfleet.features import Recipe, past

EXPANDING = tuple(name for name in STATISTICS if name != "median")
WINDOWS: tuple[tuple[int | str, int, int], ...] = ((1, 1, 1), (3, 3, 1), (5, 5, 2), ("4D", 4, 3), (40, 40, 1))
"""(as declared, in rows, min_count)"""


def every(column: str, *, lags: tuple[int, ...] = (1, 2, 6)) -> tuple[Lag | Difference | Rolling | Expanding, ...]:
    """Every feature that a regular series' column can have."""
    return (
        Lag(column, *lags),
        Difference(column, 1, 3),
        *(
            Rolling(column, window, name, min_count=least)  # type: ignore[arg-type]
            for window, _, least in WINDOWS
            for name in STATISTICS
        ),
        *(Expanding(column, name) for name in EXPANDING),  # type: ignore[arg-type]
    )


def plain(series: pd.Series, column: str, *, ahead: int, known: bool) -> dict[str, list[tuple[float, float]]]:
    """The same features of one partition, row by row; (value, scale) of each."""
    back = 1 if known else ahead
    values, rows = series.to_numpy(), range(len(series))
    found = {f"{column}_lag_{lag}": [(value, 0.0) for value in series.shift(lag)] for lag in (1, 2, 6) if lag >= back}
    for steps in (1, 3):
        pairs = zip(series.shift(back), series.shift(back + steps), strict=True)
        found[f"{column}_difference_{steps}"] = [(one - other, 0.0) for one, other in pairs]
    for declared, width, least in WINDOWS:
        for name in STATISTICS:
            ends = [max(row - back + 1, 0) for row in rows]
            windows = [values[max(end - width, 0) : end] for end in ends]
            found[f"{column}_{name}_{declared}"] = [statistic(window, name, least) for window in windows]
    for name in EXPANDING:
        found[f"{column}_expanding_{name}"] = [statistic(values[: max(row - back + 1, 0)], name) for row in rows]
    return found


ALL = Features(known_ahead=("price",), past=(*every("units"), *every("price"), *every("visitors")))


@settings(max_examples=50)
@given(buckets(), st.integers(1, 6))
@example(Bucket([daily([1e9, -1e9, 1e-7, 2e-7, None, 3e-7, 1e9, 4e-7], price=[1.0] * 8, visitors=[0.1] * 8)]), 1)
def test_past_of_regular_series_equals_a_plain_computation(bucket: Bucket, ahead: int) -> None:
    recipe = Recipe.of(forecast_fleet(ALL), {})
    got = dict(zip(recipe.names(ahead), bucket.compute(recipe, ahead).T, strict=True))
    for column in ("units", "price", "visitors"):
        parts = [plain(part[column], column, ahead=ahead, known=column == "price") for part in bucket.parts]
        assert {name for name in got if name.startswith(f"{column}_")} == set(parts[0])
        for name in parts[0]:
            assert_close(got[name], [cell for part in parts for cell in part[name]], name)


SPANS = {"1h": timedelta(hours=1), "1D": timedelta(days=1), "60D": timedelta(days=60)}
IRREGULAR = Features(
    past=(
        Lag("wind", 1, 3),
        *(Rolling("wind", span, name) for span in SPANS for name in STATISTICS),  # type: ignore[arg-type]
        *(Rolling("wind", 3, name, min_count=2) for name in STATISTICS),  # type: ignore[arg-type]
        Expanding("wind", "mean"),
    )
)


@settings(max_examples=50)
@given(irregular_buckets())
def test_past_of_irregular_rows_equals_a_plain_computation_and_leaves_rows_of_the_same_time_out(bucket: Bucket) -> None:
    recipe = Recipe.of(regression_fleet(IRREGULAR), {})
    got = dict(zip(recipe.names(), bucket.compute(recipe).T, strict=True))
    for name in STATISTICS:
        for text, span in SPANS.items():
            expected = []
            for part in bucket.parts:
                for time in part["day"]:
                    inside = (part["day"] >= time - span) & (part["day"] < time)
                    expected.append(statistic(part["wind"].to_numpy()[inside], name))
            assert_close(got[f"wind_{name}_{text}"], expected, name)
        windows = [part["wind"].to_numpy()[max(row - 3, 0) : row] for part in bucket.parts for row in range(len(part))]
        assert_close(got[f"wind_{name}_3"], [statistic(window, name, 2) for window in windows], name)
    lags = np.concatenate([part["wind"].shift(3).to_numpy() for part in bucket.parts])
    assert np.array_equal(got["wind_lag_3"], lags, equal_nan=True)


def test_windows_of_instants_are_elapsed_time_where_clocks_change() -> None:
    times = pd.date_range(
        "2013-03-30 12:00", periods=4, freq="12h", tz="Europe/Berlin"
    )  # elapsed; the 31st has 23 hours
    part = pd.DataFrame({"day": times, "wind": [1.0, 2.0, 4.0, 8.0]})
    recipe = Recipe.of(regression_fleet(Features(past=(Rolling("wind", "24h", "sum"),)), timezone="Europe/Berlin"), {})
    got = Bucket([part]).compute(recipe)[:, 0]
    assert np.array_equal(got, [np.nan, 1.0, 3.0, 6.0], equal_nan=True)


WILD = st.lists(
    st.one_of(st.none(), st.floats(-1e12, 1e12), st.sampled_from([np.inf, -np.inf, 0.0, -0.0])), min_size=1, max_size=40
)


@given(WILD)
@example([0.1] * 28)
@example([1e12, *[1e-9] * 29])
@example([None, *[0.3, 0.7, 1e9] * 12])
def test_the_row_after_a_history_has_the_bits_of_the_bulk(values: list[float | None]) -> None:
    problem = Forecast(target="units", freq="D", horizon=6, strategy="recursive")
    features = Features(known_ahead=("price",), past=(Lag("price", 1), *every("units")), calendar=("weekday",))
    recipe = Recipe.of(forecast_fleet(features, problem=problem), {})
    part = daily(values, price=[1.0] * len(values))
    matrix = Bucket([part]).compute(recipe)
    places = recipe.recursed()
    assert [recipe.names()[place] for place in places] == [name for name in recipe.names() if name.startswith("units_")]
    history = part["units"].to_numpy()
    for row in range(len(values)):
        assert_same(recipe.past_row({"units": history[:row]}), matrix[row, places])


RESTRICTED = Features(
    past=(Lag("units", 6), Difference("units", 3), *(Rolling("units", 5, name) for name in STATISTICS))  # type: ignore[arg-type]
)


@given(buckets())
def test_a_partition_has_the_same_bits_alone_and_among_others(bucket: Bucket) -> None:
    recipe = Recipe.of(forecast_fleet(ALL), {})
    whole = bucket.compute(recipe, 2)
    alone = np.concatenate([Bucket([part]).compute(recipe, 2) for part in bucket.parts])
    assert_same(whole, alone)


@given(buckets(), st.integers(1, 9))
def test_a_partition_has_the_same_bits_in_runs_of_any_size(bucket: Bucket, run: int) -> None:
    recipe = Recipe.of(forecast_fleet(ALL), {})
    whole = bucket.compute(recipe, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(past, "RUN", run)
        assert_same(bucket.compute(recipe, 2), whole)


@settings(max_examples=30)
@given(buckets(most=20))
def test_rows_further_back_than_the_lookback_change_no_bit(bucket: Bucket) -> None:
    recipe = Recipe.of(forecast_fleet(RESTRICTED), {})
    assert recipe.lookback == 6
    for part in bucket.parts:
        whole = Bucket([part]).compute(recipe)
        for row in range(len(part)):
            cut = part.iloc[max(row - recipe.lookback, 0) : row + 1].reset_index(drop=True)
            assert_same(Bucket([cut]).compute(recipe)[-1], whole[row])


@pytest.mark.parametrize(
    "past_features, rows, span",
    [
        ((Lag("wind", 3, 9),), 9, timedelta(0)),
        ((Difference("wind", 7),), 8, timedelta(0)),
        ((Rolling("wind", 5, "mean"), Lag("wind", 2)), 5, timedelta(0)),
        ((Rolling("wind", "2D", "mean"), Rolling("wind", "36h", "max")), 0, timedelta(days=2)),
        ((Rolling("wind", "2D", "mean"), Expanding("wind", "max")), None, timedelta(days=2)),
        ((), 0, timedelta(0)),
    ],
    ids=["lags", "difference", "rows", "duration", "expanding", "none"],
)
def test_lookback_is_the_furthest_row_read(
    past_features: tuple[Lag | Rolling, ...], rows: int | None, span: timedelta
) -> None:
    recipe = Recipe.of(regression_fleet(Features(known_ahead=("gust",), past=past_features)), {})
    assert (recipe.lookback, recipe.lookback_time) == (rows, span)
    assert recipe.looks_back == bool(past_features)


def test_durations_of_regular_series_are_steps() -> None:
    features = Features(past=(Rolling("units", "28D", "mean"),))
    problem = Forecast(target="units", freq="W-MON", horizon=2)
    recipe = Recipe.of(forecast_fleet(features, problem=problem), {})
    assert (recipe.names(2), recipe.lookback, recipe.lookback_time) == (("units_mean_28D",), 4, timedelta(0))


def test_lags_shorter_than_ahead_are_left_out_unless_known_ahead() -> None:
    recipe = Recipe.of(forecast_fleet(Features(known_ahead=("price",), past=(Lag("units", 1, 3), Lag("price", 1)))), {})
    assert recipe.names(1) == ("price", "units_lag_1", "units_lag_3", "price_lag_1")
    assert recipe.names(2) == ("price", "units_lag_3", "price_lag_1")
    assert recipe.known(2).tolist() == [True, False, True]


def test_irregular_rows_have_no_steps_ahead() -> None:
    recipe = Recipe.of(regression_fleet(IRREGULAR), {})
    with pytest.raises(ValueError, match="ahead=2: 1 for irregular rows"):
        recipe.names(2)
