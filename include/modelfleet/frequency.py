"""The step of a series: minutes, hours, days, weeks, months, quarters or years.

``D`` and longer steps are dates on the wall clock of the fleet's timezone; minutes and hours are elapsed time, so that a
day has 23 or 25 hours where clocks change. Without NumPy, since specs are checked while Airflow parses a DAG file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

FORM = (
    "'15min', 'h', '6h' or another count of minutes or hours up to a day, 'D', 'W-MON' to 'W-SUN', "
    "'MS', 'QS' or 'YS' (starts of months, quarters, years)"
)
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_FORM = re.compile(r"([1-9]\d{0,3})?(min|h)|D|W-(MON|TUE|WED|THU|FRI|SAT|SUN)|MS|QS|YS", re.ASCII)
_DAY = 86_400
_ELSEWHERE = {
    **dict.fromkeys(("d", "1d", "day", "daily", "24h"), "D"),
    **dict.fromkeys(("w", "7d", "week", "weekly"), "W-SUN"),
    **dict.fromkeys(("m", "me", "month", "monthly"), "MS"),
    **dict.fromkeys(("q", "qe", "quarterly"), "QS"),
    **dict.fromkeys(("y", "ye", "a", "as", "yearly"), "YS"),
    **dict.fromkeys(("h", "1h", "hour", "hourly"), "h"),
    **dict.fromkeys(("t", "min"), "min"),
}
"""What other tools call steps, in lower case."""
_MONTHS = {"MS": 1, "QS": 3, "YS": 12}

Unit = Literal["elapsed", "day", "month"]


class FrequencyError(ValueError):
    """A text names no frequency; `hint` says which may be meant."""

    def __init__(self, text: str) -> None:
        meant = _ELSEWHERE.get(text.lower())
        self.hint = f"did you mean {meant!r}?" if meant else None
        super().__init__(FORM)


@dataclass(frozen=True)
class Frequency:
    """A step: `count` times seconds (elapsed), days or months, from an `anchor`.

    :ivar count: seconds (elapsed), days (1 or 7) or months (1, 3, 12).
    :ivar anchor: days: the weekday of weekly steps, Monday 0; else 0.
    """

    text: str
    unit: Unit
    count: int
    anchor: int = 0

    @property
    def season(self) -> int:
        """The steps of the season that is usual for it: a day of minutes or hours, a week of days, a year of the others."""
        if self.unit == "elapsed":
            return _DAY // self.count
        if self.unit == "day":
            return 7 if self.count == 1 else 52
        return 12 // self.count

    @property
    def steps_a_year(self) -> int:
        """About how many steps a year has."""
        if self.unit == "month":
            return 12 // self.count
        return int(timedelta(days=365).total_seconds() // self.least_seconds)

    @property
    def least_seconds(self) -> int:
        """No step is shorter, clock changes aside."""
        return self.count if self.unit == "elapsed" else _DAY * (self.count if self.unit == "day" else 28 * self.count)

    def steps_in(self, length: timedelta) -> int | None:
        """How many steps a duration has; None where that is no whole number, or steps differ in length."""
        if self.unit == "month":
            return None
        steps, rest = divmod(int(length.total_seconds()), self.least_seconds)
        return None if rest else steps


def parse(text: str) -> Frequency:
    """The frequency that a text names.

    :raises FrequencyError: a ValueError that says which texts are allowed.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise FrequencyError(text)
    if match[2]:
        seconds = int(match[1] or 1) * (60 if match[2] == "min" else 3600)
        if seconds > _DAY:
            raise FrequencyError(text)
        return Frequency(text, "elapsed", seconds)
    if text in _MONTHS:
        return Frequency(text, "month", _MONTHS[text])
    return Frequency(text, "day", 1) if text == "D" else Frequency(text, "day", 7, WEEKDAYS.index(match[3]))
