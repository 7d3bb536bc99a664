"""What the series of a CSV file are like: their step, length and gaps, and what a first forecast can ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from modelfleet.errors import DataError
from modelfleet.frequency import WEEKDAYS, Frequency, parse
from modelfleet.scaffold.guessing import Columns, microseconds, partition_codes

_DAY = 86_400
_HORIZONS = {"D": 7, "MS": 3, "QS": 2, "YS": 1}
_HINT = "name it: --freq; or make one row per date in a `prepare`"


@dataclass(frozen=True)
class Series:
    """What a draft of a forecast needs to know.

    :ivar rows: the median number of rows of a partition.
    :ivar gaps: whether some dates between a partition's first and last are missing.
    :ivar repeated: whether some dates are there more than once in a partition.
    """

    freq: str
    rows: int
    gaps: bool
    repeated: bool

    @property
    def frequency(self) -> Frequency:
        return parse(self.freq)

    @property
    def season(self) -> int:
        return self.frequency.season

    @property
    def horizon(self) -> int:
        """A week of days, four weeks, a day of hours, and the like."""
        if self.freq in _HORIZONS:
            return _HORIZONS[self.freq]
        return 4 if self.frequency.unit == "day" else self.season

    def lags(self, horizon: int) -> tuple[int, ...]:
        """The horizon, and whole seasons from there on, as far as the series reach."""
        first = -(-horizon // self.season) * self.season
        return tuple(sorted({horizon, *(lag for lag in (first, first + self.season) if lag <= self.rows // 3)}))

    def folds(self, horizon: int) -> int:
        """As many holdouts as leave most rows to fit on, at most three."""
        return max(1, min(3, self.rows // (2 * horizon)))

    def min_rows(self, horizon: int) -> int:
        """What a partition must have: the default, unless most series are shorter."""
        return 30 if self.rows >= 60 else max(2 * horizon + 1, 8)


def of(rows: pa.Table, columns: Columns, freq: str | None) -> Series:
    """The series in some rows. :param freq: their step, where it is known.

    :raises DataError: when it can't be guessed.
    """
    codes, times = partition_codes(rows, columns.keys), microseconds(rows, columns.time) // 1_000_000
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    same = codes[1:] == codes[:-1]
    apart = np.diff(times)[same]
    counts = np.bincount(codes)
    step = freq or _step(apart[apart > 0], times, columns.time)
    longest = 1.5 * parse(step).least_seconds
    return Series(
        freq=step, rows=int(np.median(counts)), gaps=bool((apart > longest).any()), repeated=bool((apart == 0).any())
    )


def _step(apart: np.ndarray, times: np.ndarray, column: str) -> str:
    """The commonest distance of neighbours, as a frequency."""
    if apart.size == 0:
        raise DataError(
            f"no partition has two different times in {column!r}, so that their step is unknown", hint=_HINT
        )
    lengths, counts = np.unique(apart, return_counts=True)
    seconds = int(lengths[np.argmax(counts)])
    if seconds % _DAY == 0 and not (times % _DAY).any():
        found = _of_days(seconds // _DAY, times)
    elif seconds < _DAY and seconds % 60 == 0:
        count, unit = (seconds // 3600, "h") if seconds % 3600 == 0 else (seconds // 60, "min")
        found = unit if count == 1 else f"{count}{unit}"
    else:
        found = None
    if found is None:
        apart_by = timedelta(seconds=seconds)
        raise DataError(f"times in {column!r} are mostly {apart_by} apart, which is no frequency", hint=_HINT)
    return found


def _of_days(days: int, times: np.ndarray) -> str | None:
    if days == 1:
        return "D"
    if days == 7:
        weekdays = (times // _DAY + 3) % 7  # 1970-01-01 was a Thursday
        return f"W-{WEEKDAYS[int(np.bincount(weekdays).argmax())]}"
    months = {28: "MS", 29: "MS", 30: "MS", 31: "MS", 90: "QS", 91: "QS", 92: "QS", 365: "YS", 366: "YS"}
    first = all(datetime.fromtimestamp(int(each), UTC).day == 1 for each in np.unique(times)[:100])
    return months.get(days) if first else None
