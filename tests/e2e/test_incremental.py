"""Incremental trainings and retries on a whole fleet: what changed is fitted, all else is carried over and promoted as it is."""

from __future__ import annotations

from typing import Any

import pytest

from chain_bench import BULK, DAYS, NEXT, World, partition
from modelfleet import Candidate, Gate, Limits, Training, registry
from modelfleet.errors import DataError
from modelfleet.lake import Lake, runs
from modelfleet.steps import NothingToRetry, carrying, inputs
from wells import gauges

pytestmark = pytest.mark.slow

pytest_plugins = ["fixtures_mlflow"]

CHANGED = Training(holdout="14D", min_rows=20, train_mode="changed")


def rows_of(world: World, interval: str) -> dict[str, dict[str, Any]]:
    return {row["partition"]: row for row in world.output("train", interval, "train", "models").to_pylist()}


def fitted(world: World, interval: str) -> set[str]:
    """The wells whose row is the run in force's own."""
    attempt = world.committed("train", interval).attempt
    return {row["well"] for row in rows_of(world, interval).values() if row["trained_attempt"] == attempt}


def decisions(world: World, interval: str) -> dict[str, dict[str, Any]]:
    return {row["partition"]: row for row in world.output("promote", interval, "decide", "decisions").to_pylist()}


@pytest.fixture
def quiet(world: World) -> World:
    """April has rows of one well that is known, and of one that is new; another one's March was restated."""
    world.execute(
        "DELETE FROM readings WHERE read_at >= '2024-04-01' AND coalesce(well, '') NOT IN ('..', 'new')",
        "UPDATE readings SET flow = flow + 1 WHERE well = '!null' AND read_at BETWEEN '2024-03-01' AND '2024-03-02'",
    )
    world.run("ingest", BULK)
    for day in DAYS:
        world.run("ingest", day)
    return world.with_spec(training=CHANGED)


def test_what_changed_is_fitted_and_the_rest_carried_promoted_and_said(quiet: World) -> None:
    before = rows_of(quiet, BULK)

    facts = quiet.run("train", NEXT)["train"]

    # Skipped for rows about the cutoff, which has moved: looked at again.
    assert fitted(quiet, NEXT) == {"..", "new", "!null", "blank", "flat", "young"}
    now = rows_of(quiet, NEXT)
    carried = {name for name, row in now.items() if row["trained_interval"] == BULK}
    assert facts["carried"] == len(carried) == len(now) - 6
    assert now.keys() - before.keys() == {name for name, row in now.items() if row["well"] == "new"}
    assert all(repr(now[name][column]) == repr(before[name][column]) for name in carried for column in _own(now))
    assert quiet.committed("train", NEXT).inputs[f"train/{BULK}"]["digest"] == quiet.committed("train", BULK).digest

    quiet.run("promote", NEXT)
    said, serving = decisions(quiet, NEXT), decisions(quiet, BULK)
    for name in carried:
        if serving[name]["decision"] == "promoted":
            assert now[name]["champion_status"] == "same"
            assert now[name]["champion_mae"] == now[name]["mae"]
            assert said[name]["decision"] == "promoted"
            assert said[name]["reason"] == "the champion is this very model, carried over"
    assert registry.champion("wells").version == 2  # type: ignore[union-attr]

    again = quiet.run("train", NEXT)
    assert again["train"]["reused_from"]
    full = quiet.run("train", NEXT, force=True)["train"]
    assert "carried" not in full
    models = {name: row["model_digest"] for name, row in rows_of(quiet, NEXT).items()}
    assert models == {name: row["model_digest"] for name, row in now.items()}


