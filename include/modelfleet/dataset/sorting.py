"""The order of a bucket's rows: by partition, then time, ties by all other columns, whatever the order they came in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def sorted_order(codes: np.ndarray, times: np.ndarray, others: pa.Table) -> np.ndarray:
    """The positions of the rows in order; int64, shape (rows,).

    :param codes: the rank of each row's partition, not negative.
    :param times: int64.
    :param others: the columns that order rows of one partition and time; nulls last.
    """
    order = _by_codes(codes, None)
    if not _rising(codes[order], times[order]):
        order = _by_codes(codes, np.argsort(times, kind="stable"))
    same = _same(codes[order], times[order])
    return _untied(order, same, others) if same.any() else order


def _by_codes(codes: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """`order` sorted by code, rows of one code as they were; 16 bits at a time, which NumPy sorts by radix."""
    largest, shift = int(codes.max(initial=0)), 0
    while order is None or shift == 0 or largest >> shift:
        digits = ((codes if order is None else codes[order]) >> shift).astype(np.uint16)
        step = np.argsort(digits, kind="stable")
        order = step if order is None else order[step]
        shift += 16
    return order


def _rising(codes: np.ndarray, times: np.ndarray) -> bool:
    """Whether times never fall within a partition."""
    return not ((codes[1:] == codes[:-1]) & (times[1:] < times[:-1])).any()


def _same(codes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Whether each row but the first has the partition and time of the one before it."""
    same: np.ndarray = (codes[1:] == codes[:-1]) & (times[1:] == times[:-1])
    return same


def _untied(order: np.ndarray, same: np.ndarray, others: pa.Table) -> np.ndarray:
    """The order with rows of one partition and time sorted by the other columns."""
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    group = np.insert(np.cumsum(~same), 0, 0)[tied]
    rows = others.take(pa.array(order[tied]))
    names: Sequence[str] = rows.column_names
    sortable = pa.table([pa.array(group), *rows.columns], names=["_group", *names])
    within = pc.sort_indices(sortable, sort_keys=[(name, "ascending") for name in sortable.column_names])
    order[tied] = order[tied][within.to_numpy()]
    return order
