"""Recipes: their columns, their JSON, and columns of rows that they can't be made of."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feature_cases import Bucket, daily, forecast_fleet, regression_fleet

from modelfleet import Difference, Expanding, Features, Holidays, Lag, Rolling
from modelfleet.errors import DataError, SpecError
from modelfleet.features import Recipe

LARGE = Features(
    known_ahead=("price", "promo"),
    static=("category", "area"),
    past=(
        Lag("units", 2, 7),
        Difference("units", 7),
        Rolling("units", "28D", "mean", min_count=3),
        Rolling("units", 5, "max"),
        Expanding("units", "mean"),
        Lag("price", 1),
    ),
    calendar=("weekday", "month"),
    cyclic=("month",),
    holidays=Holidays("DE", "BY"),
    categorical=("category",),
    encoding="onehot",
)
CATEGORIES = {"category": ("fruit", "meat")}


def large(**changes: Any) -> Recipe:
    return Recipe.of(forecast_fleet(LARGE.model_copy(update=changes)), CATEGORIES)


def test_columns_are_named_in_the_order_of_the_fields() -> None:
    assert large().names() == (
        *("price", "promo", "category=fruit", "category=meat", "area"),
        *("units_lag_2", "units_lag_7", "units_difference_7", "units_mean_28D", "units_max_5", "units_expanding_mean"),
        *("price_lag_1", "weekday", "month", "month_sin", "month_cos"),
        *("holiday", "days_to_holiday", "days_since_holiday"),
    )
    assert large().needs == ("price", "promo", "category", "area", "units")
    assert large().target == "units"
    assert large().lookback is None


def test_plain_columns_become_a_recipe_of_known_columns() -> None:
    made = Recipe.of(regression_fleet(("wind", "hour")), {})  # type: ignore[arg-type]
    assert (made.names(), made.target, made.frequency, made.looks_back) == (("wind", "hour"), None, None, False)
    assert made.known().tolist() == [True, True]


def test_recipe_survives_json_with_its_digest_and_its_matrix() -> None:
    made = large()
    again = Recipe.from_json(json.loads(json.dumps(made.to_json())))
    assert (again, again.digest) == (made, made.digest)
    part = daily(
        range(40), price=np.linspace(1, 2, 40), promo=[True, False] * 20, category=["meat"] * 40, area=[7] * 40
    )
    one, other = Bucket([part]).compute(made, 2), Bucket([part]).compute(again, 2)
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    "change",
    [{"calendar": ("month",)}, {"encoding": "ordinal"}, {"past": ()}, {"holidays": Holidays("DE")}],
    ids=lambda change: next(iter(change)),
)
def test_other_features_have_another_digest(change: dict[str, Any]) -> None:
    assert large(**change).digest != large().digest


def test_other_categories_or_timezone_have_another_digest() -> None:
    spec = forecast_fleet(LARGE)
    other = Recipe.of(forecast_fleet(LARGE, timezone="Europe/Berlin"), CATEGORIES)
    digests = {large().digest, Recipe.of(spec, {"category": ("fruit",)}).digest, other.digest}
    assert len(digests) == 3
    assert Recipe.of(spec, CATEGORIES).digest == large().digest


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 3], pa.int16()),
        pa.array([1.0, float("nan"), 3.0], pa.float32()),
        pa.array([1.0, float("inf"), 3.0]),
        pa.array([1.0, None, 3.0]),
        pa.array([Decimal("1.0"), None, Decimal("3.0")]),
        pa.chunked_array([pa.array([1.0]), pa.array([None, 3.0])]),
        pa.array([1.0, None, 3.0]).dictionary_encode(),
    ],
    ids=["int", "float32", "infinity", "float", "decimal", "chunks", "dictionary"],
)
def test_numbers_are_taken_as_they_are_and_null_and_infinity_are_nan(column: Any) -> None:
    rows = pa.table({"wind": column})
    got = Recipe.of(regression_fleet(("wind",)), {}).compute(rows, np.zeros(1, dtype=np.int64), time="day")  # type: ignore[arg-type]
    assert got.dtype == np.float64
    assert got.flags.c_contiguous
    assert np.array_equal(got[:, 0], [1.0, np.nan, 3.0], equal_nan=True)


def test_booleans_are_0_and_1() -> None:
    rows = pa.table({"promo": [True, False, None]})
    got = Recipe.of(regression_fleet(("promo",)), {}).compute(rows, np.zeros(1, dtype=np.int64), time="day")  # type: ignore[arg-type]
    assert np.array_equal(got[:, 0], [1.0, 0.0, np.nan], equal_nan=True)


def test_no_rows_make_an_empty_matrix() -> None:
    rows = Bucket([daily([1.0], price=[1.0], promo=[True], category=["meat"], area=[7])]).rows.slice(0, 0)
    assert large().compute(rows, np.zeros(0, dtype=np.int64), time="day").shape == (0, len(large().names()))


@pytest.mark.parametrize(
    "features, values, message, hint",
    [
        (
            Features(known_ahead=("price",)),
            pa.array(["low"]),
            r"fleet 'demand': column 'price' is of type string; allowed are numbers and booleans",
            "list 'price' in `categorical`",
        ),
        (
            Features(static=("price",)),
            pa.array([date(2013, 1, 1)]),
            "column 'price' is of type date32",
            "`categorical`",
        ),
        (
            Features(past=(Lag("price", 1),)),
            pa.array(["low"]),
            "column 'price' is of type string",
            "features of the past are made of numbers",
        ),
        (
            Features(known_ahead=("prize",)),
            pa.array([1.0]),
            r"column 'prize', which .* not among price, day",
            "columns",
        ),
    ],
    ids=["text", "date", "past of text", "missing"],
)
def test_columns_that_features_cannot_be_made_of_are_refused(
    features: Features, values: pa.Array, message: str, hint: str
) -> None:
    rows = pa.table({"price": values, "day": [date(2013, 1, 1)]})
    with pytest.raises(DataError, match=message) as caught:
        Recipe.of(regression_fleet(features), {}).compute(rows, np.zeros(1, dtype=np.int64), time="day")
    assert hint in str(caught.value.hint)


def test_two_features_of_one_name_are_refused() -> None:
    features = Features(known_ahead=("units_mean_3",), past=(Rolling("units", 3, "mean"),))
    with pytest.raises(SpecError, match=r"fleet 'demand' .*features.*: got .*units_mean_3.*; allowed: "):
        Recipe.of(forecast_fleet(features), {})
