"""Releases, packs and model tables for the tests of the registries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from mlflow.tracking import MlflowClient

import modelfleet.registry as r
from modelfleet import settings
from modelfleet.registry.records import Release

INCLUDE = Path(r.__file__).parents[2]
COLUMNS = pa.schema([("carrier", pa.string()), ("distance", pa.int64()), ("at", pa.timestamp("us", "UTC"))])
SPEC = {"name": "x", "training": {"window": "730D", "fallback": ["baseline"]}, "gate": {"each": []}, "access": None}
# Stands for modelfleet.pyfunc: predicts the pack's number, and shows which types arrive.
LOADER = """
import json
from pathlib import Path
import pandas as pd

class Model:
    def __init__(self, number): self.number = number
    def predict(self, frame, params=None):
        return pd.DataFrame({"prediction": [float(self.number)] * len(frame), "distance": frame["distance"]})

def _load_pyfunc(path):
    return Model(json.loads((Path(path) / "pack.json").read_text())["number"])
"""


def a_release(fleet: str, interval: str = "2013-09-30", attempt: str = "a1", **changes: Any) -> Release:
    made = Release(
        fleet=fleet,
        interval=interval,
        attempt=attempt,
        spec_digest="5bec",
        code_version="0.1+c0de",
        data_start=datetime(2013, 1, 1, tzinfo=UTC),
        data_end=datetime(2013, 10, 1, tzinfo=UTC),
        pack_digest=f"digest-{attempt}",
    )
    return replace(made, **changes)


def a_model_table() -> pa.Table:
    nan = float("nan")
    return pa.table(
        {
            "partition": ["carrier=AA", "carrier=UA", "carrier=US", "carrier=VX", "carrier=YV"],
            "status": ["trained", "trained", "trained", "skipped", "failed"],
            "n_rows": [100, 200, 50, 3, 80],
            "mae": pa.array([1.0, 3.0, nan, None, None]),
            "baseline_mae": pa.array([2.0, 4.0, float("inf"), None, None]),
        }
    )


def in_batches(table: pa.Table) -> Callable[[Sequence[str] | None], pa.RecordBatchReader]:
    """The table as `log_training` is given models: two rows at a time."""

    def models(columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        kept = table.select([name for name in columns or table.column_names if name in table.column_names])
        return pa.RecordBatchReader.from_batches(kept.schema, kept.to_batches(max_chunksize=2))

    return models


def train(release: Release, pack: r.PackModel, **more: Any) -> r.TrainingVersion:
    return r.log_training(release, pack, spec=SPEC, models=in_batches(a_model_table()), metrics=["mae"], **more)


def publish(release: Release, pack: r.PackModel) -> int:
    manifest = f"{release.fleet}/promote/{release.interval}/{release.attempt}/pack.json"
    return r.publish(release, pack, pack_manifest=manifest, staging_version=7, metrics={"promoted": 3.0})


def publish_three(fleet: str, a_pack: Callable[..., r.PackModel]) -> None:
    """Versions 1, 2, 3 of July, August and September; each was champion, 3 is."""
    for number, interval in enumerate(("2013-07-31", "2013-08-31", "2013-09-30"), start=1):
        assert publish(a_release(fleet, interval, f"a{number}"), a_pack(number)) == number
        r.set_champion(fleet, number, expected=number - 1 or None)


def a_client(role: settings.RegistryRole) -> MlflowClient:
    uri = settings.registry_uri(role)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs_of(role: settings.RegistryRole, fleet: str) -> list[Any]:
    client = a_client(role)
    experiment = client.get_experiment_by_name(fleet)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))
