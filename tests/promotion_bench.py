"""Model rows and champion fleets for the promotion gate, and the gate called on them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from modelfleet.promotion import GateResult, decide
from modelfleet.spec.gate import Gate

NAN, INF = math.nan, math.inf
BETTER = "champion.mae IS NULL OR mae <= 1.02 * champion.mae"
DEFAULT = {
    "carrier": "AA",
    "status": "trained",
    "reason": None,
    "message": None,
    "n_train": 100,
    "n_test": 50,
    "n_rows": 150,
    "mae": 1.0,
    "r2": 0.5,
    "baseline_mae": 2.0,
    "baseline_r2": 0.0,
    "baseline_status": "ok",
    "champion_mae": None,
    "champion_r2": None,
    "champion_status": "none",
    "fallback_mae": 2.0,
    "fallback_r2": 0.0,
    "fallback_status": "baseline",
}
TYPES = dict.fromkeys(
    [f"{prefix}{name}" for prefix in ("", "baseline_", "champion_", "fallback_") for name in ("mae", "r2")],
    pa.float64(),
)
COMPARED = {"champion_status": "compared", "champion_mae": 1.0, "champion_r2": 0.5}


def model_rows(*changes: dict[str, Any], **columns: Any) -> pa.Table:
    """Model rows that pass usual rules but for `changes`; partitions are p0, p1 ... unless given."""
    rows = [{"partition": f"p{i}", **DEFAULT, **change} for i, change in enumerate(changes)]
    texts = {"partition", "carrier", "status", "reason", "message"}
    texts |= {"baseline_status", "champion_status", "fallback_status"}
    types = {name: TYPES.get(name, pa.string() if name in texts else pa.int64()) for name in rows[0]}
    return pa.table({name: pa.array([row[name] for row in rows], types[name]) for name in rows[0]})


def champion_fleet(**status: str) -> pa.Table:
    return pa.table({"partition": list(status), "status": list(status.values())})


def judge(
    challengers: pa.Table | Iterable[pa.Table],
    *each: str,
    fleet: tuple[str, ...] = (),
    champions: pa.Table | None = None,
    **others: Any,
) -> GateResult:
    mode = others.pop("mode", "enforce")
    options: dict[str, Any] = {
        "metrics": ("mae", "r2"),
        "key_columns": ("carrier",),
        "challenger_interval": "2013-09-30",
    }
    if champions is not None:
        options |= {"champion_version": 3, "champion_interval": "2013-08-31"}
    # model_construct: the gate checks rules itself, whatever the spec let through.
    gate = Gate.model_construct(each=each, fleet=fleet, mode=mode)
    return decide(gate, challengers, champions, **{**options, **others})


def only(result: GateResult) -> dict[str, Any]:
    rows = result.decisions.to_pylist()
    assert len(rows) == 1
    return dict(rows[0])
