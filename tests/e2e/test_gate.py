"""The gate fails closed, a champion is one version for a whole run, and what was promoted can be taken back."""

from __future__ import annotations

from typing import Any

import pytest

from chain_bench import BULK, BULK_START, DAYS, EXPECTED, HEALTHY, ROWS_A_DAY, World, partition
from mlflow_servers import free_port
from modelfleet import Gate, Training, registry
from modelfleet.errors import ConflictError, DataError, UnavailableError
from modelfleet.lake import Lake, runs
from modelfleet.steps import EmptyInterval, NoChampionYet, TrainingOnly, waiting_intervals
from wells import gauges

pytest_plugins = ["fixtures_mlflow"]

DAY, OTHER, LAST = DAYS


def champion_version() -> int | None:
    champion = registry.champion("wells")
    return None if champion is None else champion.version


def to_second_champion(world: World) -> World:
    """Three days with actuals, trained on a short holdout by a spec whose models are patient, and promoted."""
    later = with_actuals(world)
    later.run("train", LAST)
    later.run("promote", LAST)
    return later


def with_actuals(world: World) -> World:
    world.execute(f"UPDATE readings SET flow = 0.05 * depth + 4 * pressure + 30 WHERE read_at >= '{DAY}'")
    for day in DAYS:
        world.run("ingest", day)
    gate = Gate(each=("mae < baseline.mae", "champion.mae IS NULL OR mae <= 1.5 * champion.mae"))
    return world.with_spec(training=Training(holdout="3D", min_rows=20), params={"patient": True}, gate=gate)


def test_registry_out_of_reach_promotes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    later = with_actuals(world)
    later.run("train", LAST)
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_MLFLOW_PRODUCTION", f"http://127.0.0.1:{free_port()}")
        with pytest.raises(UnavailableError, match=r"the production registry at http://127\.0\.0\.1"):
            later.open("promote", LAST)
    assert champion_version() == 1
    assert runs.committed(Lake.open(), "wells", "promote", LAST) is None


def test_registry_lost_half_way_promotes_nothing_and_is_promoted_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = with_actuals(world)
    later.run("train", LAST)
    ref = later.open("promote", LAST)
    later.finish(ref, only=("decide",))
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_MLFLOW_PRODUCTION", f"http://127.0.0.1:{free_port()}")
        with pytest.raises(UnavailableError):
            later.finish(ref, only=("publish",))
    assert champion_version() == 1
    assert later.warehouse.runs("wells", pipeline="promote", interval=LAST)[0]["status"] == "failed"

    later.finish(ref)

    assert champion_version() == 2


def test_champion_that_fails_on_this_holdout_is_kept(world: World) -> None:
    world.execute(
        f"UPDATE readings SET mood = {gauges.PREDICT_RAISES} WHERE read_at >= '{DAY}' AND well = 'plain' AND pad = 8"
    )
    stuck = partition(("plain", 8))
    later = to_second_champion(world)

    model = later.warehouse.models("wells", LAST, partition=stuck).to_pylist()[0]
    assert (model["status"], model["champion_status"], model["champion_mae"]) == ("trained", "failed", None)
    decision = later.warehouse.decisions("wells", LAST, partition=stuck).to_pylist()[0]
    assert (decision["decision"], decision["rule"]) == ("kept", None)
    assert f"champion version 1 ({BULK}) failed on this holdout" in decision["reason"]
    serving = {row["partition"]: row for row in later.output("promote", LAST, "decide", "decisions").to_pylist()}
    assert serving[stuck]["decision"] == "kept"

    facts = later.run("score", OTHER)["score"]
    # The kept champion fails here too, and says so, while its baseline serves.
    assert facts["failed"] == 1
    assert "the gauge is stuck" in facts["messages"][0]
    rows = later.warehouse.predictions("wells", OTHER, partition=stuck).to_pylist()
    assert {row["source"] for row in rows} == {"baseline"}


def test_kept_champion_goes_on_seeing_the_features_it_was_trained_with(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)
    before = predictions(world)
    later = with_actuals(world).with_spec(
        features=("pressure", "depth", "reading", "mood"), gate=Gate(each=("well IS NULL OR well <> 'plain'",))
    )
    later.run("train", LAST)
    later.run("promote", LAST)
    world.execute(f"UPDATE readings SET flow = NULL WHERE read_at >= '{DAY}'")
    world.run("ingest", DAY)

    facts = later.run("score", DAY)["score"]

    assert (champion_version(), facts["failed"]) == (2, 0)
    models = {row["partition"]: row for row in later.warehouse.models("wells", LAST).to_pylist()}
    after = predictions(later)
    for key, kept in ((("plain", 8), True), (("plain", None), True), (("..", 2), False)):
        rows = later.warehouse.predictions("wells", DAY, partition=partition(key)).to_pylist()
        assert [after[row["reading"]] == before[row["reading"]] for row in rows] == [kept] * ROWS_A_DAY
        assert models[partition(key)]["champion_status"] == "compared"
        assert {row["source"] for row in rows} == {"model"}


def test_older_interval_is_refused_without_force(world: World) -> None:
    later = to_second_champion(world)
    world.execute("UPDATE readings SET flow = flow * 1.01 WHERE read_at < '2024-02-01'")
    world.run("ingest", BULK)
    later.run("train", BULK)

    with pytest.raises(ConflictError, match=rf"champion version 2 is of interval {LAST}, later than {BULK}; it stays"):
        later.open("promote", BULK)
    assert champion_version() == 2

    later.run("promote", BULK, force=True)
    assert champion_version() == 3


