"""Intervals: the span of time a run is for, and its key, which is its last day (or hour) in the fleet's timezone.

A key is ``2013-09-30`` (a day) or ``2013-09-30T13`` (an hour, for schedules that tick several times a day). Where
clocks go back, the second of two equal hours carries its offset: ``2013-11-03T01-0500``. Keys sort as text in the order
of time.

Starts and ends are aware datetimes in the fleet's timezone. Days have 23 or 25 hours where clocks change, so compare
and subtract through `Interval.overlaps` and `Interval.length`, which do it in UTC: Python compares two datetimes of one
zone by the wall clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from modelfleet.errors import DataError

Unit = Literal["day", "hour"]

PRESETS = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
DURATION_FORM = (
    "a whole number above 0 and a unit: D (days), h (hours) or min (minutes), such as '28D', '12h' or '90min'"
)
KEY_FORM = "a day such as '2013-09-30', or an hour such as '2013-09-30T13'"

_KEY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:T(\d{2})([+-]\d{4})?)?", re.ASCII)
_DURATION = re.compile(r"([1-9]\d{0,6})(D|h|min)", re.ASCII)
_UNITS = {"D": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}
_STEPS: dict[Unit, timedelta] = {"day": timedelta(days=1), "hour": timedelta(hours=1)}


@dataclass(frozen=True)
class Interval:
    """The span ``[start, end)`` of a run; `key` names its last day or hour."""

    key: str
    start: datetime
    end: datetime

    @property
    def timezone(self) -> str:
        return str(self.end.tzinfo)

    @property
    def length(self) -> timedelta:
        """The elapsed time, 23 or 25 hours for a day on which clocks change."""
        return self.end.astimezone(UTC) - self.start.astimezone(UTC)

    def overlaps(self, other: Interval) -> bool:
        """Whether some instant is in both; intervals that only touch do not overlap."""
        ours, theirs = self.utc, other.utc
        return ours[0] < theirs[1] and theirs[0] < ours[1]

    @property
    def utc(self) -> tuple[datetime, datetime]:
        """Start and end in UTC, where they compare and subtract as instants."""
        return self.start.astimezone(UTC), self.end.astimezone(UTC)

    def to_json(self) -> dict[str, str]:
        start, end = self.utc
        return {"key": self.key, "start": start.isoformat(), "end": end.isoformat(), "timezone": self.timezone}

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Interval:
        """What `to_json` gave, in the same timezone again."""
        zone = ZoneInfo(given["timezone"])
        start, end = (datetime.fromisoformat(given[name]).astimezone(zone) for name in ("start", "end"))
        return cls(given["key"], start, end)


def of_key(key: str, *, timezone: str, start: str | None = None, cron: str | None = None) -> Interval:
    """The interval of a key: it ends with that day or hour.

    It begins at `start` (the first day or hour of the interval, in the form of a key) if given; else where the previous
    interval of the schedule `cron` ended, so that a monthly schedule gives the month up to the key; else it is one day
    or hour.

    :raises DataError: for a malformed key, a day or hour the timezone skips, or a start after the end.
    """
    zone = ZoneInfo(timezone)
    first, end = _span(key, zone)
    if start is not None:
        first = _span(start, zone, what="start")[0]
        if first.astimezone(UTC) >= end.astimezone(UTC):
            raise DataError(
                f"interval {key!r}: start {start!r} is after its end {end.isoformat()}",
                hint="the start is the first day or hour of the interval, its key the last",
            )
    elif cron is not None:
        first = min(first, _previous_boundary(end, cron, zone), key=_instant)
    return Interval(key, first, end)


def key_of_tick(tick: datetime, *, timezone: str, cron: str) -> str:
    """The key of the run that a tick of `cron` starts: the last whole day (or hour, see `unit_of`) before it.

    A daily run at 05:00 is for the day before, a monthly one on the 1st for the month that ended.

    :param tick: an aware datetime.
    """
    if tick.tzinfo is None:
        raise ValueError(f"tick {tick.isoformat()} has no timezone")
    zone, unit = ZoneInfo(timezone), unit_of(cron)
    local = tick.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    boundary = _at(local.replace(hour=0, tzinfo=None), zone) if unit == "day" else local
    last = (boundary.astimezone(UTC) - timedelta(microseconds=1)).astimezone(zone)
    if unit == "day":
        return last.strftime("%Y-%m-%d")
    hour = last.replace(minute=0, second=0, microsecond=0)
    return hour.strftime("%Y-%m-%dT%H") + (hour.strftime("%z") if _is_second(hour) else "")


def unit_of(cron: str) -> Unit:
    """Whether keys of this schedule are days, or hours because it ticks several times a day."""
    return "hour" if len(_hours(cron)) > 1 or _hours(cron) == ("*",) else "day"


def five_fields(cron: str) -> str:
    """A schedule as a five-field cron expression: presets such as ``@daily`` are written out.

    :raises ValueError: where it is no cron expression, or ticks more than once an hour.
    """
    _hours(cron)
    return PRESETS.get(cron.strip(), cron.strip())


def duration(text: str) -> timedelta:
    """The timedelta of ``28D``, ``12h`` or ``90min``; always positive.

    :raises ValueError: for any other form.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(DURATION_FORM)
    return int(match[1]) * _UNITS[match[2]]


