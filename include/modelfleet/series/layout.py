"""Which steps the series of a bucket have, and which row each comes from: numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from modelfleet.series.columns import changes


@dataclass(frozen=True)
class Found:
    """What is known of the rows of a bucket, treated and in order; arrays of shape (rows,).

    :ivar partition: the number of the row's partition, counted from 0 in the bucket's order.
    :ivar step: its step number, where it is on the grid; else the one it lies in.
    :ivar on_grid: whether it is.
    :ivar past: whether it lies before the end of history.
    :ivar known: whether it has a target.
    """

    partition: np.ndarray
    step: np.ndarray
    on_grid: np.ndarray
    past: np.ndarray
    known: np.ndarray

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return int(self.partition[-1]) + 1 if len(self.partition) else 0

    @cached_property
    def repeated(self) -> np.ndarray:
        """Whether an earlier row on the grid has the same partition and time.

        :raises ValueError: for rows that are not sorted.
        """
        rows = np.flatnonzero(self.on_grid)
        parts, steps = self.partition[rows], self.step[rows]
        if (np.diff(steps)[np.diff(parts) == 0] < 0).any():
            raise ValueError("the rows of a partition are not sorted by time")
        repeated = np.zeros(len(self.step), bool)
        repeated[rows] = ~(changes(parts) | changes(steps))
        return repeated

    def last_row(self, where: np.ndarray) -> np.ndarray:
        """Of each partition, the last row where it is so; -1 where none is. Shape (partitions,)."""
        return self._pick(np.flatnonzero(where))

    def first_row(self, where: np.ndarray) -> np.ndarray:
        """Of each partition, the first row where it is so; -1 where none is. Shape (partitions,)."""
        return self._pick(np.flatnonzero(where)[::-1])

    def _pick(self, rows: np.ndarray) -> np.ndarray:
        # Where a partition comes several times, NumPy leaves the last value.
        picked = np.full(self.partitions, -1)
        picked[self.partition[rows]] = rows
        return picked


@dataclass(frozen=True)
class Span:
    """The series of each partition; arrays of shape (partitions,).

    :ivar begin: its first step.
    :ivar length: how many steps it has.
    :ivar empty: whether it had rows before the end, but none with a target, so that one step stands for all.
    """

    begin: np.ndarray
    length: np.ndarray
    empty: np.ndarray

    @classmethod
    def of(cls, found: Found, cutoff: int, future: int) -> Span:
        """A series begins with its first target, and ends `future` steps after `cutoff`.

        Without a target it is those future steps alone. When none are appended, the last step of history stands for a
        partition that had rows, so that it is never lost.
        """
        first = found.first_row(found.on_grid & ~found.repeated & found.past & found.known)
        begin = np.full(found.partitions, cutoff)
        begin[first >= 0] = found.step[first[first >= 0]]
        empty = (first < 0) & (found.last_row(found.past) >= 0) & (future == 0)
        begin[empty] = cutoff - 1
        return cls(begin, cutoff + future - begin, empty)


@dataclass(frozen=True)
class Layout:
    """The steps of all series, one series after the other; arrays of shape (steps,).

    :ivar partition: as in `Found`.
    :ivar step: the step numbers, without gaps in a partition.
    :ivar source: the row it comes from; -1 for a step that has none.
    :ivar ahead: whether it is at or after the end of history.
    :ivar stands_in: whether it only stands for a partition without a target.
    :ivar leading: how many rows are left out because their series has no target yet.
    """

    partition: np.ndarray
    step: np.ndarray
    source: np.ndarray
    ahead: np.ndarray
    stands_in: np.ndarray
    leading: int

    @classmethod
    def of(cls, found: Found, span: Span, cutoff: int) -> Layout:
        """The steps of the spans and the rows they come from, of several rows of one time the first."""
        partition = np.repeat(np.arange(found.partitions), span.length)
        offset = np.cumsum(span.length) - span.length
        step = np.arange(len(partition)) - np.repeat(offset - span.begin, span.length)
        rows = np.flatnonzero(found.on_grid & ~found.repeated)
        parts, steps = found.partition[rows], found.step[rows]
        inside = steps >= span.begin[parts]
        source = np.full(len(partition), -1)
        source[(offset[parts] + steps - span.begin[parts])[inside]] = rows[inside]
        return cls(partition, step, source, step >= cutoff, span.empty[partition], int((~inside).sum()))
