"""The features of a partition's past, one by one: what each reads, and how its statistic is made of an aggregate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from modelfleet.features.windows import GREATEST, LEAST, SPREAD, SUM, State
from modelfleet.frequency import Frequency
from modelfleet.interval import duration
from modelfleet.spec.features import Difference, Features, Lag, Past, Rolling

Span = int | timedelta | None
"""A window: a number of rows, a duration, or all rows."""

AGGREGATES = {"mean": SUM, "sum": SUM, "min": LEAST, "max": GREATEST, "std": SPREAD}
"""What statistics are made of; counts and medians are not."""
FINISH: dict[str, Callable[[State, Any], Any]] = {
    "mean": lambda state, count: state[0] / count,
    "sum": lambda state, count: state[0],
    "min": lambda state, count: state[0],
    "max": lambda state, count: state[0],
    "std": lambda state, count: np.sqrt(state[2] / (count - 1)),
}
"""The statistic, of an aggregate and the number of values."""


@dataclass(frozen=True)
class Term:
    """One feature. `known`: of a column whose values are known ahead, so that it always reads up to the row before.

    :ivar steps: of a lag (`statistic` "lag") or a difference ("difference").
    :ivar span: of the windows of the other statistics.
    """

    name: str
    column: str
    known: bool
    statistic: str
    steps: int = 0
    span: Span = None
    least: int = 1

    def ahead(self, ahead: int) -> int:
        """How many rows before a row the values it may read end."""
        return 1 if self.known else ahead

    def exists(self, ahead: int) -> bool:
        """Whether it is known so many steps ahead."""
        return self.statistic != "lag" or self.steps >= self.ahead(ahead)

    @property
    def stepped(self) -> bool:
        """Whether it is a lag or difference, not a statistic of windows."""
        return self.statistic in ("lag", "difference")

    @property
    def needed(self) -> int:
        """With fewer values the statistic is null."""
        return max(self.least, 2 if self.statistic == "std" else 1)

    @property
    def reach(self) -> Span:
        """How far before a row it reads, one step ahead; None: to the partition's first row."""
        if self.statistic == "lag":
            return self.steps
        return self.steps + 1 if self.statistic == "difference" else self.span


def terms_of(features: Features, frequency: Frequency | None) -> tuple[Term, ...]:
    """The features of `features.past` in order. :param frequency: of a regular series, whose durations are steps."""
    return tuple(
        term for part in features.past for term in _terms(part, part.column in features.known_ahead, frequency)
    )


def _terms(part: Past, known: bool, frequency: Frequency | None) -> Iterator[Term]:
    if isinstance(part, Lag | Difference):
        for steps in part.steps:
            yield Term(f"{part.column}_{part.kind}_{steps}", part.column, known, part.kind, steps)
    elif isinstance(part, Rolling):
        name = f"{part.column}_{part.statistic}_{part.window}"
        span = _span(part.window, frequency)
        yield Term(name, part.column, known, part.statistic, span=span, least=part.min_count)
    else:
        yield Term(f"{part.column}_expanding_{part.statistic}", part.column, known, part.statistic)


def _span(window: int | str, frequency: Frequency | None) -> int | timedelta:
    if isinstance(window, int):
        return window
    length = duration(window)
    if frequency is None:
        return length
    steps = frequency.steps_in(length)
    if steps is None:  # which a spec refuses
        raise ValueError(f"window {window!r} is no whole number of steps of {frequency.text!r}")
    return steps
