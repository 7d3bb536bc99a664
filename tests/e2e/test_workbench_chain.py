"""The inner loop on real trainings: what is fitted here is, byte for byte, what Spark's workers fitted."""

from __future__ import annotations

import json
import math
import traceback
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

import modelfleet
from chain_bench import BULK as WELLS_BULK
from chain_bench import TESTS, World
from chain_bench import partition as well
from e2e.conftest import enter, fresh
from modelfleet import pack
from modelfleet.cli import app
from modelfleet.errors import NotFoundError
from modelfleet.workbench import Fit
from sales_bench import BULK, EXPECTED, HEALTHY, HORIZON, START, TWICE, YOUNG, fill_sales, partition, sales

pytest_plugins = ["fixtures_mlflow"]

NOTEBOOK = TESTS.parent / "notebooks" / "look_at_a_fleet.ipynb"
FLEETS = """
from modelfleet.airflow import many_models
from {bench} import {fleet}
many_models({fleet}())
"""
TIMED = {"fit_seconds", "candidates", pack.HASH}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory, _fresh_store: Path, _spark_settings: None) -> World:
    """A forecast fleet, trained, promoted and scored."""
    world = World(tmp_path_factory.mktemp("sales"), sales())
    fresh(world, _fresh_store)
    fill_sales(world.source)
    with pytest.MonkeyPatch.context() as patch:
        enter(world, patch)
        world.run("ingest", BULK, start=START)
        for pipeline in ("train", "promote", "score"):
            world.run(pipeline, BULK)
    return world


@pytest.fixture
def shops(sold: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    enter(sold, monkeypatch)
    fleet_file(tmp_path, monkeypatch, "sales_bench", "sales")
    return sold


def fleet_file(folder: Path, patch: pytest.MonkeyPatch, bench: str, fleet: str) -> None:
    (folder / "dags").mkdir()
    (folder / "dags" / f"{fleet}.py").write_text(FLEETS.format(bench=bench, fleet=fleet))
    patch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder / "dags"))


def stored(world: World, interval: str) -> dict[str, Row]:
    """The training's rows by partition."""
    rows = world.output("train", interval, "train", "models").to_pylist()
    return {row["partition"]: row for row in rows if row["level"] is None}


def assert_same(fit: Fit, row: Row) -> None:
    """Every column of the row, but for how long it took."""
    made = {name: fit.row.get(name) for name in row if name not in TIMED}
    for name, value in made.items():
        wanted = row[name]
        both_nan = isinstance(value, float) and isinstance(wanted, float) and math.isnan(value) and math.isnan(wanted)
        assert both_nan or value == wanted, f"{fit.key}: {name} is {value!r}, the worker's {wanted!r}"
    told, wanted = (
        [{k: v for k, v in trial.items() if k != "seconds"} for trial in json.loads(given.get("candidates") or "[]")]
        for given in (fit.row, row)
    )
    assert told == wanted


def command(*arguments: str) -> Result:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result


def test_every_partition_of_a_forecast_is_fitted_as_the_worker_did(shops: World) -> None:
    fleet, rows = modelfleet.open("sales"), stored(shops, BULK)
    assert fleet.notes == ()
    for key in EXPECTED:
        assert_same(fleet.partition(partition(key)).fit(), rows[partition(key)])
    assert {rows[partition(key)]["fallback_status"] for key in HEALTHY} & {"item", "fleet"}, (
        "fallbacks are compared too"
    )


def test_a_shared_candidate_is_the_trainings_own(shops: World) -> None:
    fit = modelfleet.open("sales").partition(partition(HEALTHY[0])).fit("boosted")
    groups = shops.output("train", BULK, "train", "models").to_pylist()
    (shared,) = [row["model_digest"] for row in groups if (row["level"], row["partition"]) == ("candidate", "boosted")]
    assert fit.row["shared"] == shared
    assert len(fit.forecast()) == HORIZON


def test_stored_and_fitted_models_forecast_what_the_warehouse_holds(shops: World) -> None:
    fleet = modelfleet.open("sales")
    held = shops.warehouse.predictions("sales", BULK).to_pandas().sort_values(["partition", "step"])
    promoted = fleet.partitions().query("decision == 'promoted'")["partition"].tolist()
    assert promoted
    for key in promoted:
        own = held[held["partition"] == key]
        for made in (fleet.partition(key).forecast(), fleet.partition(key).fit().forecast()):
            assert set(made["source"]) == {"model"}
            for name in ("prediction", "q10", "q50", "q90"):
                np.testing.assert_array_equal(made[name], own[name])
    young = fleet.partition(partition(YOUNG)).forecast()
    own = held[held["partition"] == partition(YOUNG)]
    assert set(young["source"]) <= {"item", "fleet"}
    assert set(own["source"]) == {"baseline"} or np.array_equal(young["prediction"], own["prediction"])


