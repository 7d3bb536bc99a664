"""The regular grid of a frequency: time columns <-> step numbers.

Steps are kept by the wall clock of the fleet's timezone, or by elapsed time:

- ``D``, ``W-*``, ``MS``, ``QS``, ``YS``: the midnights that begin a day, such a weekday, a month, a quarter, a year.
- ``h`` and ``min``, timestamps without a zone: plain wall steps, each day alike.
- ``h`` and ``min``, timestamps with a zone: up to an hour by elapsed time, so that a day has 23 or 25 hours where clocks
  change; the grid begins at midnight of the zone's standard time, so that hours are those of the wall clock also where the
  offset has half or quarter hours. (Where clocks change by half an hour, summer hours begin at half past.) Counts of more
  than an hour that divide a day, and whole days (``6h``, ``48h``), are kept by the wall clock: 0, 6, 12 and 18 o'clock
  in summer and in winter. Other counts (``7h``, ``50min``) are elapsed time.

A wall time that comes twice is the first of the two, one that clocks skip is the moment of the change; a step that is
skipped as a whole (a day of a zone that moved over the date line) is no step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError
from modelfleet.frequency import Frequency
from modelfleet.series.clock import Clock, clock_of

_DAY, _HOUR = 86_400, 3_600
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_THURSDAY = 3  # 1970-01-01


@dataclass(frozen=True)
class Grid:
    """The regular grid of a frequency on a time column's type, in the fleet's timezone."""

    frequency: Frequency
    kind: pa.DataType
    timezone: str

    @classmethod
    def of(cls, frequency: Frequency, kind: pa.DataType, timezone: str) -> Grid:
        """The grid of a column of type `kind`: date, or timestamp with or without a zone.

        :raises DataError: for another type, and for dates on a grid finer than a day.
        """
        if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
            raise DataError(f"a time of type {kind}; allowed are timestamp and date")
        if pa.types.is_date(kind) and frequency.unit == "elapsed" and frequency.count % _DAY:
            raise DataError(
                f"freq {frequency.text!r} on a time of type {kind}; allowed with dates are D, W-MON to W-SUN, MS, QS, YS",
                hint="give the rows timestamps, or correct freq",
            )
        return cls(frequency, kind, timezone)

    def index(self, column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Step numbers (int64) and whether the time is on the grid (bool; False for null), each of shape (rows,).

        A time that is not on the grid has the number of the step it lies in. The column may be of another type than the
        grid's: dates and timestamps without a zone are wall time in the fleet's timezone.

        :raises DataError: for a column that is neither timestamp nor date.
        """
        seconds, exact = _seconds(column)
        zoned = getattr(column.type, "tz", None) is not None
        if not self._by_wall:
            instants = seconds if zoned else self._clock.instants(seconds)
            step = (instants + self._phase) // self.frequency.count
            on = (step * self.frequency.count == instants + self._phase) & exact
            return step, on if zoned else on & (self._clock.wall(instants) == seconds)
        step = self._step_of(self._clock.wall(seconds) if zoned else seconds)
        start = _once_per_step(
            lambda at: self._clock.instants(self._start_of(at)) if zoned else self._start_of(at), step
        )
        on = (start == seconds) & exact
        if len(self._skipped):
            on &= ~np.isin(step, self._skipped)
            step = step - np.searchsorted(self._skipped, step)
        return step, on

    def times(self, index: np.ndarray) -> pa.Array:
        """The times of steps in the column's own type; the inverse of `index`."""
        zoned = self._by_wall and self._aware
        seconds = _once_per_step(
            lambda at: self._clock.instants(self._starts(at)) if zoned else self._starts(at), index
        )
        if pa.types.is_date(self.kind):
            return pa.array((seconds // _DAY).astype(np.int32)).cast(pa.date32()).cast(self.kind)
        return pa.array(seconds * _TICKS[self.kind.unit]).cast(self.kind)

    def at(self, moment: datetime) -> int:
        """The first step at or after an aware moment, such as an interval's end."""
        instant = -int((datetime(1970, 1, 1, tzinfo=UTC) - moment).total_seconds() // 1)
        if not self._by_wall:
            return -(-(instant + self._phase) // self.frequency.count)
        step = self._step_of(self._clock.wall(np.array([instant])))
        # Clocks that were set back may have shown the next step's time already, or show this one's again.
        while self._clock.instants(self._start_of(step))[0] >= instant:
            step = step - 1
        while self._clock.instants(self._start_of(step))[0] < instant:
            step = step + 1
        return int(step[0] - np.searchsorted(self._skipped, step[0]))

    def texts(self, index: np.ndarray) -> pa.Array:
        """Steps as messages name them: dates, or times to the second; elapsed ones with their offset."""
        seconds = self._starts(index)
        if not self._by_wall:
            return self.texts_of(pa.array(seconds).cast(pa.timestamp("s", "UTC")))
        wall = pa.array(seconds).cast(pa.timestamp("s"))
        return (wall if self.frequency.unit == "elapsed" else wall.cast(pa.date32())).cast(pa.string())

    def texts_of(self, column: pa.ChunkedArray | pa.Array) -> pa.Array:
        """Any times as messages name them: instants by the fleet's wall clock, with their offset."""
        if getattr(column.type, "tz", None) is not None:
            column = column.cast(pa.timestamp(column.type.unit, self.timezone))
        texts = pc.replace_substring_regex(column.cast(pa.string()), r"\.0+([+Z-]|$)", r"\1")
        return pc.fill_null(texts, "no time")

    @property
    def _aware(self) -> bool:
        return getattr(self.kind, "tz", None) is not None

    @cached_property
    def _clock(self) -> Clock:
        return clock_of(self.timezone)

    @cached_property
    def _by_wall(self) -> bool:
        if self.frequency.unit != "elapsed" or not self._aware:
            return True
        count = self.frequency.count
        return count > _HOUR and (_DAY % count == 0 or count % _DAY == 0)

    @cached_property
    def _phase(self) -> int:
        """Seconds that standard time is ahead of UTC: the lesser offset of 2025, so that no grid depends on today."""
        winter, summer = (int(datetime(2025, month, 1, tzinfo=UTC).timestamp()) for month in (1, 7))
        moments = np.array([winter, summer])
        return int((self._clock.wall(moments) - moments).min())

    @cached_property
    def _skipped(self) -> np.ndarray:
        """Steps, counted by the wall clock, that take no time since the clock skips them whole; sorted."""
        if self.frequency.unit == "elapsed" and not self._aware:
            return np.empty(0, np.int64)
        return _skipped_steps(self.frequency, self.timezone)

    def _step_of(self, wall: np.ndarray) -> np.ndarray:
        return _step_of(self.frequency, wall)

    def _start_of(self, step: np.ndarray) -> np.ndarray:
        return _start_of(self.frequency, step)

    def _starts(self, index: np.ndarray) -> np.ndarray:
        """When steps start: seconds of the wall clock, or of elapsed time since 1970 in UTC."""
        if not self._by_wall:
            return index * self.frequency.count - self._phase
        return self._start_of(
            index + np.searchsorted(self._skipped - np.arange(len(self._skipped)), index, side="right")
        )


def _once_per_step(function: Callable[[np.ndarray], np.ndarray], steps: np.ndarray) -> np.ndarray:
    """A function of steps, computed once for each where many rows share few."""
    low, high = (int(steps.min()), int(steps.max())) if len(steps) else (0, 0)
    return function(np.arange(low, high + 1))[steps - low] if high - low < len(steps) else function(steps)


def _step_of(frequency: Frequency, wall: np.ndarray) -> np.ndarray:
    """The step, by the wall clock alone, that wall times (seconds) lie in."""
    if frequency.unit == "month":
        months = (wall // _DAY).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return months // frequency.count
    return (wall - _anchor(frequency)) // _length(frequency)


def _start_of(frequency: Frequency, step: np.ndarray) -> np.ndarray:
    """The wall time (seconds) a step starts at."""
    if frequency.unit == "month":
        months = (step * frequency.count).astype("datetime64[M]")
        return months.astype("datetime64[D]").astype(np.int64) * _DAY
    return step * _length(frequency) + _anchor(frequency)


def _length(frequency: Frequency) -> int:
    return frequency.count * (1 if frequency.unit == "elapsed" else _DAY)


def _anchor(frequency: Frequency) -> int:
    weekly = frequency.unit == "day" and frequency.count == 7
    return (frequency.anchor - _THURSDAY) % 7 * _DAY if weekly else 0


@lru_cache(maxsize=64)
def _skipped_steps(frequency: Frequency, zone: str) -> np.ndarray:
    found = []
    for start, end in clock_of(zone).gaps(frequency.least_seconds):
        step = _step_of(frequency, np.array([start - 1])) + 1
        while _start_of(frequency, step + 1)[0] <= end:
            found.append(int(step[0]))
            step = step + 1
    return np.array(found, np.int64)


def _seconds(column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Whole seconds since 1970 (int64), and whether there is a time and nothing beyond the second."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    if pa.types.is_date(column.type):
        days = pc.fill_null(column.cast(pa.date32()).cast(pa.int32()), 0).to_numpy().astype(np.int64)
        return days * _DAY, valid
    if not pa.types.is_timestamp(column.type):
        raise DataError(f"a time of type {column.type}; allowed are timestamp and date")
    ticks = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    seconds = ticks // _TICKS[column.type.unit]
    return seconds, valid & (seconds * _TICKS[column.type.unit] == ticks)
