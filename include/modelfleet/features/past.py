"""Features of a partition's own past: lags, differences, and statistics of rolling and expanding windows.

Computed for a bucket at once, in runs of whole partitions that fit the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property

import numpy as np

from modelfleet.features.terms import AGGREGATES, FINISH, Span, Term
from modelfleet.features.windows import GREATEST, LEAST, SPREAD, SUM, Aggregate, State, Windows, fold

RUN = 1 << 15
"""About how many rows are computed at once; measured fastest, and it changes no value."""


def fill(
    matrix: np.ndarray,
    terms: Sequence[Term],
    values: Mapping[str, np.ndarray],
    starts: np.ndarray,
    *,
    ahead: int,
    times: np.ndarray | None,
) -> None:
    """Write the features into `matrix`, one column for each term; shape (rows, terms).

    :param values: float64 per column, NaN for null; shape (rows,).
    :param starts: the first row of each partition.
    :param times: int64 microseconds, for windows of a duration.
    """
    for begin, end, inner in _runs(starts, len(matrix)):
        part = slice(begin, end)
        run = _Run(inner, end - begin, ahead, None if times is None else times[part])
        for column in dict.fromkeys(term.column for term in terms):
            places = [place for place, term in enumerate(terms) if term.column == column]
            computed = run.features([terms[place] for place in places], values[column][part])
            for place, feature in zip(places, computed, strict=True):
                matrix[part, place] = feature


def _runs(starts: np.ndarray, rows: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """(first row, row after the last, starts of the partitions therein) of runs of whole partitions."""
    begin = 0
    while begin < rows:
        following = np.searchsorted(starts, min(begin + RUN, rows))
        end = int(starts[following]) if following < len(starts) else rows
        inner = starts[np.searchsorted(starts, begin) : following]
        yield begin, end, inner - begin
        begin = end


class _Run:
    """A run of whole partitions."""

    def __init__(self, starts: np.ndarray, rows: int, ahead: int, times: np.ndarray | None) -> None:
        self.rows, self.ahead, self.times = rows, ahead, times
        self.first = np.repeat(starts, np.diff(starts, append=rows))

    @cached_property
    def places(self) -> np.ndarray:
        """Each row's place in its partition."""
        return np.arange(self.rows) - self.first

    def features(self, terms: Sequence[Term], values: np.ndarray) -> Iterator[np.ndarray]:
        """The features of one column, in order."""
        windowed = [term for term in terms if not term.stepped]
        windows = {key: self._windows(*key) for key in {_key(term, self.ahead) for term in windowed}}
        seen = _Seen(values)
        states = dict(self._states(windowed, values, windows))
        for term in terms:
            if term.stepped:
                yield self._stepped(term, values)
                continue
            key = _key(term, self.ahead)
            count = seen.within(windows[key])
            if term.statistic == "median":
                yield _medians(values, windows[key], term.least)
            elif term.statistic == "count":
                yield count.astype(np.float64)
            else:
                yield _finished(term, states[AGGREGATES[term.statistic], key], count)

    def _windows(self, span: Span, ahead: int) -> Windows:
        if isinstance(span, timedelta):
            assert self.times is not None
            return Windows.of_time(self.first, self.times, span // timedelta(microseconds=1))
        return Windows.of_rows(self.first, span, ahead)

    def _states(
        self, terms: Sequence[Term], values: np.ndarray, windows: Mapping[tuple[Span, int], Windows]
    ) -> Iterator[tuple[tuple[Aggregate, tuple[Span, int]], State]]:
        """What each aggregate gives for each of the windows it is asked for."""
        for aggregate in (SUM, LEAST, GREATEST, SPREAD):
            asked = [_key(term, self.ahead) for term in terms if AGGREGATES.get(term.statistic) is aggregate]
            keys = list(dict.fromkeys(asked))
            states = fold(aggregate, values, [windows[key] for key in keys]) if keys else []
            yield from (((aggregate, key), state) for key, state in zip(keys, states, strict=True))

    def _stepped(self, term: Term, values: np.ndarray) -> np.ndarray:
        if term.statistic == "lag":
            return self._back(values, term.steps)
        ahead = term.ahead(self.ahead)
        return self._back(values, ahead) - self._back(values, ahead + term.steps)

    def _back(self, values: np.ndarray, steps: int) -> np.ndarray:
        """The values so many rows before, NaN beyond the partition's first row."""
        shifted = np.full(self.rows, np.nan)
        shifted[steps:] = values[:-steps]
        shifted[self.places < steps] = np.nan
        return shifted


class _Seen:
    """How many values are not null."""

    def __init__(self, values: np.ndarray) -> None:
        present = ~np.isnan(values)
        self.before = None if present.all() else np.concatenate([[0], np.cumsum(present)])

    def within(self, windows: Windows) -> np.ndarray:
        if self.before is None:
            return windows.lengths
        return self.before[windows.high] - self.before[windows.low]


def _key(term: Term, ahead: int) -> tuple[Span, int]:
    return term.span, term.ahead(ahead)


def _finished(term: Term, state: State, count: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        result = FINISH[term.statistic](state, count)
    return np.where(count < term.needed, np.nan, result)


def _medians(values: np.ndarray, windows: Windows, least: int) -> np.ndarray:
    """By pandas' skip list, which is exact: a median is one of the values, or the mean of two."""
    import pandas as pd
    from pandas.api.indexers import BaseIndexer

    class Given(BaseIndexer):
        # The signature that pandas checks for.
        def get_window_bounds(self, num_values=0, min_periods=None, center=None, closed=None, step=None):  # type: ignore[no-untyped-def]
            return windows.low, windows.high

    return pd.Series(values).rolling(Given(), min_periods=least).median().to_numpy()
