"""Attempts whose rows are prepared and that trained nothing, and what the workbench opens of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import modelfleet
from modelfleet import (
    Candidate,
    FleetSpec,
)
from modelfleet import interval as intervals
from modelfleet.lake import Lake, StepManifest, runs
from modelfleet.steps import preparing
from modelfleet.steps.inputs import code_version
from modelfleet.steps.runner import Context
from modelfleet.workbench import Fleet
from prepared_bench import KEY, readings, write
from workbench_bench import Lay, at_times, daily, forecast


@pytest.fixture
def lay() -> Lay:
    """Lays the prepared rows of a training's attempt that ended there; gives the attempt's id."""

    def laid(spec: FleetSpec, rows: pa.Table, key: str = KEY) -> str:
        lake, interval = Lake.open(), intervals.of_key(key, timezone=spec.timezone)
        attempt = runs.begin(
            lake,
            fleet=spec.name,
            pipeline="train",
            interval=interval,
            spec_json=spec.to_json(),
            spec_digest=spec.digest,
            code_version=code_version(spec),
            inputs={},
            options={},
        )
        end = interval.end if spec.problem.kind == "forecast" else None
        made = write(rows, spec, attempt.path("dataset"), end=end)
        shops_there = len(set(rows["shop"].to_pylist()))
        facts = {
            **made.facts,
            "buckets": 3,
            "key_types": {"shop": "string"},
            "categories": {},
            "partitions": shops_there,
        }
        fingerprint = runs.digest_of(["dataset", preparing.dataset_fingerprint(Context(lake, spec, attempt))])
        runs.save_step(lake, attempt, StepManifest("dataset", fingerprint, "d", {"rows": made.files}, facts))
        return attempt.id

    return laid


@pytest.fixture
def fleet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FleetSpec], None]:
    """Makes a spec the fleet file of now."""
    folder = tmp_path / "dags"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))

    def written(spec: FleetSpec) -> None:
        (folder / "spec.json").write_text(spec.to_json())
        (folder / "shops.py").write_text(
            "from pathlib import Path\nfrom modelfleet import FleetSpec\nfrom modelfleet.airflow import many_models\n"
            "many_models(FleetSpec.from_json(Path(__file__).with_name('spec.json').read_text()))\n"
        )

    return written


@pytest.fixture
def series(lay: Lay) -> Fleet:
    lay(forecast(), daily())
    return modelfleet.open("shops")


@pytest.fixture
def rows(lay: Lay) -> Fleet:
    spec = readings(
        name="shops", candidates=(Candidate("sales.models:ridge"), Candidate("sales.models:never")), model=None
    )
    lay(spec, at_times(daily()))
    return modelfleet.open("shops")
