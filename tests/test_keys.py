"""Partition keys: they round-trip whatever the values hold, are never a path, and hash the same for ever."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelfleet import keys
from modelfleet.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", ".", "..", "...", "/", "../..", "a/b=c", "!null", "null", "%2F", "%", "+", " ", "é", "日本", "true", "0", "\0"]
)
INTS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.tuples(
    st.none() | TEXTS,
    st.none() | INTS,
    st.none() | st.booleans(),
    st.none() | st.dates(),
)
TYPES: dict[str, keys.KeyType] = {"name": "string", "a b/c=d": "int", "..": "bool", "tag": "date"}
ARROW = [pa.string(), pa.int64(), pa.bool_(), pa.date32()]


@given(VALUES)
@example(("..", -1, False, date(1, 1, 1)))
@example(("!null", None, None, None))
@example((None, 2**63 - 1, True, date(9999, 12, 31)))
def test_key_decodes_to_the_values_it_was_made_of(values: tuple[keys.KeyValue, ...]) -> None:
    key = keys.encode(list(TYPES), values)
    decoded = keys.decode(key, TYPES)
    assert list(decoded.values()) == list(values)
    assert [type(value) for value in decoded.values()] == [type(value) for value in values]


@given(VALUES, VALUES)
def test_different_values_have_different_keys(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert (keys.encode(list(TYPES), one) == keys.encode(list(TYPES), other)) == (one == other)


@pytest.mark.parametrize(
    "value, text",
    [
        pytest.param(None, "!null", id="null"),
        pytest.param("!null", "%21null", id="the text of the null token"),
        pytest.param("", "", id="empty"),
        pytest.param("..", "%2E%2E", id="dots"),
        pytest.param("a.b", "a.b", id="a dot within"),
        pytest.param("a/b=c d", "a%2Fb%3Dc%20d", id="separators"),
        pytest.param("Zürich", "Z%C3%BCrich", id="unicode"),
        pytest.param(True, "true", id="bool"),
        pytest.param(-(2**70), "-1180591620717411303424", id="big negative int"),
        pytest.param(date(2013, 9, 30), "2013-09-30", id="date"),
    ],
)
def test_value_has_one_canonical_text(value: keys.KeyValue, text: str) -> None:
    assert keys.encode(["c"], [value]) == f"c={text}"


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_key_never_acts_as_a_path(values: list[str]) -> None:
    segments = keys.encode(values, values).split("/")
    assert len(segments) == len(values)
    for segment in segments:
        assert re.fullmatch(r"[\w.~%-]*=[\w.~%-]*", segment, flags=re.ASCII)
        assert not set(segment.split("=")) & {".", ".."}


@pytest.mark.parametrize(
    "value",
    [pytest.param(1.0, id="float"), pytest.param(datetime(2013, 1, 1), id="datetime"), pytest.param(b"a", id="bytes")],
)
def test_value_of_another_type_is_refused_naming_the_column(value: Any) -> None:
    with pytest.raises(DataError, match=r"key column 'price'.*allowed are string, int, bool and date") as raised:
        keys.encode(["price"], [value])
    assert "CAST(price AS STRING)" in str(raised.value)


@pytest.mark.parametrize(
    "key, types",
    [
        pytest.param("", {"a": "string"}, id="nothing"),
        pytest.param("a", {"a": "string"}, id="no separator"),
        pytest.param("b=x", {"a": "string"}, id="another column"),
        pytest.param("%61=x", {"a": "string"}, id="column quoted needlessly"),
        pytest.param("a=x/b=y", {"a": "string"}, id="too many columns"),
        pytest.param("a=x", {"a": "string", "b": "string"}, id="too few columns"),
        pytest.param("b=y/a=x", {"a": "string", "b": "string"}, id="another order"),
        pytest.param("a=..", {"a": "string"}, id="dots not quoted"),
        pytest.param("a=x y", {"a": "string"}, id="space not quoted"),
        pytest.param("a=%78", {"a": "string"}, id="letter quoted"),
        pytest.param("a=%2f", {"a": "string"}, id="lower-case quoting"),
        pytest.param("a=%FF", {"a": "string"}, id="no UTF-8"),
        pytest.param("a=1.0", {"a": "int"}, id="float for int"),
        pytest.param("a=01", {"a": "int"}, id="leading zero"),
        pytest.param("a=-0", {"a": "int"}, id="minus zero"),
        pytest.param("a=", {"a": "int"}, id="empty int"),
        pytest.param("a=True", {"a": "bool"}, id="bool in capitals"),
        pytest.param("a=20130930", {"a": "date"}, id="date without dashes"),
        pytest.param("a=2013-W40-1", {"a": "date"}, id="week date"),
        pytest.param("a=2013-02-30", {"a": "date"}, id="no such day"),
    ],
)
def test_malformed_key_is_refused(key: str, types: dict[str, keys.KeyType]) -> None:
    with pytest.raises(DataError, match="is no partition key; allowed is a="):
        keys.decode(key, types)


@given(st.lists(VALUES, max_size=30), st.integers(1, 7))
def test_columns_encode_as_their_rows_do(rows: list[tuple[Any, ...]], chunk: int) -> None:
    chunks = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
    columns = [
        pa.chunked_array([pa.array([row[place] for row in part], kind) for part in chunks], kind)
        for place, kind in enumerate(ARROW)
    ]
    columns[0] = columns[0].dictionary_encode()
    names, codes = keys.encode_columns(pa.table(columns, names=list(TYPES)), list(TYPES))
    expected = [keys.encode(list(TYPES), row) for row in rows]
    assert [names[code] for code in codes] == expected
    assert names == list(dict.fromkeys(expected))


@given(st.lists(st.lists(VALUES, max_size=12), max_size=6), st.integers(1, 30))
def test_columns_hash_as_their_keys_do_whatever_was_hashed_before(
    tables: list[list[tuple[Any, ...]]], limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keys, "_HASHED", keys._Hashed())
        patched.setattr(keys._Hashed, "LIMIT", limit)
        for rows in tables:
            columns = [pa.array([row[place] for row in rows], kind) for place, kind in enumerate(ARROW)]
            hashed, codes = keys.hash_columns(pa.table(columns, names=list(TYPES)), list(TYPES))
            assert hashed[codes].tolist() == [keys.hash_of(keys.encode(list(TYPES), row)) for row in rows]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.int8(), pa.uint64(), pa.bool_(), pa.date32(), pa.date64()],
    ids=str,
)
def test_columns_encode_without_rows_and_with_nulls_alone(kind: pa.DataType) -> None:
    for column in (pa.chunked_array([], kind), pa.chunked_array([pa.array([], kind)])):
        names, codes = keys.encode_columns(pa.table({"a": column}), ["a"])
        assert (names, codes.tolist(), codes.dtype.str) == ([], [], "<i8")
    nulls = pa.table({"a": pa.array([None, None], pa.string()).cast(kind)})
    names, codes = keys.encode_columns(nulls, ["a"])
    assert (names, codes.tolist()) == (["a=!null"], [0, 0])


def test_dictionary_with_null_among_its_values_encodes_as_its_rows() -> None:
    column = pa.DictionaryArray.from_arrays([1, 0, None, 2, 1], pa.array(["b", None, "b"]))
    names, codes = keys.encode_columns(pa.table({"a": column}), ["a"])
    assert [names[code] for code in codes] == ["a=!null", "a=b", "a=!null", "a=b", "a=!null"]


@pytest.mark.parametrize("rows", [0, 2])
def test_float_column_is_refused_naming_fleet_and_column(rows: int) -> None:
    with pytest.raises(DataError, match="key column 'store' is of type double") as raised:
        keys.encode_columns(pa.table({"store": pa.array([1.0] * rows, pa.float64())}), ["store"])
    assert "Hint: cast it in `prepare`" in str(raised.value)
    with pytest.raises(DataError, match="fleet 'demand': key column 'store' is of type float"):
        keys.key_type("store", pa.float32(), fleet="demand")


@pytest.mark.parametrize(
    "kind, expected",
    [
        (pa.string(), "string"),
        (pa.dictionary(pa.int8(), pa.large_string()), "string"),
        (pa.uint8(), "int"),
        (pa.bool_(), "bool"),
        (pa.date32(), "date"),
    ],
    ids=str,
)
def test_column_type_gives_its_key_type(kind: pa.DataType, expected: str) -> None:
    assert keys.key_type("a", kind) == expected


@given(st.integers(1, 5000), st.integers(0, 2**64 - 1))
@example(3, 0)
@example(3, 2**64 - 1)
def test_every_hash_lies_in_the_range_of_its_bucket_alone(buckets: int, hashed: int) -> None:
    bucket = keys.bucket_of(hashed, buckets)
    assert 0 <= bucket < buckets
    low, high = keys.bucket_range(bucket, buckets)
    assert low <= hashed < high
    assert keys.bucket_of(low, buckets) == keys.bucket_of(high - 1, buckets) == bucket


@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(1, 65_536))
@example([0, 2**64 - 1, 2**63, 2**32 - 1, 2**32], 3)
def test_buckets_of_many_hashes_are_those_of_each(hashed: list[int], buckets: int) -> None:
    found = keys.buckets_of(np.array(hashed, dtype=np.uint64), buckets)
    assert found.tolist() == [keys.bucket_of(one, buckets) for one in hashed]


def test_hashes_of_many_keys_are_those_of_each() -> None:
    names = [f"store={n}" for n in range(50)]
    assert keys.hashes(names).tolist() == [keys.hash_of(name) for name in names]
    assert keys.hashes([]).tolist() == []


@pytest.mark.parametrize("buckets", [1, 2, 3, 7, 64, 1000, 4096])
def test_bucket_ranges_divide_the_hashes_without_gap(buckets: int) -> None:
    ranges = [keys.bucket_range(bucket, buckets) for bucket in range(buckets)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 2**64
    assert all(one[1] == other[0] for one, other in pairwise(ranges))
    sizes = [high - low for low, high in ranges]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    "key, hashed, seed",
    [
        ("carrier=AA/origin=JFK/dest=LAX", 6980816430705596652, 2048510310),
        ("carrier=!null/origin=/dest=%2E%2E", 17807600782932081215, 4096987508),
        ("", 16476032584258269876, 4268244915),
    ],
)
def test_hash_and_seed_never_change(key: str, hashed: int, seed: int) -> None:
    """Packs in registries are ordered by these hashes: another value here needs another pack format."""
    assert (keys.hash_of(key), keys.seed_of(key)) == (hashed, seed)


def test_seed_is_a_random_state_scikit_learn_takes() -> None:
    seeds: Sequence[int] = [keys.seed_of(f"a={n}") for n in range(500)]
    assert len(set(seeds)) == 500
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(
    "written, key",
    [
        ("city=Malm\u00f6/kind=station hub", "city=Malm%C3%B6/kind=station%20hub"),
        ("city=Malm%C3%B6/kind=station%20hub", "city=Malm%C3%B6/kind=station%20hub"),
        ("city=!null/kind=a", "city=!null/kind=a"),
        ("kind=a/city=b", "kind=a/city=b"),
        ("nonsense", "nonsense"),
    ],
)
def test_key_as_people_write_it_is_quoted(written: str, key: str) -> None:
    assert keys.quoted(written, ("city", "kind")) == key
