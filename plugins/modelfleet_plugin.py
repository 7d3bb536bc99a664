"""Registers with Airflow what lives in the package: the timetable of fleets."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from modelfleet.airflow.timetable import IntervalTimetable


class ModelfleetPlugin(AirflowPlugin):
    """Modelfleet in Airflow."""

    name = "modelfleet"
    timetables: ClassVar[list[type[IntervalTimetable]]] = [IntervalTimetable]
