"""The plan: the steps in their order, pure, and all of them with a function behind."""

from __future__ import annotations

import dataclasses
import socket
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from modelfleet import Candidate, Data, FleetSpec, Gate, LakeTable, Regression, Schedule, SqlTable
from modelfleet.plan import PIPELINES, plan, steps_of


@pytest.fixture
def spec() -> FleetSpec:
    return FleetSpec(
        name="demand",
        owner="replenishment",
        data=Data(
            sales=SqlTable("pos", "sales", time="sold_on"),
            promo=LakeTable("calendar/promo"),
            prepare="shop.demand:prepare",
        ),
        partition_by=("store", "item"),
        problem=Regression(target="units"),
        features=("price",),
        model="shop.demand:build",
        gate=Gate(each=("mae < baseline.mae", "n_test >= 3"), fleet=("promoted_share >= 0.5",), mode="shadow"),
        schedule=Schedule(ingest="@daily", train="@monthly"),
    )


def test_pipelines_have_their_steps_in_order(spec: FleetSpec) -> None:
    grouped = {pipeline: [step.name for step in steps] for pipeline, steps in groupby(plan(spec), lambda s: s.pipeline)}
    assert grouped == {
        "ingest": ["extract", "commit"],
        "train": ["pin", "dataset", "quality", "train", "commit", "register"],
        "promote": ["pin", "decide", "publish", "commit"],
        "score": ["pin", "dataset", "quality", "score", "commit", "load"],
    }
    assert tuple(grouped) == PIPELINES


def test_steps_of_a_pipeline_are_those_of_the_plan(spec: FleetSpec) -> None:
    assert tuple(step for pipeline in PIPELINES for step in steps_of(spec, pipeline)) == plan(spec)
    assert steps_of(spec, "no_such") == ()


@pytest.mark.parametrize("pipeline, last", [("train", "train"), ("score", "score")])
def test_spark_steps_follow_one_another_so_that_one_job_runs_them(spec: FleetSpec, pipeline: str, last: str) -> None:
    engines = [
        (engine, [s.name for s in steps]) for engine, steps in groupby(steps_of(spec, pipeline), lambda s: s.engine)
    ]
    assert [names for engine, names in engines if engine == "spark"] == [["dataset", "quality", last]]
    assert all(step.engine == "python" for other in ("ingest", "promote") for step in steps_of(spec, other))


def test_phases_go_from_inputs_through_compute_to_outputs(spec: FleetSpec) -> None:
    order = ["inputs", "compute", "outputs"]
    for pipeline in PIPELINES:
        phases = [order.index(step.phase) for step in steps_of(spec, pipeline)]
        assert phases == sorted(phases), pipeline


def test_steps_name_what_they_read_and_write(spec: FleetSpec) -> None:
    steps = {(step.pipeline, step.name): step for step in plan(spec)}
    assert [read.split(":")[0] for read in steps["ingest", "extract"].reads] == ["sales", "promo"]
    assert "code:shop.demand:prepare" in steps["train", "dataset"].reads
    assert "code:shop.demand:build" in steps["train", "train"].reads
    assert "rules: 2 each, 1 fleet" in steps["promote", "decide"].reads
    assert "shadow" in steps["promote", "decide"].purpose
    assert steps["score", "load"].writes == ("warehouse:demand_predictions", "warehouse:runs")
    for step in plan(spec):
        assert step.purpose
        assert step.writes


def test_compute_steps_read_what_a_step_before_them_wrote(spec: FleetSpec) -> None:
    for pipeline in ("train", "score"):
        by_name = {step.name: step for step in steps_of(spec, pipeline)}
        for name in ("quality", pipeline):
            assert set(by_name[name].reads) & set(by_name["dataset"].writes), (pipeline, name)


def test_plan_does_no_io(spec: FleetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the plan did I/O")

    for owner, name in ((Path, "open"), (Path, "exists"), (Path, "mkdir"), (socket, "socket")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr("builtins.open", refuse)
    before = set(sys.modules)
    steps = plan(spec)
    assert steps == plan(spec)
    assert set(sys.modules) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps[0].name = "other"  # type: ignore[misc]


def test_every_step_has_a_function_and_every_function_a_step(spec: FleetSpec) -> None:
    from modelfleet.steps.runner import _functions

    opened_by_the_run_itself = "pin"
    steps = [step for pipeline in (*PIPELINES, "backtest") for step in steps_of(spec, pipeline)]
    planned = {f"{step.pipeline}.{step.name}" for step in steps if step.name != opened_by_the_run_itself}
    assert set(_functions()) == planned


def test_backtest_is_no_part_of_what_keeps_a_fleet_going(spec: FleetSpec) -> None:
    steps = steps_of(spec, "backtest")
    assert [step.name for step in steps] == ["pin", "replay", "report", "commit", "publish"]
    assert [step.name for step in steps if step.engine == "spark"] == ["replay"]
    assert not set(steps) & set(plan(spec))


def test_steps_that_fit_read_the_code_of_every_candidate_once(spec: FleetSpec) -> None:
    candidates = (
        Candidate("shop.demand:ridge", grid={"alpha": (1.0, 10.0)}),
        Candidate("shop.boost:build"),
    )
    competing = spec.model_copy(update={"model": None, "candidates": candidates})
    for pipeline, name in (("train", "train"), ("backtest", "replay")):
        (step,) = (step for step in steps_of(competing, pipeline) if step.name == name)
        code = [read for read in step.reads if read.startswith("code:")]
        assert code == ["code:shop.demand:ridge", "code:shop.boost:build"]


def test_incremental_training_says_what_it_carries_over(spec: FleetSpec) -> None:
    changed = spec.model_copy(update={"training": spec.training.model_copy(update={"train_mode": "changed"})})
    plain, said = (
        next(step.purpose for step in steps_of(given, "train") if step.name == "train") for given in (spec, changed)
    )
    assert "carried over" in said
    assert "carried over" not in plain
