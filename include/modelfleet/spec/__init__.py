"""Fleet specs: pure data, frozen, checked when parsed. Nothing here reads data or imports a heavy library."""

from modelfleet.spec.data import Data, LakeTable, SqlTable
from modelfleet.spec.features import Features, Lag, Rolling
from modelfleet.spec.fleet import Access, Compute, FleetSpec
from modelfleet.spec.gate import Gate
from modelfleet.spec.problem import Classification, Forecast, Regression
from modelfleet.spec.quality import Expectation, Quality
from modelfleet.spec.schedule import Daily, Monthly, Schedule, Weekly
from modelfleet.spec.training import Candidate, Limits, Training

__all__ = [
    "Access",
    "Candidate",
    "Classification",
    "Compute",
    "Daily",
    "Data",
    "Expectation",
    "Features",
    "FleetSpec",
    "Forecast",
    "Gate",
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
