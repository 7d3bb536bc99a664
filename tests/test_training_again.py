"""Training beside a champion and again: compared on the same rows, and the same model for the same rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import author_models as models
from modelfleet import pack
from modelfleet.errors import CorruptionError
from modelfleet.lake import Lake
from modelfleet.metric_names import REGRESSION
from training_bench import (
    CUTOFF,
    DAYS,
    SCHEMA,
    START,
    TRAINED,
    Row,
    champions_of,
    part,
    spec,
    train,
    train_in_lake,
)

HEALTHY = part(seed=1)
BEFORE = part(20, start=START - timedelta(days=30), seed=2)


def test_champion_trained_before_the_holdout_is_measured_on_the_same_rows() -> None:
    champions = champions_of(train({"S": BEFORE}))
    row = train({"S": HEALTHY}, champions=champions)["S"]
    assert row["champion_status"] == "compared"
    model = pack.load_model(champions["store=S"]["model"], champions["store=S"]["model_digest"])
    test = np.column_stack([HEALTHY["a"], HEALTHY["b"]])[TRAINED:]
    assert row["champion_mae"] == pytest.approx(np.mean(np.abs(model.predict(test) - HEALTHY["y"][TRAINED:])))


@pytest.mark.parametrize(
    "days, status", [(TRAINED, "compared"), (TRAINED + 1, "stored"), (DAYS, "stored")], ids=["before", "one", "all"]
)
def test_champion_that_saw_a_row_of_the_holdout_has_the_metrics_of_its_own_training(days: int, status: str) -> None:
    champions = champions_of(train({"S": part(days, seed=2)}, cutoff=CUTOFF - timedelta(days=7)))
    champion = champions["store=S"]
    row = train({"S": HEALTHY}, champions=champions)["S"]
    assert row["champion_status"] == status
    stored = {name: row[f"champion_{name}"] for name in REGRESSION} == {name: champion[name] for name in REGRESSION}
    assert stored == (status == "stored")


def test_champion_that_saw_the_holdout_and_was_never_measured_is_not_comparable() -> None:
    champions = champions_of(train({"S": part(DAYS, seed=2)}))
    champions["store=S"] |= dict.fromkeys(REGRESSION)
    row = train({"S": HEALTHY}, champions=champions)["S"]
    assert (row["champion_status"], row["champion_mae"]) == ("not_comparable", None)


def test_champion_without_rows_to_compare_on_is_not_comparable() -> None:
    row = train({"S": part(20), "T": part(1)}, champions=champions_of(train({"S": BEFORE, "T": BEFORE})))
    assert {name: r["champion_status"] for name, r in row.items()} == {"S": "not_comparable", "T": "not_comparable"}


def test_champion_of_another_partition_is_none() -> None:
    row = train({"S": HEALTHY}, champions=champions_of(train({"T": BEFORE})))["S"]
    assert (row["champion_status"], row["champion_mae"]) == ("none", None)


def test_champion_that_does_not_predict_failed_and_the_challenger_is_trained() -> None:
    champions = champions_of(train({"S": BEFORE}))
    broken = models.Picky()
    broken.asked, broken.mean = models.PREDICT_RAISES, 0.0
    data, digest = pack.dump_model(broken)
    champions["store=S"] |= {"model": data, "model_digest": digest}
    row = train({"S": HEALTHY}, champions=champions)["S"]
    assert (row["status"], row["champion_status"], row["champion_mae"]) == ("trained", "failed", None)


def test_champion_whose_bytes_are_others_stops_the_bucket() -> None:
    champions = champions_of(train({"S": BEFORE}))
    champions["store=S"]["model"] += b"x"
    with pytest.raises(CorruptionError, match="it is not unpickled"):
        train({"S": HEALTHY}, champions=champions)


@pytest.mark.parametrize("features", [("b", "a"), ("b",)], ids=["another order", "fewer"])
def test_champion_is_measured_on_the_features_it_was_trained_with(features: tuple[str, ...]) -> None:
    champions = champions_of(train({"S": BEFORE}, spec(features=features)))
    row = train({"S": HEALTHY}, champions=champions)["S"]
    assert (row["status"], row["champion_status"]) == ("trained", "compared")
    model = pack.load_model(champions["store=S"]["model"], champions["store=S"]["model_digest"])
    test = np.column_stack([HEALTHY[name] for name in features])[TRAINED:]
    assert row["champion_mae"] == pytest.approx(np.mean(np.abs(model.predict(test) - HEALTHY["y"][TRAINED:])))


def test_champion_is_measured_with_the_code_it_was_trained_with() -> None:
    older = spec(model="author_features:build")
    champions = champions_of(train({"S": BEFORE}, older))
    row = train({"S": HEALTHY}, champions=champions)["S"]
    assert (row["status"], row["champion_status"]) == ("trained", "compared")
    assert row["champion_mae"] < row["baseline_mae"]


WIDER = SCHEMA.append(pa.field("gone", pa.float64()))


@pytest.mark.parametrize(
    "features, change, status, mae",
    [
        (("a", "gone"), {}, "stored", 0.25),
        (("a", "b"), {"features": "of no header"}, "stored", 0.25),
        (("a", "b"), {"code": "no_such_package:build"}, "failed", None),
    ],
    ids=["a column that the spec dropped", "inputs", "code"],
)
def test_champion_whose_features_or_code_are_gone_is_not_compared(
    features: tuple[str, ...], change: dict[str, str], status: str, mae: float | None
) -> None:
    before = {"S": {**BEFORE, "gone": BEFORE["b"]}}
    champions = champions_of(train(before, spec(features=features), schema=WIDER))
    champions["store=S"] |= change | {"mae": 0.25}
    row = train({"S": HEALTHY}, champions=champions)["S"]
    assert (row["status"], row["champion_status"], row["champion_mae"]) == ("trained", status, mae)


@pytest.mark.parametrize("same_code, status", [(True, "compared"), (False, "stored")])
def test_champion_with_features_of_code_that_changed_is_not_compared(same_code: bool, status: str) -> None:
    champions = champions_of(train({"S": BEFORE}, spec(model="author_features:build")))
    champions["store=S"]["mae"] = 9.5
    row = train({"S": HEALTHY}, champions=champions, same_code=same_code)["S"]
    assert (row["champion_status"], row["champion_mae"] == 9.5) == (status, status == "stored")


FLEET_PARTS = {f"S{n}": part(seed=n) for n in range(6)}
FOREST = spec(model="author_models:forest")


def digests(rows: dict[str, Row]) -> dict[str, tuple[str, str]]:
    return {name: (row["model_digest"], row["fingerprint"]) for name, row in rows.items()}


IN_ANOTHER_PROCESS = """
import json
from test_training_again import FLEET_PARTS, FOREST, digests
from training_bench import train
print(json.dumps(digests(train(FLEET_PARTS, FOREST))))
"""


def test_same_rows_give_the_same_models_again_and_in_another_process() -> None:
    first = digests(train(FLEET_PARTS, FOREST))
    assert len(set(first.values())) == len(FLEET_PARTS)
    assert digests(train(FLEET_PARTS, FOREST)) == first
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "17"}
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS], env=environment, check=True, capture_output=True, text=True
    )
    assert {name: tuple(pair) for name, pair in json.loads(done.stdout).items()} == first


def test_same_rows_give_the_same_pack_in_any_number_of_buckets(tmp_path: Path) -> None:
    packs = [train_in_lake(Lake(tmp_path), FLEET_PARTS, name=f"of{n}", buckets=n, of=FOREST) for n in (1, 4, 7)]
    assert len({made.header.digest for made in packs}) == 1
    assert [made.header.rows for made in packs] == [len(FLEET_PARTS)] * 3
    orders = [made.index(["partition", "model_digest"]).to_pylist() for made in packs]
    assert orders[0] == orders[1] == orders[2]


def test_champions_are_found_in_a_pack_of_another_number_of_buckets(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    older = {name: part(20, start=START - timedelta(days=30), seed=9) for name in list(FLEET_PARTS)[:4]}
    champion = train_in_lake(lake, older, name="older", buckets=3)
    made = train_in_lake(lake, FLEET_PARTS, name="newer", buckets=5, champion=champion)
    status = {row["store"]: row["champion_status"] for row in made.index(["store", "champion_status"]).to_pylist()}
    assert status == {name: "compared" if name in older else "none" for name in FLEET_PARTS}


def test_changed_row_changes_the_fingerprint_of_its_partition_alone() -> None:
    before = digests(train(FLEET_PARTS))
    changed = {**FLEET_PARTS, "S3": {**FLEET_PARTS["S3"], "b": [*FLEET_PARTS["S3"]["b"][:-1], 99.0]}}
    after = digests(train(changed))
    assert [name for name in before if before[name][1] != after[name][1]] == ["S3"]
