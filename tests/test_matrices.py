"""What models see of rows: plain columns, declared features, and what the author makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import author_models
from forecast_bench import KEYS, part, problem, spec
from forecast_bench import bucket as series
from modelfleet import Difference, Features, Lag, Rolling, slices
from modelfleet.errors import ModelCodeError
from modelfleet.matrices import Bucket, Inputs
from modelfleet.modelcode import ModelCode
from training_bench import bucket
from training_bench import part as rows_of
from training_bench import spec as shops

SHOPS = Bucket(bucket({"S": rows_of(seed=1), "T": rows_of(6, seed=2)}), "day", ("store", "day"))
DECLARED = Features(known_ahead=("price",), past=(Lag("y", 7), Rolling("w", 5, "mean"), Lag("price", 2)))
ITEMS = spec(features=DECLARED)
SERIES = Bucket(series({("S", "a"): part(30, seed=1), ("S", "b"): part(20, seed=2)}, ITEMS), "day", (*KEYS, "day"))


def code(features: Any = None) -> ModelCode:
    return ModelCode("author_models:build", author_models.build, features, None)


def test_plain_columns_are_the_matrix() -> None:
    inputs = Inputs.of(shops(features=("b", "a")), {})
    place = [name for name, *_ in SHOPS.bounds].index("store=T")
    x = SHOPS.matrix(place, inputs, code())
    given = rows_of(6, seed=2)
    np.testing.assert_array_equal(x, np.column_stack([given["b"], given["a"]]))
    assert SHOPS.known(place, inputs) is None


def test_features_that_are_not_all_numbers_become_a_frame_in_their_order() -> None:
    rows = bucket({"S": rows_of(6, seed=2)})
    x = Bucket(rows, "day", ()).matrix(0, Inputs(("store", "b")), code())
    assert list(x.columns) == ["store", "b"]
    assert x["store"].tolist() == ["S"] * 6


def test_matrix_of_a_partition_is_its_own_to_write_to() -> None:
    rows = Bucket(bucket({"S": rows_of(6, seed=2)}), "day", ())
    x = rows.matrix(0, Inputs(("a", "b")), code())
    x[:] = 0.0
    assert rows.matrix(0, Inputs(("a", "b")), code()).any()


def test_frame_of_a_partition_holds_no_rows_of_others() -> None:
    """What a model may take is its own: were the whole bucket widened for it, the largest bucket would decide."""
    rows = bucket({"S": rows_of(50_000, seed=1), "T": rows_of(6, seed=2)})
    kept = [field.with_type(pa.float32()) if field.name in ("a", "b") else field for field in rows.schema]
    shop = Bucket(rows.cast(pa.schema(kept)), "day", ("store", "day"))
    given = Inputs.of(shops(features=("a", "b")), {})
    place = [name for name, *_ in shop.bounds].index("store=T")
    shop.prepare([given], (1,), arrays=False)
    before = pa.total_allocated_bytes()
    frame = shop.matrix(place, given, code(lambda frame: frame[["a", "b"]]))
    assert set(frame.dtypes) == {np.dtype("float64")}
    np.testing.assert_array_equal(frame["a"], np.float32(rows_of(6, seed=2)["a"]).astype(float))
    assert pa.total_allocated_bytes() - before < 50_000


def test_missing_is_null_or_nan_in_columns_of_any_type() -> None:
    table = pa.table({"x": [0.5, float("nan"), None], "kind": ["b", None, ""], slices.PARTITION: ["k"] * 3})
    found = Bucket(table, "day", ()).missing(("kind", "x"))
    assert found.tolist() == [[False, True, False], [False, True, True]]


def test_declared_features_are_made_once_for_all_partitions() -> None:
    inputs = Inputs.of(ITEMS, {})
    assert inputs.recipe is not None
    made = [SERIES.matrix(place, inputs, code(), ahead=3) for place in range(2)]
    assert made[0].base is made[1].base
    assert [len(x) for x in made] == [end - start for _, start, end in SERIES.bounds]
    assert inputs.recipe.names(3) == ("price", "y_lag_7", "w_mean_5", "price_lag_2")


def test_author_sees_keys_time_and_what_is_known_ahead_beside_the_declared_features() -> None:
    seen: list[list[str]] = []

    def features(frame: pd.DataFrame) -> pd.DataFrame:
        seen.append(list(frame.columns))
        return frame[["price"]]

    SERIES.matrix(0, Inputs.of(ITEMS, {}), code(features), ahead=7)
    assert seen == [["store", "item", "day", "price", "y_lag_7", "w_mean_5", "price_lag_2"]]
    SHOPS.matrix(0, Inputs.of(shops(), {}), code(lambda frame: seen.append(list(frame.columns)) or frame))
    assert seen[1:] == [["store", "day", "a", "b"]]


def test_author_that_loses_rows_is_refused() -> None:
    with pytest.raises(ModelCodeError, match="returned 3 rows for"):
        SERIES.matrix(0, Inputs.of(ITEMS, {}), code(lambda frame: frame.iloc[:3]))


def test_known_features_are_those_of_what_is_known_ahead() -> None:
    known = SERIES.known(0, Inputs.of(ITEMS, {}))
    assert known is not None
    _, start, end = SERIES.bounds[0]
    price = SERIES.rows.column("price").to_numpy()[start:end]
    np.testing.assert_array_equal(known[2:], np.column_stack([price[2:], price[:-2]]))
    past = spec(features=Features(past=(Lag("y", 7),)))
    assert SERIES.known(0, Inputs.of(past, {})) is None


@pytest.mark.parametrize(
    "features, young",
    [
        (Features(known_ahead=("price",), past=(Lag("y", 7), Lag("y", 9))), 9),
        (Features(known_ahead=("price",), past=(Lag("price", 2),)), 2),
        (Features(past=(Rolling("y", 5, "mean"),)), 1),
        (Features(past=(Rolling("y", 5, "std"),)), 2),
        (Features(past=(Difference("y", 3),)), 4),
        (Features(past=(Lag("y", 60),), calendar=("weekday",)), 30),
        (Features(calendar=("weekday",), known_ahead=("price",)), 0),
    ],
    ids=[
        "the longest lag",
        "of what is known ahead",
        "mean",
        "deviation",
        "difference",
        "all rows",
        "nothing looks back",
    ],
)
def test_young_rows_are_those_before_all_features_that_look_back_are_there(features: Features, young: int) -> None:
    of = spec(features=features, problem=problem(strategy="recursive"))
    inputs = Inputs.of(of, {})
    place = [name for name, *_ in SERIES.bounds].index("store=S/item=a")
    x = SERIES.matrix(place, inputs, code())
    assert inputs.young(x) == young
    assert inputs.young(pd.DataFrame(x)) == 0


def test_inputs_read_back_as_they_were_with_the_same_id() -> None:
    for inputs in (Inputs.of(ITEMS, {}), Inputs.of(shops(), {}), Inputs.of(ITEMS, {"store": ("S",)}, keys=True)):
        again = Inputs.from_json(inputs.to_json())
        assert (again, again.id) == (inputs, inputs.id)
    assert Inputs.of(shops(), {}).id != Inputs.of(shops(features=("b", "a")), {}).id
