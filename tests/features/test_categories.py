"""Categorical columns: collected over buckets, then places in a sorted list or columns of 0 and 1."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feature_cases import forecast_fleet
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import Features
from modelfleet.errors import DataError, SpecError
from modelfleet.features import MAX_CATEGORIES, Recipe, categories_of, settle


def recipe(known: tuple[str, ...] = ("fruit", "meat"), **changes: Any) -> Recipe:
    features = Features(**{"static": ("category",), "categorical": ("category",), **changes})
    return Recipe.of(forecast_fleet(features), {"category": known})


def compute(made: Recipe, values: Any) -> list[list[float]]:
    rows = pa.table({"category": values})
    return made.compute(rows, np.zeros(1, dtype=np.int64), time="day").tolist()


@pytest.mark.parametrize(
    "values, expected",
    [
        (pa.array(["meat", "fruit", None, "fish"]), ("fish", "fruit", "meat")),
        (pa.array(["b", "a"], pa.large_string()), ("a", "b")),
        (pa.array([10, 9, None, -1]), ("-1", "9", "10")),
        (pa.array(["10", "9", "09"]), ("09", "10", "9")),
        (pa.array([True, None, False]), ("false", "true")),
        (pa.array([date(2013, 9, 30), date(2012, 1, 1)]), ("2012-01-01", "2013-09-30")),
        (pa.array(["b", None, "a", "b"]).dictionary_encode(), ("a", "b")),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array([30, 4])), ("4", "30")),
        (pa.nulls(3), ()),
        (pa.array([], pa.string()), ()),
        (pa.array(["", " "]), ("", " ")),
    ],
    ids=["text", "large", "int", "digits", "bool", "date", "dictionary", "coded ints", "nulls", "none", "blank"],
)
def test_categories_are_the_sorted_texts_of_values_without_null(values: pa.Array, expected: tuple[str, ...]) -> None:
    found = categories_of(pa.table({"category": values}), ["category"])
    assert settle([found], "demand") == {"category": expected}


def test_categories_of_buckets_are_united() -> None:
    found = [categories_of(pa.table({"a": [name], "b": [1]}), ["a", "b"]) for name in ("y", "x", "y")]
    assert settle(found, "demand") == {"a": ("x", "y"), "b": ("1",)}


@pytest.mark.parametrize("per_bucket", [600, MAX_CATEGORIES + 7], ids=["together", "in one bucket"])
def test_too_many_categories_are_refused(per_bucket: int) -> None:
    found = [
        categories_of(pa.table({"category": [f"c{first + n:05d}" for n in range(per_bucket)]}), ["category"])
        for first in (0, per_bucket)
    ]
    assert max(len(sets["category"]) for sets in found) <= MAX_CATEGORIES + 1
    message = (
        r"fleet 'demand': categorical column 'category' has at least [12],\d{3} different values, such as c00000, "
    )
    with pytest.raises(DataError, match=message) as caught:
        settle(found, "demand")
    assert "allowed are 1,000" in str(caught.value)
    assert "prepare" in str(caught.value.hint)


@pytest.mark.parametrize("kind", [pa.float64(), pa.timestamp("us")], ids=str)
def test_columns_that_can_be_no_category_are_refused(kind: pa.DataType) -> None:
    rows = pa.table({"category": pa.array([1]).cast(kind)})
    message = f"fleet 'demand': categorical column 'category' is of type {kind}".replace("[", r"\[")
    with pytest.raises(DataError, match=message):
        categories_of(rows, ["category"], fleet="demand")
    with pytest.raises(DataError, match=message):
        compute(recipe(), rows["category"])


@pytest.mark.parametrize(
    "known, values, expected",
    [
        (("fruit", "meat"), ["meat", "fruit", None, "fish"], [1, 0, -1, -1]),
        (("9", "10"), [10, 9, 8], [1, 0, -1]),
        (("9", "10"), ["10", "9", "09"], [1, 0, -1]),
        (("false", "true"), [True, None, False], [1, -1, 0]),
        (("2013-09-30",), [date(2013, 9, 30), date(2013, 9, 29)], [0, -1]),
        ((), ["a", None], [-1, -1]),
    ],
    ids=["text", "int", "ints as text", "bool", "date", "nothing seen"],
)
def test_ordinal_is_the_place_among_the_values_that_training_saw(
    known: tuple[str, ...], values: list[Any], expected: list[int]
) -> None:
    made = recipe(known)
    assert made.names() == ("category",)
    assert compute(made, values) == [[place] for place in expected]


def test_one_hot_is_a_column_for_each_value_that_training_saw() -> None:
    made = recipe(encoding="onehot")
    assert made.names() == ("category=fruit", "category=meat")
    assert made.known().all()
    assert compute(made, ["meat", None, "fish", "fruit"]) == [[0, 1], [0, 0], [0, 0], [1, 0]]


@given(st.lists(st.none() | st.sampled_from(["a", "b", "c", "d"])), st.integers(0, 5))
def test_codes_do_not_depend_on_chunks_or_dictionaries(values: list[str | None], cut: int) -> None:
    made, whole = recipe(("a", "c")), pa.array(values, pa.string())
    dictionaries = pa.chunked_array([whole[:cut].dictionary_encode(), whole[cut:].dictionary_encode()])
    expected = [[{"a": 0.0, "c": 1.0}.get(value or "", -1.0)] for value in values]
    assert compute(made, whole) == expected
    assert compute(made, dictionaries) == expected


def test_rows_with_values_unseen_in_training_are_counted_and_nulls_are_not() -> None:
    features = Features(known_ahead=("day_type",), static=("category",), categorical=("category", "day_type"))
    made = Recipe.of(forecast_fleet(features), {"category": ("fruit",), "day_type": ("1", "2")})
    rows = pa.table({"category": ["fish", "fruit", None, "fish"], "day_type": [1, 2, 2, None]})
    assert made.unseen(rows) == {"category": 2}


def test_keys_join_as_categorical_static_columns() -> None:
    categories = {"store": ("1", "2"), "item": ("a",)}
    made = Recipe.of(forecast_fleet(Features(known_ahead=("price",))), categories, keys=True)
    assert made.names() == ("price", "store", "item")
    assert made.categorical == ("store", "item")
    assert made.needs == ("price", "store", "item")
    rows = pa.table({"store": [2, 1], "item": ["a", "b"], "price": [0.5, None]})
    got = made.compute(rows, np.zeros(1, dtype=np.int64), time="day")
    assert np.array_equal(got, [[0.5, 1, 0], [np.nan, 0, -1]], equal_nan=True)


def test_one_hot_of_too_many_values_is_refused() -> None:
    message = r"fleet 'demand' .*features.encoding: got 'onehot' of 300 values; allowed: at most 256 in all"
    with pytest.raises(SpecError, match=message) as caught:
        recipe(tuple(f"{n:03d}" for n in range(300)), encoding="onehot")
    assert "ordinal" in str(caught.value.hint)
