"""Drop, clip, fill and dedupe, on all partitions at once, in the spec's order."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_cases import bucket

from modelfleet.errors import DataError
from modelfleet.series import apply
from modelfleet.slices import PARTITION
from modelfleet.spec import Clip, Dedupe, Drop, Fill
from modelfleet.spec.treatments import Treatment

NAN = math.nan


def rows(**columns: Any) -> pa.Table:
    """Rows of store a on days 1, 1, 2 and of store b on days 2, 3, 3, with columns of six values."""
    days = [date(2013, 9, d) for d in (1, 1, 2, 2, 3, 3)]
    made = bucket([{"store": s, "day": d} for s, d in zip("aaabbb", days, strict=True)])
    for name, values in columns.items():
        made = made.append_column(name, values if isinstance(values, pa.Array) else pa.array(values))
    return made


def treat(table: pa.Table, *treatments: Treatment, **options: Any) -> tuple[pa.Table, dict[str, int]]:
    return apply(table, treatments, **({"target": "units", "time": "day", "fleet": "demand"} | options))


def shown(values: list[Any]) -> list[Any]:
    """Values with NaN as text, so that they compare."""
    return ["nan" if isinstance(v, float) and math.isnan(v) else v for v in values]


FLOATS = [-1.0, 2.0, None, NAN, 5.0, 9.0]


@pytest.mark.parametrize(
    "treatment, expected",
    [
        pytest.param(Drop("x", null=True), [-1.0, 2.0, 5.0, 9.0], id="null and NaN"),
        pytest.param(Drop("x", below=0), [2.0, None, "nan", 5.0, 9.0], id="below"),
        pytest.param(Drop("x", above=5), [-1.0, 2.0, None, "nan", 5.0], id="above"),
        pytest.param(Drop("x", below=2, above=8, null=True), [2.0, 5.0], id="any of them"),
    ],
)
def test_dropped_rows_are_left_out_and_counted(treatment: Drop, expected: list[Any]) -> None:
    found, counts = treat(rows(x=FLOATS), treatment)
    assert shown(found.column("x").to_pylist()) == expected
    assert counts == {"drop x": 6 - len(expected)}


@pytest.mark.parametrize(
    "values, treatment, expected, changed",
    [
        pytest.param(FLOATS, Clip("x", 0, 5), [0.0, 2.0, None, "nan", 5.0, 5.0], 2, id="both bounds"),
        pytest.param(FLOATS, Clip("x", lower=3), [3.0, 3.0, None, "nan", 5.0, 9.0], 2, id="lower"),
        pytest.param(FLOATS, Clip("x", upper=-2), [-2.0, -2.0, None, "nan", -2.0, -2.0], 4, id="upper"),
        pytest.param([1, 2, None, 4, 5, 6], Clip("x", 2, 5), [2, 2, None, 4, 5, 5], 2, id="whole numbers"),
        pytest.param([1, 2, None, 4, 5, 6], Clip("x", 1.5, 4.5), [2, 2, None, 4, 4, 4], 3, id="bounds between them"),
        pytest.param([2**60 + 1, 0, 0, 0, 0, 0], Clip("x", upper=2.0**61), [2**60 + 1, *[0] * 5], 0, id="large ones"),
    ],
)
def test_clipped_values_become_the_bound(values: list[Any], treatment: Clip, expected: list[Any], changed: int) -> None:
    table = rows(x=values)
    found, counts = treat(table, treatment)
    assert shown(found.column("x").to_pylist()) == expected
    assert found.schema == table.schema
    assert counts == {"clip x": changed}


@pytest.mark.parametrize(
    "values, treatment, expected, changed",
    [
        pytest.param([1.0, None, NAN, 2.0, None, 3.0], Fill("x", value=0), [1, 0, 0, 2, 0, 3], 3, id="a value"),
        pytest.param(
            [1.0, None, NAN, None, 2.0, None], Fill("x", previous=True), [1, 1, 1, None, 2, 2], 3, id="previous"
        ),
        pytest.param(
            [NAN, None, 1.0, None, 2.0, None],
            Fill("x", value=7, previous=True),
            [7, 7, 1, 7, 2, 2],
            4,
            id="then a value",
        ),
        pytest.param(
            [NAN, None, 1.0, 1, 1, 1], Fill("x", previous=True), ["nan", None, 1, 1, 1, 1], 0, id="nothing before"
        ),
        pytest.param(
            ["s", None, "t", "u", "v", ""], Fill("x", value="-"), ["s", "-", "t", "u", "v", ""], 1, id="texts"
        ),
        pytest.param([True, None] * 3, Fill("x", value=False), [True, False] * 3, 3, id="booleans"),
        pytest.param([1, None] * 3, Fill("x", value=2.0), [1, 2] * 3, 3, id="a whole number written as float"),
        pytest.param(
            pa.array([None] * 6, pa.date32()), Fill("x", value="2013-09-01"), [date(2013, 9, 1)] * 6, 6, id="dates"
        ),
        pytest.param(
            pa.array([None] * 6, pa.timestamp("us")),
            Fill("x", value="2013-09-01 10:00:00"),
            [datetime(2013, 9, 1, 10)] * 6,
            6,
            id="timestamps",
        ),
    ],
)
def test_filled_values_stay_within_the_partition(
    values: Any, treatment: Fill, expected: list[Any], changed: int
) -> None:
    table = rows(x=values)
    found, counts = treat(table, treatment)
    assert shown(found.column("x").to_pylist()) == expected
    assert found.schema == table.schema
    assert counts == {"fill x": changed}


@pytest.mark.parametrize(
    "keep, units, x",
    [
        ("first", [1.0, 4.0, 5.0, None], [10, 12, 13, 14]),
        ("last", [2.0, 4.0, 5.0, 7.0], [11, 12, 13, 15]),
        ("sum", [3.0, 4.0, 5.0, 7.0], [10, 12, 13, 14]),
        ("mean", [1.5, 4.0, 5.0, 7.0], [10, 12, 13, 14]),
        ("max", [2.0, 4.0, 5.0, 7.0], [10, 12, 13, 14]),
    ],
)
def test_rows_of_one_time_become_one(keep: Any, units: list[Any], x: list[int]) -> None:
    table = rows(units=[1.0, 2.0, 4.0, 5.0, None, 7.0], x=[10, 11, 12, 13, 14, 15])
    found, counts = treat(table, Dedupe(keep))
    assert found.column("units").to_pylist() == units
    assert found.column("x").to_pylist() == x
    assert found.column(PARTITION).to_pylist() == ["store=a", "store=a", "store=b", "store=b"]
    assert found.schema == table.schema
    assert counts == {"dedupe": 2}


@pytest.mark.parametrize("keep, expected", [("sum", 3), ("max", 2)])
def test_whole_targets_stay_whole_numbers(keep: Any, expected: int) -> None:
    found, _ = treat(rows(units=[1, 2, 0, 0, None, None]), Dedupe(keep))
    assert found.column("units").to_pylist() == [expected, 0, 0, None]
    assert found.schema.field("units").type == pa.int64()


def test_boolean_target_has_a_maximum() -> None:
    found, _ = treat(rows(units=[False, True, False, True, False, False]), Dedupe("max"))
    assert found.column("units").to_pylist() == [True, False, True, False]


@pytest.mark.parametrize("unit", ["s", "us"])
def test_times_of_any_type_are_compared(unit: str) -> None:
    table = rows(x=[1, 2, 3, 4, 5, 6])
    table = table.set_column(1, "day", table.column("day").cast(pa.timestamp(unit)))
    assert treat(table, Dedupe("first"))[0].column("x").to_pylist() == [1, 3, 4, 5]


def test_treatments_come_in_the_order_of_the_spec() -> None:
    table = rows(units=[None, 2.0, 4.0, 5.0, 600.0, 7.0])
    order = (Fill("units", value=-1), Clip("units", 0, 500), Dedupe("sum"), Drop("units", above=100))
    found, counts = treat(table, *order)
    assert found.column("units").to_pylist() == [2.0, 4.0, 5.0]
    assert counts == {"fill units": 1, "clip units": 2, "dedupe": 2, "drop units": 1}
    other, _ = treat(table, order[1], order[3], order[0], order[2])
    assert other.column("units").to_pylist() == [1.0, 4.0, 5.0, 7.0]


def test_one_treatment_given_twice_counts_together() -> None:
    assert treat(rows(x=[1.0, 2, 3, 4, 5, 6]), Drop("x", below=2), Drop("x", above=5))[1] == {"drop x": 2}


def test_treatments_of_an_absent_target_are_left_out() -> None:
    table = rows(x=[1, 2, 3, 4, 5, 6])
    found, counts = treat(table, Drop("units", null=True), Clip("units", 0, 1), Dedupe("sum"))
    assert found.column("x").to_pylist() == [1, 3, 4, 5]
    assert counts == {"dedupe": 2}


def test_target_is_treated_only_where_it_is_known() -> None:
    table = rows(units=[-1.0, None, None, -1.0, None, None])
    table = table.append_column("known", pa.array([True, True, False] * 2))
    fill = Fill("units", value=5)
    assert treat(table, fill, history="known")[0].column("units").to_pylist() == [-1, 5, None, -1, 5, None]
    assert treat(table, fill, history="known")[1] == {"fill units": 2}
    assert treat(table, Drop("units", null=True), history="known")[0].column("units").to_pylist() == [
        -1,
        None,
        -1,
        None,
    ]
    other = table.append_column("y", pa.nulls(6, pa.int64()))
    assert treat(other, Fill("y", value=1), history="known")[1] == {"fill y": 6}


def test_rows_of_one_partition_need_not_say_which() -> None:
    table = rows(x=[1.0, None, 2.0, None, 3.0, None]).drop_columns([PARTITION])
    assert treat(table, Fill("x", previous=True))[0].column("x").to_pylist() == [1, 1, 2, 2, 3, 3]


def test_no_rows_stay_no_rows() -> None:
    table = rows(x=FLOATS, units=FLOATS).slice(0, 0)
    found, counts = treat(table, Drop("x", below=0), Clip("x", 0, 1), Fill("x", value=0, previous=True), Dedupe("mean"))
    assert found.schema == table.schema
    assert found.num_rows == 0
    assert counts == {"drop x": 0, "clip x": 0, "fill x": 0, "dedupe": 0}


TEXTS, WHOLE, BOOLS = list("abcdef"), [1, 2, 3, None, 5, 6], [True, None] * 3


@pytest.mark.parametrize(
    "values, treatment, message",
    [
        (FLOATS, Clip("y", 0, 1), r"treatments name column 'y'; the rows have store, day, .*x"),
        (TEXTS, Clip("x", 0, 1), r"Clip\('x'\): got a column of type string; allowed: a column of numbers"),
        (BOOLS, Clip("x", 0, 1), r"Clip\('x'\): got a column of type bool"),
        (TEXTS, Drop("x", below=1), r"Drop\('x'\): got a column of type string"),
        (WHOLE, Clip("x", 0.2, 0.8), r"got bounds 0.2 and 0.8; allowed: bounds with a value of int64 between"),
        (WHOLE, Clip("x", lower=1e30), r"got a bound of 1e\+30; allowed: int64 from -9223372036854775808"),
        (WHOLE, Fill("x", value=0.5), r"Fill\('x'\): got 0.5; allowed: a value of type int64"),
        (WHOLE, Fill("x", value=True), r"got True; allowed: a value of type int64"),
        (WHOLE, Fill("x", value="0"), r"got '0'; allowed: a value of type int64"),
        (FLOATS, Fill("x", value=True), r"got True; allowed: a value of type double"),
        (BOOLS, Fill("x", value=0), r"got 0; allowed: a value of type bool"),
        (TEXTS, Fill("x", value=0), r"got 0; allowed: a value of type string"),
        (pa.nulls(6, pa.date32()), Fill("x", value=0), r"got 0; allowed: a value of type date32"),
        (pa.nulls(6, pa.date32()), Fill("x", value="soon"), r"got 'soon'; allowed: a value of type date32"),
        (pa.nulls(6, pa.int8()), Fill("x", value=300), r"got 300; allowed: a value of type int8"),
        (FLOATS, Fill("day", previous=True), r"Fill\('day'\) would change the time of rows"),
    ],
)
@pytest.mark.parametrize("size", [0, 6])
def test_treatment_that_does_not_fit_is_refused_even_without_rows(
    values: Any, treatment: Treatment, message: str, size: int
) -> None:
    with pytest.raises(DataError, match=f"fleet 'demand': .*{message}"):
        treat(rows(x=values).slice(0, size), treatment)


@pytest.mark.parametrize(
    "values, keep, message",
    [
        (WHOLE, "mean", r"Dedupe\('mean'\) of target 'units', which is of type int64; allowed are floating numbers"),
        (BOOLS, "sum", r"Dedupe\('sum'\) of target 'units', which is of type bool; allowed are numbers"),
        (TEXTS, "max", r"Dedupe\('max'\) of target 'units', which is of type string"),
    ],
)
def test_target_that_can_not_be_merged_is_refused(values: Any, keep: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        treat(rows(units=values), Dedupe(keep))


def test_all_unknown_columns_are_named_at_once() -> None:
    with pytest.raises(DataError, match="name column 'y', 'z'; the rows have"):
        treat(rows(x=FLOATS), Drop("y", null=True), Clip("x", 0, 1), Fill("z", value=0))


NUMBERS = st.lists(st.sampled_from([None, NAN, -2.0, 0.0, 1.5, 7.0]), min_size=1, max_size=30)


@given(NUMBERS, st.data(), st.sampled_from(["sum", "mean", "max", "first", "last"]))
def test_treatments_are_those_of_pandas_per_partition(units: list[Any], data: st.DataObject, keep: Any) -> None:
    at = data.draw(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4)), min_size=len(units), max_size=len(units))
    )
    frame = pd.DataFrame(sorted(at), columns=["store", "d"]).assign(units=pd.Series(units, dtype=float))
    table = bucket(
        [{"store": s, "day": date(2013, 9, d), "units": u} for (s, d), u in zip(sorted(at), units, strict=True)]
    )
    found, _ = treat(table, Fill("units", value=0.5, previous=True), Clip("units", -1, 5), Dedupe(keep))
    filled = frame.assign(units=frame.groupby("store").units.ffill().fillna(0.5).clip(-1, 5))
    grouped = filled.groupby(["store", "d"], sort=True).units.agg(keep)
    assert found.column("units").to_pylist() == pytest.approx(grouped.tolist(), abs=1e-12)
