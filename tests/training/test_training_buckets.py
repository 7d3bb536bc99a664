"""The same partitions in any number of buckets give the same choices, scores, models and groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import training_bench as shops
from forecast_bench import LAST, RIDGE, Row, part, plan, problem, rows_of, spec, train, train_in_lake
from modelfleet import Candidate, Features, FleetSpec, Training, keys, pack
from modelfleet.lake import Lake

IMPUTED = "author_forecasters:imputed_ridge"
PARTS = {
    (store, item): part(60 + 3 * n, seed=n, level=10.0 + 5.0 * n)
    for n, (store, item) in enumerate((store, item) for store in "ABCD" for item in "xyz")
} | {("A", "short"): part(12, seed=20), ("B", "gone"): part(40, seed=21, y=None)}
CANDIDATES = (
    Candidate(RIDGE, grid={"alpha": (0.1, 1.0, 10.0)}),
    Candidate(LAST),
    Candidate(IMPUTED, scope="fleet", name="global"),
    Candidate("author_forecasters:moody", name="moody"),
)
FLEETS = {
    "folds": spec(
        candidates=CANDIDATES, training=Training(folds=3, min_rows=20, fallback=("item", "fleet", "baseline"))
    ),
    "halving": spec(candidates=CANDIDATES, training=Training(folds=3, min_rows=20, halving=True)),
    "quantiles": spec(
        candidates=CANDIDATES[:3], problem=problem(quantiles=(0.1, 0.9)), training=Training(folds=3, min_rows=20)
    ),
}


def without_times(row: Row) -> dict[str, Any]:
    """A row but for how long things took, and in which attempt."""
    trials = [] if row["candidates"] is None else json.loads(row["candidates"])
    for trial in trials:
        trial.pop("seconds")
    timed = {"fit_seconds": 0, "trained_attempt": "", "candidates": trials}
    return {name: repr(value) for name, value in (row | timed).items()}


def listed(made: pack.Pack) -> tuple[dict[str, Any], dict[Any, Any]]:
    groups = made.groups()
    rows = [] if groups is None else groups.to_pylist()
    return (
        {name: without_times(row) for name, row in rows_of(made).items()},
        {(row["level"], row["partition"]): without_times(row) for row in rows},
    )


@pytest.mark.parametrize("name", FLEETS)
def test_rows_and_groups_are_the_same_in_any_number_of_buckets(name: str, tmp_path: Path) -> None:
    of = FLEETS[name]
    packs = [train_in_lake(Lake(tmp_path), PARTS, of, name=f"of{n}", buckets=n) for n in (1, 2, 5, 16)]
    first = listed(packs[0])
    assert len(first[0]) == len(PARTS)
    assert all(listed(made) == first for made in packs[1:])
    assert len({made.header.digest for made in packs}) == 1
    assert len({row["candidate"] for row in first[0].values() if row["status"] == "'trained'"}) > 1


def test_partition_is_trained_alone_as_among_others() -> None:
    of = spec(candidates=CANDIDATES[:2], training=Training(folds=3, min_rows=20))
    together = train(PARTS, of)
    for names in (("A", "x"), ("D", "z")):
        alone = train({names: PARTS[names]}, of)[names]
        assert without_times(alone) == without_times(together[names])


def test_tabular_candidates_are_chosen_alike_too(tmp_path: Path) -> None:
    parts = {f"S{n}": shops.part(30 + n, seed=n) for n in range(9)}
    candidates = (
        Candidate("author_models:forest"),
        Candidate("author_models:picky"),
        Candidate(RIDGE, grid={"alpha": (1.0, 100.0)}),
    )
    features = Features(known_ahead=("a", "b"), calendar=("weekday",))
    of: FleetSpec = shops.spec(
        model=None, candidates=candidates, features=features, training=Training(min_rows=5, holdout="5D", folds=3)
    )
    packs = [shops.train_in_lake(Lake(tmp_path), parts, name=f"of{n}", buckets=n, of=of) for n in (1, 3, 8)]
    assert listed(packs[0]) == listed(packs[1]) == listed(packs[2])
    assert len({made.header.digest for made in packs}) == 1


def test_buckets_hold_each_partition_once(tmp_path: Path) -> None:
    made = train_in_lake(Lake(tmp_path), PARTS, FLEETS["halving"], name="one", buckets=5)
    found = made.index(["partition"]).column("partition").to_pylist()
    assert found == sorted(found, key=keys.hash_of)
    assert len(found) == len(set(found)) == len(PARTS)


class TestPlan:
    """What a training's result depends on, as its fingerprint has it."""

    OF = spec(candidates=CANDIDATES, training=Training(folds=3, min_rows=20))

    @pytest.mark.parametrize(
        "changed",
        [
            spec(candidates=CANDIDATES[:2], training=OF.training),
            spec(candidates=CANDIDATES[::-1], training=OF.training),
            spec(candidates=CANDIDATES, training=OF.training.model_copy(update={"folds": 2})),
            spec(candidates=CANDIDATES, training=OF.training.model_copy(update={"gap": "2D"})),
            spec(candidates=CANDIDATES, training=OF.training.model_copy(update={"halving": True})),
            spec(candidates=CANDIDATES, training=OF.training.model_copy(update={"weight": "w"})),
            spec(candidates=CANDIDATES, training=OF.training.model_copy(update={"min_rows": 21})),
            spec(candidates=CANDIDATES, training=OF.training.model_copy(update={"refit": False})),
            spec(candidates=CANDIDATES, training=OF.training.model_copy(update={"select_by": "mae"})),
            spec(candidates=CANDIDATES, training=OF.training.model_copy(update={"fallback": ("item", "baseline")})),
            spec(candidates=CANDIDATES, training=OF.training, problem=problem(horizon=6)),
            spec(candidates=CANDIDATES, training=OF.training, problem=problem(quantiles=(0.5,))),
            spec(candidates=CANDIDATES, training=OF.training, problem=problem(baseline="last")),
            spec(candidates=CANDIDATES, training=OF.training, features=Features(calendar=("weekday",))),
        ],
        ids=lambda _: "",
    )
    def test_content_differs_with_whatever_changes_the_result(self, changed: FleetSpec) -> None:
        before, after = (json.dumps(plan(of, PARTS).content()) for of in (self.OF, changed))
        assert before != after

    def test_content_is_the_same_of_the_same_spec_in_another_attempt(self) -> None:
        one, other = (plan(self.OF, PARTS, attempt=attempt).content() for attempt in ("a", "b"))
        assert json.dumps(one) == json.dumps(other)

    def test_inputs_have_the_keys_only_where_models_span_partitions(self) -> None:
        alone = plan(spec(candidates=CANDIDATES[:1]), PARTS)
        assert alone.shared_inputs == alone.inputs
        spanning = plan(self.OF, PARTS)
        assert (spanning.inputs.recipe, spanning.shared_inputs.recipe) != (None, None)
        assert spanning.shared_inputs.id != spanning.inputs.id
        assert {"store", "item"} <= set(spanning.shared_inputs.needs)
        assert not {"store", "item"} & set(spanning.inputs.needs)


def test_random_states_follow_from_the_key() -> None:
    candidates = (Candidate("author_models:forest"),)
    one, other = (
        shops.train({"S": shops.part(seed=1)}, shops.spec(model=None, candidates=candidates))["S"] for _ in "ab"
    )
    assert one["model_digest"] == other["model_digest"]
    named = shops.train({"T": shops.part(seed=1)}, shops.spec(model=None, candidates=candidates))["T"]
    assert named["model_digest"] != one["model_digest"]
    assert np.isfinite(named["mae"])
