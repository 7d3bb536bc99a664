"""Fleet specs: pure data, frozen, checked when parsed. Nothing here reads data or imports a heavy library."""

from modelfleet.spec.data import Data, LakeTable, SqlTable
from modelfleet.spec.features import Difference, Expanding, Features, Holidays, Lag, Rolling
from modelfleet.spec.fleet import Access, Compute, FleetSpec
from modelfleet.spec.gate import Gate
from modelfleet.spec.problem import Classification, Forecast, Regression
from modelfleet.spec.quality import Expectation, Quality
from modelfleet.spec.schedule import Daily, Monthly, Schedule, Weekly
from modelfleet.spec.training import Candidate, Learner, Limits, Training
from modelfleet.spec.treatments import Clip, Dedupe, Drop, Fill

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
    "Learner",
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
