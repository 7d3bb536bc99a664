"""No feature reads what is not known when the prediction is made: values from the cutoff on are changed at will."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from feature_cases import STATISTICS, VALUES, Bucket, assert_same, buckets, forecast_fleet, regression_fleet
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet import Difference, Expanding, Features, Forecast, Holidays, Lag, Rolling
from modelfleet.features import Recipe

KINDS: dict[str, Any] = {
    "lag": Lag("units", 1, 2, 6),
    "difference": Difference("units", 1, 3),
    **{f"rolling rows {name}": Rolling("units", 3, name) for name in STATISTICS},  # type: ignore[arg-type]
    **{f"rolling days {name}": Rolling("units", "4D", name) for name in STATISTICS},  # type: ignore[arg-type]
    **{f"expanding {name}": Expanding("units", name) for name in STATISTICS if name != "median"},  # type: ignore[arg-type]
}
OTHERS = Features(
    known_ahead=("price",),
    past=(Lag("price", 1), Rolling("price", 3, "mean"), Lag("visitors", 6)),
    calendar=("month", "weekday"),
    cyclic=("day_of_year",),
    holidays=Holidays("DE"),
)


def changed(draw: st.DataObject, bucket: Bucket, column: str, cutoff: int) -> Bucket:
    """The bucket with other values of a column from row `cutoff` of each partition on."""
    parts = []
    for part in bucket.parts:
        values = part[column].to_numpy(copy=True)
        count = len(values[cutoff:])
        values[cutoff:] = np.array(draw.draw(st.lists(VALUES, min_size=count, max_size=count)), dtype=np.float64)
        parts.append(part.assign(**{column: values}))
    return Bucket(parts)


def rows_before(bucket: Bucket, row: int) -> np.ndarray:
    """Which rows of the bucket are before this one of their partition."""
    return np.concatenate([np.arange(len(part)) < row for part in bucket.parts])


@pytest.mark.parametrize("past", KINDS.values(), ids=KINDS.keys())
@settings(max_examples=25)
@given(bucket=buckets(), cutoff=st.integers(0, 12), ahead=st.integers(1, 6), data=st.data())
def test_targets_from_the_cutoff_on_change_no_feature_of_rows_forecast_from_it(
    past: Any, bucket: Bucket, cutoff: int, ahead: int, data: st.DataObject
) -> None:
    recipe = Recipe.of(forecast_fleet(Features(past=(past,), calendar=("weekday",))), {})
    before = bucket.compute(recipe, ahead)
    after = changed(data, bucket, "units", cutoff).compute(recipe, ahead)
    unseen = rows_before(bucket, cutoff + ahead)
    assert_same(after[unseen], before[unseen])


@given(bucket=buckets(), ahead=st.integers(1, 6), data=st.data())
def test_features_said_to_be_known_ahead_read_no_target_at_all(bucket: Bucket, ahead: int, data: st.DataObject) -> None:
    features = OTHERS.model_copy(update={"past": (*OTHERS.past, *KINDS.values())})
    recipe = Recipe.of(forecast_fleet(features), {})
    other = changed(data, changed(data, bucket, "units", 0), "visitors", 0)
    known = recipe.known(ahead)
    assert_same(other.compute(recipe, ahead)[:, known], bucket.compute(recipe, ahead)[:, known])
    names = set(recipe.names(ahead))
    assert {name for name, sure in zip(recipe.names(ahead), known, strict=True) if not sure} == {
        name for name in names if name.startswith(("units_", "visitors_"))
    }


@given(bucket=buckets(), cutoff=st.integers(0, 12), data=st.data())
def test_past_of_known_ahead_columns_reads_rows_before_only(bucket: Bucket, cutoff: int, data: st.DataObject) -> None:
    past = (Lag("price", 1), Rolling("price", 3, "mean"), Expanding("price", "std"))
    recipe = Recipe.of(forecast_fleet(Features(known_ahead=("price",), past=past)), {})
    places = [place for place, name in enumerate(recipe.names(4)) if name != "price"]
    unseen = rows_before(bucket, cutoff + 1)
    after = changed(data, bucket, "price", cutoff).compute(recipe, 4)
    assert_same(after[unseen][:, places], bucket.compute(recipe, 4)[unseen][:, places])


@given(bucket=buckets(), cutoff=st.integers(0, 12), data=st.data())
def test_irregular_rows_read_rows_before_only(bucket: Bucket, cutoff: int, data: st.DataObject) -> None:
    past = (Lag("visitors", 1), Rolling("visitors", "36h", "mean"), Rolling("visitors", 2, "max"))
    recipe = Recipe.of(regression_fleet(Features(past=past)), {})
    unseen = rows_before(bucket, cutoff + 1)
    after = changed(data, bucket, "visitors", cutoff).compute(recipe)
    assert_same(after[unseen], bucket.compute(recipe)[unseen])


def test_recursive_features_are_just_those_of_the_target() -> None:
    problem = Forecast(target="units", freq="D", horizon=6, strategy="recursive")
    features = OTHERS.model_copy(update={"past": (*OTHERS.past, KINDS["lag"])})
    recipe = Recipe.of(forecast_fleet(features, problem=problem), {})
    names = np.array(recipe.names())
    assert names[recipe.recursed()].tolist() == ["units_lag_1", "units_lag_2", "units_lag_6"]
    assert recipe.past_row({"units": np.array([1.0, 2.0])}).tolist()[:2] == [2.0, 1.0]
