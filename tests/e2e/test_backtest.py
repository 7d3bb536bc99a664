"""Backtests: each fold is what a real run would have given then, compared with what came."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from chain_bench import BULK as WELLS_BULK
from chain_bench import BULK_START, World, alarms, copied, wells
from e2e.conftest import enter, fresh
from modelfleet import Candidate, Gate, Regression, dataset, settings
from modelfleet import interval as intervals
from modelfleet.cli import app
from modelfleet.errors import ConflictError, DataError
from modelfleet.lake import Lake, runs
from modelfleet.steps import RunRef, hindsight, run_step
from modelfleet.steps.backtesting import open_backtest, result_of
from modelfleet.steps.runner import open_context
from sales_bench import BULK, DAYS, EXPECTED, HORIZON, START, YOUNG, fill_sales, partition, sales

pytest_plugins = ["fixtures_mlflow"]
CUTOFFS = ("2024-03-31", "2024-04-07")
QUANTILES = ["q10", "q50", "q90"]
SALES = """
from modelfleet.airflow import many_models
from sales_bench import sales
many_models(sales())
"""


def replayed(world: World, **options: Any) -> Any:
    """A backtest, run; its results."""
    ref = open_backtest(world.spec, **options)
    world.finish(ref)
    return result_of(world.spec, ref)


def rows_of(world: World, fold: str) -> pd.DataFrame:
    """The compared rows of a fold of the last backtest."""
    (found,) = runs.all_committed(Lake.open(), world.spec.name, "backtest")
    manifest = runs.load_step(
        Lake.open(), world.spec.name, "backtest", found.interval.key, found.attempt, f"fold-{fold}"
    )
    assert manifest is not None
    tables = [pq.read_table(world.home / "lake" / entry.path) for entry in manifest.files["rows"]]
    return pa.concat_tables(tables).to_pandas()


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory, _fresh_store: Path, _spark_settings: None) -> World:
    """The sales fleet, ingested in one bulk load that goes beyond the cutoffs, and backtested; not to be changed."""
    world = World(tmp_path_factory.mktemp("backtested"), sales())
    fresh(world, _fresh_store)
    fill_sales(world.source)
    with pytest.MonkeyPatch.context() as patch:
        enter(world, patch)
        world.run("ingest", DAYS[-1], start=START, train_only=True)
        replayed(world, to=BULK, folds=2)
    return world


@pytest.fixture
def shops(tested: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same, for tests that only look."""
    enter(tested, monkeypatch)
    return tested


