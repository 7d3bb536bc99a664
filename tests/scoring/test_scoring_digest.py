"""The digest of predictions sees all that they say, and nothing of how partitions lie in buckets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import slices
from modelfleet.scoring.digest import predictions_digest

SCHEMA = pa.schema(
    [
        ("store", pa.dictionary(pa.int32(), pa.string())),
        ("day", pa.timestamp("us", "UTC")),
        ("position", pa.int64()),
        ("prediction", pa.float64()),
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("partition", pa.dictionary(pa.int32(), pa.string())),
    ]
)
Line = dict[str, Any]


def line(store: str, prediction: float | None, day: int = 1, source: str = "model", number: int = 0) -> Line:
    when = datetime(2013, 3, day, tzinfo=UTC)
    made = {"store": store, "day": when, "position": number, "prediction": prediction, "source": source}
    return {**made, "partition": f"store={store}"}


def digest(*lines: Line) -> str:
    return predictions_digest(pa.Table.from_pylist(list(lines), schema=SCHEMA), ["store"])


BEFORE = [line("A", 1.0), line("A", 1.0), line("A", 2.0, day=2), line("B", 1.0)]

lists = st.lists(
    st.builds(
        line,
        st.just(""),
        st.one_of(st.none(), st.sampled_from([1.0, 2.0])),
        st.integers(1, 2),
        st.sampled_from(["model", "none"]),
    ),
    min_size=1,
    max_size=4,
)
parts = st.dictionaries(st.sampled_from("ABCDE"), lists, max_size=5).map(
    lambda given: {name: [row | line(name, 0.0) | _said(row) for row in rows] for name, rows in given.items()}
)


def _said(row: Line) -> Line:
    return {name: row[name] for name in ("day", "prediction", "source")}


@pytest.mark.parametrize(
    "after",
    [
        [*BEFORE[:3], line("B", 1.5)],
        [*BEFORE[:3], line("B", None)],
        [*BEFORE[:3], line("B", 1.0, day=2)],
        [*BEFORE[:3], line("B", 1.0, source="fleet")],
        [*BEFORE[:3], line("B", 1.0, number=1)],
        [*BEFORE[:3], line("C", 1.0)],
        BEFORE[:3],
        [*BEFORE, BEFORE[3]],
        [BEFORE[0], BEFORE[2], BEFORE[1], BEFORE[3]],
        [BEFORE[0], *BEFORE[2:]],
        [*BEFORE[:2], BEFORE[3] | {"partition": "store=A"}, BEFORE[2] | {"partition": "store=B"}],
    ],
    ids=["value", "null", "time", "source", "id", "partition", "less", "twice", "order", "once", "swapped"],
)
def test_what_predictions_say_is_in_their_digest(after: list[Line]) -> None:
    assert digest(*after) != digest(*BEFORE)


def test_partitions_in_another_order_have_the_same_digest() -> None:
    assert digest(BEFORE[3], *BEFORE[:3]) == digest(*BEFORE)


@given(left=parts, right=parts)
def test_digests_are_equal_where_the_predictions_are(left: dict[str, list[Line]], right: dict[str, list[Line]]) -> None:
    one, other = (digest(*(row for rows in given.values() for row in rows)) for given in (left, right))
    assert (one == other) == (left == right)


@given(given=parts, cut=st.integers(0, 5))
def test_digest_does_not_depend_on_the_buckets(given: dict[str, list[Line]], cut: int) -> None:
    listed = list(given.values())
    whole, *split = (digest(*(row for rows in some for row in rows)) for some in (listed, listed[cut:], listed[:cut]))
    assert slices.combine(split) == whole


def test_digest_does_not_depend_on_how_rows_are_chunked_and_coded() -> None:
    table = pa.Table.from_pylist(BEFORE, schema=SCHEMA)
    chunked = pa.concat_tables([pa.Table.from_pylist(BEFORE[at : at + 1], schema=SCHEMA) for at in range(4)])
    assert predictions_digest(chunked, ["store"]) == predictions_digest(table, ["store"])
