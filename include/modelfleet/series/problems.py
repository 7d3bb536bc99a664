"""What is wrong with the series of partitions: one bounded text each, made for all partitions at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SHOWN = 3
_LONGEST = 500
_NOTHING = pa.scalar(None, pa.string())


class Problems:
    """The findings so far, the most pressing first."""

    def __init__(self) -> None:
        self._found: list[Callable[[int], pa.Array]] = []

    def add(
        self,
        partition: np.ndarray,
        names: Callable[[np.ndarray], pa.Array],
        *,
        before: tuple[str, str],
        after: str,
    ) -> None:
        """Say of partitions which of their members are wrong, the first three by name.

        :param partition: the number of each member's partition, in order; shape (members,).
        :param names: the texts of members, by their positions in `partition`.
        :param before: what comes before the names, for one member and for more; ``{}`` stands for how many there are.
        :param after: what comes after them; ``{}`` likewise.
        """
        if len(partition):
            self._found.append(partial(_listed, partition, names, before, after))

    def say(self, concerned: np.ndarray, text: str) -> None:
        """Say the same of all partitions concerned (bool, shape (partitions,))."""
        if concerned.any():
            self._found.append(lambda partitions: pc.if_else(pa.array(concerned), text, _NOTHING))

    def texts(self, partitions: int) -> pa.Array:
        """One text per partition, null where nothing is wrong; several are joined, and cut at 500 characters."""
        if not self._found:
            return pa.nulls(partitions, pa.string())
        joined = reduce(_joined, (found(partitions) for found in self._found))
        short = pc.binary_join_element_wise(pc.utf8_slice_codeunits(joined, 0, _LONGEST - 3), "...", "")
        return pc.if_else(pc.greater(pc.utf8_length(joined), _LONGEST), short, joined)


def _joined(texts: pa.Array, more: pa.Array) -> pa.Array:
    # With null_handling="skip", Arrow 25 leaves out the rows of which all are null.
    return pc.coalesce(pc.binary_join_element_wise(texts, more, "; "), texts, more)


def _listed(
    partition: np.ndarray,
    names: Callable[[np.ndarray], pa.Array],
    before: tuple[str, str],
    after: str,
    partitions: int,
) -> pa.Array:
    """The text of each partition that has members; null for the others."""
    counts = np.bincount(partition, minlength=partitions)
    starts = np.cumsum(counts) - counts
    shown = np.flatnonzero(np.arange(len(partition)) - starts[partition] < _SHOWN)
    ends = np.concatenate([[0], np.cumsum(np.minimum(counts, _SHOWN))])
    examples = pc.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), names(shown)), ", ")
    more = pc.if_else(pa.array(counts > _SHOWN), ", ...", "")
    number = pa.array(counts).cast(pa.string())
    head = pc.if_else(pa.array(counts == 1), _with(before[0], number), _with(before[1], number))
    text = pc.binary_join_element_wise(head, examples, more, _with(after, number), "")
    return pc.if_else(pa.array(counts > 0), text, _NOTHING)


def _with(form: str, number: pa.Array) -> pa.Array:
    """The form with each number in the place of ``{}``."""
    parts = [pa.repeat(part, len(number)) for part in form.split("{}")]
    return pc.binary_join_element_wise(*parts, number) if len(parts) > 1 else parts[0]
