"""Partitions whose models misbehave, in a bucket of healthy ones: each costs itself alone, and its row says why."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from sklearn.linear_model import LinearRegression

from modelfleet.guard import Limits
from modelfleet.training import BucketTrainer
from training_bench import INPUTS, KEY_FIELDS, bucket, codes_of, part, plan

sys.path.insert(0, str(Path(__file__).parents[1] / "guard"))
import misbehaviour

POISON = {
    "loops": (misbehaviour.python_loop, "timeout", "still running after 1 s; per_model allows seconds=1"),
    "hangs": (misbehaviour.native_loop, "timeout", "still running after 1 s"),
    "exits": (lambda: os._exit(0), "crashed", "ended its process with exit status 0"),
    "crashes": (misbehaviour.segfault, "crashed", "killed by SIGSEGV"),
    "grows": (misbehaviour.huge_numpy, "memory_exceeded", "needed more memory than the 256 MB that per_model allows"),
    "prints": (misbehaviour.print_a_gigabyte, "output_exceeded", "printed more than the 16 MB"),
    "raises": (lambda: 1 / 0, "fit_raised", "ZeroDivisionError"),
}


class Poisoned(LinearRegression):
    """Misbehaves where the feature `a` says so."""

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Poisoned:
        kind = int(x[0, 0]) - 1000
        if kind >= 0:
            list(POISON.values())[kind][0]()
        return super().fit(x, y, sample_weight)


def build() -> Poisoned:
    return Poisoned()


def test_poison_costs_its_own_partition_and_its_row_says_why() -> None:
    parts = {f"H{n}": part(seed=n) for n in range(20)}
    for number, name in enumerate(POISON):
        given = part(seed=100 + number)
        given["a"] = [1000.0 + number] * len(given["a"])
        parts[name] = given
    settled = plan()
    codes = {name: type(code)(**{**code.__dict__, "build": build}) for name, code in codes_of(settled).items()}
    guarded = BucketTrainer(settled, codes, {}, INPUTS, limits=Limits(1.0, 256 << 20))
    rows = {row["store"]: row for row in guarded.rows(bucket(parts), KEY_FIELDS).to_pylist()}
    plain = BucketTrainer(settled, codes, {}, INPUTS)
    healthy = {name: given for name, given in parts.items() if name not in POISON}
    expected = {row["store"]: row for row in plain.rows(bucket(healthy), KEY_FIELDS).to_pylist()}
    for name, row in expected.items():
        assert {**rows[name], "fit_seconds": 0, "candidates": 0} == {**row, "fit_seconds": 0, "candidates": 0}
    for name, (_, reason, message) in POISON.items():
        row = rows[name]
        assert (row["status"], row["reason"], row["serves"]) == ("failed", reason, "baseline")
        assert row["message"].startswith(message)
        assert row["baseline_value"] is not None
        assert row["n_rows"] == len(parts[name]["a"])
        assert row["n_train"] > 0
        assert row["fingerprint"]
