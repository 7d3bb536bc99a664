"""Rows and quality checks for tests: a few flights, and their judgement."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from modelfleet.quality import QualityResult, judge
from modelfleet.spec import Expectation, Quality

FLIGHTS = pa.table(
    {
        "carrier": ["AA", "DL", None, "UA", "UA"],
        "distance": pa.array([100, 7000, None, 500, -1], pa.int64()),
        "delay": [1.0, None, math.nan, 4.0, 7.0],
        "late": [True, None, False, True, True],
        "day": pa.array([date(2013, 1, 1), date(2013, 1, 2), None, date(9999, 12, 31), date(2013, 1, 1)]),
        "at": pa.array([datetime(2013, 1, d, tzinfo=UTC) for d in range(1, 6)], pa.timestamp("us", "America/New_York")),
        "nothing": pa.nulls(5),
        "ratio": pa.array([0.1, 0.2, None, 0.4, 0.5], pa.float32()),
        "fare": [Decimal("1.10"), Decimal("2.20"), None, Decimal("1.10"), Decimal("9.90")],
        "huge": pa.array([2**60, 2**60 + 1, None, 1, 2], pa.int64()),
        "tail": pa.array(["N1", "N2", "N1", None, "N3"]).dictionary_encode(),
    }
)


def judged(rows: pa.Table | ds.Dataset = FLIGHTS, *, docs: Path | None = None, **quality: Any) -> QualityResult:
    return judge(Quality(**quality), rows, fleet="flights", interval="2013-09-30", docs_dir=docs)


def expect(name: str, severity: str = "error", **arguments: Any) -> Expectation:
    return Expectation(name=name, arguments=arguments, severity=severity)
