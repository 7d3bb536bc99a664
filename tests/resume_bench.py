"""A bucket of costly models, fitted by a process of its own that can be killed; every fit leaves a line in a log."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from sklearn.ensemble import HistGradientBoostingRegressor

from modelfleet import FleetSpec, pack
from modelfleet.lake import Lake
from modelfleet.lake.buckets import BucketPlace, BucketResult, BucketTask, read_sidecar
from modelfleet.training import BucketWork
from training_bench import KEY_FIELDS, bucket, part, plan, spec, write_bucket

SHOPS = 60
LOG = "FITS_LOG"
PAUSE = 0.05
"""Seconds that each fit takes longer, so that a disk that is busy for a moment costs a few fits and not many."""


class Logged(HistGradientBoostingRegressor):  # type: ignore[misc]
    """Gradient boosting that says when it is fitted."""

    def fit(self, x: Any, y: Any) -> Logged:
        with Path(os.environ[LOG]).open("a") as log:
            log.write("fit\n")
        time.sleep(PAUSE)
        return super().fit(x, y)


def build(random_state: int | None = None) -> Logged:
    return Logged(max_iter=60, random_state=random_state)


def fleet() -> FleetSpec:
    return spec(model="resume_bench:build")


def work(home: Path, attempt: str, *earlier: str) -> BucketResult:
    """Fit the bucket as a Spark task would, with a checkpoint every 0.05 seconds."""
    lake, places = Lake(home), [BucketPlace(name, "inputs", 1) for name in (attempt, *earlier)]
    rows = write_bucket(lake, f"{attempt}/rows.parquet", bucket({f"S{n}": part(80, seed=n) for n in range(SHOPS)}))
    settled = plan(fleet(), attempt=attempt)
    made = BucketWork(lake, places[0], settled, KEY_FIELDS, None, earlier=tuple(places[1:]), checkpoint_seconds=0.05)
    return made(BucketTask(0, rows))


def fits(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def models(home: Path, attempt: str) -> dict[str, str]:
    """The digest of each model, and of all rows."""
    import pyarrow.parquet as pq

    made = read_sidecar(Lake(home), BucketPlace(attempt, "inputs", 1), 0)
    assert made is not None
    rows = pq.read_table(home / made.files["pack"].path).select(["partition", "model_digest", pack.MODEL]).to_pylist()
    assert all(row[pack.MODEL] for row in rows)
    return {**{row["partition"]: row["model_digest"] for row in rows}, "": made.facts["digest"]}


if __name__ == "__main__":
    work(Path(sys.argv[1]), *sys.argv[2:])
