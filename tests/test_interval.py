"""Intervals and their keys: what a key covers, and which key a tick starts, also where clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from modelfleet.errors import DataError
from modelfleet.interval import Interval, duration, five_fields, key_of_tick, of_key, unit_of

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
# Clocks change at 01:00, 02:00, 03:00 and at midnight; Apia skipped 2011-12-30; Lord Howe moves by half an hour.
ZONES = [
    "UTC",
    BERLIN,
    NEW_YORK,
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Kolkata",
    "Pacific/Apia",
    "Australia/Lord_Howe",
]
DAYS = st.dates(date(2005, 1, 1), date(2024, 12, 31))
INSTANTS = st.integers(0, 20 * 365 * 24).map(lambda hours: datetime(2005, 1, 1, tzinfo=UTC) + timedelta(hours=hours))


@pytest.mark.parametrize(
    "key, cron, start, end",
    [
        pytest.param("2013-09-30", None, "2013-09-30T00:00+02:00", "2013-10-01T00:00+02:00", id="no schedule: one day"),
        pytest.param("2013-09-30", "@daily", "2013-09-30T00:00+02:00", "2013-10-01T00:00+02:00", id="daily"),
        pytest.param("2013-09-30", "0 5 * * *", "2013-09-30T00:00+02:00", "2013-10-01T00:00+02:00", id="daily at five"),
        pytest.param(
            "2013-09-29", "@weekly", "2013-09-29T00:00+02:00", "2013-09-30T00:00+02:00", id="week's first day"
        ),
        pytest.param("2013-09-28", "@weekly", "2013-09-22T00:00+02:00", "2013-09-29T00:00+02:00", id="weekly"),
        pytest.param("2013-09-30", "@monthly", "2013-09-01T00:00+02:00", "2013-10-01T00:00+02:00", id="monthly"),
        pytest.param(
            "2013-10-31", "@monthly", "2013-10-01T00:00+02:00", "2013-11-01T00:00+01:00", id="month of a change"
        ),
        pytest.param(
            "2013-10-01", "0 3 2 * *", "2013-09-02T00:00+02:00", "2013-10-02T00:00+02:00", id="monthly on the 2nd"
        ),
        pytest.param("2013-09-30T13", None, "2013-09-30T13:00+02:00", "2013-09-30T14:00+02:00", id="an hour"),
        pytest.param("2013-09-30T13", "@hourly", "2013-09-30T13:00+02:00", "2013-09-30T14:00+02:00", id="hourly"),
        pytest.param(
            "2013-09-30T05", "0 */6 * * *", "2013-09-30T00:00+02:00", "2013-09-30T06:00+02:00", id="six-hourly"
        ),
    ],
)
def test_key_covers_the_period_of_its_schedule(key: str, cron: str | None, start: str, end: str) -> None:
    interval = of_key(key, timezone=BERLIN, cron=cron)
    assert (interval.key, interval.start.isoformat("T", "minutes"), interval.end.isoformat("T", "minutes")) == (
        key,
        start,
        end,
    )
    assert interval.timezone == BERLIN


def test_given_start_overrides_the_schedule() -> None:
    interval = of_key("2013-09-30", timezone=NEW_YORK, start="2013-01-01", cron="@daily")
    assert interval.start == datetime(2013, 1, 1, tzinfo=ZoneInfo(NEW_YORK))
    assert of_key("2013-09-30", timezone="UTC", start="2013-09-30T05").start == datetime(2013, 9, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize("start", ["2013-10-01", "2014-01-01", "2013-10-01T00"])
def test_start_after_the_end_is_refused(start: str) -> None:
    with pytest.raises(DataError, match=f"interval '2013-09-30': start '{start}' is after its end 2013-10-01"):
        of_key("2013-09-30", timezone="UTC", start=start)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "2013",
        "2013-9-30",
        "2013-09-31",
        "2013-09-30T24",
        "2013-09-30 13",
        "2013-09-30T13:00",
        "../x",
        "\uff12013-09-30",
        "2013-09-30\n",
    ],
)
def test_malformed_key_is_refused_with_the_form(key: str) -> None:
    with pytest.raises(DataError, match="is malformed; allowed is a day such as '2013-09-30'"):
        of_key(key, timezone="UTC")
    with pytest.raises(DataError, match=r"start .* is malformed"):
        of_key("2013-09-30", timezone="UTC", start=key)


@pytest.mark.parametrize(
    "key, zone, message",
    [
        pytest.param("2013-03-31T02", BERLIN, "skips this hour", id="spring forward"),
        pytest.param("2011-12-30", "Pacific/Apia", "skips this day", id="date line"),
        pytest.param("2013-09-30T02+0200", BERLIN, "an offset only marks the second", id="offset of an ordinary hour"),
        pytest.param("2013-10-27T02+0200", BERLIN, "an offset only marks the second", id="offset of the first"),
    ],
)
def test_time_the_zone_does_not_have_is_refused(key: str, zone: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        of_key(key, timezone=zone)


def test_days_on_which_clocks_change_have_23_and_25_hours() -> None:
    assert of_key("2013-03-31", timezone=BERLIN).length == timedelta(hours=23)
    assert of_key("2013-10-27", timezone=BERLIN).length == timedelta(hours=25)


def test_two_equal_hours_have_two_keys_that_sort_between_their_neighbours() -> None:
    ticks = [datetime(2013, 11, 3, 5, tzinfo=UTC) + timedelta(hours=n) for n in range(4)]
    keys = [key_of_tick(tick, timezone=NEW_YORK, cron="@hourly") for tick in ticks]
    assert keys == ["2013-11-03T00", "2013-11-03T01", "2013-11-03T01-0500", "2013-11-03T02"]
    assert keys == sorted(keys)
    spans = [of_key(key, timezone=NEW_YORK, cron="@hourly") for key in keys]
    assert [span.utc[1] for span in spans] == ticks
    assert not any(one.overlaps(other) for one, other in pairwise(spans))


@given(DAYS, st.sampled_from(ZONES))
@example(date(2013, 10, 27), BERLIN)
@example(date(2018, 11, 4), "America/Sao_Paulo")
@example(date(2013, 11, 3), "America/Havana")
@example(date(2011, 12, 29), "Pacific/Apia")
def test_days_follow_one_another_without_gap_or_overlap(day: date, zone: str) -> None:
    assume((day, zone) != (date(2011, 12, 30), "Pacific/Apia"))
    this = of_key(day.isoformat(), timezone=zone)
    following = key_of_tick(this.end + timedelta(days=1, hours=1), timezone=zone, cron="@daily")
    after = of_key(following, timezone=zone, cron="@daily")
    assert after.utc[0] == this.utc[1]
    assert not this.overlaps(after)
    assert key_of_tick(this.end, timezone=zone, cron="@daily") == this.key
    assert timedelta(hours=22) < this.length < timedelta(hours=26)


@given(INSTANTS, st.sampled_from([zone for zone in ZONES if zone not in ("Asia/Kolkata", "Australia/Lord_Howe")]))
@example(datetime(2013, 10, 27, 1, tzinfo=UTC), BERLIN)
@example(datetime(2013, 3, 31, 1, tzinfo=UTC), BERLIN)
def test_hours_follow_one_another_without_gap_or_overlap(tick: datetime, zone: str) -> None:
    key = key_of_tick(tick, timezone=zone, cron="@hourly")
    interval = of_key(key, timezone=zone, cron="@hourly")
    assert interval.utc == (tick - timedelta(hours=1), tick)
    assert interval == of_key(key, timezone=zone)
    assert Interval.from_json(interval.to_json()) == interval


@given(
    INSTANTS,
    st.sampled_from(ZONES),
    st.sampled_from(["0 5 * * *", "@weekly", "30 2 * * *", "0 3 2 * *", "0 */6 * * *"]),
)
def test_interval_of_a_tick_ends_before_the_tick(tick: datetime, zone: str, cron: str) -> None:
    interval = of_key(key_of_tick(tick, timezone=zone, cron=cron), timezone=zone, cron=cron)
    unit = timedelta(days=1, hours=2) if unit_of(cron) == "day" else timedelta(hours=2)
    assert interval.utc[0] < interval.utc[1] <= tick < interval.utc[1] + unit


def test_intervals_that_touch_do_not_overlap_and_nested_ones_do() -> None:
    bulk = of_key("2013-09-30", timezone="UTC", start="2013-01-01")
    assert not bulk.overlaps(of_key("2013-10-01", timezone="UTC"))
    assert bulk.overlaps(of_key("2013-05-05", timezone="UTC"))
    assert bulk.overlaps(of_key("2013-10-01", timezone=BERLIN))  # begins two hours earlier


def test_tick_without_a_timezone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no timezone"):
        key_of_tick(datetime(2013, 10, 1), timezone="UTC", cron="@daily")


@pytest.mark.parametrize("text, seconds", [("28D", 28 * 86400), ("12h", 43200), ("90min", 5400)])
def test_duration_is_read(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0D", "-1D", "28", "28d", "1.5h", "28 D", "1M", "99999999D", "٣D", "28D\n"])
def test_malformed_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as '28D', '12h' or '90min'"):
        duration(text)


@pytest.mark.parametrize(
    "cron, fields, unit",
    [
        ("@daily", "0 0 * * *", "day"),
        ("@hourly", "0 * * * *", "hour"),
        ("@monthly", "0 0 1 * *", "day"),
        (" 0 5 * * 1 ", "0 5 * * 1", "day"),
        ("15 8,20 * * *", "15 8,20 * * *", "hour"),
    ],
)
def test_cron_is_read(cron: str, fields: str, unit: str) -> None:
    assert (five_fields(cron), unit_of(cron)) == (fields, unit)


@pytest.mark.parametrize(
    "cron, message",
    [
        ("", "five fields"),
        ("0 5 * *", "five fields"),
        ("0 0 5 * * *", "five fields"),
        ("@yearly", "five fields"),
        ("61 5 * * *", "out of range"),
        ("x 5 * * *", "a cron expression"),
        ("* * * * *", "at most once an hour"),
        ("*/30 * * * *", "at most once an hour"),
        ("0 0 31 2 *", "a cron expression"),
    ],
)
def test_bad_cron_is_refused(cron: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        five_fields(cron)
