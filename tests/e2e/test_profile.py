"""`modelfleet profile` before any training: it prepares the rows itself, and the training takes them over."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import sales_bench
from chain_bench import BULK, BULK_START, EXPECTED, World
from modelfleet.cli import app
from modelfleet.exploring import explore, write_report
from modelfleet.exploring.findings import findings

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


def test_profile_of_a_forecast_sees_the_series_as_made_regular(new_world: World) -> None:
    world = World(new_world.home, sales_bench.sales())
    sales_bench.fill_sales(world.source)
    world.run("ingest", sales_bench.BULK, start=sales_bench.START)

    found = explore(world.spec)

    by_key = found.partitions.set_index("partition")
    young, twice, holed = map(sales_bench.partition, (sales_bench.YOUNG, sales_bench.TWICE, sales_bench.HEALTHY[0]))
    assert set(by_key.index) == {sales_bench.partition(key) for key in sales_bench.EXPECTED}
    assert by_key.loc[holed, ["rows", "gaps", "null_targets"]].tolist() == [105, 0, 0], "the gap was filled with zero"
    assert found.treated["filled_dates"] == 1
    assert found.short["partition"].tolist() == [young]
    assert found.troubled["partition"].tolist() == [twice]
    assert found.autocorrelation is not None
    assert found.autocorrelation.median[6] > 0.3
    assert found.columns.set_index("column").loc[["promo", "category"], "role"].tolist() == ["feature", "feature"]
    text = "\n".join(finding.text for finding in findings(found))
    assert f"with a problem in their series, such as {twice}: 1 date has several rows: {sales_bench.GAP}" in text
    assert "1 dates of series had no row or no target and were filled" in text
    assert "several rows" in write_report(found).read_text()
