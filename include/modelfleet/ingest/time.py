"""Time in tables: texts to timestamps, wall times to instants, and the rows of an interval.

A naive timestamp is wall time in the table's zone. Where a clock is set back and an hour comes twice, the first one is
meant; a time that a clock skipped is the moment of the change. So each row has one instant and is in exactly one
interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError
from modelfleet.ingest.schema import NAIVE_TIMESTAMP, UTC_TIMESTAMP

if TYPE_CHECKING:
    from modelfleet.interval import Interval

# A wall time differs by up to 24 hours from a bound's where a country skipped a day; a text may carry any offset.
WALL_SLACK = timedelta(hours=25)
TEXT_SLACK = timedelta(hours=27)
ISO_TIME = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?"
_ZONED = r"^.{11}.*(Z|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True)
class Cut:
    """The rows of `interval` by `column`; `zone` is the one of naive timestamps."""

    column: str
    interval: Interval
    zone: str

    @property
    def dates(self) -> tuple[date, date]:
        """The bounds for a column of dates, [first, end): days that begin inside the interval, by its own calendar."""
        return _first_day(self.interval.start), _first_day(self.interval.end)

    def keep(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch's rows inside the interval; rows without a time are in none."""
        return batch.filter(self.mask(batch.column(batch.schema.get_field_index(self.column))))

    def mask(self, times: pa.Array) -> pa.Array:
        start: Any
        if pa.types.is_date(times.type):
            (start, end), times = self.dates, times.cast(pa.date32())
        else:
            start, end = (pa.scalar(bound, UTC_TIMESTAMP) for bound in self.interval.utc)
            times = to_instants(times, self.zone)
        return pc.and_(pc.greater_equal(times, start), pc.less(times, end))


@dataclass(frozen=True)
class Cells:
    """The cells that `bounds` (aware, rising) cut a span into, by `column`; `zone` is the one of naive timestamps."""

    column: str
    bounds: tuple[datetime, ...]
    zone: str

    def split(self, batch: pa.RecordBatch) -> list[tuple[int, pa.RecordBatch]]:
        """The batch's rows by the position of their cell; all of them lie in the span."""
        if batch.num_rows == 0:
            return []
        positions = self.positions(batch.column(batch.schema.get_field_index(self.column)))
        present = np.unique(positions)
        if len(present) == 1:
            return [(int(present[0]), batch)]
        return [(int(position), batch.filter(pa.array(positions == position))) for position in present]

    def counts(self, batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many of the batch's rows lie in each cell."""
        positions = self.positions(batch.column(batch.schema.get_field_index(self.column)))
        return np.bincount(positions, minlength=len(self.bounds) - 1)

    def positions(self, times: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The position of each time's cell; of equal bounds, as of hours for a date, the last one counts."""
        if pa.types.is_date(times.type):
            bounds = pa.array([_first_day(bound) for bound in self.bounds], pa.date32()).cast(pa.int32())
            values = times.cast(pa.date32()).cast(pa.int32())
        else:
            bounds = pa.array(self.bounds, UTC_TIMESTAMP).cast(pa.int64())
            values = to_instants(times, self.zone).cast(pa.int64())
        return np.searchsorted(bounds.to_numpy(), values.to_numpy(zero_copy_only=False), side="right") - 1


def keep_any(batch: pa.RecordBatch, cuts: Sequence[Cut]) -> pa.RecordBatch:
    """The batch's rows that lie inside one of the cuts, which have one column."""
    times = batch.column(batch.schema.get_field_index(cuts[0].column))
    mask = cuts[0].mask(times)
    for cut in cuts[1:]:
        mask = pc.or_(mask, cut.mask(times))
    return batch if pc.all(mask, skip_nulls=False).as_py() else batch.filter(mask)


def to_instants(times: pa.Array, zone: str) -> pa.Array:
    """Timestamps as timestamp[us, UTC]; naive ones are wall time in `zone`."""
    if times.type.tz is None:
        times = pc.assume_timezone(times.cast(NAIVE_TIMESTAMP), zone, ambiguous="earliest", nonexistent="latest")
    return times.cast(UTC_TIMESTAMP)


def wall_times(interval: Interval, zone: str, slack: timedelta) -> tuple[datetime, datetime]:
    """Naive wall times in `zone` that surely hold the interval's rows: `slack` wider on both sides."""
    from zoneinfo import ZoneInfo

    start, end = (t.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for t in (interval.start, interval.end))
    return start - slack, end + slack


def text_dates(interval: Interval, zone: str) -> tuple[date, date]:
    """Dates d, e so that every ISO text t of the interval has d <= t < e, compared as text."""
    start, end = wall_times(interval, zone, TEXT_SLACK)
    return start.date(), end.date() + timedelta(days=1)


def parse_times(texts: pa.Array, zone: str | None, fail: Callable[[int, str], DataError]) -> pa.Array:
    """ISO texts as timestamps: naive without a `zone`; with one, instants.

    Between date and time is a space or ``T``; seconds, fraction (up to microseconds) and offset are optional. An offset
    needs the table to have a `zone`. `fail(row, text)` makes the error of the first text that is no time.
    """
    zoned = pc.match_substring_regex(texts, _ZONED)
    has_zoned = bool(pc.any(zoned).as_py())
    if zone is None:
        if has_zoned:
            row = zoned.index(pa.scalar(True)).as_py()
            raise fail(row, texts[row].as_py())
        return _cast(texts, NAIVE_TIMESTAMP, fail)
    nothing = pa.scalar(None, pa.string())
    naive = to_instants(_cast(pc.if_else(zoned, nothing, texts), NAIVE_TIMESTAMP, fail), zone)
    if not has_zoned:
        return naive
    return pc.coalesce(naive, _cast(pc.if_else(zoned, texts, nothing), UTC_TIMESTAMP, fail))


def parse_dates(texts: pa.Array, fail: Callable[[int, str], DataError]) -> pa.Array:
    """``YYYY-MM-DD`` texts as dates."""
    return _cast(texts, pa.date32(), fail)


def _cast(texts: pa.Array, kind: pa.DataType, fail: Callable[[int, str], DataError]) -> pa.Array:
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        for row, text in enumerate(texts.to_pylist()):
            try:
                pa.array([text], pa.string()).cast(kind)
            except pa.ArrowInvalid:
                raise fail(row, text) from None
        raise


def _first_day(bound: datetime) -> date:
    midnight = bound.time().replace(tzinfo=None) == datetime.min.time()
    return bound.date() if midnight else bound.date() + timedelta(days=1)