def test_partitions_show_status_candidate_metrics_and_decision(shops: World) -> None:
    fleet = modelfleet.open("sales")
    table = fleet.partitions().set_index("partition")
    assert set(table.index) == {partition(key) for key in EXPECTED}
    assert {"store", "item", "status", "reason", "candidate", "wape", "baseline_wape", "decision", "rule"} <= set(
        table.columns
    )
    assert fleet.failed()["partition"].tolist() == [partition(TWICE)]
    shown = str(fleet.partition(partition(HEALTHY[0])).explain())
    assert f"decision: {table.loc[partition(HEALTHY[0]), 'decision']}" in shown
    for text in ("boosted", "candidates by wape", "fallback", "champion"):
        assert text in shown


def test_every_well_is_fitted_as_the_worker_did_beside_its_champion(world: World) -> None:
    world.execute("UPDATE readings SET flow = flow + depth / 100")
    world.run("ingest", WELLS_BULK)
    world.run("train", WELLS_BULK)
    fleet, rows = modelfleet.open("wells"), stored(world, WELLS_BULK)
    for key, row in rows.items():
        assert_same(fleet.partition(key).fit(), row)
    assert {row["champion_status"] for row in rows.values()} > {"none"}


def test_explain_says_how_to_load_a_failed_model_and_its_fit_raises_here(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet_file(tmp_path, monkeypatch, "chain_bench", "wells")
    monkeypatch.setenv("COLUMNS", "200")
    key = well(("raises", 10))
    saved = tmp_path / "rows.parquet"

    shown = command("explain", "wells", key, "--save", str(saved)).stdout

    (line,) = [line for line in shown.splitlines() if line.startswith("look_closer: ")]
    with pytest.raises(ValueError, match="the well is dry") as caught:
        eval(line.removeprefix("look_closer: "), {"modelfleet": modelfleet})
    assert traceback.extract_tb(caught.value.__traceback__)[-1].filename.endswith("wells/gauges.py")
    partition_ = modelfleet.open("wells").partition(key)
    assert (partition_.fit().status, partition_.fit().reason) == ("failed", "fit_raised")
    repaired = partition_.frame().assign(mood=0)
    assert partition_.fit("wells.gauges:build", patient=True).status == "failed", "it is the fit that raises"
    pd.testing.assert_frame_equal(pq.read_table(saved).to_pandas().assign(mood=0), repaired)


def test_explain_prints_the_candidates_scores(shops: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = command("explain", "sales", partition(HEALTHY[0])).stdout
    for text in ("candidates by wape", "SeasonalNaive", "ridge(alpha=100.0)", "boosted", "fold 1"):
        assert text in shown
    told = json.loads(command("explain", "sales", partition(HEALTHY[0]), "--json").stdout)
    assert [trial["name"] for trial in told["candidates"]][:1] == ["SeasonalNaive"]
    assert told["look_closer"].startswith(f"modelfleet.open('sales', '{BULK}')")


def test_a_training_that_failed_can_be_looked_into(new_world: World) -> None:
    new_world.run("ingest", WELLS_BULK, start="2024-01-01", train_only=True)
    with pytest.raises(NotFoundError):
        modelfleet.open("wells")
    ref = new_world.open("train", WELLS_BULK)
    new_world.finish(ref, only=("dataset",))  # and then it was killed
    fleet = modelfleet.open("wells")
    assert fleet.partition(well(("plain", 8))).fit().status == "trained"
    assert fleet.partition(well(("mute", 17))).fit().reason == "prediction_invalid"


def test_example_notebook_runs_and_is_stored_without_outputs(
    shops: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("FLEET", "sales")

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}

    NotebookClient(notebook, timeout=300, km=_kernel(), resources={"metadata": {"path": str(tmp_path)}}).execute()

    text = json.dumps(notebook)
    assert "candidates by wape" in text
    assert "application/vnd.plotly.v1+json" in text


def _kernel() -> Any:
    """A kernel of this very interpreter, whatever kernels are installed."""
    import sys

    from ipykernel.kernelspec import RESOURCES, make_ipkernel_cmd
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager()
    manager._kernel_spec = KernelSpec(argv=make_ipkernel_cmd(executable=sys.executable), resource_dir=RESOURCES)
    return manager