@pytest.fixture
def own(tested: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy, for tests that change it."""
    made = copied(tested, tmp_path / "home")
    enter(made, monkeypatch)
    return made


@pytest.fixture
def now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _fresh_store: Path) -> World:
    """A fleet of which nothing has run, with a gate that lets all through."""
    world = World(tmp_path / "then", sales(gate=Gate()))
    fresh(world, _fresh_store)
    fill_sales(world.source)
    enter(world, monkeypatch)
    return world


def test_a_fold_is_what_a_real_training_and_scoring_gave_then(tested: World, now: World) -> None:
    cutoff = CUTOFFS[-1]
    now.execute(f"DELETE FROM sales WHERE sold_on > '{cutoff}'")
    now.run("ingest", cutoff, start=START)
    for pipeline in ("train", "promote", "score"):
        now.run(pipeline, cutoff)
    real = now.warehouse.predictions("sales", cutoff).to_pandas()
    with pytest.MonkeyPatch.context() as patch:
        enter(tested, patch)
        fold = rows_of(tested, cutoff)
    both = fold.merge(real, on=["partition", "step"], suffixes=("", "_real"), validate="1:1")
    assert len(both) == len(fold) == len(real) == len(EXPECTED) * HORIZON
    assert (both["source"] == both["source_real"]).all()
    assert (pd.to_datetime(both["sold_on"]) == pd.to_datetime(both["sold_on_real"])).all()
    for name in ("prediction", *QUANTILES):
        np.testing.assert_allclose(both[name], both[f"{name}_real"], rtol=0, atol=1e-9)


def test_what_came_is_compared_and_the_baseline_is_seasonal_naive(shops: World) -> None:
    with closing(sqlite3.connect(shops.source)) as database:
        sold = pd.read_sql("SELECT store, item, sold_on, sum(units) AS units FROM sales GROUP BY 1, 2, 3", database)
    units = {(store, item, day): count for store, item, day, count in sold.itertuples(index=False)}
    for cutoff in CUTOFFS:
        rows = rows_of(shops, cutoff)
        rows = rows[~rows["partition"].isin([partition(("b", 3)), partition(YOUNG)])]
        assert set(rows["step"]) == set(range(1, HORIZON + 1))
        for row in rows.itertuples():
            day = date.fromisoformat(str(row.sold_on)[:10])
            assert day == date.fromisoformat(cutoff) + timedelta(days=row.step)
            assert row.actual == units[row.store, row.item, str(day)]
            assert row.baseline == units[row.store, row.item, str(day - timedelta(days=7))]


def test_the_table_has_each_partition_and_fold_with_its_metrics(shops: World) -> None:
    table = shops.warehouse.backtest("sales").to_pandas()
    expected = {(fold, partition(key)) for fold in CUTOFFS for key in EXPECTED}
    assert set(zip(table["fold"], table["partition"], strict=True)) == expected - {(CUTOFFS[0], partition(YOUNG))}, (
        "the youngest partition has its first rows after the first cutoff"
    )
    one = table.set_index(["fold", "partition"])
    for fold in CUTOFFS:
        rows = rows_of(shops, fold).groupby("partition")
        for name, every in rows:
            line = one.loc[(fold, name)]
            part = every[every["actual"].notna()]
            assert line["n_test"] == len(part)
            assert line["source"] == part["source"].iloc[0]
            error, base = (np.abs(part[column] - part["actual"]).sum() for column in ("prediction", "baseline"))
            assert line["wape"] == pytest.approx(error / part["actual"].sum())
            assert line["baseline_wape"] == pytest.approx(base / part["actual"].sum())
            inside = (part["q10"] <= part["actual"]) & (part["actual"] <= part["q90"])
            assert line["coverage"] == pytest.approx(inside.mean())


def test_the_report_is_in_the_lake_and_in_mlflow(shops: World, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(settings.registry_uri("staging"))
    experiment = client.get_experiment_by_name("sales")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.tags["pipeline"], run.data.tags["folds"]) == ("FINISHED", "backtest", "2")
    assert 0 < run.data.metrics["median_wape"] < run.data.metrics["median_baseline_wape"]
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {
        "backtest.html",
        "backtest.parquet",
        "spec.json",
    }
    page = Path(client.download_artifacts(run.info.run_id, "backtest.html", str(tmp_path))).read_text()
    assert "the fleet beats its baseline by" in page
    for section in (
        "By fold",
        "Coverage of the quantiles",
        "By store",
        "By item",
        "worst partitions",
        "What was chosen",
    ):
        assert section in page
    assert not client.search_registered_models(), "a backtest registers nothing"
    assert shops.warehouse.run_counts("sales")[-1]["pipeline"] in ("backtest", "ingest")


def test_rows_after_a_cutoff_change_no_forecast_of_it(own: World) -> None:
    before = rows_of(own, CUTOFFS[0]).sort_values(["partition", "step"])
    own.execute(f"UPDATE sales SET units = units * 10 WHERE sold_on > '{CUTOFFS[0]}'")
    own.run("ingest", DAYS[-1], force=True)
    facts = own.finish(open_backtest(own.spec, to=BULK, folds=2))
    assert facts["replay"]["taken_over"] == 0
    after = rows_of(own, CUTOFFS[0]).sort_values(["partition", "step"])
    for name in ("prediction", "baseline", *QUANTILES):
        np.testing.assert_array_equal(before[name], after[name])
    np.testing.assert_allclose(after["actual"], before["actual"] * 10)


def test_a_killed_backtest_goes_on_with_the_folds_it_lacks(own: World) -> None:
    killed = open_backtest(own.spec, to=BULK, folds=3)
    lake = Lake.open()
    context = open_context(killed)
    earlier, *_ = context.attempt.options["folds"]
    assert earlier["key"] == "2024-03-24"
    facts = own.finish(killed)
    assert (facts["replay"]["folds"], facts["replay"]["taken_over"]) == (3, 2)
    again = open_backtest(own.spec, to=BULK, folds=3)
    facts = own.finish(again)
    assert facts["replay"]["taken_over"] == 3
    assert runs.committed(lake, "sales", "backtest", CUTOFFS[-1]).attempt == again.attempt  # type: ignore[union-attr]
    forced = open_backtest(own.spec, to=BULK, folds=1, force=True)
    assert own.finish(forced)["replay"]["taken_over"] == 0


def test_folds_of_rows_of_an_earlier_format_are_made_anew(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "FORMAT", dataset.FORMAT + 1)
    ref = open_backtest(own.spec, to=BULK, folds=2)
    assert own.finish(ref)["replay"]["taken_over"] == 0
    made = runs.load_step(Lake.open(), "sales", "backtest", ref.interval, ref.attempt, "actuals")
    assert made is not None
    assert all(f"/{ref.attempt}/" in entry.path for entry in made.files["rows"]), "rows of before are not read"


def test_an_ingest_made_again_after_opening_is_a_conflict(own: World) -> None:
    ref = open_backtest(own.spec, to=BULK, folds=1)
    own.execute("UPDATE sales SET units = units + 1 WHERE store = 'a'")
    own.run("ingest", DAYS[-1], force=True)
    with pytest.raises(ConflictError, match="ingested again since the backtest was opened"):
        run_step(ref, "replay")


def test_what_was_known_is_of_ingests_that_had_ended(now: World) -> None:
    now.run("ingest", "2024-04-05", start=START)
    for day in ("2024-04-06", "2024-04-07", "2024-04-08"):
        if day == "2024-04-08":
            now.execute("UPDATE sales SET units = 1000 WHERE sold_on = '2024-04-07'")
        now.run("ingest", day)
    ingests = runs.all_committed(Lake.open(), "sales", "ingest")
    then = hindsight.known_at(now.spec, ingests, intervals.of_key("2024-04-07", timezone=now.spec.timezone))
    today = hindsight.known_today(
        now.spec, ingests, intervals.of_key("2024-04-07", timezone=now.spec.timezone, start=START)
    )
    assert set(then) == {"ingest/2024-04-05", "ingest/2024-04-06", "ingest/2024-04-07"}
    assert set(today) == {*then, "ingest/2024-04-08"}, "late rows of the 7th came with the 8th"
    assert today["ingest/2024-04-08"]["restates"] == ["2024-04-07"]


@pytest.mark.parametrize("fleet", [wells, alarms], ids=["regression", "classification"])
def test_a_fold_of_rows_is_what_training_measures_on_its_holdout(new_world: World, fleet: Any) -> None:
    """Trained on all before the 18th of March, and measured on what came until the 31st: both ways the same."""
    world = World(new_world.home, fleet())
    world.run("ingest", WELLS_BULK, start=BULK_START, train_only=True)
    world.run("train", WELLS_BULK)
    found = replayed(world, folds=1)
    (cutoff,) = found.cutoffs
    assert cutoff.key == "2024-03-17"
    models = {r["partition"]: r for r in world.output("train", WELLS_BULK, "train", "models").to_pylist()}
    lines = {r["partition"]: r for r in found.table.to_pylist()}
    trained = {name for name, row in lines.items() if row["status"] == "trained" and row["n_test"]}
    assert len(trained) >= 9
    for name in trained:
        for metric in ("mae", "r2") if fleet is wells else ("accuracy", "brier"):
            for prefix in ("", "baseline_"):
                assert lines[name][prefix + metric] == pytest.approx(models[name][prefix + metric], nan_ok=True), name
    assert world.warehouse.backtest(world.spec.name).num_rows == len(lines)


class TestBadInput:
    def test_nothing_ingested(self, now: World) -> None:
        with pytest.raises(DataError, match="fleet 'sales': nothing is ingested to replay"):
            open_backtest(now.spec)

    def test_more_folds_than_data(self, shops: World) -> None:
        with pytest.raises(DataError, match=r"(?s)40 folds of 7 steps.*at most 9 folds: --folds 9"):
            open_backtest(shops.spec, to=BULK, folds=40)

    def test_later_than_ingested(self, shops: World) -> None:
        with pytest.raises(DataError, match="up to 2025-01-01, but rows are ingested up to 2024-04-16"):
            open_backtest(shops.spec, to="2025-01-01")

    def test_a_fold_in_which_every_partition_fails(self, own: World) -> None:
        broken = own.with_spec(candidates=(Candidate("sales.models:never"),))
        ref = open_backtest(broken.spec, to=BULK, folds=1)
        with pytest.raises(DataError, match=r"fold 2024-04-07: no partition got a model: 7 failed.*out of order"):
            broken.finish(ref)
        (failed,) = [
            row
            for row in own.warehouse.run_counts("sales")
            if (row["pipeline"], row["status"]) == ("backtest", "failed")
        ]
        assert failed["n"] == 1

    def test_targets_that_never_came(self, new_world: World) -> None:
        world = World(new_world.home, wells(problem=Regression(target="flow")))
        world.run("ingest", "2024-04-03", start=BULK_START, train_only=True)
        world.execute("UPDATE readings SET flow = NULL WHERE read_at >= '2024-03-20'")
        world.run("ingest", "2024-04-03", force=True)
        with pytest.raises(DataError, match=r"no row from 2024-03-21 .* has a prediction and a target"):
            replayed(world, folds=1)


def test_the_command_prints_the_summary_and_writes_the_report(
    own: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "sales.py").write_text(SALES)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    monkeypatch.setenv("COLUMNS", "300")
    file = tmp_path / "seen" / "report.html"
    arguments = ["backtest", "sales", "--to", BULK, "--folds", "2", "--out", str(file)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for told in (
        *CUTOFFS,
        "median wape",
        "the fleet beats its baseline",
        "coverage of the outermost quantiles",
        "chosen",
    ):
        assert told in result.output
    assert "plotly" in file.read_text()
    unknown = CliRunner().invoke(app, ["backtest", "nothing"])
    assert unknown.exit_code == 1
    assert "nothing" in unknown.output


def test_the_dags_tasks_open_replay_and_publish(own: World) -> None:
    from modelfleet import spark_job
    from modelfleet.airflow.operators import BacktestOperator

    pushed: dict[str, Any] = {}
    task = BacktestOperator(
        task_id="pin",
        spec=own.spec,
        pipeline="backtest",
        opener="pin",
        step="pin",
        options=("folds", "to", "every", "force"),
    )
    context = {
        "dag_run": SimpleNamespace(conf={"folds": 1}, dag_id="sales_backtest", partition_key=None),
        "params": {"folds": 1, "to": BULK, "every": None, "force": False},
        "ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value})),
    }
    task.execute(context)
    ref = RunRef(**pushed["run"])
    assert (ref.pipeline, ref.interval) == ("backtest", CUTOFFS[-1])
    named = {"--fleet": ref.fleet, "--pipeline": ref.pipeline, "--interval": ref.interval, "--attempt": ref.attempt}
    assert spark_job.main([part for pair in named.items() for part in pair] + ["--steps", "replay"]) == 0
    for step in ("report", "commit", "publish"):
        facts = run_step(ref, step)
    assert facts["loaded"] == len(EXPECTED)
    assert set(own.warehouse.backtest("sales").column("fold").to_pylist()) == {CUTOFFS[-1]}
