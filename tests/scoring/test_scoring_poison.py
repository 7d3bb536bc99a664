"""Models that misbehave when they predict, among healthy ones: each costs its own partition, which its baseline serves."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelfleet import Candidate, Training, pack
from modelfleet.group_models import GroupModels
from modelfleet.guard import Limits
from modelfleet.lake import Lake
from modelfleet.scoring import Scorer, predict_table
from training_bench import bucket, key, part, spec, train_in_lake

sys.path.insert(0, str(Path(__file__).parents[1] / "guard"))
import misbehaviour

LIMITS = Limits(1.0, 256 << 20)
POISON: dict[str, tuple[Any, str]] = {
    "loops": (misbehaviour.python_loop, "timeout: still running after 1 s"),
    "hangs": (misbehaviour.native_loop, "timeout: still running after 1 s"),
    "exits": (lambda: os._exit(0), "crashed: ended its process with exit status 0"),
    "crashes": (misbehaviour.segfault, "crashed: killed by SIGSEGV"),
    "grows": (misbehaviour.huge_numpy, "memory_exceeded: predict raised MemoryError"),
    "prints": (misbehaviour.print_a_gigabyte, "output_exceeded: printed more than the 16 MB"),
    "raises": (lambda: 1 / 0, "predict raised ZeroDivisionError"),
}
OTHERS = ("H1", "H2", "H3")


class Moody:
    """Misbehaves when it predicts; healthy where it has no kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def predict(self, x: Any) -> Any:
        POISON[self.kind][0]()
        return np.zeros(len(x))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pack.Pack:
    parts = {name: part(seed=place) for place, name in enumerate((*POISON, *OTHERS))}
    candidates, training = (
        (Candidate("author_forecasters:ridge"),),
        Training(min_rows=5, fallback=("fleet", "baseline")),
    )
    of = spec(model=None, candidates=candidates, training=training)
    return train_in_lake(Lake(tmp_path_factory.mktemp("lake")), parts, name="poison", buckets=1, of=of)


def poisoned(made: pack.Pack, *, level: bool) -> tuple[dict[str, Any], GroupModels]:
    """The pack's rows with misbehaving models; with `level`, the fleet's model hangs too."""
    found = {row["partition"]: row for row in made.rows(0, 1 << 64).to_pylist()}
    for kind in POISON:
        row = found[key(kind)]
        row[pack.MODEL], row["model_digest"] = pack.dump_model(Moody(kind))
    table = made.groups()
    assert table is not None
    groups = table.to_pylist()
    for row in groups if level else ():
        row[pack.MODEL], row["model_digest"] = pack.dump_model(Moody("hangs"))
    return found, GroupModels.of(groups)


@pytest.mark.parametrize("level", [False, True], ids=["a level serves", "the level hangs too"])
def test_misbehaving_model_costs_its_own_partition(made: pack.Pack, level: bool) -> None:
    table = bucket({name: part(4, seed=place) for place, name in enumerate((*POISON, *OTHERS))})
    kinds = {kind for kind in POISON if not level or kind in ("exits", "raises")}
    table = table.filter(np.isin(table.column("store").to_pylist(), [*kinds, *OTHERS]))
    rows, groups = poisoned(made, level=level)
    healthy, of_healthy = predict_table(
        Scorer(made.header, groups), rows, table.filter(np.isin(table.column("store").to_pylist(), OTHERS))
    )

    predictions, outcomes = predict_table(Scorer(made.header, groups), rows, table, LIMITS)

    told = {row["partition"]: row for row in outcomes.to_pylist()}
    got = {row["partition"]: row for row in predictions.to_pylist()}
    for row in of_healthy.to_pylist():
        assert told[row["partition"]] == row
    assert [row for row in predictions.to_pylist() if row["store"] in OTHERS] == healthy.to_pylist()
    for kind in kinds:
        assert told[key(kind)]["outcome"] == "failed"
        assert told[key(kind)]["rows"] == 4
        # What raises is still in its process when the level's model hangs there.
        expected = POISON["hangs" if level and kind == "raises" else kind][1]
        assert told[key(kind)]["message"].startswith(expected)
        assert got[key(kind)]["source"] == ("baseline" if level else "fleet")
        assert got[key(kind)]["prediction"] is not None
        if level:
            assert "timeout: still running" in told[key(kind)]["message"]
