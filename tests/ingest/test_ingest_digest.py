"""The content digest: equal for equal rows, however they come; different for any other rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.ingest.digest import RowDigest

_SCHEMA = pa.schema([("i", pa.int64()), ("f", pa.float64()), ("t", pa.string()), ("d", pa.date32())])
_ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(),
        st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=400),
        st.none() | st.dates(),
    ),
    max_size=30,
)


def _digest(rows: Sequence[Sequence[Any]], schema: pa.Schema = _SCHEMA, size: int = 1000) -> str:
    digest = RowDigest()
    columns = [pa.array([row[n] for row in rows], field.type) for n, field in enumerate(schema)]
    for batch in pa.Table.from_arrays(columns, schema=schema).to_batches(max_chunksize=size):
        digest.add(batch)
    return digest.hexdigest()


@settings(max_examples=60, deadline=None)
@given(_ROWS, st.randoms(), st.integers(1, 7))
def test_order_and_batches_do_not_matter(rows: list[Any], random: Any, size: int) -> None:
    shuffled = random.sample(rows, len(rows))
    assert _digest(shuffled, size=size) == _digest(rows)


@settings(max_examples=60, deadline=None)
@given(_ROWS, _ROWS)
def test_other_rows_and_only_they_have_another_digest(one: list[Any], other: list[Any]) -> None:
    assert (_written(one) == _written(other)) == (_digest(one) == _digest(other))


def _written(rows: list[Any]) -> list[str]:
    """The rows as sorted text, with one zero: -0.0 and 0.0 are equal."""
    return sorted(repr([value + 0.0 if isinstance(value, float) else value for value in row]) for row in rows)


@pytest.mark.parametrize(
    "kind, values",
    [
        (pa.string(), ["", None, "\0", "\0\0", " ", "0", "a" * 8, "a" * 9, "a" * 256, "a" * 257, "a" * 255 + "b"]),
        (pa.binary(), [b"", None, b"\0", b"\0" * 8, b"\0" * 9, b"\x01" + b"\0" * 7]),
        (pa.int64(), [0, None, 1, -1, 2**62, -(2**63)]),
        (pa.float64(), [0.0, None, 1.0, float("nan"), float("inf"), -float("inf"), 5e-324]),
        (pa.bool_(), [True, False, None]),
    ],
    ids=str,
)
def test_values_that_are_easily_confused_differ(kind: pa.DataType, values: list[Any]) -> None:
    schema = pa.schema([("x", kind)])
    assert len({_digest([(value,)], schema) for value in values}) == len(values)


def test_a_value_in_another_column_differs() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.int64())])
    assert _digest([(1, 2)], schema) != _digest([(2, 1)], schema)
    assert _digest([(1, 2), (3, 4)], schema) != _digest([(1, 4), (3, 2)], schema)


def test_a_row_twice_differs_from_once() -> None:
    row = (1, 1.0, "x", date(2013, 1, 1))
    assert len({_digest([]), _digest([row]), _digest([row, row]), _digest([row] * 3)}) == 4


def test_slices_and_widths_do_not_matter() -> None:
    wide = pa.RecordBatch.from_arrays([pa.array([9, 1, None, 3]), pa.array(["x", "aé", None, "c"])], names=["n", "t"])
    narrow = pa.RecordBatch.from_arrays(
        [pa.array([1, None, 3], pa.int16()), pa.array(["aé", None, "c"])], names=["n", "t"]
    )
    digests = [RowDigest(), RowDigest()]
    digests[0].add(wide.slice(1))
    digests[1].add(narrow)
    assert digests[0].hexdigest() == digests[1].hexdigest()


def test_the_digest_is_the_same_in_every_version() -> None:
    """It is kept in manifests: a change of the function would make every descendant stale."""
    schema = pa.schema([*_SCHEMA, ("at", pa.timestamp("us", "UTC")), ("b", pa.bool_()), ("raw", pa.binary())])
    rows = [
        (
            1,
            0.5,
            "ümlaut and more than eight bytes",
            date(2013, 9, 30),
            datetime(2013, 9, 30, tzinfo=UTC),
            True,
            b"\0\1",
        ),
        (None, -0.0, "", None, None, None, None),
    ]
    assert _digest(rows, schema) == "7f66db3c9ab603a98f769be57fadc80e"


def test_a_type_the_lake_does_not_store_is_an_error() -> None:
    with pytest.raises(TypeError, match="no digest for values of type list"):
        _digest([([1],)], pa.schema([("x", pa.list_(pa.int64()))]))