@pytest.mark.parametrize(
    "change, all_fitted",
    [
        ({"gate": Gate(each=("mae < 2 * baseline.mae",))}, False),
        ({"model": None, "candidates": (Candidate("wells.gauges:build", params={"alpha": 2.0}),)}, True),
    ],
    ids=["gate", "candidate"],
)
def test_a_changed_candidate_fits_all_a_changed_gate_none(
    quiet: World, change: dict[str, Any], all_fitted: bool
) -> None:
    changed = quiet.with_spec(**change)

    ref = changed.open("train", NEXT)
    facts = changed.finish(ref, only=("dataset", "quality", "train", "commit"))["train"]

    assert ("carried" not in facts) == all_fitted
    assert ("has changed in the spec" in (facts["refitted_because"] or "")) == all_fitted
    assert (len(fitted(changed, NEXT)) > 6) == all_fitted


def test_retry_after_a_change_of_code_fits_what_the_code_made_fail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NothingToRetry, match=r"no failure could turn out otherwise; without a model: .*fit_raised 1"):
        world.open("train", BULK, retry="failed")
    assert len(world.warehouse.runs("wells", pipeline="train")) == 1
    before, opened = rows_of(world, BULK), world.committed("train", BULK)
    monkeypatch.setattr(inputs, "code_version", lambda spec: "another")
    listed = carrying.failures_of(world.spec, BULK).to_pylist()
    assert sorted(row["reason"] for row in listed) == ["fit_raised", "prediction_invalid"]

    facts = world.run("train", BULK, retry="failed")["train"]

    assert fitted(world, BULK) == {"raises", "mute"}
    now = rows_of(world, BULK)
    assert facts["carried"] == len(now) - 2
    assert facts["way"]["code"] is None
    others = [name for name, row in now.items() if row["well"] not in ("raises", "mute")]
    assert all(repr(now[name][column]) == repr(before[name][column]) for name in others for column in _own(now))
    retried = world.committed("train", BULK)
    assert retried.inputs["retried"]["attempt"] == opened.attempt
    assert retried.code_version == "another"
    # Once more with that code, it is still a training of two.
    assert world.run("train", BULK, retry="failed")["train"]["way"]["code"] is None
    # Run again as usual, other code fits all.
    assert "retried" not in runs.load_attempt(Lake.open(), **world.open("train", BULK).as_dict()).inputs


def test_retry_of_another_spec_or_of_nothing_is_refused(world: World) -> None:
    other = world.with_spec(training=Training(holdout="7D", min_rows=20))
    with pytest.raises(DataError, match="the spec has changed since 2024-03-31 was trained"):
        other.open("train", BULK, retry="failed")
    with pytest.raises(DataError, match="nothing was trained for interval 2024-04-02"):
        world.open("train", DAYS[1], retry="failed")
    with pytest.raises(DataError, match='allowed: retry="failed", of train, without force'):
        world.open("train", BULK, retry="failed", force=True)


def _own(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The columns that say nothing of the champion."""
    return [name for name in next(iter(rows.values())) if not name.startswith("champion_")]


def test_retry_fits_what_took_too_long_and_promotes_it(world: World) -> None:
    hasty = world.with_spec(training=Training(holdout="14D", min_rows=20, per_model=Limits(seconds=1.5)))
    hasty.execute(f"UPDATE readings SET mood = {gauges.FIT_IS_SLOW} WHERE well = 'plain' AND pad = 8")
    hasty.run("ingest", BULK)
    hasty.run("train", BULK)
    slow = partition(("plain", 8))
    assert rows_of(hasty, BULK)[slow]["reason"] == "timeout"
    hasty.run("promote", BULK)
    (listed,) = carrying.failures_of(hasty.spec, BULK).to_pylist()
    assert (listed["partition"], listed["reason"]) == (slow, "timeout")
    patient = world.with_spec(training=Training(holdout="14D", min_rows=20, per_model=Limits(seconds=60)))

    facts = patient.run("train", BULK, retry="failed")

    assert fitted(patient, BULK) == {"plain"}
    assert rows_of(patient, BULK)[slow]["status"] == "trained"
    assert facts["register"]["version"] == 3
    patient.run("promote", BULK)
    assert decisions(patient, BULK)[slow]["decision"] == "promoted"
    # The same run again is that retry.
    assert patient.run("train", BULK)["train"]["reused_from"]
