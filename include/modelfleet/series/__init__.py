"""Regular series: rows of a partition on the grid of a frequency, without gaps, with the steps to forecast appended."""

from modelfleet.series.grid import Grid
from modelfleet.series.plan import AHEAD, PROBLEM, Lookup, SeriesPlan
from modelfleet.series.regular import check_static, regularize
from modelfleet.series.treatments import apply

__all__ = ["AHEAD", "PROBLEM", "Grid", "Lookup", "SeriesPlan", "apply", "check_static", "regularize"]
