"""The MLflow model of a pack: any frame of key and feature columns, answered row by row as scoring does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelfleet import pack, slices
from modelfleet.errors import DataError
from modelfleet.lake import Lake
from modelfleet.pyfunc import PackModel, _key_column, _load_pyfunc
from modelfleet.scoring import Scorer, predict_table
from modelfleet.steps.packaging import pack_folder
from training_bench import SCHEMA, Part, bucket, classification, part, spec, train_in_lake

TRAINED = {"A": part(seed=1), "B": part(seed=2), "short": part(2), "a/b =é": part(seed=3)}
SCORED: dict[str, Part] = {name: part(6, seed=9 + n) for n, name in enumerate([*TRAINED, "unknown"])}
WITHOUT_TARGET = SCHEMA.remove(SCHEMA.get_field_index("y"))
COLUMNS = ["prediction", "source", "partition"]


@pytest.fixture
def made(tmp_path: Path) -> pack.Pack:
    return train_in_lake(Lake(tmp_path), TRAINED, name="one", buckets=3)


@pytest.fixture
def model(made: pack.Pack) -> PackModel:
    return PackModel(made)


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = bucket(SCORED, WITHOUT_TARGET).drop_columns([slices.PARTITION]).to_pandas()
    return rows.sample(frac=1, random_state=3)


def test_shuffled_frame_gets_the_predictions_of_scoring_in_its_own_order(
    made: pack.Pack, model: PackModel, frame: pd.DataFrame
) -> None:
    rows = {row["partition"]: row for row in made.rows(0, 1 << 64).to_pylist()}
    expected, _ = predict_table(Scorer(made.header), rows, bucket(SCORED, WITHOUT_TARGET))
    wanted = expected.to_pandas().set_index(["store", "day"])[COLUMNS]
    answer = model.predict(frame)
    assert list(answer.columns) == COLUMNS
    assert list(answer.index) == list(frame.index)
    wanted = wanted.loc[list(zip(frame["store"], frame["day"], strict=True))].set_axis(frame.index)
    wanted = wanted.astype({"source": object, "partition": object})
    pd.testing.assert_frame_equal(answer, wanted, check_exact=True)
    assert set(answer["source"]) == {"model", "baseline", "none"}


@pytest.mark.parametrize("index", ["all the same", "text", "dates"])
def test_answer_has_the_index_of_the_frame_whatever_it_holds(model: PackModel, frame: pd.DataFrame, index: str) -> None:
    plain = model.predict(frame)
    labels = {
        "all the same": [7] * len(frame),
        "text": [f"row {n % 3}" for n in range(len(frame))],
        "dates": pd.DatetimeIndex(["2013-01-01"] * len(frame)),
    }[index]
    answer = model.predict(frame.set_axis(labels, axis=0))
    assert list(answer.index) == list(labels)
    pd.testing.assert_frame_equal(answer.set_axis(frame.index), plain)


def test_columns_may_lie_in_any_order_and_time_ids_and_others_are_not_needed(
    model: PackModel, frame: pd.DataFrame
) -> None:
    plain = model.predict(frame)
    other = frame[["b", "store", "a"]].assign(more=[object()] * len(frame))
    pd.testing.assert_frame_equal(model.predict(other), plain)


def test_features_over_time_see_the_rows_in_the_order_of_time(tmp_path: Path, frame: pd.DataFrame) -> None:
    made = train_in_lake(Lake(tmp_path), TRAINED, name="f", buckets=1, of=spec(model="author_features:build"))
    rows = {row["partition"]: row for row in made.rows(0, 1 << 64).to_pylist()}
    expected, _ = predict_table(Scorer(made.header), rows, bucket(SCORED, WITHOUT_TARGET))
    wanted = expected.to_pandas().set_index(["store", "day"])["prediction"]
    for days in (frame["day"], frame["day"].dt.tz_convert("Asia/Tokyo"), frame["day"].dt.tz_localize(None)):
        answer = PackModel(made).predict(frame.assign(day=days))
        found = wanted.loc[list(zip(frame["store"], frame["day"], strict=True))]
        np.testing.assert_array_equal(answer["prediction"].to_numpy(), found.to_numpy())


def test_unknown_partition_and_null_key_are_served_by_nothing(model: PackModel) -> None:
    frame = pd.DataFrame({"store": ["unknown", None, "", "A"], "a": 1.0, "b": 1.0})
    answer = model.predict(frame)
    assert answer["source"].tolist() == ["none", "none", "none", "model"]
    assert answer["partition"].tolist() == ["store=unknown", "store=!null", "store=", "store=A"]
    assert answer["prediction"].isna().tolist() == [True, True, True, False]


def test_frame_without_rows_gets_an_answer_without_rows(model: PackModel, frame: pd.DataFrame) -> None:
    for empty in (frame.iloc[:0], pd.DataFrame({"store": [], "a": [], "b": []})):
        answer = model.predict(empty)
        assert (len(answer), list(answer.columns)) == (0, COLUMNS)


@pytest.mark.parametrize("missing, named", [(["a"], "'a'"), (["store"], "'store'"), (["store", "b"], "'store', 'b'")])
def test_missing_column_is_an_error_naming_it(
    model: PackModel, frame: pd.DataFrame, missing: list[str], named: str
) -> None:
    with pytest.raises(DataError, match=f"fleet 'shops': the frame has no column {named}$"):
        model.predict(frame.drop(columns=missing))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"a": "text"}, "feature 'a' does not hold values of type double"),
        ({"store": [[1]]}, "key column 'store' does not hold values of type string"),
        ({"day": "yesterday"}, "time column 'day' does not hold times"),
    ],
)
def test_column_of_another_type_is_an_error_naming_it(model: PackModel, changes: dict[str, Any], message: str) -> None:
    frame = pd.DataFrame({"store": ["A"], "a": [1.0], "b": [1.0], "day": pd.to_datetime(["2013-03-01"])})
    with pytest.raises(DataError, match=message):
        model.predict(frame.assign(**changes))


@pytest.mark.parametrize(
    "values, kind, expected",
    [
        ([1.0, np.nan, 3.0], "int", [1, None, 3]),
        (pd.array([1, None], "Int64"), "int", [1, None]),
        (np.array([2**62], np.uint64), "int", [2**62]),
        (pd.Categorical(["x", None, "x"]), "string", ["x", None, "x"]),
        (pd.array(["x", None], "string"), "string", ["x", None]),
        ([7, 8], "string", ["7", "8"]),
        ([True, None], "bool", [True, None]),
        ([1, 0], "bool", [True, False]),
        (pd.to_datetime(["2013-09-30", None]), "date", [date(2013, 9, 30), None]),
        ([date(2013, 9, 30)], "date", [date(2013, 9, 30)]),
        (["2013-09-30"], "date", [date(2013, 9, 30)]),
        ([None, None], "int", [None, None]),
    ],
)
def test_key_values_are_what_they_were_whatever_pandas_made_of_them(
    values: Any, kind: Any, expected: list[Any]
) -> None:
    assert _key_column(pd.Series(values), kind, "k").to_pylist() == expected


@pytest.mark.parametrize("values, kind", [([1.5], "int"), (["x"], "int"), (["2013"], "date"), ([2**63 * 1.0], "int")])
def test_key_values_of_another_kind_are_refused(values: list[Any], kind: Any) -> None:
    with pytest.raises(DataError, match=f"key column 'k' does not hold values of type {kind}"):
        _key_column(pd.Series(values), kind, "k")


def test_ints_that_pandas_made_floats_predict_as_before(tmp_path: Path) -> None:
    made = train_in_lake(Lake(tmp_path), TRAINED, name="ints", buckets=1)
    header = replace(made.header, feature_types={"a": "int64", "b": "double"})
    typed = PackModel(pack.Pack(header, made._open))
    frame = pd.DataFrame({"store": ["A", "A"], "a": [2, 3], "b": [1.0, 2.0]})
    whole = typed.predict(frame)
    with_null = typed.predict(pd.DataFrame({"store": ["A"] * 3, "a": [2, 3, None], "b": [1.0, 2.0, 1.0]}))
    assert with_null["prediction"].tolist()[:2] == whole["prediction"].tolist()
    assert with_null["source"].tolist() == ["model"] * 3


def test_classes_come_with_their_probability(tmp_path: Path) -> None:
    given = {"A": part(y=[0.0, 1.0, 0.0, 0.0] * 10)}
    model = PackModel(train_in_lake(Lake(tmp_path), given, name="c", buckets=1, of=classification()))
    answer = model.predict(pd.DataFrame({"store": ["x", "A"], "a": 0.5, "b": 0.5}))
    assert list(answer.columns) == ["prediction", "probability", "source", "partition"]
    assert answer["probability"].isna().tolist() == [True, False]
    assert answer["prediction"].iloc[1] == float(answer["probability"].iloc[1] >= 0.5)


def test_folder_that_was_logged_loads_as_the_model(
    made: pack.Pack, model: PackModel, frame: pd.DataFrame, tmp_path: Path
) -> None:
    pack_folder(Lake(tmp_path), made.header, tmp_path / "logged")
    pd.testing.assert_frame_equal(_load_pyfunc(str(tmp_path / "logged")).predict(frame), model.predict(frame))
