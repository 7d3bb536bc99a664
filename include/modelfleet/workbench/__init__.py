"""The inner loop: a fleet's prepared rows and models at hand, in a notebook or debugger. Reads only.

``modelfleet.open("demand").partition("store=1/item=2").fit()`` runs the code of the Spark workers in this process.
"""

from __future__ import annotations

from modelfleet.workbench.bench import Bench
from modelfleet.workbench.fitting import Fit
from modelfleet.workbench.fleet import Fleet
from modelfleet.workbench.opening import opened
from modelfleet.workbench.partition import Partition

__all__ = ["Fit", "Fleet", "Partition", "open_fleet"]


def open_fleet(fleet: str, interval: str | None = None, *, as_trained: bool = False) -> Fleet:
    """See `modelfleet.open`."""
    return Fleet(Bench(opened(fleet, interval, as_trained=as_trained)))
