"""The folds of a backtest: its cutoffs in time, decided before anything is read. Pure."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from modelfleet import interval as intervals
from modelfleet.errors import DataError
from modelfleet.interval import Interval
from modelfleet.series.grid import Grid
from modelfleet.spec.problem import Forecast
from modelfleet.spec.training import HOLDOUT

if TYPE_CHECKING:
    from modelfleet.spec import FleetSpec

FOLDS = 10
_HOUR = 3600


@dataclass(frozen=True)
class Cutoff:
    """A fold: what lies before `at` was known, and what came until `until` is what it is compared with.

    `key` is that of the interval that ends at `at`; both are aware, in the fleet's timezone.
    """

    key: str
    at: datetime
    until: datetime

    def to_json(self) -> dict[str, str]:
        return {"key": self.key, "at": self.at.isoformat(), "until": self.until.isoformat()}

    @classmethod
    def from_json(cls, given: dict[str, Any], timezone: str) -> Cutoff:
        """What `to_json` gave, in the fleet's timezone again."""
        at = intervals.of_key(given["key"], timezone=timezone).end
        return cls(given["key"], at, datetime.fromisoformat(given["until"]).astimezone(at.tzinfo))


class _Steps(ABC):
    """Time counted in steps.

    :ivar length: of a fold, in steps.
    :ivar least: how many steps must lie before a cutoff.
    :ivar every: the fewest that cutoffs may lie apart, so that each is the end of a day or hour.
    """

    word: str
    length: int
    least: int
    every: int

    @abstractmethod
    def moment(self, step: int) -> datetime:
        """When a step begins, aware."""

    @abstractmethod
    def last(self, end: datetime) -> int:
        """The first step of which not all lies before a moment."""

    @abstractmethod
    def first(self, begin: datetime) -> int:
        """The first step at or after a moment."""


