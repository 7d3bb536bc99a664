"""The grid of a frequency: steps of dates, wall times and instants, through clock changes and odd zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_cases import NAIVE, UTC_US, calendar

from modelfleet.errors import DataError
from modelfleet.frequency import parse
from modelfleet.interval import of_key
from modelfleet.series import Grid
from modelfleet.series.clock import clock_of

FREQUENCIES = ("15min", "30min", "h", "6h", "D", "W-MON", "W-SUN", "MS", "QS", "YS")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo")
KINDS = {"date": pa.date32(), "naive": NAIVE, "aware": UTC_US}


def holds(freq: str, kind: pa.DataType) -> bool:
    """Whether a column of this type can hold the frequency: dates have no hours."""
    return kind != pa.date32() or not freq.endswith(("min", "h"))


def grid(freq: str, kind: pa.DataType, zone: str = "Europe/Berlin") -> Grid:
    return Grid.of(parse(freq), kind, zone)


def chunked(values: list[Any], kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([values[:1], values[1:]], kind)


def local(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("freq, kind", [(f, k) for f in FREQUENCIES for k in KINDS.values() if holds(f, k)])
def test_steps_are_those_of_pandas_and_count_on(freq: str, kind: pa.DataType, zone: str) -> None:
    last = "2013-12-31" if freq.endswith(("min", "h")) else "2016-12-31"
    steps = calendar(freq, kind, zone, "2013-01-01", last)
    column = pa.array(steps).cast(kind)
    index, on = grid(freq, kind, zone).index(pa.chunked_array([column]))
    assert on.all()
    assert np.diff(index).tolist() == [1] * (len(steps) - 1)
    assert grid(freq, kind, zone).times(index).equals(column)


@pytest.mark.parametrize(
    "freq, kind, times, on",
    [
        pytest.param("D", NAIVE, ["2013-01-01 00:00", "2013-01-01 10:32", None], [1, 0, 0], id="days, naive"),
        pytest.param("D", UTC_US, ["2013-01-01 23:00", "2013-07-01 22:00", "2013-07-01 23:00"], [1, 1, 0], id="days"),
        pytest.param("D", NAIVE, ["2013-01-01 00:00:00.000001"], [0], id="a microsecond"),
        pytest.param("W-MON", pa.date32(), ["2013-09-30", "2013-10-01"], [1, 0], id="weekdays"),
        pytest.param("W-SUN", UTC_US, ["2013-09-28 22:00", "2013-09-29 22:00"], [1, 0], id="weekdays, instants"),
        pytest.param("MS", pa.date32(), ["2013-09-01", "2013-09-02"], [1, 0], id="months"),
        pytest.param("QS", pa.date32(), ["2013-10-01", "2013-09-01"], [1, 0], id="quarters"),
        pytest.param("YS", pa.date32(), ["2013-01-01", "1969-01-01", "2013-02-01"], [1, 1, 0], id="years"),
        pytest.param("h", NAIVE, ["2013-01-01 10:00", "2013-01-01 10:01"], [1, 0], id="hours"),
        pytest.param("6h", UTC_US, ["2013-01-01 05:00", "2013-07-01 04:00", "2013-07-01 05:00"], [1, 1, 0], id="6h"),
        pytest.param("7h", NAIVE, ["1970-01-01 07:00", "1970-01-02 00:00"], [1, 0], id="7h"),
    ],
)
def test_times_off_the_grid_are_told(freq: str, kind: pa.DataType, times: list[Any], on: list[int]) -> None:
    column = pa.array([None if t is None else pd.Timestamp(t) for t in times]).cast(pa.timestamp("us"))
    found = grid(freq, kind).index(chunked(column.cast(kind).to_pylist(), kind))
    assert found[1].astype(int).tolist() == on


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_any_unit_and_zone_of_a_column_is_kept(unit: str, zone: str | None) -> None:
    kind = pa.timestamp(unit, zone)
    moments = ["2013-03-10 05:00", "2013-03-11 04:00"] if zone else ["2013-03-10", "2013-03-11"]
    column = pa.array([pd.Timestamp(m) for m in moments]).cast(pa.timestamp(unit)).cast(pa.int64()).cast(kind)
    days = grid("D", kind, "America/New_York")
    index, on = days.index(pa.chunked_array([column]))
    assert on.all()
    assert index.tolist() == [(date(2013, 3, d) - date(1970, 1, 1)).days for d in (10, 11)]
    assert days.times(index).equals(column)


@pytest.mark.parametrize(
    "zone, day, hours",
    [("Europe/Berlin", "2013-03-31", 23), ("Europe/Berlin", "2013-10-27", 25), ("America/New_York", "2013-03-10", 23)],
)
def test_day_of_a_clock_change_has_its_hours(zone: str, day: str, hours: int) -> None:
    span = of_key(day, timezone=zone)
    assert grid("h", UTC_US, zone).at(span.end) - grid("h", UTC_US, zone).at(span.start) == hours
    assert grid("h", NAIVE, zone).at(span.end) - grid("h", NAIVE, zone).at(span.start) == 24
    assert grid("6h", UTC_US, zone).at(span.end) - grid("6h", UTC_US, zone).at(span.start) == 4


@pytest.mark.parametrize("wall", ["2013-01-01 08:00", "2013-07-01 08:00"])
@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Asia/Kolkata", "America/St_Johns", "Pacific/Chatham"])
def test_hours_are_those_of_the_wall_clock_in_zones_of_odd_offsets(zone: str, wall: str) -> None:
    moment = local(wall, zone)
    column = chunked([moment, moment + timedelta(minutes=15)], UTC_US)
    assert grid("h", UTC_US, zone).index(column)[1].tolist() == [True, False]


def test_hours_of_a_zone_that_changes_by_half_an_hour_follow_its_standard_time() -> None:
    column = chunked([local(f"2013-{at}", "Australia/Lord_Howe") for at in ("07-01 08:00", "01-01 08:30")], UTC_US)
    assert grid("h", UTC_US, "Australia/Lord_Howe").index(column)[1].all()


@pytest.mark.parametrize("freq", ["D", "W-SUN"])
def test_midnight_that_clocks_skip_is_the_moment_of_the_change(freq: str) -> None:
    zone = "America/Sao_Paulo"  # 2013-10-20 began at one o'clock
    days = grid(freq, UTC_US, zone)
    assert days.index(chunked([local("2013-10-20T01:00", zone)], UTC_US))[1].all()
    step = days.at(of_key("2013-10-19", timezone=zone).end)
    assert days.times(np.array([step])).to_pylist() == [datetime(2013, 10, 20, 3, tzinfo=UTC)]
    assert days.texts(np.array([step])).to_pylist() == ["2013-10-20"]
    assert grid(freq, pa.date32(), zone).at(of_key("2013-10-19", timezone=zone).end) == step


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_day_that_a_zone_skips_is_no_step(kind: pa.DataType) -> None:
    zone = "Pacific/Apia"  # 2011-12-30 never was
    dates = [date(2011, 12, 28), date(2011, 12, 29), date(2011, 12, 31), date(2012, 1, 1), date(2012, 1, 2)]
    midnights = [datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(zone) if kind == UTC_US else None) for d in dates]
    steps = dates if kind == pa.date32() else midnights
    days = grid("D", kind, zone)
    index, on = days.index(chunked(steps, kind))
    assert on.all()
    assert np.diff(index).tolist() == [1] * 4
    assert days.times(index).equals(pa.array(steps, kind))
    assert days.at(of_key("2011-12-29", timezone=zone).end) == index[2]
    if kind == pa.date32():
        assert not days.index(chunked([date(2011, 12, 30)], kind))[1].any()


def test_second_of_two_equal_times_is_not_on_the_grid_of_the_wall_clock() -> None:
    first = datetime(2013, 10, 27, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, and again an hour later
    found = grid("90min", UTC_US).index(
        chunked([first - timedelta(minutes=60), first, first + timedelta(hours=1)], UTC_US)
    )
    assert found[1].tolist() == [True, False, False]
    twice = grid("2h", UTC_US).index(chunked([datetime(2013, 10, 27, h, tzinfo=UTC) for h in (0, 1, 3)], UTC_US))
    assert twice[1].tolist() == [True, False, True]
    assert np.diff(twice[0]).tolist() == [0, 1]


@pytest.mark.parametrize(
    "freq, end, first",
    [
        pytest.param("D", "2013-09-06T00:00", "2013-09-06", id="on the grid"),
        pytest.param("D", "2013-09-06T01:00", "2013-09-07", id="within a day"),
        pytest.param("W-MON", "2013-09-06T00:00", "2013-09-09", id="within a week"),
        pytest.param("MS", "2013-09-01T00:00", "2013-09-01", id="a month"),
        pytest.param("QS", "2013-09-01T00:00", "2013-10-01", id="within a quarter"),
        pytest.param("YS", "2013-09-01T00:00", "2014-01-01", id="within a year"),
    ],
)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_first_step_at_or_after_a_moment(kind: pa.DataType, freq: str, end: str, first: str) -> None:
    steps = grid(freq, kind)
    found = steps.at(local(end, "Europe/Berlin"))
    assert steps.texts(np.array([found])).to_pylist() == [first]


@pytest.mark.parametrize("kind", [NAIVE, UTC_US], ids=["naive", "aware"])
@pytest.mark.parametrize("freq", FREQUENCIES)
@given(minutes=st.integers(-3 * 1440, 3 * 1440), change=st.sampled_from(["2013-03-31", "2013-10-27"]))
def test_history_is_what_lies_before_the_end_through_clock_changes(
    kind: pa.DataType, freq: str, minutes: int, change: str
) -> None:
    end = local(change, "Europe/Berlin").astimezone(UTC) + timedelta(minutes=minutes)
    steps = grid(freq, kind)
    times = steps.times(np.arange(steps.at(end) - 2, steps.at(end) + 2)).to_pylist()
    if kind == NAIVE:
        clock = clock_of("Europe/Berlin")
        seconds = np.array([int(t.replace(tzinfo=UTC).timestamp()) for t in times])
        times = [datetime.fromtimestamp(int(s), UTC) for s in clock.instants(seconds)]
    assert [t < end for t in times] == [True, True, False, False]


@pytest.mark.parametrize("given_kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"])
def test_column_of_another_type_has_the_same_steps(zone: str, kind: pa.DataType, given_kind: pa.DataType) -> None:
    days = ["2011-12-29", "2011-12-31", "2013-03-31", "2013-10-20", "2013-10-28"]

    def column(of: pa.DataType) -> pa.Array:
        wall = pd.DatetimeIndex([pd.Timestamp(d) for d in days])
        moments = wall.tz_localize(zone, nonexistent="shift_forward").tz_convert("UTC") if of == UTC_US else wall
        return pa.array(moments).cast(of)

    ours, theirs = grid("D", kind, zone).index(column(kind)), grid("D", kind, zone).index(column(given_kind))
    assert ours[1].all()
    assert theirs[1].all()
    assert ours[0].tolist() == theirs[0].tolist()


def test_hourly_columns_with_and_without_a_zone_have_the_same_steps() -> None:
    hours = [datetime(2013, 10, 27, h) for h in (0, 1, 2, 3, 4)]  # 2 and 3 o'clock come twice: 2:00+0200, 2:00+0100
    aware = [local(h.isoformat(), "Europe/Berlin") for h in hours]
    for kind in (NAIVE, UTC_US):
        hourly = grid("h", kind)
        ours, theirs = hourly.index(chunked(hours, NAIVE)), hourly.index(chunked(aware, UTC_US))
        assert ours[1].all()
        assert theirs[1].all()
        assert ours[0].tolist() == theirs[0].tolist()
    second = chunked([aware[2].replace(fold=1)], UTC_US)
    assert not grid("h", NAIVE).index(second)[1].any()
    skipped = chunked([datetime(2013, 3, 31, 2)], NAIVE)
    assert not grid("h", UTC_US).index(skipped)[1].any()


@pytest.mark.parametrize(
    "freq, kind, message",
    [
        ("D", pa.string(), "a time of type string; allowed are timestamp and date"),
        ("h", pa.date32(), "freq 'h' on a time of type date32.*allowed with dates are D, W-MON"),
    ],
)
def test_type_that_can_not_hold_the_frequency_is_refused(freq: str, kind: pa.DataType, message: str) -> None:
    with pytest.raises(DataError, match=message):
        grid(freq, kind)


def test_lookup_time_of_another_type_is_refused() -> None:
    with pytest.raises(DataError, match="a time of type int64"):
        grid("D", NAIVE).index(chunked([1, 2], pa.int64()))


@pytest.mark.parametrize("zone", [*ZONES, "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll"])
@given(st.lists(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=20))
def test_clock_shows_what_the_timezone_database_says(zone: str, moments: list[datetime]) -> None:
    seconds = np.array([int(m.replace(tzinfo=UTC).timestamp()) for m in moments])
    shown = [datetime.fromtimestamp(s, ZoneInfo(zone)).replace(tzinfo=UTC).timestamp() for s in seconds.tolist()]
    clock = clock_of(zone)
    assert clock.wall(seconds).tolist() == shown
    back = clock.instants(clock.wall(seconds))
    assert (back <= seconds).all()  # the first of two equal times
    assert clock.wall(back).tolist() == shown
