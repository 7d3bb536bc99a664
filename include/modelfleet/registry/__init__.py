"""Two MLflow registries: staging keeps every training, production what the gate let through.

A training is one run and one version of the registered model named like the fleet, in staging; a promotion publishes
a pack as a version in production and moves the alias ``champion`` there. The two never share a client, and MLflow's
global tracking state is neither read nor set: MLflow can't copy versions across registries, and a leak writes to the
wrong one.
"""

from modelfleet.registry.backtests import log_backtest
from modelfleet.registry.client import ensure
from modelfleet.registry.production import (
    champion,
    champion_as_of,
    history,
    publish,
    rollback,
    set_champion,
    versions,
)
from modelfleet.registry.records import ChampionMove, FleetVersion, PackModel, Release, TrainingVersion
from modelfleet.registry.staging import log_training

__all__ = [
    "ChampionMove",
    "FleetVersion",
    "PackModel",
    "Release",
    "TrainingVersion",
    "champion",
    "champion_as_of",
    "ensure",
    "history",
    "log_backtest",
    "log_training",
    "publish",
    "rollback",
    "set_champion",
    "versions",
]
