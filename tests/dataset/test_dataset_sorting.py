"""The quick order of a bucket's rows is the one that a plain sort by all columns gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.dataset.sorting import sorted_order

ROW = st.tuples(
    st.sampled_from([0, 1, 2, 3, 70_000, 140_000]),
    st.integers(-2, 3),
    st.sampled_from([None, 0.0, 1.5, float("nan")]),
    st.sampled_from([None, "", "a", "b"]),
)


def plain(codes: np.ndarray, times: np.ndarray, others: pa.Table) -> list[Any]:
    table = pa.table([codes, times, *others.columns], names=["code", "time", *others.column_names])
    return list(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names]).to_pylist())


def columns(rows: list[tuple[Any, ...]]) -> tuple[np.ndarray, np.ndarray, pa.Table]:
    codes = np.array([row[0] for row in rows], np.int32)
    times = np.array([row[1] for row in rows], np.int64)
    others = pa.table(
        {"x": pa.array([row[2] for row in rows], pa.float64()), "y": pa.array([row[3] for row in rows], pa.string())}
    )
    return codes, times, others


@given(st.lists(ROW, min_size=1, max_size=60))
def test_order_is_that_of_a_plain_sort(rows: list[tuple[Any, ...]]) -> None:
    codes, times, others = columns(rows)
    table = pa.table({"code": codes, "time": times}).append_column("x", others["x"]).append_column("y", others["y"])
    made = table.take(pa.array(sorted_order(codes, times, others)))
    expected = table.take(pa.array(plain(codes, times, others)))
    assert str(made.to_pylist()) == str(expected.to_pylist())


@given(st.permutations(range(12)))
def test_order_of_the_rows_given_makes_no_difference(order: list[int]) -> None:
    rows = [(n // 4, n // 2, float(n % 3), "ab"[n % 2]) for n in range(12)]
    codes, times, others = columns([rows[place] for place in order])
    made = others.take(pa.array(sorted_order(codes, times, others)))
    codes, times, others = columns(rows)
    assert made == others.take(pa.array(plain(codes, times, others)))


@pytest.mark.parametrize("rising", [True, False])
def test_many_partitions_of_many_rows(rising: bool) -> None:
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 200_000, 300_000).astype(np.int32)
    times = np.arange(300_000) if rising else draw.integers(0, 1_000_000, 300_000)
    others = pa.table({"x": draw.normal(size=300_000)})
    assert sorted_order(codes, times, others).tolist() == plain(codes, times, others)


def test_no_other_columns() -> None:
    assert sorted_order(np.array([1, 0]), np.array([5, 5]), pa.table({"x": [1, 2]}).select([])).tolist() == [1, 0]
