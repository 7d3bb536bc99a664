"""What an operator may meet: a step that is repeated after a failure, gaps, rollbacks, days without rows."""

from __future__ import annotations

import pytest
from test_gate import DAY, champion_version, to_second_champion

from chain_bench import BULK, DAYS, World
from mlflow_servers import free_port
from modelfleet import registry
from modelfleet.errors import ConflictError, ModelCodeError, UnavailableError
from modelfleet.steps import data_ready
from modelfleet.steps.inputs import check_code

pytest_plugins = ["fixtures_mlflow"]


def test_register_that_failed_once_leaves_the_run_committed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = world.open("train", BULK)
    world.finish(ref, only=("dataset", "quality", "train", "commit"))
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_MLFLOW_STAGING", f"http://127.0.0.1:{free_port()}")
        with pytest.raises(UnavailableError):
            world.finish(ref, only=("register",))
    assert world.warehouse.runs("wells", pipeline="train")[0]["status"] == "failed"

    world.finish(ref, only=("register",))

    run = world.warehouse.runs("wells", pipeline="train")[0]
    assert run["attempt"] == ref.attempt
    assert (run["status"], run["message"]) == ("reused", None)


def test_promotion_repeated_after_a_rollback_is_refused(world: World) -> None:
    later = to_second_champion(world)
    assert registry.rollback("wells") == (2, 1)
    with pytest.raises(ConflictError, match="version 2 was rolled back"):
        later.run("promote", DAYS[-1])
    assert champion_version() == 1
    later.run("promote", DAYS[-1], force=True)
    assert champion_version() == 2


def test_data_is_not_ready_while_an_interval_is_missing(world: World) -> None:
    world.run("ingest", DAYS[0])
    world.run("ingest", DAYS[2])
    ready, said = data_ready(world.spec, DAYS[2], "data")
    assert not ready
    assert "is not ingested from 2024-04-02" in said
    world.run("ingest", DAYS[1])
    assert data_ready(world.spec, DAYS[2], "data")[0]


def test_day_whose_rows_were_withdrawn_has_no_predictions_any_more(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)
    assert world.warehouse.predictions("wells", DAY).num_rows > 0
    world.execute(f"DELETE FROM readings WHERE read_at >= '{DAY}' AND read_at < '{DAYS[1]}'")
    world.run("ingest", DAY)
    world.run("score", DAY)
    assert world.warehouse.predictions("wells", DAY).num_rows == 0
    run = world.warehouse.runs("wells", pipeline="score")[0]
    assert (run["status"], run["rows"]) == ("empty", 0)


def test_metrics_that_the_code_does_not_define_are_refused(world: World) -> None:
    training = world.spec.training.model_copy(update={"metrics": ("p90",)})
    with pytest.raises(ModelCodeError, match=r"names p90, but the module of wells.gauges:build has no metrics"):
        check_code(world.spec.model_copy(update={"training": training}))