@lru_cache(maxsize=256)
def _hours(cron: str) -> tuple[int | str, ...]:
    """The hour field of a cron expression, expanded; checks the expression on the way."""
    from croniter import CroniterError, croniter  # 12 ms that only schedules pay

    expression = PRESETS.get(cron.strip(), cron.strip())
    if len(expression.split()) != 5:
        raise ValueError(f"a cron expression of five fields, such as '0 5 * * *', or one of {', '.join(PRESETS)}")
    try:
        minutes, hours = croniter.expand(expression)[0][:2]
        croniter(expression, datetime(2024, 1, 1)).get_next()
    except (CroniterError, ValueError, KeyError) as exc:
        raise ValueError(f"a cron expression ({exc})") from None
    if len(minutes) != 1 or minutes == ["*"]:
        raise ValueError(
            "a schedule ticks at most once an hour, at one minute, since intervals are named by their hour"
        )
    return tuple(hours)


def _span(key: str, zone: ZoneInfo, what: str = "interval key") -> tuple[datetime, datetime]:
    """First instant of a key's day or hour, and the first one after it."""
    match = _KEY.fullmatch(key) if isinstance(key, str) else None
    try:
        if match is None:
            raise ValueError
        wall = datetime.fromisoformat(match[1]) + timedelta(hours=_hour(match[2]))
        unit: Unit = "day" if match[2] is None else "hour"
        following = wall + _STEPS[unit]
        first, end = _at(wall, zone), _at(following, zone)
    except (ValueError, OverflowError):
        raise DataError(f"{what} {key!r} is malformed; allowed is {KEY_FORM}") from None
    if _instant(first) >= _instant(end):
        raise DataError(f"{what} {key!r}: timezone {zone.key} skips this {unit}")
    second = _at(wall, zone, fold=1)
    if unit == "hour" and _is_second(second):
        first, end = (first, second) if match[3] is None else (second, end)
    if match[3] is not None and not (_is_second(first) and first.strftime("%z") == match[3]):
        raise DataError(f"{what} {key!r}: an offset only marks the second of two equal hours in {zone.key}")
    return first, end


def _hour(text: str | None) -> int:
    hour = int(text or 0)
    if hour > 23:
        raise ValueError
    return hour


def _previous_boundary(end: datetime, cron: str, zone: ZoneInfo) -> datetime:
    """Where the interval before the one that ends at `end` ended, by the schedule."""
    from croniter import croniter

    hours = _hours(cron)
    if hours == ("*",) and five_fields(cron).split()[2:] == ["*", "*", "*"]:
        return (end.astimezone(UTC) - timedelta(hours=1)).astimezone(zone)  # right through both of two equal hours
    # On the wall clock, and from beyond `end`: where clocks go back, the tick of the same name may be the earlier one.
    ticks = croniter(five_fields(cron), end.replace(tzinfo=None) + timedelta(days=1))
    while True:
        tick: datetime = ticks.get_prev(datetime).replace(minute=0, second=0, microsecond=0)
        boundary = _at(tick if unit_of(cron) == "hour" else tick.replace(hour=0), zone)
        if _instant(boundary) < _instant(end):
            return boundary


def _at(wall: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    """The instant a wall clock shows; a time it skips becomes the first one after the gap."""
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC).astimezone(zone)


def _is_second(moment: datetime) -> bool:
    """Whether this is the later of two instants with the same wall time."""
    return bool(moment.fold) and moment.utcoffset() != moment.replace(fold=0).utcoffset()


def _instant(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
