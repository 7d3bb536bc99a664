"""The cron schedule of a fleet: a tick starts the run of the interval that ends there, keyed by its last day or hour.

Airflow's CronPartitionTimetable keys a run by a cron tick, so that a monthly run of September would be called
``2013-09-01``. Here it is ``2013-09-30``, the same word as in every folder, table and command. Registered with Airflow
by ``plugins/modelfleet_plugin.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.exceptions import InvalidPartitionKeyError
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable

from modelfleet import interval
from modelfleet.errors import DataError

if TYPE_CHECKING:
    from pendulum import DateTime


class IntervalTimetable(CronPartitionTimetable):
    """Runs at `cron` in `timezone`; the partition key is the last day (or hour) of the interval that ends then."""

    def __init__(self, cron: str, *, timezone: str) -> None:
        super().__init__(cron, timezone=timezone)
        self._cron = cron
        self._zone = timezone

    def serialize(self) -> dict[str, Any]:
        return {"cron": self._cron, "timezone": self._zone}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> IntervalTimetable:
        return cls(data["cron"], timezone=data["timezone"])

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        """One run per interval whose last day (or hour) lies in the bounds, both included: what a backfill creates."""
        first, last = self.localize_partition_datetime(earliest), self.localize_partition_datetime(latest)
        tick = self._align_to_next(first)
        while True:
            date, key = self._get_partition_info(tick)
            if date > last:
                return
            if date >= first:
                yield DagRunInfo(run_after=tick, data_interval=None, partition_date=date, partition_key=key)
            tick = self._get_next(tick)

    def _get_partition_info(self, run_date: DateTime) -> tuple[DateTime, str]:
        key = interval.key_of_tick(run_date, cron=self._cron, timezone=self._zone)
        return self._decode_partition_date(key), key

    def _decode_partition_date(self, partition_key: str) -> DateTime:
        """The start of the key's own day or hour, which Airflow calls the partition date.

        :raises InvalidPartitionKeyError: for a key that is none; whoever triggers a run by hand gets its message.
        """
        from pendulum import instance

        try:
            return instance(interval.of_key(partition_key, timezone=self._zone).utc[0])
        except DataError as exc:
            raise InvalidPartitionKeyError(exc.message) from None
