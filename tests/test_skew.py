"""One row, three paths: training, batch scoring and the MLflow model give the same features and predictions, to the bit."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import author_lags
import training_bench as shops
from forecast_bench import (
    END,
    KEYS,
    LAST,
    RIDGE,
    SCHEMA,
    Part,
    bucket,
    groups_of,
    key,
    part,
    plan,
    problem,
    raw,
    rows_of,
    score,
    served,
    spec,
    train_in_lake,
    trainer,
)
from modelfleet import Candidate, Difference, Expanding, Features, FleetSpec, Lag, Rolling, Training, slices
from modelfleet.forecasting import quantile_name
from modelfleet.lake import Lake
from modelfleet.matrices import Bucket
from modelfleet.pyfunc import PackModel
from modelfleet.scoring import Scorer, predict_table
from modelfleet.training.selection import compete

HORIZON = 7
ORIGIN = END - timedelta(days=HORIZON)
HISTORY: dict[tuple[str, str], Part] = {
    ("S", "a"): part(84, seed=1),
    ("S", "b"): part(70, seed=2, level=60.0, kind="fancy"),
    ("T", "a"): part(91, seed=3),
}
DECLARED = Features(
    past=(
        Lag("y", 7, 8, 14),
        Difference("y", 7),
        Rolling("y", "14D", "mean"),
        Rolling("y", 5, "std", min_count=2),
        Expanding("y", "max"),
        Lag("price", 1),
    ),
    known_ahead=("price",),
    static=("kind",),
    categorical=("kind",),
    encoding="onehot",
    calendar=("weekday", "day_of_year"),
    cyclic=("month",),
    holidays="US",
)
IMPUTED = "author_forecasters:imputed_ridge"
FLEETS = {
    "direct": {"candidates": (Candidate(RIDGE),)},
    "blocks": {"candidates": (Candidate(RIDGE),), "problem": problem(steps_per_model=3)},
    "recursive": {"candidates": (Candidate(RIDGE),), "problem": problem(strategy="recursive")},
    "forecaster": {"candidates": (Candidate(LAST),)},
    "statsforecast": {
        "candidates": (Candidate("statsforecast.models:SeasonalNaive", params={"season_length": 7}),),
        "problem": problem(quantiles=(0.1, 0.5, 0.9)),
    },
    "over the fleet": {"candidates": (Candidate(IMPUTED, scope="fleet"),)},
    "the author's features": {"candidates": (Candidate("author_lags:build"),)},
}


def fleet(name: str) -> FleetSpec:
    """Its models are those that the holdout was measured with: not fitted again."""
    given: dict[str, Any] = {"features": DECLARED, **FLEETS[name]}
    return spec(training=Training(folds=2, min_rows=20, refit=False), **given)


def before(given: Part) -> Part:
    """What is known of a series a week before its end: targets up to then, prices of the week to come."""
    return {**given, "y": [*given["y"][:-HORIZON], *[None] * HORIZON]}


@pytest.mark.parametrize("name", FLEETS)
def test_forecast_of_the_holdout_is_that_of_scoring_and_of_the_mlflow_model(name: str, tmp_path: Path) -> None:
    of = fleet(name)
    made = train_in_lake(Lake(tmp_path), HISTORY, of, name="one")
    measured = {names: measured_forecast(made, of, names) for names in HISTORY}
    known = {names: before(given) for names, given in HISTORY.items()}
    batch, outcomes = score(made, known, end=ORIGIN)
    assert {row["outcome"] for row in outcomes.values()} == {"scored"}, outcomes
    frame = raw(known).drop_columns([slices.PARTITION]).to_pandas().sample(frac=1.0, random_state=5)
    answer = PackModel(made).predict(frame.drop(columns="w"))
    answered = answer.set_index(["partition", "step"]).sort_index()
    for names in HISTORY:
        assert served(batch, names) == measured[names].tolist()
        assert answered.loc[key(names), "prediction"].tolist() == measured[names].tolist()
        assert answered.loc[key(names), "day"].tolist() == HISTORY[names]["day"][-HORIZON:]
        for quantile in of.problem.quantiles:  # type: ignore[union-attr]
            column = quantile_name(quantile)
            assert answered.loc[key(names), column].tolist() == served(batch, names, column)
    assert set(answer["source"]) == {"model"}


def measured_forecast(made: Any, of: FleetSpec, names: tuple[str, str]) -> np.ndarray:
    """What the candidate said of the holdout when it was measured."""
    settled = plan(of, HISTORY)
    shared = Bucket(bucket(HISTORY, of), "day", (*KEYS, "day"))
    place = [name for name, _, _ in shared.bounds].index(key(names))
    at = trainer(settled).sample(shared, place)
    if of.learners[0].scope == "fleet":
        row = rows_of(made)[key(names)]
        loaded = groups_of(made)
        found = next(group for group in loaded.rows if group["model_digest"] == row["shared"])
        return at.predict(settled.learners[0], loaded.load(found), 0).values
    (trial,) = compete(at, settled.learners, metric="wape")
    return trial.predicted[0].values


@pytest.mark.parametrize("name", ["direct", "over the fleet", "the author's features"])
@pytest.mark.parametrize("ahead", [1, 7])
def test_features_of_the_holdout_are_those_of_scoring(name: str, ahead: int) -> None:
    of = fleet(name)
    settled = plan(of, HISTORY)
    code = next(iter(trainer(settled).codes.values()))
    known = {names: before(given) for names, given in HISTORY.items()}
    trained = Bucket(bucket(HISTORY, of), "day", (*KEYS, "day"))
    scored = Bucket(bucket(known, of, end=ORIGIN, future=HORIZON), "day", (*KEYS, "day"))
    assert [name for name, *_ in trained.bounds] == [name for name, *_ in scored.bounds]
    rows = slice(-HORIZON, None if ahead == HORIZON else 1 - HORIZON)
    for place in range(len(HISTORY)):
        for inputs in (settled.inputs, settled.shared_inputs):
            one, other = (np.asarray(b.matrix(place, inputs, code, ahead), float)[rows] for b in (trained, scored))
            np.testing.assert_array_equal(one, other)
            assert one.shape[1] > 10
            assert np.isfinite(one).all()


def test_partition_alone_has_the_forecast_that_it_has_among_others(tmp_path: Path) -> None:
    of = fleet("direct")
    made = train_in_lake(Lake(tmp_path), HISTORY, of, name="one")
    known = {names: before(given) for names, given in HISTORY.items()}
    batch, _ = score(made, known, end=ORIGIN)
    for names, given in known.items():
        alone, _ = score(made, {names: given}, end=ORIGIN)
        assert served(alone, names) == served(batch, names)


def test_rows_of_a_regression_are_predicted_alike_with_what_lies_before_them(tmp_path: Path) -> None:
    features = Features(known_ahead=("a",), past=(Lag("b", 1, 3), Rolling("a", 5, "mean")), calendar=("weekday",))
    of = shops.spec(features=features, training=Training(min_rows=5, refit=False), model=RIDGE)
    parts = {name: shops.part(seed=n) for n, name in enumerate("ABC")}
    made = shops.train_in_lake(Lake(tmp_path), parts, name="one", buckets=2, of=of)
    rows = rows_of(made)
    table = shops.bucket(parts, shops.SCHEMA)
    batch, outcomes = predict_table(Scorer(made.header, since=shops.CUTOFF), rows, table.drop_columns(["y"]))
    assert outcomes["rows"].to_pylist() == [shops.TESTED] * 3
    assert batch.num_rows == 3 * shops.TESTED
    frame = table.drop_columns([slices.PARTITION, "y"]).to_pandas()
    answer = PackModel(made).predict(frame)
    late = (frame["day"] >= pd.Timestamp(shops.CUTOFF)).to_numpy()
    assert answer["prediction"][late].tolist() == batch["prediction"].to_pylist()
    assert answer.groupby("partition")["source"].agg(list).tolist() == [["baseline"] * 3 + ["model"] * 37] * 3
    for name, given in parts.items():
        predicted = np.array(batch.filter(pa_equal(batch, name))["prediction"].to_pylist())
        mae = np.abs(predicted - given["y"][shops.TRAINED :]).mean()
        assert mae == pytest.approx(rows[shops.key(name)]["mae"], rel=1e-12)


def pa_equal(table: Any, store: str) -> Any:
    import pyarrow.compute as pc

    return pc.equal(table["store"], store)


def test_author_sees_the_declared_features_and_no_target() -> None:
    of = fleet("the author's features")
    settled = plan(of, HISTORY)
    code = next(iter(trainer(settled).codes.values()))
    author_lags.seen.clear()
    Bucket(bucket(HISTORY, of), "day", (*KEYS, "day")).matrix(0, settled.inputs, code, 7)
    (columns,) = author_lags.seen
    assert columns[:4] == ["store", "item", "day", "price"]
    assert {"y_lag_7", "y_mean_14D", "weekday", "month_sin", "holiday", "kind=fancy"} <= set(columns)
    assert "y" not in columns
    assert set(SCHEMA.names) - set(columns) == {"w", "y"}
