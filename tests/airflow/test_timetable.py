from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.exceptions import InvalidPartitionKeyError
from airflow.timetables.base import TimeRestriction

from modelfleet.airflow.timetable import IntervalTimetable


def days(first: str, last: str) -> dict[str, datetime]:
    """The bounds of a backfill, as Airflow's command line reads them."""
    return {
        "earliest": datetime.fromisoformat(first).replace(tzinfo=UTC),
        "latest": datetime.fromisoformat(last).replace(tzinfo=UTC),
    }


@pytest.mark.parametrize(
    "cron, zone, first, last, keys",
    [
        pytest.param(
            "@daily", "UTC", "2013-09-29", "2013-10-01", ["2013-09-29", "2013-09-30", "2013-10-01"], id="daily"
        ),
        pytest.param("0 5 * * *", "UTC", "2013-09-30", "2013-09-30", ["2013-09-30"], id="daily at five"),
        pytest.param(
            "@daily",
            "America/New_York",
            "2013-11-02",
            "2013-11-04",
            ["2013-11-02", "2013-11-03", "2013-11-04"],
            id="25 hours",
        ),
        pytest.param(
            "@monthly", "UTC", "2013-08-31", "2013-10-31", ["2013-08-31", "2013-09-30", "2013-10-31"], id="monthly"
        ),
        pytest.param("@monthly", "UTC", "2013-09-01", "2013-09-29", [], id="no month ends there"),
        pytest.param(
            "@hourly", "UTC", "2013-10-01T00:00", "2013-10-01T01:00", ["2013-10-01T00", "2013-10-01T01"], id="hourly"
        ),
    ],
)
def test_backfill_makes_one_run_for_each_interval_that_ends_within_its_bounds(
    cron: str, zone: str, first: str, last: str, keys: list[str]
) -> None:
    runs = list(IntervalTimetable(cron, timezone=zone).iter_partition_dagrun_infos(**days(first, last)))

    assert [run.partition_key for run in runs] == keys
    assert all(run.run_after > run.partition_date for run in runs)


def test_scheduled_run_has_the_key_of_the_month_that_ended() -> None:
    timetable = IntervalTimetable("@monthly", timezone="Europe/Berlin")
    october = datetime(2013, 9, 30, 22, tzinfo=UTC)  # midnight in Berlin

    date, key = timetable._get_partition_info(run_date=october)

    assert key == "2013-09-30"
    assert date == datetime(2013, 9, 29, 22, tzinfo=UTC)


def test_dag_switched_on_waits_for_its_next_tick() -> None:
    never_ran = TimeRestriction(earliest=None, latest=None, catchup=False)

    info = IntervalTimetable("@monthly", timezone="UTC").next_dagrun_info_v2(
        last_dagrun_info=None, restriction=never_ran
    )

    assert info is not None
    assert info.run_after > datetime.now(UTC)
    assert info.partition_key == f"{info.run_after - timedelta(days=1):%Y-%m-%d}"


@pytest.mark.parametrize("key", ["yesterday", "2013-09-31", "2013-9-1", "", "2013-10-01T25"])
def test_malformed_key_is_refused_with_what_is_allowed(key: str) -> None:
    with pytest.raises(InvalidPartitionKeyError, match="malformed; allowed is a day such as"):
        IntervalTimetable("@daily", timezone="UTC")._decode_partition_date(key)


def test_key_of_any_interval_is_decoded_whatever_the_schedule() -> None:
    timetable = IntervalTimetable("@monthly", timezone="UTC")

    assert timetable._decode_partition_date("2013-10-02") == datetime(2013, 10, 2, tzinfo=UTC)
    assert timetable._decode_partition_date("2013-10-02T07") == datetime(2013, 10, 2, 7, tzinfo=UTC)


def test_serialized_timetable_is_read_back_through_the_plugin() -> None:
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    read = decode_timetable(encode_timetable(IntervalTimetable("0 5 * * 1", timezone="Asia/Tokyo")))

    assert isinstance(read, IntervalTimetable)
    assert read.serialize() == {"cron": "0 5 * * 1", "timezone": "Asia/Tokyo"}
