"""Types that drift between intervals: widened and noted where safe, else an error that names where."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from modelfleet.errors import DataError
from modelfleet.ingest import conform, schema_of, unify
from modelfleet.ingest.schema import UnifiedSchema, columns_of, lake_type

_UTC = "timestamp[us, tz=UTC]"


def _unified(*types: str | None, needed: tuple[str, ...] = ()) -> UnifiedSchema:
    """Column x as it was on the first days of October 2013; None: it was not there."""
    manifests = [(f"2013-10-{day:02d}", {"x": t} if t else {}) for day, t in enumerate(types, 1)]
    return unify(manifests, needed=needed, fleet="demand", table="sales")


@pytest.mark.parametrize(
    "types, expected",
    [
        (("int64", "int64"), "int64"),
        (("int32", "int64"), "int64"),
        (("int64", "double"), "double"),
        (("double", "int64", "float"), "double"),
        (("date32[day]", "timestamp[us]"), "timestamp[us]"),
        (("large_string", "string"), "string"),
    ],
)
def test_types_that_go_together_are_widened_and_noted(types: tuple[str, ...], expected: str) -> None:
    unified = _unified(*types)
    assert columns_of(unified.schema) == {"x": expected}
    assert len(unified.notes) == (len(set(types)) > 1)


def test_a_note_names_types_intervals_and_what_is_read() -> None:
    assert _unified("int64", "double").notes == ("column x: int64 in 2013-10-01, double in 2013-10-02: read as double",)


@pytest.mark.parametrize("known", ["int64", "double", "string", "bool", "date32[day]", "timestamp[us]", _UTC, "binary"])
def test_a_column_without_a_value_takes_any_type_silently(known: str) -> None:
    for types in (("null", known), (known, "null")):
        unified = _unified(*types)
        assert columns_of(unified.schema) == {"x": known}
        assert unified.notes == ()


@pytest.mark.parametrize(
    "types",
    [
        ("int64", "string"),
        ("bool", "int64"),
        ("date32[day]", "string"),
        ("date32[day]", _UTC),
        ("double", "timestamp[us]"),
    ],
    ids="-".join,
)
def test_types_that_do_not_go_together_are_an_error(types: tuple[str, str]) -> None:
    message = rf"table 'sales': column 'x' is .*{types[0][:6]}.* in 2013-10-01, .* in 2013-10-02; these types do not go"
    with pytest.raises(DataError, match=message):
        _unified(*types)


def test_naive_times_beside_instants_hint_at_the_timezone() -> None:
    with pytest.raises(DataError, match="Hint: give the table a timezone"):
        _unified("timestamp[us]", _UTC)


def test_a_lost_column_is_null_and_noted() -> None:
    assert _unified("int64", None, "int64").notes == ("column x: lost in 2013-10-02: null there",)


def test_a_lost_column_that_is_needed_is_an_error() -> None:
    with pytest.raises(
        DataError, match="fleet 'demand', table 'sales': column 'x' is needed but was lost in 2013-10-02"
    ):
        _unified("int64", None, "int64", needed=("x",))


def test_a_new_column_is_null_before_and_noted() -> None:
    assert _unified(None, None, "int64", needed=("x",)).notes == (
        "column x: new, not in 2013-10-01, 2013-10-02: null there",
    )


def test_a_needed_column_that_was_never_there_is_an_error() -> None:
    with pytest.raises(DataError, match="no column 'y'; there is 'x'"):
        _unified("int64", needed=("y",))


def test_no_intervals_have_no_columns() -> None:
    assert unify([], needed=("x",), fleet="demand", table="sales").schema == pa.schema([])


def test_conform_casts_fills_drops_and_orders() -> None:
    batch = pa.RecordBatch.from_pydict({"extra": [1, 2], "b": [1, None], "a": ["x", "y"]})
    schema = pa.schema([("a", pa.string()), ("b", pa.float64()), ("new", pa.date32())])
    assert conform(batch, schema).to_pydict() == {"a": ["x", "y"], "b": [1.0, None], "new": [None, None]}


def test_conform_refuses_an_integer_a_double_does_not_hold() -> None:
    batch = pa.RecordBatch.from_pydict({"x": [2**53 + 1]})
    with pytest.raises(DataError, match="column 'x': int64 can't be read as double"):
        conform(batch, pa.schema([("x", pa.float64())]))


@pytest.mark.parametrize(
    "given, stored",
    [
        (pa.uint8(), pa.int64()),
        (pa.float32(), pa.float32()),
        (pa.float16(), pa.float32()),
        (pa.decimal128(18, 0), pa.int64()),
        (pa.decimal128(19, 0), pa.float64()),
        (pa.decimal128(10, 2), pa.float64()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.timestamp("ns", "Asia/Tokyo"), pa.timestamp("us", "UTC")),
        (pa.timestamp("s"), pa.timestamp("us")),
        (pa.date64(), pa.date32()),
        (pa.list_(pa.int8()), None),
        (pa.time64("us"), None),
    ],
    ids=str,
)
def test_each_type_has_one_lake_type(given: pa.DataType, stored: Any) -> None:
    assert lake_type(given) == stored
    if stored is not None:
        assert schema_of({"x": str(stored)}).field("x").type == stored
