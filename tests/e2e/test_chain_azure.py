"""The whole chain with the lake on Azurite: the same digests as in a local folder, and the account's key in none of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from chain_bench import BULK, DAYS, World, fill, wells
from cloud_servers import KEY, Azurite
from modelfleet.lake import Lake
from modelfleet.status import fleet_status

pytest_plugins = ["fixtures_mlflow", "fixtures_azurite"]
pytestmark = pytest.mark.slow

DAY = DAYS[0]
RUNS = (("ingest", BULK), ("train", BULK), ("promote", BULK), ("ingest", DAY), ("score", DAY))


@pytest.fixture
def remote(_fresh_store: Path, tmp_path: Path) -> World:
    """A fleet of which nothing has run, beside `world`; whoever uses it enters its environment."""
    made = World(tmp_path / "remote", wells())
    (made.home / "mlflow").mkdir(parents=True)
    for role in ("staging", "production"):
        shutil.copy(_fresh_store, made.home / "mlflow" / f"{role}.db")
    fill(made.source)
    return made


def after_scoring(world: World) -> dict[str, Any]:
    """What a day's scoring leaves: the digests of all runs before it and its own, and the predictions."""
    world.run("ingest", DAY)
    world.run("score", DAY)
    columns = ["partition", "reading", "prediction", "source"]
    predictions = world.warehouse.predictions("wells", DAY).select(columns)
    return {
        "digests": {run: world.committed(*run).steps for run in RUNS},
        "predictions": predictions.sort_by([(name, "ascending") for name in columns[:2]]).to_pylist(),
    }


def test_the_chain_gives_the_same_on_azurite_as_in_a_folder(
    world: World, remote: World, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_folder = after_scoring(world)

    for name, value in {**remote.environment, **azurite.environment("chain", "all/fleets")}.items():
        monkeypatch.setenv(name, value)
    remote.to_champion()
    on_azurite = after_scoring(remote)

    assert on_azurite == in_folder
    assert not (remote.home / "lake").exists()
    assert Lake.open().intervals("wells/score") == [DAY]
    assert fleet_status(remote.spec)["lake"] == f"{Lake.open().location('wells')}"

    blobs = azurite.client.get_container_client("chain")
    names = [blob.name for blob in blobs.list_blobs()]
    assert {name.split("/")[2] for name in names} == {"wells"}
    assert not [name for name in names if KEY.encode() in blobs.download_blob(name).readall()]


def test_a_killed_training_goes_on_with_what_azurite_has(
    remote: World, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**remote.environment, **azurite.environment("resumed")}.items():
        monkeypatch.setenv(name, value)
    remote.run("ingest", BULK, start=DAY[:4] + "-01-01", train_only=True)
    first = remote.open("train", BULK)
    remote.finish(first, only=("dataset", "quality", "train"))
    lake = Lake.open()
    folder = f"{first.fleet}/train/{BULK}/{first.attempt}"
    lake.delete(f"{folder}/train.json")
    lake.delete(f"{folder}/train/bucket-00000.json")

    second = remote.open("train", BULK)
    facts = remote.finish(second, only=("dataset", "quality", "train"))

    assert facts["dataset"]["reused_from"] == first.attempt
    written = lake.files_below(f"{first.fleet}/train/{BULK}/{second.attempt}/train") or ()
    fitted = [file.rpartition("/")[2] for file in written if "/pack-" in file]
    assert [name[:10] for name in fitted] == ["pack-00000"], "only the bucket without a sidecar"
