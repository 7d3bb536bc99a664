"""What comes later never reaches back: no feature, prediction, score or choice before a cutoff depends on what follows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from forecast_bench import (
    END,
    LAST,
    RIDGE,
    Part,
    bucket,
    groups_of,
    key,
    matrices,
    part,
    plan,
    problem,
    rows_of,
    sample,
    score,
    served,
    spec,
    train,
    train_in_lake,
)
from modelfleet import Candidate, Difference, Expanding, Features, FleetSpec, Lag, Rolling, Training
from modelfleet.lake import Lake
from modelfleet.series import PROBLEM
from modelfleet.training.selection import Trial, compete

ITEM = ("S", "I")
DAYS, HORIZON, FOLDS = 84, 7, 3
PAST = (
    Lag("y", 7, 14),
    Difference("y", 3),
    *(Rolling("y", 10, statistic) for statistic in ("mean", "sum", "min", "max", "std", "median", "count")),
    Expanding("y", "mean"),
    Lag("w", 8),
)
FEATURES = Features(past=(*PAST, Rolling("w", "7D", "mean")), known_ahead=("price",), calendar=("weekday",))
RECURSED = FEATURES.model_copy(update={"past": PAST})
OWN = "author_lags:build"


def fleet(*candidates: Candidate, **changes: Any) -> FleetSpec:
    training = Training(folds=FOLDS, min_rows=20, **changes.pop("training", {}))
    given = {"candidates": candidates or (Candidate(RIDGE),), "features": FEATURES, "training": training}
    return spec(**{**given, **changes})


FLEETS = {
    "direct": fleet(),
    "blocks": fleet(problem=problem(steps_per_model=1)),
    "recursive": fleet(problem=problem(strategy="recursive"), features=RECURSED),
    "forecaster": fleet(Candidate(LAST)),
    "the author's features": fleet(Candidate(OWN)),
    "gap": fleet(training={"gap": "4D"}),
}


def trials(given: Part, of: FleetSpec) -> dict[int, Any]:
    """Per fold, what the only candidate predicts and its score."""
    at = sample(given, of)
    trial: Trial = compete(at, at.plan.learners, metric="wape")[0]
    assert not trial.failures
    return {fold: (trial.predicted[fold].values.tolist(), trial.scores[fold]) for fold in range(at.folds)}


def changed_from(given: Part, row: int) -> Part:
    """Everything but what is known ahead is another from a row on: shuffled, scaled and moved."""
    draw = np.random.default_rng(row)
    later = {
        name: [*given[name][:row], *(100 - 3 * draw.permutation(given[name][row:])).tolist()] for name in ("y", "w")
    }
    return {**given, **later}


@pytest.mark.parametrize("name", FLEETS)
def test_prediction_of_a_fold_depends_on_nothing_from_its_start_on(name: str) -> None:
    given, of = part(DAYS, seed=1), FLEETS[name]
    before = trials(given, of)
    assert len(before) == FOLDS
    for fold in range(FOLDS):
        start = DAYS - HORIZON * (fold + 1)
        after = trials(changed_from(given, start), of)
        assert after[fold][0] == before[fold][0]
        assert after[fold][1] != before[fold][1], "the truth to measure it by is another"
        for earlier in range(fold + 1, FOLDS):
            assert after[earlier] == before[earlier]


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_features_depend_on_nothing_less_than_so_many_steps_before_their_row(ahead: int) -> None:
    given, of = part(DAYS, seed=1), fleet()
    before = matrices(given, of, ahead)
    for row in (20, 50, 76):
        after = matrices(changed_from(given, row), of, ahead)
        np.testing.assert_array_equal(after[: row + ahead], before[: row + ahead])
        if row + ahead < DAYS:
            assert (after[row + ahead] != before[row + ahead]).any()


def test_choice_depends_on_nothing_after_the_end() -> None:
    given = part(DAYS, seed=1)
    of = fleet(Candidate(RIDGE), Candidate(LAST), Candidate(RIDGE, params={"alpha": 50.0}, name="strong"))
    cutoff, week = END - timedelta(days=7), DAYS - 7
    rows = [train({ITEM: moved}, of, end=cutoff)[ITEM] for moved in (given, changed_from(given, week))]
    for row in rows:
        row |= {"fit_seconds": None, "candidates": without_seconds(row["candidates"])}
    assert repr(rows[0]) == repr(rows[1])
    alone = train({ITEM: {name: values[:week] for name, values in given.items()}}, of, end=cutoff)[ITEM]
    assert (alone["model_digest"], alone["fingerprint"]) == (rows[0]["model_digest"], rows[0]["fingerprint"])
    assert alone["candidate"] == rows[0]["candidate"]


def without_seconds(text: str) -> Any:
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in json.loads(text)]


@pytest.mark.parametrize(
    "fill", [lambda n: 1e6 + n, lambda n: float("inf"), lambda n: None], ids=["numbers", "infinity", "null"]
)
def test_targets_after_the_end_change_neither_model_nor_forecast(fill: Callable[[int], Any], tmp_path: Path) -> None:
    of = fleet(Candidate(RIDGE), problem=problem(quantiles=(0.1, 0.9)))
    given = part(DAYS, seed=1, ahead=HORIZON)
    # By now the warehouse knows the week after the end too.
    late_targets = [*given["y"][:DAYS], *(fill(n) for n in range(HORIZON))]
    known, more = {ITEM: given}, {ITEM: {**given, "y": late_targets}}
    plain, late = train(known, of)[ITEM], train(more, of)[ITEM]
    assert (plain["model_digest"], plain["fingerprint"]) == (late["model_digest"], late["fingerprint"])
    made = train_in_lake(Lake(tmp_path), known, of, name="one")
    (one, _), (other, outcomes) = score(made, known), score(made, more)
    assert one.equals(other)
    assert outcomes[key(ITEM)]["outcome"] == "scored"
    assert bucket(more, of, future=HORIZON).column(PROBLEM).null_count == DAYS + HORIZON


def test_models_over_many_partitions_know_no_members_future(tmp_path: Path) -> None:
    parts = {("S", item): part(DAYS - 7 * n, seed=n) for n, item in enumerate("abc")}
    # Only the last one's holdout is another: no prediction of any holdout may change by it.
    other = {**parts, ("S", "c"): changed_from(parts["S", "c"], len(parts["S", "c"]["y"]) - HORIZON)}
    of = spec(
        candidates=(Candidate(RIDGE, scope="fleet", name="global"),),
        training=Training(folds=2, min_rows=20, fallback=("item", "fleet", "baseline"), refit=False),
    )
    packs = [train_in_lake(Lake(tmp_path), given, of, name=f"n{n}") for n, given in enumerate((parts, other))]
    digests = [
        {(row["level"], row["partition"]): row["model_digest"] for row in groups_of(made).rows} for made in packs
    ]
    assert digests[0] == digests[1]
    rows = [rows_of(made) for made in packs]
    for names in parts:
        one, two = (each[key(names)] for each in rows)
        same = [name for name in one if name.split("_")[-1] in ("mae", "wape") and one[name] is not None]
        assert len(same) == 6
        assert all((one[name] == two[name]) == (names != ("S", "c")) for name in same)
    known = {names: {**given, "y": [*given["y"][:-HORIZON], *[None] * HORIZON]} for names, given in parts.items()}
    forecasts = [score(made, known, end=END - timedelta(days=7))[0] for made in packs]
    assert forecasts[0].equals(forecasts[1])
    assert None not in served(forecasts[0], ("S", "a"))


def test_categories_are_of_the_values_that_training_saw() -> None:
    of = spec(features=Features(static=("kind",), categorical=("kind",), calendar=("weekday",)))
    settled = plan(of, {ITEM: part(DAYS, kind="plain")})
    recipe = settled.inputs.recipe
    assert recipe is not None
    assert recipe.categories == {"kind": ("plain",)}
    unseen = bucket({ITEM: part(DAYS, kind="new")}, of)
    column = recipe.compute(unseen, np.zeros(1, np.int64), time="day")[:, 0]
    assert set(column) == {-1.0}
    assert pa.types.is_string(unseen.schema.field("kind").type)
