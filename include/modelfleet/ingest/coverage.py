"""What an ingest reads of a table that has `late` or `ahead`: a span wider than its interval, cut into cells.

A cell is a day, or an hour where the fleet's intervals are hours, so that the cells of two readings lie on one grid and
can be compared. `late` and `ahead` are therefore rounded up to whole days or hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from modelfleet.interval import Interval, Unit, duration, unit_of

if TYPE_CHECKING:
    from modelfleet.ingest.manifest import TableManifest
    from modelfleet.spec import FleetSpec, LakeTable, SqlTable

OWN_CELLS = 31
"""The last days or hours of an interval that have cells of their own, or more where `late` goes further back."""

_DAY = timedelta(days=1)
_STEPS: dict[Unit, timedelta] = {"day": _DAY, "hour": timedelta(hours=1)}


@dataclass(frozen=True)
class Coverage:
    """`bounds` of the cells, rising, in the fleet's timezone; the interval's own start and end are among them."""

    interval: Interval
    bounds: tuple[datetime, ...]

    @classmethod
    def of(
        cls, spec: FleetSpec, table: SqlTable | LakeTable, interval: Interval, standing: TableManifest | None
    ) -> Coverage:
        """What an ingest of `interval` reads of `table`.

        :param standing: the table as it was ingested for this interval before; at least as much is read again, so that
            nothing older shows where that had replaced it.
        """
        late, ahead = getattr(table, "late", None), table.ahead
        start, end = _instant(interval.start), _instant(interval.end)
        unit, zone = _unit(spec, interval), ZoneInfo(interval.timezone)
        first = _floor(_shifted(interval.start, late, -1), unit, zone) if late else start
        last = _ceiling(_shifted(interval.end, ahead, 1), unit, zone) if ahead else end
        if standing is not None and standing.span is not None:
            before = [datetime.fromisoformat(bound) for bound in standing.span]
            first, last = min(first, before[0]), max(last, before[1])
        if (first, last) == (start, end):
            return cls(interval, (interval.start, interval.end))
        tail = max(duration(late) if late else timedelta(0), OWN_CELLS * _STEPS[unit])
        inner = {
            bound
            for bound in _grid(first, last, unit, zone)
            if not start < bound < end - tail  # of a long interval, all but the end is one cell
        }
        return cls(interval, tuple(bound.astimezone(zone) for bound in sorted({first, start, end, last} | inner)))

    @property
    def whole(self) -> Interval:
        """All that is read."""
        return Interval(self.interval.key, self.bounds[0], self.bounds[-1])

    @property
    def is_wider(self) -> bool:
        """Whether more is read than the interval's own rows."""
        return self.whole.utc != self.interval.utc

    @property
    def tail(self) -> Interval | None:
        """What is read again before the interval's start."""
        key, (start, _) = self.interval.key, self.whole.utc
        return Interval(key, self.bounds[0], self.interval.start) if start < self.interval.utc[0] else None

    def noted(self, table: TableManifest, digests: Sequence[str]) -> TableManifest:
        """A manifest with its span and the cells' digests, if more than the interval is read."""
        if not self.is_wider:
            return table
        bounds = [_instant(bound).isoformat() for bound in self.bounds]
        cells = tuple(zip(bounds, digests, strict=False))
        return replace(table, span=(bounds[0], bounds[-1]), held_from=bounds[0], cells=cells)

    @property
    def own(self) -> tuple[int, int]:
        """The positions of the interval's own cells, ``[first, last)``."""
        utc = [_instant(bound) for bound in self.bounds]
        return utc.index(self.interval.utc[0]), utc.index(self.interval.utc[1])


def _unit(spec: FleetSpec, interval: Interval) -> Unit:
    cron = spec.schedule.ingest_cron
    if cron is not None:
        return unit_of(cron)
    return "hour" if "T" in interval.key else "day"


def _shifted(moment: datetime, length: str, sign: int) -> datetime:
    """Days are the calendar's, so that three days before a midnight is midnight; hours and minutes are elapsed time."""
    delta = sign * duration(length)
    if delta % _DAY:
        return _instant(moment) + delta
    return _instant((moment.replace(tzinfo=None) + delta).replace(tzinfo=moment.tzinfo))


def _floor(moment: datetime, unit: Unit, zone: ZoneInfo) -> datetime:
    """The last start of a day or hour that is not after `moment`, in UTC."""
    local = moment.astimezone(zone)
    if unit == "day":
        return _instant(datetime.combine(local.date(), time(), zone))
    return _instant(moment) - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def _next(bound: datetime, unit: Unit, zone: ZoneInfo) -> datetime:
    if unit == "day":
        return _instant(datetime.combine(bound.astimezone(zone).date() + _DAY, time(), zone))
    return _floor(bound + _STEPS["hour"], unit, zone)


def _ceiling(moment: datetime, unit: Unit, zone: ZoneInfo) -> datetime:
    floor = _floor(moment, unit, zone)
    return floor if floor == moment else _next(floor, unit, zone)


def _grid(first: datetime, last: datetime, unit: Unit, zone: ZoneInfo) -> Iterator[datetime]:
    """The starts of days or hours from `first` on, before `last`."""
    bound = _ceiling(first, unit, zone)
    while bound < last:
        yield bound
        bound = _next(bound, unit, zone)


def _instant(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
