"""Which rows show of several readings of one table: at each time those of the newest reading that covers it.

An ingest with `late` or `ahead` reads more than its interval, so that several readings cover the same time. The newest
replaces what it covers wholly, rows that were deleted in the source included, and no key is needed. Where older readings
hold the same rows (their cells' digests say so), an older one is named, so that a run need not pin the newer ones and is
not stale for nothing. Pure: times are UTC, and a span is ``[start, end)``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelfleet.errors import DataError

if TYPE_CHECKING:
    from modelfleet.ingest.manifest import TableManifest
    from modelfleet.interval import Interval

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Reading:
    """What one ingest read of a table: `own` is its interval, `span` all it read, `held_from` where its files begin.

    `cells` are the content's digests; they tile the span.
    """

    key: str
    made: datetime
    own: Span
    span: Span
    held_from: datetime
    cells: Mapping[Span, str]

    @classmethod
    def of(cls, interval: Interval, made: str, table: TableManifest) -> Reading:
        """The reading of a table by the attempt that was opened at `made`."""
        own = interval.utc
        if table.span is None:
            return cls(interval.key, datetime.fromisoformat(made), own, own, own[0], {own: table.digest})
        start, end = (_utc(bound) for bound in table.span)
        bounds = [*(_utc(bound) for bound, _ in table.cells), end]
        cells = {
            (first, last): digest for first, last, (_, digest) in zip(bounds, bounds[1:], table.cells, strict=False)
        }
        held_from = _utc(table.held_from) if table.held_from else start
        return cls(interval.key, datetime.fromisoformat(made), own, (start, end), held_from, cells)

    @property
    def is_wider(self) -> bool:
        """Whether it covers more than its interval."""
        return self.span != self.own

    def same(self, other: Reading, span: Span) -> bool:
        """Whether both are known to have the same rows in a span."""
        content = self.cells.get(span)
        return self is other or (content is not None and content == other.cells.get(span))


@dataclass(frozen=True)
class Piece:
    """A span of time: whose rows show, and the newest reading of it, which has the same ones."""

    span: Span
    source: Reading
    newest: Reading


def visible(own: Sequence[Reading], others: Sequence[Reading], *, label: str) -> list[Piece]:
    """Who shows when, for a run that uses the ingests `own`.

    All times count that the `own` ones cover, but for intervals of `others`: those the run does not use. What lies after
    the end of the last one is ahead, and known from `own` alone. In their intervals `others` (of which those of later
    ingests read the tail again) can replace rows, nowhere else.

    :raises DataError: when rows are kept nowhere; `label` names fleet and table.
    """
    if not own:
        return []
    until, since = max(reading.own[1] for reading in own), min(reading.span[0] for reading in own)
    near = [reading for reading in others if reading.span[0] < until and reading.span[1] > since]
    times = _Times([*own, *near])
    for reading in own:
        times.cover(reading)
    for reading in near:
        times.cover(reading, only_owned=True)
    left_out = {position for reading in near for position in times.positions(reading.own)}
    pieces = []
    for position, covering in enumerate(times.covering):
        span, owner = times.span(position), times.owner[position]
        if covering and (owner is not None or position not in left_out or span[0] >= until):
            pieces.append(_piece(span, covering, owner, label))
    return pieces


def changed(new: Reading, others: Sequence[Reading]) -> list[tuple[Span, str | None]]:
    """Where a reading, outside its own interval, has other rows than what shows of `others`.

    Each span comes with the key of the ingested interval it lies in; None where none was ingested.
    """
    near = [reading for reading in others if reading.span[0] < new.span[1] and reading.span[1] > new.span[0]]
    times = _Times([new, *near])
    for reading in near:
        times.cover(reading)
    mine, found = set(times.positions(new.own)), list[tuple[Span, str | None]]()
    for position in times.positions(new.span):
        span, owner = times.span(position), times.owner[position]
        if position in mine:
            continue
        if owner is None:
            found.append((span, None))
        elif not new.same(_newest(times.covering[position]), span):
            found.append((span, owner.key))
    return found


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time in as few spans as can be, rising."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


class _Times:
    """The time of some readings, cut wherever a cell of one begins or ends; each position lists who covers it."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._bounds = sorted({bound for reading in readings for span in reading.cells for bound in span})
        count = max(len(self._bounds) - 1, 0)
        self.covering: list[list[Reading]] = [[] for _ in range(count)]
        self.owner: list[Reading | None] = [None] * count

    def span(self, position: int) -> Span:
        return self._bounds[position], self._bounds[position + 1]

    def positions(self, span: Span) -> range:
        return range(bisect_left(self._bounds, span[0]), bisect_left(self._bounds, span[1]))

    def cover(self, reading: Reading, *, only_owned: bool = False) -> None:
        """Enter a reading; those that are `only_owned` count in the intervals of the ones entered before."""
        if not only_owned:
            for position in self.positions(reading.own):
                self.owner[position] = reading
        for position in self.positions(reading.span):
            if not only_owned or self.owner[position] is not None:
                self.covering[position].append(reading)


def _piece(span: Span, covering: Sequence[Reading], owner: Reading | None, label: str) -> Piece:
    """The newest reading's rows, taken from the interval's own ingest where that has the same, else from the latest."""
    newest = _newest(covering)
    holders = [reading for reading in covering if span[0] >= reading.held_from and reading.same(newest, span)]
    if not holders:
        raise DataError(
            f"{label}: the rows from {span[0]} to {span[1]} are in no ingest that is in force",
            hint=f"ingest interval {newest.key} again",
        )
    return Piece(span, max(holders, key=lambda reading: (reading is owner, reading.own[1])), newest)


def _newest(readings: Sequence[Reading]) -> Reading:
    return max(readings, key=lambda reading: (reading.made, reading.own[1]))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
