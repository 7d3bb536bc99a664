"""The Airflow side. `many_models` is what a fleet's DAG file calls; Airflow is imported when it builds DAGs."""

from __future__ import annotations

from modelfleet.spec import FleetSpec, loader


def many_models(spec: FleetSpec) -> None:
    """Make the DAGs of a fleet in the file that calls this; where only specs are collected, no DAG is made.

    :raises SpecError: where another file of the folder declares a fleet of the same name.
    """
    loader.record(spec)
    if loader.collecting():
        return
    loader.check_unique_name(spec)
    from modelfleet.airflow.templates import build_fleet

    build_fleet(spec)
