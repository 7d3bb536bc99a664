"""Rows of one partition as candidates meet them: folds in time, the gap, weights, features that look back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelfleet import Candidate, Features, FleetSpec, Lag, Regression, Rolling, Training, keys, pack
from modelfleet.matrices import Bucket
from modelfleet.training.tabular import TabularSample
from training_bench import (
    CUTOFF,
    DAYS,
    SCHEMA,
    START,
    TRAINED,
    Part,
    Row,
    bucket,
    classification,
    codes_of,
    part,
    plan,
    spec,
    train,
)

GIVEN = part(seed=1)
X, Y = np.column_stack([GIVEN["a"], GIVEN["b"]]), np.array(GIVEN["y"])
RIDGE = "author_forecasters:ridge"
WEIGHTS = np.linspace(0.1, 3.0, DAYS)
WEIGHTED = {**GIVEN, "w": WEIGHTS.tolist()}
WITH_WEIGHT = SCHEMA.append(SCHEMA.field("a").with_name("w"))


def fleet(candidates: tuple[Candidate, ...] = (Candidate(RIDGE),), **training: Any) -> FleetSpec:
    changes = {name: training.pop(name) for name in ("features", "problem") if name in training}
    return spec(model=None, candidates=candidates, training=Training(**{"min_rows": 5, **training}), **changes)


def sample(given: Part, of: FleetSpec, cutoff: datetime = CUTOFF) -> TabularSample:
    settled = plan(of, cutoff=cutoff)
    rows = Bucket(bucket({"S": given}), "day", ("store", "day"))
    return TabularSample(keys.encode(["store"], ["S"]), rows, 0, settled, codes_of(settled), lambda *_: None)


def model_of(row: Row) -> Any:
    return pack.load_model(row["model"], row["model_digest"])


class TestFolds:
    @pytest.mark.parametrize(
        "given, training, spans",
        [
            pytest.param(GIVEN, {}, [(28, 28, 40)], id="the holdout to its end"),
            pytest.param(GIVEN, {"gap": "3D"}, [(25, 28, 40)], id="gap"),
            pytest.param(
                GIVEN,
                {"holdout": "7D", "folds": 4, "gap": "1D"},
                [(27, 28, 40), (20, 21, 28), (13, 14, 21), (6, 7, 14)],
                id="several",
            ),
            pytest.param(
                GIVEN, {"holdout": "7D", "folds": 9}, [(28, 28, 40), (21, 21, 28), (14, 14, 21), (7, 7, 14)], id="too many"
            ),
            pytest.param(
                GIVEN, {"holdout": "7D", "folds": 5, "gap": "9D"}, [(19, 28, 40), (12, 21, 28), (5, 14, 21)], id="long gap"
            ),
            pytest.param(part(20), {"holdout": "7D", "folds": 3}, [(20, 20, 20)], id="ended before the second fold"),
            pytest.param(part(25), {"holdout": "7D", "folds": 3}, [(25, 25, 25), (21, 21, 25), (14, 14, 21)], id="no holdout"),
            pytest.param(part(6, start=CUTOFF - timedelta(3)), {"holdout": "7D", "folds": 3}, [(3, 3, 6)], id="young"),
        ],
    )  # fmt: skip
    def test_are_stretches_of_time_of_which_those_without_rows_and_what_is_before_are_left_out(
        self, given: Part, training: dict[str, Any], spans: list[tuple[int, int, int]]
    ) -> None:
        made = sample(given, fleet(**training))
        assert [made.span(fold) for fold in range(made.folds)] == spans

    def test_are_of_the_same_elapsed_length_where_clocks_change(self) -> None:
        start = datetime(2013, 3, 30, tzinfo=UTC)  # Europe's clocks change on the 31st
        given = {**part(48), "day": [start + timedelta(hours=n) for n in range(48)]}
        of = spec(
            model=None,
            candidates=(Candidate(RIDGE),),
            timezone="Europe/Berlin",
            training=Training(holdout="6h", folds=3, min_rows=5),
        )
        cutoff = datetime.fromisoformat("2013-03-31T04:00+02:00")
        made = sample(given, of, cutoff)
        assert [made.span(fold) for fold in range(3)] == [(26, 26, 48), (20, 20, 26), (14, 14, 20)]

    def test_without_rows_in_the_holdout_are_selected_by_the_others(self) -> None:
        of = fleet((Candidate("author_models:picky", name="mean"), Candidate(RIDGE)), holdout="7D", folds=3)
        row = train({"S": part(25, seed=1)}, of)["S"]
        assert (row["status"], row["candidate"], row["n_test"]) == ("trained", "ridge", 0)
        assert (row["mae"], row["baseline_status"], row["fallback_status"]) == (None, "none", "none")
        told = json.loads(row["candidates"])[1]
        assert (
            told["folds"]["0"],
            told["score"] == pytest.approx(np.mean([told["folds"]["1"], told["folds"]["2"]])),
        ) == (None, True)


def test_each_fold_is_fitted_on_the_rows_before_its_gap() -> None:
    row = train({"S": GIVEN}, fleet(holdout="7D", folds=3, gap="2D"))["S"]
    errors = {}
    for fold, (fit_end, start, end) in enumerate([(26, 28, 40), (19, 21, 28), (12, 14, 21)]):
        predicted = Ridge().fit(X[:fit_end], Y[:fit_end]).predict(X[start:end])
        errors[str(fold)] = np.abs(predicted - Y[start:end]).mean()
    (told,) = json.loads(row["candidates"])
    assert told["folds"] == pytest.approx(errors, rel=1e-9)
    assert row["mae"] == pytest.approx(errors["0"], rel=1e-9)
    assert (row["n_train"], row["n_test"], row["n_folds"]) == (26, 12, 3)


class TestWeights:
    def test_reach_the_estimator_before_the_holdout_and_when_fitted_again(self) -> None:
        row = train({"S": WEIGHTED}, fleet(weight="w"), schema=WITH_WEIGHT)["S"]
        before = Ridge().fit(X[:TRAINED], Y[:TRAINED], sample_weight=WEIGHTS[:TRAINED])
        assert row["mae"] == pytest.approx(np.abs(before.predict(X[TRAINED:]) - Y[TRAINED:]).mean(), rel=1e-9)
        again = Ridge().fit(X, Y, sample_weight=WEIGHTS)
        np.testing.assert_allclose(model_of(row).coef_, again.coef_, rtol=1e-9)

    def test_reach_the_last_step_of_a_pipeline(self) -> None:
        candidates = (Candidate("author_models:scaled"),)
        row = train({"S": WEIGHTED}, fleet(candidates, weight="w"), schema=WITH_WEIGHT)["S"]
        again = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y, linearregression__sample_weight=WEIGHTS)
        np.testing.assert_allclose(model_of(row)[-1].coef_, again[-1].coef_, rtol=1e-9)

    def test_that_an_estimator_takes_none_of_fail_it_by_name(self) -> None:
        candidates = (Candidate("author_models:picky"), Candidate(RIDGE))
        rows = train({"S": WEIGHTED}, fleet(candidates, weight="w"), schema=WITH_WEIGHT)
        assert rows["S"]["candidate"] == "ridge"
        assert "Picky takes no sample_weight" in rows["S"]["candidates"]

    @pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), -1e-9], ids=str)
    def test_that_can_not_be_used_fail_their_partition_alone(self, bad: float | None) -> None:
        wrong = {**WEIGHTED, "w": [*WEIGHTED["w"][:-1], bad]}
        rows = train({"S": wrong, "T": WEIGHTED}, fleet(weight="w"), schema=WITH_WEIGHT)
        assert (rows["S"]["status"], rows["S"]["reason"]) == ("failed", "bad_weight")
        assert rows["S"]["message"] == "weight 'w' is null, not finite or negative in 1 of 40 rows"
        assert rows["T"]["status"] == "trained"

    def test_of_rows_without_a_target_do_not_matter(self) -> None:
        y = [None if n == 3 else value for n, value in enumerate(GIVEN["y"])]
        w = [None if n == 3 else value for n, value in enumerate(WEIGHTED["w"])]
        row = train({"S": {**WEIGHTED, "y": y, "w": w}}, fleet(weight="w"), schema=WITH_WEIGHT)["S"]
        kept = np.arange(DAYS) != 3
        np.testing.assert_allclose(
            model_of(row).coef_, Ridge().fit(X[kept], Y[kept], sample_weight=WEIGHTS[kept]).coef_, rtol=1e-9
        )


def test_features_that_look_back_are_made_of_all_rows_and_fitted_from_the_first_that_has_them() -> None:
    y = [None if n in (10, 30) else value for n, value in enumerate(GIVEN["y"])]
    of = fleet(features=Features(known_ahead=("a",), past=(Lag("b", 2), Rolling("b", 3, "mean", min_count=1))))
    row = train({"S": {**GIVEN, "y": y}}, of)["S"]
    target, b = pd.Series(y, dtype=float), pd.Series(GIVEN["b"])
    x = np.column_stack([GIVEN["a"], b.shift(2), b.shift(1).rolling(3, min_periods=1).mean()])
    rows = np.flatnonzero(target.notna())
    fit, test = rows[(rows >= 2) & (rows < TRAINED)], rows[rows >= TRAINED]
    predicted = Ridge().fit(x[fit], target[fit]).predict(x[test])
    assert row["mae"] == pytest.approx(np.abs(predicted - target[test]).mean(), rel=1e-9)
    assert (row["n_train"], row["n_test"]) == (TRAINED - 1, len(test))


def test_features_that_need_more_rows_than_there_are_skip_it_by_saying_so() -> None:
    of = fleet(features=Features(past=(Lag("b", TRAINED),)))
    row = train({"S": GIVEN}, of)["S"]
    assert (row["status"], row["reason"]) == ("skipped", "no_rows_before_cutoff")
    assert row["message"].startswith(f"no row of {TRAINED} has all features that look back")


@pytest.mark.parametrize(
    "problem, select_by, winner",
    [
        (Regression(target="y"), "mae", "mean"),
        (Regression(target="y"), "rmse", "ridge"),
        (Regression(target="y"), "r2", "ridge"),
        (Regression(target="y"), "cost", "mean"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_candidate_is_picked_by_the_metric_that_the_spec_names(problem: Any, select_by: str, winner: str) -> None:
    # Two outliers in the holdout, which only the ridge foresees, at the price of an error everywhere.
    y, a = np.zeros(DAYS), np.zeros(DAYS)
    y[:TRAINED] = np.resize([-1.0, 1.0], TRAINED)
    a[:TRAINED] = y[:TRAINED]
    a[TRAINED:] = 0.3
    y[TRAINED], a[TRAINED] = 3.0, 3.0
    given = {**GIVEN, "a": a.tolist(), "b": [0.0] * DAYS, "y": y.tolist()}
    of = fleet(
        (Candidate("author_models:picky", name="mean"), Candidate(RIDGE)),
        problem=problem,
        select_by=select_by,
        metrics=("cost",),
    )

    def cost(y_true: np.ndarray, y_pred: np.ndarray, frame: pd.DataFrame) -> dict[str, float]:
        assert len(frame) == len(y_true)
        return {"cost": float(np.median(np.abs(y_true - y_pred)))}

    row = train({"S": given}, of, metrics=cost)["S"]
    assert (row["candidate"], json.loads(row["candidates"])[0]["score"] is not None) == (winner, True)


def test_classifiers_compete_by_their_probabilities() -> None:
    y = (2 * X[:, 0] - X[:, 1] > 0).astype(float)
    given = {**GIVEN, "y": y.tolist()}
    of = classification().model_copy()
    candidates = (Candidate("author_models:share"), Candidate("author_models:logistic", name="logistic"))
    row = train(
        {"S": given}, spec(problem=of.problem, model=None, candidates=candidates, training=Training(min_rows=5))
    )["S"]
    assert row["candidate"] == "logistic"
    expected = LogisticRegression().fit(X[:TRAINED], y[:TRAINED]).predict_proba(X[TRAINED:])[:, 1]
    assert row["brier"] == pytest.approx(np.mean((expected - y[TRAINED:]) ** 2), rel=1e-9)


def test_holdout_of_the_window_starts_at_the_cutoff() -> None:
    assert plan(fleet(holdout="7D", folds=2, gap="2D")).cutoff == CUTOFF
    assert START + timedelta(days=TRAINED) == CUTOFF
