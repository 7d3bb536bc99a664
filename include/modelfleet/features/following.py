"""Features of the past for the one row that follows a partition's rows, as recursive forecasts need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np

from modelfleet.features.terms import AGGREGATES, FINISH, Span, Term
from modelfleet.features.windows import Aggregate, State, fold_one


class Following:
    """The features, one step ahead, of the row that follows a partition's rows: for forecasts fed with their own."""

    def __init__(self, terms: Sequence[Term]) -> None:
        """:param terms: none with a window of a duration."""
        self.terms = tuple(terms)
        self.reach: dict[str, int | None] = {}
        for term in terms:
            before, reach = self.reach.get(term.column, 0), term.reach
            assert not isinstance(reach, timedelta)
            self.reach[term.column] = None if before is None or reach is None else max(before, reach)

    def of(self, history: Mapping[str, np.ndarray]) -> np.ndarray:
        """The bits that `fill` gives for that row; shape (terms,).

        :param history: the values of each column in time order, NaN for null.
        """
        tails = {column: _tail(history[column], reach) for column, reach in self.reach.items()}
        states: dict[tuple[str, Span, Aggregate], State] = {}
        return np.array([_follow(term, tails[term.column], states) for term in self.terms], dtype=np.float64)


def _tail(values: np.ndarray, reach: int | None) -> np.ndarray:
    tail = np.asarray(values if reach is None else values[-reach:], dtype=np.float64)
    finite = np.isfinite(tail)
    return tail if finite.all() else np.where(finite, tail, np.nan)


def _follow(term: Term, values: np.ndarray, states: dict[tuple[str, Span, Aggregate], State]) -> float:
    if term.statistic == "lag":
        return _back(values, term.steps)
    if term.statistic == "difference":
        return _back(values, 1) - _back(values, term.steps + 1)
    assert not isinstance(term.span, timedelta)
    window = values if term.span is None else values[-term.span :]
    count = int(np.count_nonzero(window == window))  # NaN is unequal to itself
    if term.statistic == "count":
        return count
    if count < term.needed:
        return np.nan
    if term.statistic == "median":
        ordered = np.sort(window)[:count]  # NaN sorts last
        return float(ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    aggregate = AGGREGATES[term.statistic]
    key = term.column, term.span, aggregate
    if key not in states:
        states[key] = fold_one(aggregate, window)
    return float(FINISH[term.statistic](states[key], count))


def _back(values: np.ndarray, steps: int) -> float:
    return float(values[-steps]) if steps <= len(values) else np.nan
