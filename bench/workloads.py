"""The workloads: what data, what model, what sizes; and the fleet that an ML engineer would write for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.generate import Sales
from modelfleet import (
    Classification,
    Data,
    Features,
    FleetSpec,
    Gate,
    LakeTable,
    Quality,
    Regression,
    Schedule,
    Training,
)
from modelfleet.spec import Difference, Expanding, Lag, Rolling

IMPLEMENTATIONS = ("ours", "reference", "tuned", "plain")
MIN_ROWS = 30


def past(column: str) -> tuple[Lag | Difference | Rolling | Expanding, ...]:
    """Ten features of a column's own past."""
    return (
        Lag(column, 28, 35),
        Difference(column, 7),
        Rolling(column, "7D", "mean"),
        Rolling(column, "28D", "mean"),
        Rolling(column, "365D", "mean"),
        Rolling(column, "28D", "std"),
        Rolling(column, "28D", "min"),
        Rolling(column, "28D", "max"),
        Expanding(column, "mean"),
    )


PAST = past("f0")
"""A Regression's target is not known when a row is predicted, so they look back on a feature."""


@dataclass(frozen=True)
class Workload:
    """A named problem in its full and its quick size."""

    name: str
    purpose: str
    sales: Sales
    quick: tuple[int, int]
    """Rows and partitions of the quick size."""
    model: str = "bench.models:ridge"
    params: Mapping[str, Any] = field(default_factory=dict)
    past: bool = False
    implementations: tuple[str, ...] = IMPLEMENTATIONS
    """Those that do the same modelling."""

    def sized(self, rows: int, partitions: int) -> Workload:
        """The same with other sizes."""
        return replace(self, sales=replace(self.sales, rows=rows, partitions=partitions))


def _listed(*workloads: Workload) -> dict[str, Workload]:
    return {workload.name: workload for workload in workloads}


_W1 = Sales(40_000_000, 10_000)
_BOOSTED: dict[str, Any] = {"model": "bench.models:boosted", "params": {"max_iter": 50}}
WORKLOADS = _listed(
    Workload("W1", "Ridge on six features, as many rows in each partition", _W1, (2_000_000, 500)),
    Workload(
        "W1f",
        "W1 with ten declared lag and rolling features",
        _W1,
        (1_000_000, 250),
        past=True,
        implementations=("ours",),
    ),
    Workload("W2", "a million partitions of 40 rows", Sales(40_000_000, 1_000_000), (400_000, 10_000)),
    Workload("W3", "Zipf skew: one partition has a tenth of all rows", replace(_W1, skew="zipf"), (1_000_000, 250)),
    Workload(
        "W4",
        "logistic regression of a yes or no",
        replace(_W1, problem="classification"),
        (400_000, 100),
        model="bench.models:logistic",
    ),
    Workload("W5", "boosted trees, 50 iterations, on W1's data", _W1, (400_000, 100), **_BOOSTED),
    Workload("wide", "500 feature columns", Sales(400_000, 100, features=500), (40_000, 20)),
    Workload("big", "100 partitions of 400,000 rows", Sales(40_000_000, 100), (2_000_000, 5)),
)
"""By name."""


def fleet(workload: Workload, data: Path, *, training: Mapping[str, Any] | None = None) -> FleetSpec:
    """The fleet over the files of `data`: eight checks, a gate, a schedule.

    :param training: fields of the spec's `Training` beside the holdout.
    """
    sales = workload.sales
    names, target = sales.feature_names, sales.target
    classes = sales.problem == "classification"
    checked = names[:4]
    return FleetSpec(
        name="sales",
        owner="bench",
        data=Data(LakeTable(str(data), time="day")),
        partition_by=("store", "item"),
        problem=Classification(target=target) if classes else Regression(target=target),
        features=Features(known_ahead=names, past=PAST) if workload.past else names,
        model=workload.model,
        params=dict(workload.params),
        training=Training(**{"holdout": f"{sales.holdout_days}D", "min_rows": MIN_ROWS, **(training or {})}),
        quality=Quality(not_null=("day", *checked[:2]), between=dict.fromkeys(checked, (-10, 10)), row_count=(1, None)),
        gate=Gate(each=("accuracy > 0.5",) if classes else ("mae < baseline.mae",), fleet=("promoted_share >= 0.5",)),
        schedule=Schedule(ingest="@daily"),
    )
