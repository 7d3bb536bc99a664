"""Steps run twice, killed half way, raced by a twin, or cut into other buckets: always the same result, once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from chain_bench import BULK, DAYS, EXPECTED, World
from modelfleet import pack, registry, settings
from modelfleet.dataset import grouping
from modelfleet.errors import ConflictError
from modelfleet.lake import Lake
from modelfleet.steps import RunRef, inputs, preparing, run_step
from wells import gauges

pytest_plugins = ["fixtures_mlflow"]

DAY = DAYS[0]


def test_each_step_run_twice_in_one_attempt_gives_the_same_digest_and_no_second_row(world: World) -> None:
    for pipeline, interval in (("ingest", DAY), ("train", BULK), ("promote", BULK), ("score", DAY)):
        ref = world.open(pipeline, interval)
        first = world.finish(ref)
        before = contents(world)
        second = world.finish(ref)

        assert {name: facts["digest"] for name, facts in first.items()} == {
            name: facts["digest"] for name, facts in second.items()
        }
        assert contents(world) == before


def test_training_whose_code_changes_on_its_way_is_not_gone_on_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = world.open("train", BULK, force=True)
    run_step(ref, "dataset")
    standing = world.committed("train", BULK).attempt
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "code_version", lambda spec: "another")
        assert run_step(ref, "dataset")["digest"], "what is done is done"
        with pytest.raises(
            ConflictError, match=r"fleet 'wells', train .* is another one at the step quality than when"
        ):
            run_step(ref, "quality")
    assert world.committed("train", BULK).attempt == standing
    world.finish(ref)


def test_whole_pipelines_run_again_take_everything_over(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)
    before = contents(world)
    digests = {name: world.committed(*name).digest for name in (("train", BULK), ("promote", BULK), ("score", DAY))}

    for pipeline, interval in (("ingest", BULK), ("train", BULK), ("promote", BULK), ("ingest", DAY), ("score", DAY)):
        facts = world.run(pipeline, interval)
        heavy = [name for name in ("dataset", "quality", "train", "score", "decide") if name in facts]
        assert [name for name in heavy if not facts[name]["reused_from"]] == []

    assert contents(world) == before
    assert {name: world.committed(*name).digest for name in digests} == digests
    assert {
        r["status"] for r in world.warehouse.runs("wells") if r["attempt"] == world.committed("train", BULK).attempt
    } == {"reused"}


def test_forced_repetition_gives_the_same_digests(world: World) -> None:
    before = world.committed("train", BULK)
    facts = world.run("train", BULK, force=True)

    assert [name for name, fact in facts.items() if fact["reused_from"]] == []
    assert world.committed("train", BULK).digest == before.digest
    assert len(registry.versions("wells", "staging")) == 1


@pytest.mark.parametrize("buckets", [1, 7])
def test_number_of_buckets_makes_no_difference(buckets: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    models = model_digests(world)
    before = world.committed("train", BULK)
    monkeypatch.setattr(grouping, "_bucket_count", lambda *sizes: buckets)

    facts = world.run("train", BULK, force=True)

    assert len(world.manifest("train", BULK, "train").files["models"]) == buckets
    assert model_digests(world) == models
    assert world.committed("train", BULK).digest == before.digest
    assert facts["train"]["digest"] == before.steps["train"]


def test_buckets_are_the_smaller_the_larger_the_champions_models_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(grouping, "_bucket_count", lambda size, cores: sizes.append(size) or 4)
    champion = registry.champion("wells")
    assert champion is not None
    packed = sum(entry.bytes for entry in pack.Pack.in_lake(Lake.open(), champion.pack_manifest).header.files)
    assert packed > 10_000
    world.run("ingest", DAY)
    for weight in (0, 3):
        monkeypatch.setattr(preparing, "_UNPACKED", weight)
        run_step(world.open("score", DAY, force=True), "dataset")
        other = world.with_spec(owner="others")  # the training that the champion is of meets none
        run_step(other.open("train", BULK, force=True), "dataset")
    assert (sizes[2] - sizes[0], sizes[3] - sizes[1]) == (3 * packed, 6 * packed)


def test_pack_of_other_bucket_count_is_scored_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run("ingest", DAY)
    first = world.run("score", DAY)
    monkeypatch.setattr(grouping, "_bucket_count", lambda *sizes: 3)

    second = world.run("score", DAY, force=True)

    assert second["score"]["digest"] == first["score"]["digest"]
    assert second["score"]["reused_from"] is None


def test_killed_in_training_and_run_again_keeps_finished_buckets_and_gives_the_same(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The well that waits holds its bucket until the process is dead; undisturbed, it trains like any other."""
    gate = tmp_path / "gate"
    world.execute(f"UPDATE readings SET mood = {gauges.FIT_WAITS} WHERE well = 'plain' AND pad = 8")
    world.run("ingest", BULK)
    gate.touch()
    ref = world.open("train", BULK)
    job = spark_job(world, ref, WELLS_GATE=str(gate))
    folder = world.home / "lake" / "wells" / "train" / BULK / ref.attempt / "train"
    until(lambda: len(sidecars(folder)) >= 3, job)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    finished = sidecars(folder)
    buckets = len(list(folder.parent.joinpath("dataset").glob("bucket-*.json")))
    assert 0 < len(finished) < buckets

    gate.unlink()
    again = world.open("train", BULK)
    world.finish(again)

    new = world.home / "lake" / "wells" / "train" / BULK / again.attempt / "train"
    made_again = {path.name.split("-")[1] for path in new.glob("pack-*.parquet")}
    assert made_again.isdisjoint({name.removeprefix("bucket-").removesuffix(".json") for name in finished})
    assert len(made_again) == buckets - len(finished)
    killed = world.committed("train", BULK)
    models = model_digests(world)

    world.run("train", BULK, force=True)

    assert world.committed("train", BULK).digest == killed.digest
    assert model_digests(world) == models
    assert world.warehouse.models("wells", BULK).num_rows == len(EXPECTED)


