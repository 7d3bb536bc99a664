"""The wall clock of a timezone, for arrays of times: seconds since 1970, as instants and as what the clock shows.

Where a clock is set back and an hour comes twice, the first one is meant; a time that a clock skipped is the moment of
the change (as in `modelfleet.ingest.time`). Every wall time has one instant so.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

# Clocks are followed from 1900 to 2100. Since then, none changed and changed back within three days.
_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1900, 2100))
_LOOK = 3 * 86_400


class Clock:
    """The changes of one timezone's wall clock; from Python's timezone database (Arrow's ends with 2037).

    :ivar since: instants from which each offset holds; the first is before all times.
    :ivar offsets: seconds that the clock is ahead of UTC.
    """

    def __init__(self, name: str) -> None:
        zone = ZoneInfo(name)
        looks = [(at, _offset(at, zone)) for at in range(_FIRST, _LAST + _LOOK, _LOOK)]
        since, offsets = [-(1 << 62)], [looks[0][1]]
        for (before, old), (after, new) in pairwise(looks):
            if new != old:
                since.append(_change(before, after, zone))
                offsets.append(new)
        self.since, self.offsets = np.array(since, np.int64), np.array(offsets, np.int64)
        self._ends = np.maximum.accumulate(self.since[1:] + self.offsets[:-1])

    def wall(self, instants: np.ndarray) -> np.ndarray:
        """What the clock shows at instants."""
        return instants + self.offsets[np.searchsorted(self.since[1:], instants, side="right")]

    def instants(self, wall: np.ndarray) -> np.ndarray:
        """When the clock shows these times: the first such moment, or the moment of the change that skips them."""
        span = np.searchsorted(self._ends, wall, side="right")
        return np.maximum(wall - self.offsets[span], self.since[span])

    def gaps(self, at_least: int) -> list[tuple[int, int]]:
        """The wall times that were skipped, as [from, to), where `at_least` so many seconds were."""
        starts = self._ends
        ends = self.since[1:] + self.offsets[1:]
        long = ends - starts >= at_least
        return list(zip(starts[long].tolist(), ends[long].tolist(), strict=True))


@lru_cache(maxsize=64)
def clock_of(zone: str) -> Clock:
    """The clock of an IANA timezone; made once per process."""
    return Clock(zone)


def _offset(instant: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    assert offset is not None  # the moment is aware
    return int(offset.total_seconds())


def _change(before: int, after: int, zone: ZoneInfo) -> int:
    """The first instant of another offset than `before` has."""
    old = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _offset(middle, zone) == old else (before, middle)
    return after