def test_challenger_compared_with_another_champion_is_refused(world: World) -> None:
    later = with_actuals(world)
    later.run("train", LAST)
    after = later.with_spec(params={"alpha": 3.0})
    after.run("train", OTHER)
    after.run("promote", OTHER)

    with pytest.raises(ConflictError, match="compared with champion version 1, but champion version 2 serves now"):
        later.open("promote", LAST)
    assert champion_version() == 2


def test_promotion_between_decision_and_publication_is_refused(world: World) -> None:
    later = with_actuals(world)
    later.run("train", LAST)
    after = later.with_spec(params={"alpha": 3.0})
    after.run("train", OTHER)
    slow = later.open("promote", LAST)
    later.finish(slow, only=("decide",))
    after.run("promote", OTHER)

    with pytest.raises(ConflictError, match="decided against champion version 1, but version 2 serves now"):
        later.finish(slow, only=("publish",))
    assert champion_version() == 2


def test_nothing_passes_and_the_champion_stays(world: World) -> None:
    later = with_actuals(world).with_spec(gate=Gate(each=("mae < 0",)))
    later.run("train", LAST)
    facts = later.run("promote", LAST)

    assert (facts["publish"]["moved"], facts["publish"]["version"], champion_version()) == (False, 1, 1)
    decisions = later.warehouse.decisions("wells", LAST).to_pylist()
    assert {row["decision"] for row in decisions} == {"kept", "rejected"}
    assert {row["serves_version"] for row in decisions} == {1}


def test_fleet_rule_that_fails_promotes_none(world: World) -> None:
    later = with_actuals(world).with_spec(gate=Gate(each=("mae >= 0",), fleet=("trained_share >= 0.99",)))
    later.run("train", LAST)
    facts = later.run("promote", LAST)["publish"]

    assert (facts["passed"], facts["failed_fleet_rule"], champion_version()) == (False, "trained_share >= 0.99", 1)


def test_rollback_serves_the_previous_fleets_predictions_again(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)
    before = predictions(world)
    later = to_second_champion(world)
    later.run("score", DAY)
    assert predictions(later) != before

    assert registry.rollback("wells") == (2, 1)
    world.execute(f"UPDATE readings SET flow = NULL WHERE read_at >= '{DAY}'")
    world.run("ingest", DAY)
    world.run("score", DAY)

    assert predictions(world) == before
    assert {row["model_version"] for row in world.warehouse.predictions("wells", DAY).to_pylist()} == {1}


def test_promotion_during_a_scoring_run_does_not_change_what_it_uses(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)
    before = predictions(world)
    ref = world.open("score", DAY, force=True)
    world.finish(ref, only=("dataset", "quality"))
    to_second_champion(world)
    assert champion_version() == 2

    world.finish(ref, only=("score", "commit", "load"))

    rows = [
        r for r in world.warehouse.predictions("wells", DAY, latest=False).to_pylist() if r["attempt"] == ref.attempt
    ]
    assert {row["model_version"] for row in rows} == {1}
    assert {row["reading"]: row["prediction"] for row in rows} == before
    assert len(rows) == ROWS_A_DAY * (len(EXPECTED) + 1)


def test_score_before_any_champion_waits_and_is_scored_after_promotion(new_world: World) -> None:
    world = new_world
    world.run("ingest", BULK, start=BULK_START, train_only=True)
    world.run("ingest", DAY)

    for _ in range(2):
        with pytest.raises(NoChampionYet, match="no champion yet: scored after the first promotion"):
            world.open("score", DAY)
        assert waiting_intervals(world.spec) == [DAY]
    world.run("train", BULK)
    world.run("promote", BULK)
    facts = world.run("score", DAY)

    assert facts["score"]["scored"] == len(HEALTHY)
    assert waiting_intervals(world.spec) == []
    with pytest.raises(TrainingOnly, match=f"interval {BULK} was ingested for training only; it is not scored"):
        world.open("score", BULK)


def test_empty_interval_is_recorded_scores_nothing_and_trains_nothing(new_world: World) -> None:
    world = new_world
    world.run("ingest", "2023-05-01")

    assert world.committed("ingest", "2023-05-01").status == "empty"
    for _ in range(2):
        with pytest.raises(EmptyInterval, match="interval 2023-05-01 has no rows in table 'data': no predictions"):
            world.open("score", "2023-05-01")
    run = world.warehouse.runs("wells", pipeline="score")[0]
    assert (run["status"], run["rows"]) == ("empty", 0)
    assert world.warehouse.prediction_counts("wells") == []
    with pytest.raises(DataError, match="no rows to train on: the ingests up to 2023-05-01 hold none") as caught:
        world.open("train", "2023-05-01")
    assert "ingested are 2023-05-01" in str(caught.value)


def test_empty_interval_between_others_changes_nothing(world: World) -> None:
    world.execute(f"DELETE FROM readings WHERE read_at LIKE '{DAY}%'")
    world.run("ingest", DAY)
    world.run("ingest", OTHER)

    assert world.run("score", OTHER)["score"]["scored"] == len(HEALTHY)
    facts = world.run("train", OTHER)["train"]
    assert facts["expected"] == len(EXPECTED) + 1


def predictions(world: World) -> dict[int, Any]:
    return {row["reading"]: row["prediction"] for row in world.warehouse.predictions("wells", DAY).to_pylist()}