def plan(spec: FleetSpec, to: Interval, *, folds: int, every: int | None, since: datetime) -> tuple[Cutoff, ...]:
    """The cutoffs, oldest first: the last one is as early as leaves a whole fold before the end of `to`.

    A fold is the horizon of a Forecast, else as long as the holdout. Cutoffs are the ends of days or hours.

    :param every: how far they lie apart, in steps of a Forecast's series, else in days (hours, where the holdout is no
        whole number of days); default: as long as a fold.
    :param since: where the ingested rows begin.
    :raises DataError: for numbers below 1, cutoffs inside an hour, and more folds than there are data for.
    """
    where = f"fleet {spec.name!r}: backtest up to {to.key}"
    if folds < 1 or (every is not None and every < 1):
        raise DataError(f"{where}: {folds} folds, every {every} steps; allowed are whole numbers from 1 on")
    steps: _Steps = _SeriesSteps.of(spec) if isinstance(spec.problem, Forecast) else _ClockSteps.of(spec)
    apart = every if every is not None else -(-steps.length // steps.every) * steps.every
    if apart % steps.every:
        raise DataError(
            f"{where}: cutoffs {apart} steps apart would lie inside an hour",
            hint=f"--every: a multiple of {steps.every} steps",
        )
    last = _last(steps, to.end)
    places = [last - number * apart for number in range(folds)][::-1]
    begin = steps.first(since)
    if places[0] - begin < steps.least:
        possible = (last - begin - steps.least) // apart + 1
        cutoff = steps.moment(places[0])
        raise DataError(
            f"{where}: {folds} folds of {steps.length} {steps.word}, one every {apart}, begin with a cutoff at "
            f"{cutoff:%Y-%m-%d %H:%M}; training needs {steps.least} {steps.word} before it, but the ingested rows begin on "
            f"{since.astimezone(cutoff.tzinfo):%Y-%m-%d %H:%M}",
            hint=f"at most {possible} folds: --folds {possible}, or a smaller --every"
            if possible > 0
            else "not even one fold is possible: ingest earlier rows, or more of them",
        )
    return tuple(_cutoff(spec, steps, place) for place in places)


def _last(steps: _Steps, end: datetime) -> int:
    """The last cutoff, at which an hour ends."""
    place = steps.last(end) - steps.length
    return next((place - back for back in range(steps.every) if _on_hour(steps.moment(place - back))), place)


def _cutoff(spec: FleetSpec, steps: _Steps, place: int) -> Cutoff:
    at, until = steps.moment(place), steps.moment(place + steps.length)
    interval = ending(at, spec.timezone)
    if interval.utc[1] != at.astimezone(UTC):
        raise DataError(
            f"fleet {spec.name!r}: a backtest's cutoff at {at.isoformat()} is not the end of a day or hour",
            hint="give another --to, whose interval ends with a step of the series",
        )
    return Cutoff(interval.key, interval.end, until)


def ending(moment: datetime, timezone: str) -> Interval:
    """The day or hour that ends at a moment, or the last one before it."""
    every = "@daily" if (moment.hour, moment.minute) == (0, 0) else "@hourly"
    return intervals.of_key(intervals.key_of_tick(moment, timezone=timezone, cron=every), timezone=timezone)


def _on_hour(moment: datetime) -> bool:
    return (moment.minute, moment.second) == (0, 0)


@dataclass(frozen=True)
class _SeriesSteps(_Steps):
    """Those of a Forecast's series, by its grid."""

    grid: Grid
    length: int
    least: int
    every: int
    word: str = "steps"

    @classmethod
    def of(cls, spec: FleetSpec) -> _SeriesSteps:
        problem = spec.problem
        assert isinstance(problem, Forecast)
        frequency = problem.frequency
        kind = pa.timestamp("us", "UTC") if frequency.unit == "elapsed" else pa.date32()
        whole = _HOUR // math.gcd(frequency.count, _HOUR) if frequency.unit == "elapsed" else 1
        least = max(spec.training.min_rows, problem.horizon + 1)
        return cls(Grid.of(frequency, kind, spec.timezone), problem.horizon, least, whole)

    def moment(self, step: int) -> datetime:
        found = self.grid.times(np.array([step]))[0].as_py()
        by_clock = isinstance(found, datetime)
        return _local(found, self.grid.timezone) if by_clock else _midnight(found, self.grid.timezone)

    def last(self, end: datetime) -> int:
        step = self.grid.at(end)
        return step if self.moment(step).astimezone(UTC) == end.astimezone(UTC) else step - 1

    def first(self, begin: datetime) -> int:
        return self.grid.at(begin)


@dataclass(frozen=True)
class _ClockSteps(_Steps):
    """Days of the calendar, or hours where the holdout is no whole number of days."""

    timezone: str
    days: bool
    length: int
    word: str
    every: int = 1
    least: int = 1

    @classmethod
    def of(cls, spec: FleetSpec) -> _ClockSteps:
        holdout = intervals.duration(spec.training.holdout or HOLDOUT)
        days = not holdout % timedelta(days=1)
        length = holdout // (timedelta(days=1) if days else timedelta(hours=1))
        return cls(spec.timezone, days, max(length, 1), "days" if days else "hours")

    def moment(self, step: int) -> datetime:
        if self.days:
            return _midnight(date.fromordinal(step), self.timezone)
        return _local(datetime.fromtimestamp(step * _HOUR, UTC), self.timezone)

    def last(self, end: datetime) -> int:
        return end.toordinal() if self.days else int(end.timestamp()) // _HOUR

    def first(self, begin: datetime) -> int:
        return -(-int(begin.timestamp()) // _HOUR) if not self.days else begin.toordinal()


def _midnight(day: date, timezone: str) -> datetime:
    """When a day begins: the end of the one before."""
    return intervals.of_key((day - timedelta(days=1)).isoformat(), timezone=timezone).end


def _local(moment: datetime, timezone: str) -> datetime:
    return moment.astimezone(ZoneInfo(timezone))
