"""Time as a fleet sees it: instants, wall time in its zone, and the steps its series should have a row for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelfleet import interval as intervals
from modelfleet.frequency import Frequency
from modelfleet.frequency import parse as parse_frequency
from modelfleet.interval import Interval
from modelfleet.spec.problem import Forecast
from modelfleet.spec.training import HOLDOUT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from modelfleet.spec import FleetSpec

_SECOND = 1_000_000
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
_NAMES = {"D": "day", "h": "hour", "MS": "month", "QS": "quarter", "YS": "year"}


@dataclass(frozen=True)
class Clock:
    """Turns the time column into NumPy arrays.

    :ivar frequency: the step of a forecast's series; a day for all other fleets.
    """

    zone: str
    frequency: Frequency

    @classmethod
    def of(cls, spec: FleetSpec) -> Clock:
        problem = spec.problem
        return cls(spec.timezone, problem.frequency if isinstance(problem, Forecast) else parse_frequency("D"))

    @property
    def step_name(self) -> str:
        """The step in a word: day, week, 15min."""
        text = self.frequency.text
        return "week" if text.startswith("W-") else _NAMES.get(text, text)

    def steps_in_words(self, count: int) -> str:
        """So many steps: 14 days, 96 steps of 15min."""
        name = self.step_name
        return f"{count} steps of {name}" if name[0].isdigit() else f"{count} {name}{'' if count == 1 else 's'}"

    def local(self, times: pa.ChunkedArray) -> np.ndarray:
        """Wall time in the fleet's zone, datetime64[us]; dates are their midnight."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if getattr(times.type, "tz", None) is not None:
            times = pc.local_timestamp(times.cast(pa.timestamp("us", self.zone)))
        return times.cast(pa.timestamp("us")).to_numpy().astype("M8[us]").astype(np.dtype("M8[us]"))

    def instants(self, times: pa.ChunkedArray) -> np.ndarray:
        """Microseconds that rise with time, int64: since 1970 in UTC, or on the wall where no zone is known."""
        import numpy as np
        import pyarrow as pa

        kind = pa.timestamp("us", getattr(times.type, "tz", None))
        return times.cast(kind).cast(pa.int64()).to_numpy().astype(np.int64, copy=False)

    def steps(self, local: np.ndarray, instants: np.ndarray) -> np.ndarray:
        """The number of the step each time lies in, int64; neighbours differ by 1."""
        import numpy as np

        if self.frequency.unit == "elapsed":
            return instants // (self.frequency.count * _SECOND)
        if self.frequency.unit == "month":
            return local.astype("M8[M]").astype(np.int64) // self.frequency.count
        days = local.astype("M8[D]").astype(np.int64)
        if self.frequency.count == 1:
            return days
        return (days + _EPOCH_WEEKDAY - self.frequency.anchor) // self.frequency.count

    def step_of(self, moment: datetime) -> int:
        """The step an aware moment lies in."""
        import numpy as np

        wall = np.array([moment.replace(tzinfo=None)], "M8[us]")
        instant = np.array([moment.astimezone(UTC).replace(tzinfo=None)], "M8[us]").astype(np.int64)
        return int(self.steps(wall, instant)[0])


@dataclass(frozen=True)
class Holdout:
    """The last stretch of time, on which models are measured: a partition that begins in it can't be trained before it.

    :ivar words: how long it is, for people.
    """

    words: str
    step: int | None
    wall: np.datetime64

    @classmethod
    def of(cls, spec: FleetSpec, interval: Interval) -> Holdout:
        import numpy as np

        if isinstance(spec.problem, Forecast):
            clock = Clock.of(spec)
            step = clock.step_of(interval.end) - spec.problem.horizon
            return cls(clock.steps_in_words(spec.problem.horizon), step, np.datetime64(interval.end.replace(tzinfo=None), "us"))
        length = spec.training.holdout or HOLDOUT
        cutoff = (interval.end.astimezone(UTC) - intervals.duration(length)).astimezone(interval.end.tzinfo)
        return cls(_in_words(length), None, np.datetime64(cutoff.replace(tzinfo=None), "us"))

    def begins_in_it(self, steps: np.ndarray, walls: np.ndarray) -> np.ndarray:
        """Which of the moments, given as steps and as wall times, are not before the holdout."""
        return steps >= self.step if self.step is not None else walls >= self.wall


def _in_words(length: str) -> str:
    """A duration as the spec gives it, spelled out: 28D, 28 days."""
    words = {"D": "days", "h": "hours", "min": "minutes"}
    return next(f"{length.removesuffix(unit)} {word}" for unit, word in words.items() if length.endswith(unit))
