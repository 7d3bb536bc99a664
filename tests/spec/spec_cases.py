"""The small fleet of the design, to be varied field by field."""

from __future__ import annotations

from typing import Any

from modelfleet import Data, FleetSpec, Gate, Quality, Regression, Schedule, SqlTable


def fields(**changes: Any) -> dict[str, Any]:
    """The arguments of the small fleet, with changes."""
    given: dict[str, Any] = {
        "name": "flight_delays",
        "owner": "ops-research",
        "data": Data(SqlTable("flights_db", "flight_features", time="departed_at")),
        "partition_by": ("carrier", "origin", "dest"),
        "problem": Regression(target="arr_delay", known_at="departure"),
        "features": ("dep_delay", "distance", "hour"),
        "model": "flights.delays:build",
        "quality": Quality(not_null=("carrier", "dest"), between={"distance": (0, 6000)}),
        "gate": Gate(
            each=("n_test >= 30", "mae < baseline.mae", "champion.mae IS NULL OR mae <= 1.02 * champion.mae"),
            fleet=("promoted_share >= 0.6",),
        ),
        "schedule": Schedule(ingest="@daily", train="@monthly", score="after ingest"),
    }
    return {**given, **changes}


def fleet(**changes: Any) -> FleetSpec:
    """The small fleet, with changes."""
    return FleetSpec(**fields(**changes))


AS_YAML = """\
name: flight_delays
owner: ops-research
data:
  connection: flights_db
  table: flight_features
  time: departed_at
partition_by: [carrier, origin, dest]
problem: {kind: regression, target: arr_delay, known_at: departure}
features: [dep_delay, distance, hour]
model: flights.delays:build
quality:
  not_null: [carrier, dest]
  between: {distance: [0, 6000]}
gate:
  each:
    - n_test >= 30
    - mae < baseline.mae
    - champion.mae IS NULL OR mae <= 1.02 * champion.mae
  fleet: [promoted_share >= 0.6]
schedule: {ingest: "@daily", train: "@monthly", score: after ingest}
"""
