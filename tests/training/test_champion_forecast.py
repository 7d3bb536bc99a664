"""The champion of a forecast fleet beside a challenger: on the same steps, where it has not seen them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast_bench import (
    END,
    LAST,
    RIDGE,
    Part,
    Row,
    key,
    part,
    problem,
    rows_of,
    score,
    served,
    spec,
    train,
    train_in_lake,
)
from modelfleet import Candidate, Features, FleetSpec, Lag, Training
from modelfleet.lake import Lake
from modelfleet.metric_names import FORECAST
from modelfleet.metrics import forecast, scale

ITEM = ("S", "I")
LATER = END + timedelta(days=7)
GROWN = part(91, seed=1, end=LATER)
QUANTILES = (0.1, 0.9)


def until(days: int) -> Part:
    """The series as it was so many days before its end."""
    return {name: values[: len(values) - days] for name, values in GROWN.items()}


def champion(of: FleetSpec, days: int = 7) -> dict[str, Row]:
    """The models of a training so many days before."""
    row = train({ITEM: until(days)}, of, end=LATER - timedelta(days=days))[ITEM]
    assert row["status"] == "trained", row["message"]
    return {row["partition"]: row}


def challenger(of: FleetSpec, champions: dict[str, Row]) -> Row:
    return train({ITEM: GROWN}, of, end=LATER, champions=champions)[ITEM]


def fleet(path: str = RIDGE, **changes: Any) -> FleetSpec:
    return spec(candidates=(Candidate(path),), **{"training": Training(folds=3, min_rows=20), **changes})


@pytest.mark.parametrize("path", [RIDGE, LAST, "statsforecast.models:Naive"])
def test_champion_is_measured_on_the_steps_after_it(path: str, tmp_path: Path) -> None:
    of = fleet(path, problem=problem(quantiles=QUANTILES))
    row = challenger(fleet(), champion(of))
    assert row["champion_status"] == "compared"
    # What it forecast when it was new: by scoring on the last day before the holdout.
    made = train_in_lake(Lake(tmp_path), {ITEM: until(7)}, of, name="one")
    known = {ITEM: {**GROWN, "y": [*GROWN["y"][:-7], *[None] * 7]}}
    predictions, _ = score(made, known)
    y = np.array(GROWN["y"])
    expected = forecast(y[-7:], served(predictions, ITEM), scale=scale(y[:-7], 7))
    assert {name: row[f"champion_{name}"] for name in expected} == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("days, status", [(8, "compared"), (7, "compared"), (6, "stored"), (1, "stored")])
def test_champion_that_saw_a_step_of_the_holdout_has_the_metrics_of_its_own_training(days: int, status: str) -> None:
    champions = champion(fleet(), days)
    row = challenger(fleet(), champions)
    assert row["champion_status"] == status
    stored = [row[f"champion_{name}"] == champions[key(ITEM)][name] for name in ("mae", "wape", "mase")]
    assert stored == [status == "stored"] * 3


def test_champion_is_measured_with_the_features_it_was_trained_with() -> None:
    older = fleet(features=Features(past=(Lag("y", 14),), calendar=("weekday",)))
    row = challenger(fleet(), champion(older))
    assert row["champion_status"] == "compared"
    assert row["champion_wape"] != row["wape"]


class TestOtherProblem:
    """The spec asks for something else than when the champion was trained."""

    def test_champion_of_a_shorter_horizon_is_not_comparable(self) -> None:
        longer = fleet(problem=problem(horizon=14), features=Features(past=(Lag("y", 14),)))
        shorter = fleet(features=Features(past=(Lag("y", 14),)))
        row = challenger(longer, champion(shorter, 14))
        assert (row["status"], row["champion_status"]) == ("trained", "not_comparable")
        assert {row[f"champion_{name}"] for name in FORECAST} == {None}

    def test_metrics_of_another_horizon_are_not_stored_beside_its_own(self) -> None:
        features = Features(past=(Lag("y", 14),))
        longer = fleet(problem=problem(horizon=14), features=features)
        row = challenger(longer, champion(fleet(features=features), 6))
        assert (row["status"], row["champion_status"], row["champion_mae"]) == ("trained", "not_comparable", None)

    def test_champion_of_a_shorter_horizon_that_needs_none_is_compared(self) -> None:
        row = challenger(
            fleet(LAST, problem=problem(horizon=14), features=Features(calendar=("day",))), champion(fleet(LAST), 14)
        )
        assert row["champion_status"] == "compared"

    def test_champion_of_a_longer_horizon_is_compared(self) -> None:
        features = Features(past=(Lag("y", 14),))
        longer = fleet(problem=problem(horizon=14), features=features)
        row = challenger(fleet(features=features), champion(longer))
        assert row["champion_status"] == "compared"

    def test_champion_of_other_quantiles_is_compared_without_them(self) -> None:
        champions = champion(fleet(problem=problem(quantiles=(0.1, 0.5, 0.9))))
        row = challenger(fleet(problem=problem(quantiles=QUANTILES)), champions)
        assert row["champion_status"] == "compared"
        assert np.isnan([row["champion_pinball"], row["champion_coverage"]]).all()
        assert np.isfinite([row["pinball"], row["champion_mae"]]).all()

    def test_kept_champion_serves_no_quantiles_that_are_others(self, tmp_path: Path) -> None:
        older, newer = (fleet(problem=problem(quantiles=q)) for q in ((0.1, 0.5, 0.9), QUANTILES))
        packs = [
            train_in_lake(Lake(tmp_path), {ITEM: until(7)}, of, name=f"n{n}") for n, of in enumerate((older, newer))
        ]
        known = {ITEM: {**GROWN, "y": [*GROWN["y"][:-7], *[None] * 7]}}
        (kept, _), (own, _) = (score(packs[1], known, rows=rows_of(made)) for made in packs)
        assert served(kept, ITEM) == served(own, ITEM)
        assert served(kept, ITEM, "q90") == [None] * 7
        assert None not in served(own, ITEM, "q90")

    def test_kept_champion_of_a_shorter_horizon_says_so_and_the_baseline_serves(self, tmp_path: Path) -> None:
        features = Features(past=(Lag("y", 14),))
        older, newer = fleet(features=features), fleet(problem=problem(horizon=14), features=features)
        packs = [
            train_in_lake(Lake(tmp_path), {ITEM: until(14)}, of, name=f"n{n}", end=END - timedelta(days=7))
            for n, of in enumerate((older, newer))
        ]
        known = {ITEM: {**GROWN, "y": [*GROWN["y"][:-14], *[None] * 14]}}
        predictions, outcomes = score(packs[1], known, rows=rows_of(packs[0]), end=END - timedelta(days=7))
        assert set(served(predictions, ITEM, "source")) == {"baseline"}
        told = outcomes[key(ITEM)]
        assert (told["outcome"], told["message"]) == ("failed", "it was fitted for 7 steps ahead; 14 are asked for")
