"""The step of a series: which texts name one, and how many steps a duration, a season and a year have."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import frequency
from modelfleet.frequency import Frequency, FrequencyError

FREQUENCIES = [
    # text, unit, count, anchor, season, steps a year
    ("min", "elapsed", 60, 0, 1440, 525_600),
    ("15min", "elapsed", 900, 0, 96, 35_040),
    ("90min", "elapsed", 5400, 0, 16, 5840),
    ("1440min", "elapsed", 86_400, 0, 1, 365),
    ("h", "elapsed", 3600, 0, 24, 8760),
    ("6h", "elapsed", 21_600, 0, 4, 1460),
    ("24h", "elapsed", 86_400, 0, 1, 365),
    ("D", "day", 1, 0, 7, 365),
    ("W-MON", "day", 7, 0, 52, 52),
    ("W-SUN", "day", 7, 6, 52, 52),
    ("MS", "month", 1, 0, 12, 12),
    ("QS", "month", 3, 0, 4, 4),
    ("YS", "month", 12, 0, 1, 1),
]


@pytest.mark.parametrize(
    "text, unit, count, anchor, season, a_year", FREQUENCIES, ids=[text for text, *_ in FREQUENCIES]
)
def test_text_names_a_step(text: str, unit: str, count: int, anchor: int, season: int, a_year: int) -> None:
    step = frequency.parse(text)
    assert step == Frequency(text, unit, count, anchor)  # type: ignore[arg-type]
    assert (step.season, step.steps_a_year) == (season, a_year)


@pytest.mark.parametrize("text", ["", "d", "2D", "W", "W-mon", "M", "ME", "0h", "07h", "-h", "25h", "1441min", "9999h"])
def test_other_text_is_refused_and_says_what_is_allowed(text: str) -> None:
    with pytest.raises(FrequencyError, match="'15min', 'h', '6h' or another count of minutes or hours up to a day"):
        frequency.parse(text)


@pytest.mark.parametrize(
    "text, meant", [("H", "h"), ("1D", "D"), ("w", "W-SUN"), ("ME", "MS"), ("T", "min"), ("A", "YS")]
)
def test_name_of_another_tool_hints_at_ours(text: str, meant: str) -> None:
    with pytest.raises(FrequencyError) as caught:
        frequency.parse(text)
    assert caught.value.hint == f"did you mean {meant!r}?"
    assert frequency.parse(meant).text == meant


DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
STEPS = [
    ("15min", DAY, 96),
    ("15min", 20 * MINUTE, None),
    ("6h", DAY, 4),
    ("6h", 9 * HOUR, None),
    ("D", 28 * DAY, 28),
    ("D", 36 * HOUR, None),
    ("D", 12 * HOUR, None),
    ("W-TUE", 28 * DAY, 4),
    ("W-TUE", 10 * DAY, None),
    ("MS", 28 * DAY, None),
    ("YS", 365 * DAY, None),
]


@pytest.mark.parametrize("text, length, steps", STEPS, ids=[f"{text}-{length}" for text, length, _ in STEPS])
def test_duration_has_whole_steps_or_none(text: str, length: timedelta, steps: int | None) -> None:
    assert frequency.parse(text).steps_in(length) == steps


@given(st.sampled_from([text for text, *_ in FREQUENCIES]), st.integers(1, 1000))
def test_steps_of_so_many_least_seconds_are_as_many(text: str, count: int) -> None:
    step = frequency.parse(text)
    length = timedelta(seconds=step.least_seconds * count)
    assert step.steps_in(length) == (None if step.unit == "month" else count)
