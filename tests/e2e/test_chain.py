"""The chain from a source database to predictions, its steps called one after the other: what it leaves adds up."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.tracking import MlflowClient

from chain_bench import BULK, DAYS, EXPECTED, HEALTHY, LONE, ROWS_A_DAY, UNKNOWN, WITHOUT_MODEL, World, partition
from modelfleet import settings
from modelfleet.status import fleet_status

pytest_plugins = ["fixtures_mlflow"]

DAY = DAYS[0]


def test_every_partition_has_one_model_row_and_totals_add_up_everywhere(world: World) -> None:
    in_lake = world.output("train", BULK, "train", "models")
    found = {row["partition"]: (row["status"], row["reason"]) for row in in_lake.to_pylist()}
    assert in_lake.num_rows == len(EXPECTED)
    assert found == {partition(key): status for key, status in EXPECTED.items()}

    facts = world.committed("train", BULK).facts
    assert (facts["expected"], facts["trained"] + facts["skipped"] + facts["failed"]) == (len(EXPECTED), len(EXPECTED))
    assert facts["trained"] == len(HEALTHY) + 1

    in_warehouse = world.warehouse.models("wells", BULK)
    assert sorted(in_warehouse.column("partition").to_pylist()) == sorted(found)
    assert {r["partition"]: r["model_digest"] for r in in_warehouse.to_pylist()} == {
        r["partition"]: r["model_digest"] for r in in_lake.to_pylist()
    }

    uri = settings.registry_uri("staging")
    client = MlflowClient(uri, uri)
    (version,) = client.search_model_versions("name = 'wells'")
    run = client.get_run(version.run_id)
    assert run.data.metrics["expected"] == len(EXPECTED)
    assert run.data.metrics["trained"] == facts["trained"]
    artifact = pq.read_table(client.download_artifacts(version.run_id, "models.parquet"))
    assert sorted(artifact.column("partition").to_pylist()) == sorted(found)
    assert version.tags["domain"] == "oil"


def test_every_decision_is_one_and_says_its_rule(world: World) -> None:
    decisions = {row["partition"]: row for row in world.warehouse.decisions("wells", BULK).to_pylist()}

    assert sorted(decisions) == sorted(map(partition, EXPECTED))
    facts = world.committed("promote", BULK).facts
    assert facts["promoted"] + facts["kept"] + facts["rejected"] == len(EXPECTED)
    assert {decisions[partition(key)]["decision"] for key in HEALTHY} == {"promoted"}
    lone = decisions[partition(LONE)]
    assert (lone["decision"], lone["rule"]) == ("rejected", "r2 > -1000"), "R2 of one row is NaN, which passes no rule"
    assert "fit_raised" in decisions[partition(("raises", 10))]["reason"]
    assert {row["serves_version"] for row in decisions.values()} == {1}


def test_a_failed_model_keeps_its_bounded_message(world: World) -> None:
    failed = world.warehouse.models("wells", BULK, partition=partition(("raises", 10))).to_pylist()[0]
    assert failed["message"].startswith("ValueError: the well is dry")
    assert len(failed["message"]) <= 500
    assert failed["n_rows"] > 100


def test_predictions_say_what_served_and_no_partition_is_left_out(world: World) -> None:
    world.run("ingest", DAY)
    facts = world.run("score", DAY)["score"]

    rows = world.warehouse.predictions("wells", DAY).to_pylist()
    partitions = {partition(key) for key in (*EXPECTED, UNKNOWN)}
    assert len(rows) == ROWS_A_DAY * len(partitions) == facts["predictions"]
    assert Counter(row["partition"] for row in rows) == dict.fromkeys(partitions, ROWS_A_DAY)
    served = {row["partition"]: row["source"] for row in rows}
    assert {served[partition(key)] for key in HEALTHY} == {"model"}
    assert {served[partition(key)] for key in (LONE, *WITHOUT_MODEL) if key[0] != "untold"} == {"baseline"}
    assert served[partition(("untold", 14))] == served[partition(UNKNOWN)] == "none"
    assert {row["source"] for row in rows if row["prediction"] is None} == {"none"}

    outcomes = world.output("score", DAY, "score", "outcomes")
    assert sorted(outcomes.column("partition").to_pylist()) == sorted(partitions)
    counted = Counter(outcomes.column("outcome").to_pylist())
    assert counted == {
        name: n for name, n in facts.items() if name in ("scored", "fallback", "failed", "no_model") and n
    }
    assert sum(counted.values()) == facts["partitions"]


def test_baseline_serves_the_mean_and_key_values_come_back_as_they_were(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)

    rows = world.warehouse.predictions("wells", DAY).to_pylist()
    assert {(row["well"], row["pad"]) for row in rows} == {*EXPECTED, UNKNOWN}
    flat = [row["prediction"] for row in rows if row["well"] == "flat"]
    assert flat == [7.5] * ROWS_A_DAY


def test_actuals_that_arrive_make_the_scoring_stale_and_earlier_issues_stay(world: World) -> None:
    for day in DAYS[:2]:
        world.run("ingest", day)
        world.run("score", day)
    assert stale(world) == {}

    first = world.committed("score", DAY).attempt
    world.execute(f"UPDATE readings SET flow = 50, depth = depth + 1 WHERE read_at LIKE '{DAY}%'")
    world.run("ingest", DAY)

    assert stale(world) == {("score", DAY): [f"ingest/{DAY} was made again"]}
    before = world.warehouse.predictions("wells", DAY)
    assert set(before.column("attempt").to_pylist()) == {first}, "nothing is recomputed silently"

    world.run("score", DAY)

    assert stale(world) == {}
    latest = world.warehouse.predictions("wells", DAY)
    every = world.warehouse.predictions("wells", DAY, latest=False)
    second = world.committed("score", DAY).attempt
    assert set(latest.column("attempt").to_pylist()) == {second}
    assert Counter(every.column("attempt").to_pylist()) == {first: before.num_rows, second: latest.num_rows}
    assert (
        every.filter(pc.equal(every.column("attempt"), first))
        .select(["reading", "prediction"])
        .equals(before.select(["reading", "prediction"]))
    )
    assert moved(before, latest) > 0


def test_bulk_ingested_again_makes_training_and_promotion_stale_but_no_scoring_of_other_days(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)
    world.execute("UPDATE readings SET flow = flow + 1 WHERE read_at LIKE '2024-02-10%'")

    world.run("ingest", BULK)

    assert set(stale(world)) == {("train", BULK), ("promote", BULK)}


def test_an_interval_that_is_the_same_again_makes_nothing_stale(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)
    facts = world.run("ingest", DAY)

    assert facts["commit"]["unchanged"] is True
    assert stale(world) == {}


def test_second_training_meets_the_champion_on_rows_it_was_not_trained_on(world: World) -> None:
    world.execute(f"UPDATE readings SET flow = 0.05 * depth + 20 WHERE read_at >= '{DAYS[0]}' AND well = 'plain'")
    for day in DAYS:
        world.run("ingest", day)
    later = world.with_spec(training=world.spec.training.model_copy(update={"holdout": "3D"}))

    later.run("train", DAYS[-1])
    later.run("promote", DAYS[-1])

    models = {row["partition"]: row for row in world.warehouse.models("wells", DAYS[-1]).to_pylist()}
    plain = models[partition(("plain", 8))]
    assert (plain["champion_status"], plain["n_test"]) == ("compared", 6)
    assert plain["champion_mae"] > 0
    # Without actuals there is no row after the champion's last.
    assert models[partition(("..", 2))]["champion_status"] == "not_comparable"
    assert world.warehouse.decisions("wells", DAYS[-1]).num_rows == len(models) == len(EXPECTED) + 1


def stale(world: World) -> dict[tuple[str, str], list[str]]:
    return {
        (run["pipeline"], run["interval"]): run["stale"] for run in fleet_status(world.spec)["runs"] if run["stale"]
    }


def moved(before: pa.Table, after: pa.Table) -> int:
    """How many readings' predictions differ."""
    earlier = {row["reading"]: row["prediction"] for row in before.to_pylist()}
    return sum(earlier[row["reading"]] != row["prediction"] for row in after.to_pylist())
