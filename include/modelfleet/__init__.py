"""Modelfleet: many models, one for each partition of the data. What an author of a fleet imports."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from modelfleet.spec import (
    Access,
    Candidate,
    Classification,
    Clip,
    Compute,
    Daily,
    Data,
    Dedupe,
    Difference,
    Drop,
    Expanding,
    Expectation,
    Features,
    Fill,
    FleetSpec,
    Forecast,
    Gate,
    Holidays,
    Lag,
    LakeTable,
    Limits,
    Monthly,
    Quality,
    Regression,
    Rolling,
    Schedule,
    SqlTable,
    Training,
    Weekly,
)

if TYPE_CHECKING:
    from modelfleet.workbench import Fleet

__version__ = "0.1.0"


def open(fleet: str, interval: str | None = None, *, as_trained: bool = False) -> Fleet:
    """A fleet's training at hand, in a notebook or debugger; nothing is ever written.

    ``modelfleet.open("demand").partition("store=1/item=2")`` has `frame`, `matrix`, `fit`, `explain`, `forecast`, `plot`.

    :param interval: default: of the latest training in force, else of the latest attempt at one, if it failed too.
    :param as_trained: go by the spec of that training, not by the fleet file as it is now.
    :raises NotFoundError: when nothing was trained or profiled yet.
    """
    # By name: the workbench stands on all that import this package, which would go round in a circle.
    workbench = import_module("modelfleet.workbench")
    found: Fleet = workbench.open_fleet(fleet, interval, as_trained=as_trained)
    return found


# Without `open`, which would take the place of the builtin where all names are imported.
__all__ = [
    "Access",
    "Candidate",
    "Classification",
    "Clip",
    "Compute",
    "Daily",
    "Data",
    "Dedupe",
    "Difference",
    "Drop",
    "Expanding",
    "Expectation",
    "Features",
    "Fill",
    "FleetSpec",
    "Forecast",
    "Gate",
    "Holidays",
    "Lag",
    "LakeTable",
    "Limits",
    "Monthly",
    "Quality",
    "Regression",
    "Rolling",
    "Schedule",
    "SqlTable",
    "Training",
    "Weekly",
]
