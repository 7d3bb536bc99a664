"""`modelfleet profile` before any training: it prepares the rows itself, and the training takes them over."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from chain_bench import BULK, BULK_START, EXPECTED, World
from modelfleet.cli import app

pytest_plugins = ["fixtures_mlflow"]

FLEET = """
from chain_bench import wells
from modelfleet.airflow import many_models
many_models(wells({changes}))
"""


@pytest.fixture(autouse=True)
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "wells.py").write_text(FLEET.format(changes=""))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def profile() -> str:
    result = CliRunner().invoke(app, ["profile", "wells"])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_profile_prepares_rows_that_the_training_takes_over(new_world: World, dags: Path) -> None:
    new_world.run("ingest", BULK, start=BULK_START, train_only=True)

    shown = profile()

    assert f"wells: the data up to {BULK}" in shown
    assert f"{len(EXPECTED)} by well, pad" in shown
    assert "without any target: well=untold/pad=14" in shown
    assert "column 'depth' always missing in some partitions" in shown
    assert [run["pipeline"] for run in new_world.warehouse.runs("wells")] == ["ingest"], "it is no training"
    report = new_world.home / "reports" / f"wells-profile-{BULK}.html"
    assert "a dataset made for this report" in report.read_text()

    told = new_world.run("train", BULK)
    assert told["dataset"]["reused_from"] is not None
    attempt = new_world.committed("train", BULK).attempt
    profile()
    assert f"the training in force (attempt {attempt})" in report.read_text()

    (dags / "wells.py").write_text(FLEET.format(changes="features=('depth', 'mood')"))
    profile()
    text = report.read_text()
    assert "a dataset made for this report" in text, "the spec has other columns now"
    assert "pressure" not in text
    assert new_world.committed("train", BULK).attempt == attempt
