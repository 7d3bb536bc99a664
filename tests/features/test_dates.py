"""Features of the date: calendar parts in the fleet's timezone, cyclic terms, holidays."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feature_cases import forecast_fleet, regression_fleet
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import Features, Holidays, Rolling
from modelfleet.errors import DataError, SpecError
from modelfleet.features import Recipe
from modelfleet.features.dates import HOLIDAY_REACH

PARTS = ("year", "quarter", "month", "week", "day_of_year", "day", "weekday", "weekend", "hour", "minute")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")


def computed(features: Features, times: pa.Array, timezone: str = "UTC") -> dict[str, list[float]]:
    recipe = Recipe.of(regression_fleet(features, timezone=timezone), {})
    matrix = recipe.compute(pa.table({"day": times}), np.array([0][: len(times)]), time="day")
    return dict(zip(recipe.names(), matrix.T.tolist(), strict=True))


@pytest.mark.parametrize(
    "time, zone, expected",
    [
        (date(2013, 9, 30), "UTC", (2013, 3, 9, 40, 273, 30, 0, 0, 0, 0)),
        (date(2012, 12, 31), "Europe/Berlin", (2012, 4, 12, 1, 366, 31, 0, 0, 0, 0)),
        (date(2016, 1, 3), "UTC", (2016, 1, 1, 53, 3, 3, 6, 1, 0, 0)),
        (date(1969, 12, 31), "UTC", (1969, 4, 12, 1, 365, 31, 2, 0, 0, 0)),
        (datetime(2013, 6, 1, 23, 45), "Asia/Tokyo", (2013, 2, 6, 22, 152, 1, 5, 1, 23, 45)),
        (datetime(2013, 6, 1, 23, 45, tzinfo=UTC), "Asia/Tokyo", (2013, 2, 6, 22, 153, 2, 6, 1, 8, 45)),
        (datetime(2013, 3, 31, 0, 59, tzinfo=UTC), "Europe/Berlin", (2013, 1, 3, 13, 90, 31, 6, 1, 1, 59)),
        (datetime(2013, 3, 31, 1, 0, tzinfo=UTC), "Europe/Berlin", (2013, 1, 3, 13, 90, 31, 6, 1, 3, 0)),
        (datetime(2013, 10, 27, 0, 30, tzinfo=UTC), "Europe/Berlin", (2013, 4, 10, 43, 300, 27, 6, 1, 2, 30)),
        (datetime(2013, 10, 27, 1, 30, tzinfo=UTC), "Europe/Berlin", (2013, 4, 10, 43, 300, 27, 6, 1, 2, 30)),
    ],
    ids=[
        *("date", "week of next year", "week 53", "before 1970", "wall time", "instant"),
        *("before spring", "after spring", "before autumn", "after autumn"),
    ],
)
def test_calendar_parts_are_those_of_the_wall_clock(time: Any, zone: str, expected: tuple[int, ...]) -> None:
    got = computed(Features(calendar=PARTS), pa.array([time]), zone)
    assert tuple(got[part][0] for part in PARTS) == expected


INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 31)) | st.builds(
    lambda change, minutes: change + timedelta(minutes=minutes),
    st.sampled_from([datetime(2013, 3, 31, 1), datetime(2013, 10, 27, 1), datetime(2011, 12, 30, 10)]),
    st.integers(-180, 180),
)


@given(st.lists(INSTANTS, max_size=20), st.sampled_from(ZONES), st.sampled_from(["s", "ms", "us", "ns"]))
def test_calendar_parts_of_instants_are_those_pandas_gives(instants: list[datetime], zone: str, unit: str) -> None:
    column = pa.array(instants, pa.timestamp("us")).cast(pa.timestamp(unit), safe=False).cast(pa.timestamp(unit, "UTC"))
    got = computed(Features(calendar=PARTS), column, zone)
    local = pd.DatetimeIndex(instants, tz="UTC").tz_convert(zone)
    expected = {part: getattr(local, part, None) for part in PARTS}
    expected["week"] = local.isocalendar().week.to_numpy()
    expected["weekend"] = local.weekday >= 5
    for part in PARTS:
        assert got[part] == list(np.asarray(expected[part], dtype=float)), part


@pytest.mark.parametrize(
    "part, time, turn",
    [
        ("month", datetime(2013, 12, 1), 12 / 12),
        ("month", datetime(2013, 3, 1), 3 / 12),
        ("weekday", datetime(2013, 9, 30), 0.0),
        ("hour", datetime(2013, 9, 30, 6), 6 / 24),
        ("day_of_year", datetime(2012, 12, 31), 366 / 366),
        ("minute", datetime(2013, 9, 30, 6, 59), 59 / 60),
    ],
)
def test_cyclic_terms_are_sine_and_cosine_of_the_share_of_a_cycle(part: str, time: datetime, turn: float) -> None:
    got = computed(Features(cyclic=(part,)), pa.array([time]))
    assert list(got) == [f"{part}_sin", f"{part}_cos"]
    assert got[f"{part}_sin"][0] == pytest.approx(math.sin(2 * math.pi * turn), abs=1e-12)
    assert got[f"{part}_cos"][0] == pytest.approx(math.cos(2 * math.pi * turn), abs=1e-12)


FAR = HOLIDAY_REACH


@pytest.mark.parametrize(
    "of, day, expected",
    [
        (Holidays("DE"), date(2013, 10, 3), (1, 0, 0)),
        (Holidays("DE"), date(2013, 10, 2), (0, 1, FAR)),
        (Holidays("DE"), date(2013, 10, 5), (0, FAR, 2)),
        (Holidays("DE"), date(2013, 12, 31), (0, 1, 5)),
        (Holidays("DE"), date(2013, 11, 1), (0, FAR, 29)),
        (Holidays("DE", "BY"), date(2013, 11, 1), (1, 0, 0)),
        (Holidays("US"), date(2021, 12, 31), (1, 0, 0)),
        (Holidays("US"), datetime(2013, 7, 4, 23, 30), (1, 0, 0)),
        (Holidays("US"), datetime(2013, 7, 5, 3, 30, tzinfo=UTC), (1, 0, 0)),
        (Holidays("US"), datetime(2013, 7, 5, 4, 0, tzinfo=UTC), (0, FAR, 1)),
    ],
    ids=[
        "on it",
        "before",
        "after",
        "over new year",
        "far",
        "Bavaria's own",
        "observed",
        "wall",
        "wall of instant",
        "next",
    ],
)
def test_holidays_are_counted_on_the_wall_date(of: Holidays, day: Any, expected: tuple[int, int, int]) -> None:
    got = computed(Features(holidays=of), pa.array([day]), "America/New_York")
    assert list(got) == ["holiday", "days_to_holiday", "days_since_holiday"]
    assert tuple(values[0] for values in got.values()) == expected


def test_dates_of_many_rows_are_spread_over_chunks_in_order() -> None:
    days = [date(2013, 12, 24) + timedelta(days=n % 5) for n in range(50)]
    chunked = pa.chunked_array([pa.array(days[:7]), pa.array(days[7:])])
    got = computed(Features(calendar=("day",), holidays=Holidays("DE")), chunked)
    assert got["day"] == [day.day for day in days]
    assert got["holiday"] == [float(day.day in (25, 26)) for day in days]


def test_no_rows_have_no_dates() -> None:
    features = Features(calendar=("day", "hour"), cyclic=("week",), holidays=Holidays("DE"))
    assert computed(features, pa.array([], pa.timestamp("us", "UTC"))) == {
        name: [] for name in ("day", "hour", "week_sin", "week_cos", "holiday", "days_to_holiday", "days_since_holiday")
    }


@pytest.mark.parametrize(
    "of, message",
    [
        (Holidays("ZZ"), r"fleet 'demand' .*features.holidays.country: got 'ZZ'; allowed: an ISO 3166 code"),
        (Holidays("DE", "ZZ"), r"features.holidays.subdivision: got 'ZZ'; allowed for 'DE': BB, BE, .*BY"),
    ],
    ids=["country", "subdivision"],
)
def test_holidays_the_package_does_not_know_are_refused(of: Holidays, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Recipe.of(forecast_fleet(Features(holidays=of)), {})


@pytest.mark.parametrize(
    "times, message",
    [
        (pa.array(["2013-01-01"]), "fleet 'demand': time column 'day' is of type string; allowed are dates and"),
        (pa.array([date(2013, 1, 1), None]), "time column 'day' is null in 1 of 2 rows"),
    ],
    ids=["text", "null"],
)
def test_times_that_are_none_are_refused(times: pa.Array, message: str) -> None:
    rows = pa.table({"day": times, "wind": np.ones(len(times))})
    for features in (Features(calendar=("day",)), Features(past=(Rolling("wind", "1D", "mean"),))):
        with pytest.raises(DataError, match=message):
            Recipe.of(regression_fleet(features), {}).compute(rows, np.zeros(1, dtype=np.int64), time="day")
