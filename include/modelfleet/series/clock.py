"""The wall clock of a timezone, for arrays of times: seconds since 1970, as instants and as what the clock shows.

Where a clock is set back and an hour comes twice, the first one is meant; a time that a clock skipped is the moment of
the change (as in `modelfleet.ingest.time`). Every wall time has one instant so.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Clocks are followed from 1900 to 2150; no zone changes its clock twice within the hours between two looks.
_FIRST, _LAST = (int(np.datetime64(f"{year}-01-01", "s").astype(np.int64)) for year in (1900, 2150))
_LOOK = 6 * 3600


class Clock:
    """The changes of one timezone's wall clock.

    :ivar since: instants from which each offset holds; the first is before all times.
    :ivar offsets: seconds that the clock is ahead of UTC.
    """

    def __init__(self, zone: str) -> None:
        looks = np.arange(_FIRST, _LAST, _LOOK, dtype=np.int64)
        seen = _offsets(looks, zone)
        before = looks[:-1][seen[1:] != seen[:-1]]
        after = before + _LOOK
        old = _offsets(before, zone)
        while len(before) and int((after - before).max()) > 1:
            middle = (before + after) // 2
            unchanged = _offsets(middle, zone) == old
            before, after = np.where(unchanged, middle, before), np.where(unchanged, after, middle)
        self.zone = zone
        self.since = np.concatenate([[np.int64(-(1 << 62))], after])
        self.offsets = np.concatenate([seen[:1], _offsets(after, zone)])
        self._ends = np.maximum.accumulate(after + self.offsets[:-1])

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


def _offsets(instants: np.ndarray, zone: str) -> np.ndarray:
    zoned = pa.array(instants).cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("s", zone))
    return pc.local_timestamp(zoned).cast(pa.int64()).to_numpy() - instants
