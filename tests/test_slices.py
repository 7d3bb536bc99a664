"""Cutting at key changes, and digests that say whether rows are the same, however they lie."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import slices

MOMENT = datetime(2013, 10, 27, 1, 30)
# Two different values of every type that a column may have.
COLUMNS: list[tuple[pa.DataType, Any, Any]] = [
    (pa.int8(), -1, 1),
    (pa.int64(), -(2**63), 2**63 - 1),
    (pa.uint8(), 0, 255),
    (pa.uint64(), 2**64 - 1, 2**64 - 2),
    (pa.float32(), 0.5, 0.25),
    (pa.float64(), 1e300, math.nextafter(1e300, 0)),
    (pa.bool_(), True, False),
    (pa.string(), "a", "b"),
    (pa.large_string(), "", " "),
    (pa.string_view(), "a", "b"),
    (pa.binary(), b"a", b"b"),
    (pa.decimal128(10, 2), Decimal("1.50"), Decimal("1.51")),
    (pa.date32(), date(1969, 12, 31), date(1970, 1, 2)),
    (pa.date64(), date(2013, 1, 1), date(2013, 1, 2)),
    (pa.timestamp("s"), MOMENT, MOMENT + timedelta(seconds=1)),
    (pa.timestamp("us"), MOMENT, MOMENT + timedelta(microseconds=1)),
    (pa.timestamp("us", "UTC"), MOMENT, MOMENT + timedelta(microseconds=1)),
    (pa.timestamp("ns", "Europe/Berlin"), MOMENT, MOMENT + timedelta(microseconds=1)),
    (pa.duration("s"), timedelta(seconds=1), timedelta(seconds=2)),
    (pa.dictionary(pa.int8(), pa.string()), "a", "b"),
]
BY_TYPE = pytest.mark.parametrize("kind, one, other", COLUMNS, ids=[str(kind) for kind, _, _ in COLUMNS])


def column(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def hashes(kind: pa.DataType, values: list[Any], chunk: int = 100) -> list[int]:
    chunks = [column(kind, values[at : at + chunk]) for at in range(0, len(values), chunk)]
    found: list[int] = slices.row_hashes(pa.table({"a": pa.chunked_array(chunks, kind)})).tolist()
    return found


@BY_TYPE
def test_rows_hash_by_their_values_however_they_are_chunked(kind: pa.DataType, one: Any, other: Any) -> None:
    values = [one, None, other, one, None]
    found = hashes(kind, values)
    assert len(set(found)) == 3
    assert (found[0], found[1]) == (found[3], found[4])
    assert hashes(kind, values, chunk=1) == hashes(kind, values, chunk=2) == found
    assert hashes(kind, values[1:]) == found[1:]


@BY_TYPE
def test_column_without_rows_has_no_hashes(kind: pa.DataType, one: Any, other: Any) -> None:
    for empty in (pa.chunked_array([], kind), pa.chunked_array([column(kind, [])], kind)):
        found = slices.row_hashes(pa.table({"a": empty}))
        assert (found.shape, found.dtype) == ((0,), np.uint64)


def test_column_of_nulls_alone_has_hashes() -> None:
    found = slices.row_hashes(pa.table({"a": pa.nulls(2)})).tolist()
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.date32()], ids=str)
def test_dictionary_column_hashes_as_its_values(kind: pa.DataType) -> None:
    plain = pa.array([3, None, 5, 3], pa.int32()).cast(kind)
    assert (
        slices.row_hashes(pa.table({"a": plain.dictionary_encode()})).tolist()
        == slices.row_hashes(pa.table({"a": plain})).tolist()
    )


def test_zeros_hash_alike_and_nan_is_neither_null_nor_zero() -> None:
    zero, minus, nan, other_nan, null = hashes(
        pa.float64(), [0.0, -0.0, math.nan, np.uint64(0x7FF8000000000001).view(np.float64), None]
    )
    assert zero == minus
    assert nan == other_nan
    assert len({zero, nan, null}) == 3


def test_null_differs_from_what_stands_in_for_it() -> None:
    for kind, value in ((pa.int64(), 0), (pa.float64(), 0.0), (pa.bool_(), False), (pa.string(), "None")):
        null, given_value = hashes(kind, [None, value])
        assert null != given_value, kind


def test_values_in_other_columns_give_other_hashes() -> None:
    one = pa.table({"a": [1, 1, None], "b": [2, 1, 7]})
    other = pa.table({"a": [2, 1, 7], "b": [1, 1, None]})
    assert (slices.row_hashes(one) == slices.row_hashes(other)).tolist() == [False, True, False]


def test_hash_never_changes_and_leaves_the_partition_out() -> None:
    """Fingerprints are kept in packs: other hashes would make every dataset look new."""
    table = pa.table({"n": [1, None], "x": [0.5, -0.0], "s": ["é", None], slices.PARTITION: ["a", "b"]})
    found = slices.row_hashes(table)
    assert found.tolist() == slices.row_hashes(table.drop_columns([slices.PARTITION])).tolist()
    assert slices.fingerprint(found) == "876594da8cb6f8166341cd860718990e"


def test_fingerprint_sees_order_and_repetition() -> None:
    found = slices.row_hashes(pa.table({"a": [1, 2, 2]}))
    prints = [slices.fingerprint(found[rows]) for rows in ([0, 1, 2], [1, 0, 2], [0, 1], [0])]
    assert len(set(prints)) == 4
    assert slices.fingerprint(found[[0, 2]]) == slices.fingerprint(found[[0, 1]])


PARTS = st.dictionaries(st.text(max_size=5), st.text("0123456789abcdef", min_size=1, max_size=8), max_size=12)


@given(PARTS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_digest_is_the_same_in_any_order_and_number_of_buckets(
    parts: dict[str, str], buckets: int, random: Any
) -> None:
    listed = list(parts.items())
    whole = slices.digest_of_parts(listed)
    random.shuffle(listed)
    assert slices.combine(slices.digest_of_parts(listed[at::buckets]) for at in range(buckets)) == whole
    assert len(whole) == 32


@given(PARTS.filter(bool))
def test_digest_sees_every_part(parts: dict[str, str]) -> None:
    whole = slices.digest_of_parts(parts.items())
    key = next(iter(parts))
    changed = {**parts, key: parts[key] + "0"}
    fewer = {name: digest for name, digest in parts.items() if name != key}
    assert len({whole, slices.digest_of_parts(changed.items()), slices.digest_of_parts(fewer.items())}) == 3


def bucket(names: list[str], chunk: int = 100) -> pa.Table:
    chunks = [pa.array(names[at : at + chunk], pa.string()).dictionary_encode() for at in range(0, len(names), chunk)]
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.table({slices.PARTITION: pa.chunked_array(chunks, kind), "row": list(range(len(names)))})


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 4)), unique_by=lambda x: x[0]), st.integers(1, 5))
def test_bucket_is_cut_where_the_key_changes(parts: list[tuple[str, int]], chunk: int) -> None:
    rows = bucket([name for name, count in parts for _ in range(count)], chunk)
    cut = [(key, part.column("row").to_pylist()) for key, part in slices.cut(rows)]
    assert [(key, len(found)) for key, found in cut] == parts
    assert [row for _, found in cut for row in found] == list(range(rows.num_rows))
    assert [(key, end - start) for key, start, end in slices.bounds(rows)] == parts


def test_cut_of_a_table_that_was_filtered_or_sliced_holds_what_is_left() -> None:
    rows = bucket(["a", "a", "b", "c", "c"])
    assert [key for key, _ in slices.cut(rows.slice(2))] == ["b", "c"]
    assert slices.bounds(rows.filter(pa.array([True, False, False, True, True]))) == [("a", 0, 1), ("c", 1, 3)]


MIDNIGHT = datetime.fromisoformat("2013-10-27T00:00+02:00")
IN_UTC, ON_THE_WALL = np.datetime64("2013-10-26T22:00", "us"), np.datetime64("2013-10-27", "us")


@pytest.mark.parametrize(
    "kind, value, wall",
    [
        (pa.timestamp("ns", "Europe/Berlin"), MIDNIGHT, IN_UTC),
        (pa.timestamp("s", "UTC"), MIDNIGHT, IN_UTC),
        (pa.timestamp("ms"), MIDNIGHT.replace(tzinfo=None), ON_THE_WALL),
        (pa.date32(), MIDNIGHT.date(), ON_THE_WALL),
        (pa.date64(), MIDNIGHT.date(), ON_THE_WALL),
    ],
    ids=str,
)
def test_moment_is_what_a_column_of_any_type_has_at_that_time(
    kind: pa.DataType, value: Any, wall: np.datetime64
) -> None:
    times = slices.wall_times(pa.chunked_array([pa.array([value], kind)]))
    assert times.tolist() == [wall.item()]
    assert times.dtype == np.dtype("datetime64[us]")
    assert slices.wall_moment(kind, MIDNIGHT) == wall


def test_bounds_are_the_first_row_and_the_row_after_the_last() -> None:
    codes = pa.array([2, 2, 0, 1, 1, 1], pa.int32())
    rows = pa.table({slices.PARTITION: pa.DictionaryArray.from_arrays(codes, pa.array(["a", "b", "c"]))})
    assert slices.bounds(rows) == [("c", 0, 2), ("a", 2, 3), ("b", 3, 6)]
    assert slices.bounds(rows.slice(1, 3)) == [("c", 0, 1), ("a", 1, 2), ("b", 2, 3)]
    assert slices.bounds(rows.slice(0, 0)) == []