def test_training_in_another_process_gives_the_same_models(world: World) -> None:
    before = world.committed("train", BULK)
    ref = world.open("train", BULK, force=True)
    job = spark_job(world, ref, PYTHONHASHSEED="7")
    assert job.wait(300) == 0
    world.finish(ref, only=("commit", "register"))

    assert world.committed("train", BULK).attempt == ref.attempt
    assert world.committed("train", BULK).digest == before.digest


def test_two_trainings_at_once_one_is_committed_whole(world: World) -> None:
    world.execute("UPDATE readings SET flow = flow + depth / 100 WHERE flow IS NOT NULL")
    world.run("ingest", BULK)
    refs = [world.open("train", BULK) for _ in range(2)]
    for ref in reversed(refs):  # the later one would take over what the earlier has finished
        world.finish(ref, only=("dataset", "quality", "train"))

    errors = at_once(*(lambda ref=ref: world.finish(ref, only=("commit",)) for ref in refs))

    assert sorted(map(type, errors), key=str) == sorted([ConflictError, type(None)], key=str)
    (winner,) = [ref for ref, error in zip(refs, errors, strict=True) if error is None]
    (error,) = [error for error in errors if error is not None]
    assert winner.attempt in str(error)
    assert "not committed" in str(error)
    assert world.committed("train", BULK).attempt == winner.attempt
    world.finish(winner, only=("register",))
    states = {row["attempt"]: row["status"] for row in world.warehouse.runs("wells", pipeline="train")}
    assert sorted(states[ref.attempt] for ref in refs) == ["committed", "failed"]
    assert set(world.warehouse.models("wells", BULK).column("attempt").to_pylist()) == {winner.attempt}


def test_two_promotions_at_once_one_wins_whole(world: World) -> None:
    world.execute("UPDATE readings SET flow = flow + depth / 100 WHERE flow IS NOT NULL")
    world.run("ingest", BULK)
    world.run("train", BULK)
    refs = [world.open("promote", BULK) for _ in range(2)]

    errors = at_once(*(lambda ref=ref: world.finish(ref) for ref in refs))

    assert sorted(map(type, errors), key=str) == sorted([ConflictError, type(None)], key=str)
    (winner,) = [ref for ref, error in zip(refs, errors, strict=True) if error is None]
    assert world.committed("promote", BULK).attempt == winner.attempt
    champion = registry.champion("wells")
    assert champion is not None
    assert [version.version for version in registry.versions("wells")] == [1, 2]
    assert champion.version == 2
    rows = query(world, "SELECT attempt, serves_version, count(*) FROM decisions GROUP BY 1, 2")
    assert {row for row in rows if row[0] in {ref.attempt for ref in refs}} == {(winner.attempt, 2, len(EXPECTED))}


def spark_job(world: World, ref: RunRef, **environment: str) -> subprocess.Popen[bytes]:
    """The Spark application of a training, in a process group of its own."""
    named = {"fleet": ref.fleet, "pipeline": ref.pipeline, "interval": ref.interval, "attempt": ref.attempt}
    arguments = [part for name, value in named.items() for part in (f"--{name}", value)]
    return subprocess.Popen(
        [sys.executable, "-m", "modelfleet.spark_job", *arguments, "--steps", "dataset,quality,train"],
        env={**os.environ, **world.environment, **environment},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def sidecars(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("bucket-*.json")}


def until(condition: Callable[[], bool], job: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert job.poll() is None, f"the job ended with {job.returncode}"
        assert time.monotonic() < deadline, "nothing happened for four minutes"
        time.sleep(0.05)


def at_once(*functions: Callable[[], object]) -> list[BaseException | None]:
    """Run all at the same time; what each raised."""
    barrier = threading.Barrier(len(functions))
    errors: list[BaseException | None] = [None] * len(functions)

    def run(position: int, function: Callable[[], object]) -> None:
        barrier.wait()
        try:
            function()
        except Exception as exc:
            errors[position] = exc

    threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def model_digests(world: World) -> dict[str, str]:
    rows = world.output("train", BULK, "train", "models").select(["partition", "model_digest"]).to_pylist()
    return {row["partition"]: row["model_digest"] for row in rows}


def query(world: World, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(world.home / "warehouse.db")) as database:
        return database.execute(sql).fetchall()


def contents(world: World) -> dict[str, object]:
    """All that a repetition must not add to: rows of the warehouse, runs and versions in MLflow."""
    tables = [
        name for (name,) in query(world, "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'runs'")
    ]
    rows = {name: sorted(query(world, f'SELECT * FROM "{name}"'), key=repr) for name in tables}
    registered = {}
    for role in ("staging", "production"):
        uri = settings.registry_uri(role)
        client = MlflowClient(uri, uri)
        experiment = client.get_experiment_by_name("wells")
        found = client.search_runs([experiment.experiment_id]) if experiment else []
        registered[role] = (sorted(run.info.run_id for run in found), len(registry.versions("wells", role)))
    champion = registry.champion("wells")
    return {**rows, **registered, "champion": champion and champion.version}
