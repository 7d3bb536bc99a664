"""The small and the large fleet of the design, to be varied field by field."""

from __future__ import annotations

from typing import Any

from modelfleet import (
    Candidate,
    Data,
    Features,
    FleetSpec,
    Forecast,
    Gate,
    Lag,
    LakeTable,
    Monthly,
    Quality,
    Regression,
    Rolling,
    Schedule,
    SqlTable,
    Training,
)


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

DEMAND: dict[str, Any] = {
    "name": "demand",
    "owner": "replenishment",
    "timezone": "Europe/Berlin",
    "data": Data(
        sales=SqlTable("pos", "sales", time="sold_on", late="3D"),
        items=SqlTable("pos", "items"),
        promo=LakeTable("calendar/promo", time="day"),
        prepare="replenishment.demand:prepare",
    ),
    "partition_by": ("store", "item"),
    "problem": Forecast(target="units", time="sold_on", freq="D", horizon=28, quantiles=(0.1, 0.5, 0.9)),
    "features": Features(
        past=(Lag("units", 28, 35), Rolling("units", "28D", "mean")),
        known_ahead=("price", "promo"),
        static=("category",),
        categorical=("category",),
        calendar=("weekday", "month"),
    ),
    "candidates": (
        Candidate("replenishment.demand:ridge", params={"alpha": 1.0}),
        Candidate("replenishment.demand:boost", grid={"max_depth": (3, 6)}),
        Candidate("statsforecast.models:AutoETS", params={"season_length": 7}),
    ),
    "training": Training(
        window="730D",
        holdout="28D",
        folds=4,
        weight="w",
        select_by="wape",
        refit=True,
        min_rows=90,
        fallback=("item", "baseline"),
    ),
    "schedule": Schedule(ingest="0 5 * * *", train=Monthly(when_ready="sales"), score="after ingest"),
    "tags": {"domain": "retail"},
}
"""The large fleet of the design, without what is not built yet."""

DEMAND_AS_YAML = """\
name: demand
owner: replenishment
timezone: Europe/Berlin
data:
  sales: {connection: pos, table: sales, time: sold_on, late: 3D}
  items: {connection: pos, table: items}
  promo: {path: calendar/promo, time: day}
  prepare: replenishment.demand:prepare
partition_by: [store, item]
problem: {kind: forecast, target: units, time: sold_on, freq: D, horizon: 28, quantiles: [0.1, 0.5, 0.9]}
features:
  past:
    - {kind: lag, column: units, steps: [28, 35]}
    - {kind: rolling, column: units, window: 28D, statistic: mean}
  known_ahead: [price, promo]
  static: [category]
  categorical: [category]
  calendar: [weekday, month]
candidates:
  - {model: "replenishment.demand:ridge", params: {alpha: 1.0}}
  - {model: "replenishment.demand:boost", grid: {max_depth: [3, 6]}}
  - {model: "statsforecast.models:AutoETS", params: {season_length: 7}}
training: {window: 730D, holdout: 28D, folds: 4, weight: w, select_by: wape, refit: true, min_rows: 90,
  fallback: [item, baseline]}
schedule: {ingest: 0 5 * * *, train: {every: month, when_ready: sales}, score: after ingest}
tags: {domain: retail}
"""


def demand(**changes: Any) -> FleetSpec:
    """The large fleet, with changes."""
    return FleetSpec(**{**DEMAND, **changes})


def series(**changes: Any) -> FleetSpec:
    """A small forecast of one table that is read ahead: a week of days, with the price known."""
    given: dict[str, Any] = {
        "name": "series",
        "owner": "replenishment",
        "data": Data(SqlTable("pos", "sales", time="sold_on", ahead="7D")),
        "partition_by": ("store", "item"),
        "problem": Forecast(target="units", freq="D", horizon=7),
        "features": Features(past=(Lag("units", 7),), known_ahead=("price",)),
        "model": "replenishment.demand:ridge",
    }
    return FleetSpec(**{**given, **changes})
