"""Features of the date in the fleet's timezone: calendar parts, cyclic terms, holidays.

Everything is computed once per distinct time and then spread over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError, Failure
from modelfleet.features.columns import Coded, named, pick
from modelfleet.spec.base import Findings
from modelfleet.spec.features import CYCLES, Holidays
from modelfleet.spec.values import shown

HOLIDAY_REACH = 30
"""Days to and since a holiday are counted up to this; one further away changes nothing."""
HOLIDAY_NAMES = ("holiday", "days_to_holiday", "days_since_holiday")

_PARTS = {
    "year": pc.year,
    "quarter": pc.quarter,
    "month": pc.month,
    "week": pc.iso_week,
    "day_of_year": pc.day_of_year,
    "day": pc.day,
    "weekday": pc.day_of_week,
    "weekend": lambda times: pc.greater_equal(pc.day_of_week(times), 5),
    "hour": pc.hour,
    "minute": pc.minute,
}


class Dates:
    """The times of rows, on the wall clock of a timezone."""

    def __init__(self, times: pa.ChunkedArray, timezone: str) -> None:
        """:param times: from `times_of`."""
        self._coded = Coded.of(times)
        self._wall = _wall(self._coded.values, timezone)

    def part(self, name: str) -> np.ndarray:
        """A calendar part of each row; float64, shape (rows,). Weeks are ISO 8601's, Monday is weekday 0."""
        return self._spread(self._part(name))

    def cycle(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Sine and cosine of a calendar part as a share of its cycle."""
        parts, count = self._part(name).astype(np.int64), CYCLES[name]
        turns = [2 * math.pi * value / count for value in range(count + 1)]
        sines, cosines = (np.array([function(turn) for turn in turns]) for function in (math.sin, math.cos))
        return self._spread(sines[parts]), self._spread(cosines[parts])

    def holidays(self, of: Holidays) -> Iterator[np.ndarray]:
        """Whether the day is a holiday, the days to the next and since the last one; 0 on one, at most `HOLIDAY_REACH`."""
        distinct, places = np.unique(self._days, return_inverse=True)
        years = {int(year) for year in distinct.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970}
        known = _holidays(of.country, of.subdivision, tuple(sorted({y + n for y in years for n in (-1, 0, 1)})))
        padded = np.concatenate([[-(1 << 40)], known, [1 << 40]])
        to = padded[np.searchsorted(padded, distinct)] - distinct
        since = distinct - padded[np.searchsorted(padded, distinct, side="right") - 1]
        for per_day in (to == 0, np.minimum(to, HOLIDAY_REACH), np.minimum(since, HOLIDAY_REACH)):
            yield self._spread(per_day[places].astype(np.float64))

    @cached_property
    def _days(self) -> np.ndarray:
        """Days since 1970 of the distinct times."""
        return self._wall.cast(pa.date32(), safe=False).cast(pa.int32()).to_numpy().astype(np.int64)

    def _part(self, name: str) -> np.ndarray:
        return _PARTS[name](self._wall).cast(pa.float64()).to_numpy(zero_copy_only=False)

    def _spread(self, per_time: np.ndarray) -> np.ndarray:
        return self._coded.spread(per_time, np.nan)


def times_of(rows: pa.Table, time: str, fleet: str) -> pa.ChunkedArray:
    """The column of times: dates or naive timestamps, which are wall time, or instants.

    :raises DataError: for a column of any other type, or with nulls.
    """
    times = pick(rows, time, fleet)
    if not (pa.types.is_date(times.type) or pa.types.is_timestamp(times.type)):
        raise DataError(f"{named(fleet)}time column {time!r} is of type {times.type}; allowed are dates and timestamps")
    if times.null_count:
        raise DataError(f"{named(fleet)}time column {time!r} is null in {times.null_count:,} of {len(times):,} rows")
    return times


def microseconds(times: pa.ChunkedArray) -> np.ndarray:
    """Times as int64 microseconds: instants, or those of the wall clock where that is what they are."""
    if pa.types.is_date(times.type):
        times = times.cast(pa.date32()).cast(pa.timestamp("us"))
    return times.cast(pa.timestamp("us", times.type.tz), safe=False).cast(pa.int64()).to_numpy()


def check_holidays(of: Holidays) -> None:
    """Refuse what the package `holidays` does not know.

    :raises Findings: naming what it does.
    """
    import holidays

    countries = holidays.list_supported_countries()
    allowed = list(countries[of.country]) if of.country in countries else sorted(countries)
    if of.country not in countries:
        failure = Failure("features.holidays.country", shown(of.country), "allowed: an ISO 3166 code such as 'DE'")
        raise Findings([failure], [f"the package holidays knows {len(allowed)} countries"])
    try:
        holidays.country_holidays(of.country, subdiv=of.subdivision)
    except NotImplementedError:
        listed = ", ".join(allowed) or "none"
        raise Findings(
            [Failure("features.holidays.subdivision", shown(of.subdivision), f"allowed for {of.country!r}: {listed}")]
        ) from None


def _wall(times: pa.Array, timezone: str) -> pa.Array:
    """Naive timestamps of the wall clock."""
    if pa.types.is_date(times.type):
        return times.cast(pa.date32()).cast(pa.timestamp("s"))
    if times.type.tz is None:
        return times
    return pc.local_timestamp(times.cast(pa.timestamp(times.type.unit, timezone)))


@lru_cache(maxsize=16)
def _holidays(country: str, subdivision: str | None, years: tuple[int, ...]) -> np.ndarray:
    """The holidays of some years as sorted days since 1970, observed ones among them."""
    import holidays

    found = holidays.country_holidays(country, subdiv=subdivision, years=years)
    return np.array(sorted(found), dtype="datetime64[D]").astype(np.int64)
