"""Time as a fleet sees it: wall time in its zone, the steps its series should have a target for, and the holdout."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
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

    from modelfleet.series import Grid
    from modelfleet.spec import FleetSpec

_NAMES = {"D": "day", "h": "hour", "MS": "month", "QS": "quarter", "YS": "year"}
_UNITS = {"D": "days", "h": "hours", "min": "minutes"}


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
        return f"{count:,} steps of {name}" if name[0].isdigit() else f"{count:,} {name}{'' if count == 1 else 's'}"

    def local(self, times: pa.ChunkedArray) -> np.ndarray:
        """Wall time in the fleet's zone, datetime64[us]; dates are their midnight."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if getattr(times.type, "tz", None) is not None:
            times = pc.local_timestamp(times.cast(pa.timestamp("us", self.zone)))
        return times.cast(pa.timestamp("us")).to_numpy().astype("M8[us]")

    def steps(self, times: pa.ChunkedArray) -> np.ndarray:
        """The number of the step that each time lies in, int64; neighbours differ by 1."""
        return self.grid(times.type).index(times)[0]

    def grid(self, kind: pa.DataType) -> Grid:
        """The steps of a time column."""
        from modelfleet.series import Grid

        return Grid.of(self.frequency, kind, self.zone)


@dataclass(frozen=True)
class Holdout:
    """The last stretch of time, on which models are measured: a partition that begins in it has no row to fit on.

    :ivar words: how long it is, for people.
    :ivar step: the first step of a forecast's; others have a first moment, `wall`.
    :ivar end: the first step after the interval.
    """

    words: str
    step: int | None
    wall: np.datetime64
    end: int

    @classmethod
    def of(cls, spec: FleetSpec, interval: Interval, kind: pa.DataType) -> Holdout:
        """:param kind: of the time column."""
        import numpy as np

        clock = Clock.of(spec)
        end = clock.grid(kind).at(interval.end)
        if isinstance(spec.problem, Forecast):
            horizon = spec.problem.horizon
            return cls(clock.steps_in_words(horizon), end - horizon, np.datetime64("NaT"), end)
        length = spec.training.holdout or HOLDOUT
        cutoff = (interval.end.astimezone(UTC) - intervals.duration(length)).astimezone(interval.end.tzinfo)
        words = next(f"{length.removesuffix(unit)} {name}" for unit, name in _UNITS.items() if length.endswith(unit))
        return cls(words, None, np.datetime64(cutoff.replace(tzinfo=None), "us"), end)

    def holds(self, steps: np.ndarray, walls: np.ndarray) -> np.ndarray:
        """Which of the moments, given as steps and as wall times, are not before the holdout."""
        return steps >= self.step if self.step is not None else walls >= self.wall
