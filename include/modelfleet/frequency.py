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
    "'15min' or another count of minutes, 'h' or '6h', 'D', 'W-MON' to 'W-SUN', "
    "'MS', 'QS' or 'YS' (starts of months, quarters, years)"
)
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_FORM = re.compile(r"([1-9]\d*)?(min|h)|D|W-(MON|TUE|WED|THU|FRI|SAT|SUN)|MS|QS|YS")
_MONTHS = {"MS": 1, "QS": 3, "YS": 12}

Unit = Literal["elapsed", "day", "month"]


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
            return max(86_400 // self.count, 1)
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
        return (
            self.count if self.unit == "elapsed" else 86_400 * (self.count if self.unit == "day" else 28 * self.count)
        )

    def steps_in(self, length: timedelta) -> int | None:
        """How many steps a duration has; None where that is no whole number, or steps differ in length."""
        if self.unit == "month":
            return None
        steps, rest = divmod(int(length.total_seconds()), self.least_seconds)
        return None if rest else steps


def parse(text: str) -> Frequency:
    """The frequency that a text names.

    :raises ValueError: saying which texts are allowed.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(FORM)
    if match[2]:
        return Frequency(text, "elapsed", int(match[1] or 1) * (60 if match[2] == "min" else 3600))
    if text in _MONTHS:
        return Frequency(text, "month", _MONTHS[text])
    return Frequency(text, "day", 1) if text == "D" else Frequency(text, "day", 7, WEEKDAYS.index(match[3]))
