"""Training: one row per partition whatever happens, honest comparisons, and the same model for the same rows."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import author_features
import author_models as models
from modelfleet import Classification, Regression, Training, pack, prediction, slices
from modelfleet.metric_names import REGRESSION
from modelfleet.training import BucketTrainer
from training_bench import (
    CUTOFF,
    DAYS,
    SCHEMA,
    START,
    TESTED,
    TRAINED,
    Part,
    Row,
    asking,
    bucket,
    classification,
    codes_of,
    part,
    plan,
    spec,
    train,
)

PICKY = spec(model="author_models:picky")
HEALTHY = part(seed=1)


def metric(row: Row, prefix: str = "") -> dict[str, float | None]:
    return {name: row[f"{prefix}{name}"] for name in REGRESSION}


def test_healthy_partition_is_trained_with_its_metrics_and_window() -> None:
    row = train({"S": HEALTHY})["S"]
    assert (row["status"], row["reason"], row["message"], row["serves"]) == ("trained", None, None, "model")
    assert (row["n_rows"], row["n_null_target"], row["n_train"], row["n_test"]) == (DAYS, 0, TRAINED, TESTED)
    assert (row["window_start"], row["window_end"]) == (START, START + timedelta(days=DAYS - 1))
    assert (row["trained_interval"], row["trained_attempt"]) == ("2013-03-12", "attempt")
    assert (row["candidate"], row["code"], row["features"]) == ("build", "author_models:build", plan().inputs.id)
    assert row["fit_seconds"] > 0
    assert all(value is not None for value in (*metric(row).values(), *metric(row, "baseline_").values()))
    assert row["mae"] < 0.3 < row["baseline_mae"]
    assert (row["baseline_status"], row["champion_status"]) == ("compared", "none")


def test_rows_from_the_cutoff_on_are_the_holdout_and_null_targets_are_left_out() -> None:
    y = [None if n in (0, 5, DAYS - 1) else value for n, value in enumerate(HEALTHY["y"])]
    row = train({"S": {**HEALTHY, "y": y}})["S"]
    assert (row["n_rows"], row["n_null_target"], row["n_train"], row["n_test"]) == (DAYS, 3, TRAINED - 2, TESTED - 1)
    assert (row["window_start"], row["window_end"]) == (START + timedelta(1), START + timedelta(DAYS - 2))


def test_cutoff_is_wall_time_for_naive_times_and_dates() -> None:
    cutoff = datetime.fromisoformat("2013-03-01T00:00+05:00")
    for kind, days in (
        (pa.timestamp("us"), [value.replace(tzinfo=None) for value in HEALTHY["day"]]),
        (pa.date32(), [value.date() for value in HEALTHY["day"]]),
        (pa.timestamp("us", "UTC"), [value - timedelta(hours=5) for value in HEALTHY["day"]]),
        (pa.timestamp("us", "Asia/Tokyo"), [value - timedelta(hours=5) for value in HEALTHY["day"]]),
    ):
        schema = SCHEMA.set(1, pa.field("day", kind))
        row = train({"S": {**HEALTHY, "day": days}}, schema=schema, cutoff=cutoff)["S"]
        assert (row["n_train"], row["n_test"]) == (TRAINED, TESTED), kind


INFINITY = [math.inf, *HEALTHY["y"][1:]]
ENORMOUS = [1e308] * 3 + [-1e308] * 3 + HEALTHY["y"][6:]
REASONS: list[tuple[str, Part, str, str, str]] = [
    ("null target", part(y=None), "skipped", "no_target", "all 40 rows have a null target"),
    ("NaN target", part(y=math.nan), "skipped", "no_target", "all 40 rows have a null target"),
    ("one row", part(1), "skipped", "too_few_rows", "1 rows with a target, 5 needed"),
    ("late", part(6, start=CUTOFF), "skipped", "no_rows_before_cutoff", "all 6 rows are in the holdout"),
    ("constant", part(y=[7.5] * TRAINED + [1.0] * TESTED), "skipped", "constant_target", "7.5 in all 28 training rows"),
    ("null feature", part(b=[None] * TRAINED + [1.0] * TESTED), "skipped", "all_null_feature", "training rows: b"),
    ("NaN feature", part(a=math.nan), "skipped", "all_null_feature", "null in all 28 training rows: a"),
    ("infinite", part(y=INFINITY), "failed", "bad_target", "the target holds infinity"),
    ("enormous", part(y=ENORMOUS), "failed", "bad_target", "too large to add up"),
    ("fit", asking(models.FIT_RAISES), "failed", "fit_raised", "ValueError: no fit today"),
    ("memory", asking(models.NO_MEMORY), "failed", "memory_exceeded", "MemoryError"),
    ("surrogates", asking(models.SURROGATES), "failed", "fit_raised", r"bad \\udcff bytex"),
    ("unprintable", asking(models.UNPRINTABLE), "failed", "fit_raised", "UnprintableError"),
    ("unpicklable", asking(models.UNPICKLABLE), "failed", "fit_raised", "can't be pickled: TypeError"),
    ("NaN", asking(models.PREDICTS_NAN), "failed", "prediction_invalid", "NaN or infinity for 12 of 12 rows"),
    ("short", asking(models.PREDICTS_SHORT), "failed", "prediction_invalid", "gave shape (13,) for 12 rows"),
    (
        "predict",
        asking(models.PREDICT_RAISES),
        "failed",
        "prediction_invalid",
        "raised KeyError: 'no prediction today'",
    ),
]


@pytest.mark.parametrize("given, status, reason, message", [case[1:] for case in REASONS], ids=[c[0] for c in REASONS])
def test_partition_without_a_model_says_why(given: Part, status: str, reason: str, message: str) -> None:
    row = train({"S": given}, PICKY)["S"]
    assert (row["status"], row["reason"]) == (status, reason)
    assert message.replace(r"\\", "\\") in row["message"]
    assert len(row["message"]) <= 500
    assert (row["model"], row["model_digest"]) == (None, None)
    has_baseline = reason not in ("no_target", "bad_target")
    assert (row["baseline_value"] is not None, row["serves"]) == (has_baseline, "baseline" if has_baseline else "none")


def test_model_larger_than_a_file_can_hold_costs_its_partition_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(train({"S": HEALTHY}, PICKY)["S"]["model"])
    monkeypatch.setattr(prediction, "LARGEST", size - 1)
    row = train({"S": HEALTHY}, PICKY)["S"]
    assert (row["status"], row["reason"], row["serves"], row["model"]) == ("failed", "fit_raised", "baseline", None)
    assert row["message"] == f"the fitted estimator takes {size:,} bytes pickled; at most {size - 1:,} can be kept"


def test_bad_partitions_leave_the_healthy_ones_as_they_were() -> None:
    alone = train({"S": HEALTHY}, PICKY)["S"]
    rows = train({"S": HEALTHY, **{name: given for name, given, *_ in REASONS}}, PICKY)
    assert len(rows) == 1 + len(REASONS)
    timed = dict.fromkeys(("fit_seconds", "candidates"))  # how long each candidate took is in its text
    assert rows["S"] | timed == alone | timed


@pytest.mark.parametrize(
    "given, reason, message",
    [
        (part(y=[0.0, 1.0, 2.0] * 13 + [0.0]), "bad_target", "a classification target is bool, or 0 and 1"),
        (
            asking(models.TOO_LIKELY, y=[0.0, 1.0] * 20),
            "prediction_invalid",
            r"probability outside [0, 1] for 12 of 12",
        ),
        (asking(models.CLASS_TWO, y=[0.0, 1.0] * 20), "prediction_invalid", "gave a class other than 0 and 1"),
        (asking(models.ONE_CLASS, y=[0.0, 1.0] * 20), "prediction_invalid", "predict raised ValueError"),
    ],
    ids=["third class", "probability", "class two", "one class"],
)
def test_classifier_that_is_none_fails_alone(given: Part, reason: str, message: str) -> None:
    fleet = spec(problem=Classification(target="y"), model="author_models:picky_classifier")
    rows = train({"bad": given, "good": part(y=[0.0, 1.0] * 20)}, fleet)
    assert (rows["bad"]["status"], rows["bad"]["reason"]) == ("failed", reason)
    assert message in rows["bad"]["message"]
    assert rows["good"]["status"] == "trained"


def test_estimator_that_can_not_be_built_again_fails_its_partition_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    built = iter([models.Picky(), models.Picky(), None, models.Picky(), models.Picky()])
    monkeypatch.setattr(models, "picky", lambda: next(built))
    rows = train({name: part() for name in "ABC"}, PICKY)
    assert sorted(row["status"] for row in rows.values()) == ["failed", "trained", "trained"]
    assert {row["reason"] for row in rows.values()} == {None, "fit_raised"}


def test_features_that_raise_or_lose_rows_fail_their_partition_alone() -> None:
    rows = train(dict.fromkeys(("raises", "none", "short", "good"), HEALTHY), features=author_features.features)
    assert {name: row["reason"] for name, row in rows.items() if name != "good"} == dict.fromkeys(
        ("raises", "none", "short"), "features_raised"
    )
    assert rows["raises"]["message"] == "ZeroDivisionError: no features today"
    assert rows["short"]["message"] == "features() of author_models:build returned 3 rows for 40"
    assert rows["good"]["status"] == "trained"


def test_features_with_an_index_of_numbers_are_cut_by_position() -> None:
    def reindexed(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[["a", "b"]].set_index(frame["b"] * 100.5)

    def plain(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[["a", "b"]]

    one, other = (train({"S": HEALTHY}, features=features)["S"] for features in (reindexed, plain))
    assert (one["status"], metric(one)) == ("trained", metric(other))


def own(y_true: Any, y_pred: Any, frame: pd.DataFrame) -> dict[str, float]:
    store = frame["store"].iloc[0]
    assert len(frame) == len(y_true) == len(y_pred) == TESTED
    assert frame["day"].min() == CUTOFF
    if store == "raises":
        raise ZeroDivisionError("no metrics today")
    return {} if store == "missing" else {"cost": None if store == "none" else float(np.abs(y_true - y_pred).max())}  # type: ignore[dict-item]


def test_metrics_of_the_author_stand_beside_the_built_in_ones_or_fail_their_partition_alone() -> None:
    fleet = spec(training=Training(min_rows=5, metrics=("cost",)))
    rows = train(dict.fromkeys(("raises", "missing", "none", "good"), HEALTHY), fleet, metrics=own)
    good = rows.pop("good")
    assert (good["status"], good["cost"] > good["mae"], good["baseline_cost"] > good["baseline_mae"]) == (
        "trained",
        True,
        True,
    )
    assert {row["reason"] for row in rows.values()} == {"metrics_raised"}
    assert rows["raises"]["message"] == "metrics(): ZeroDivisionError: no metrics today"


FLOATS = (
    st.none() | st.floats(width=64) | st.sampled_from([0.0, 1.0, float(models.FIT_RAISES), float(models.PREDICTS_NAN)])
)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    days = draw(st.integers(1, 9))
    start = CUTOFF - timedelta(days=draw(st.integers(-1, 9)))
    columns = {name: draw(st.lists(FLOATS, min_size=days, max_size=days)) for name in ("a", "b", "y")}
    return part(days, start=start, **columns)


@pytest.mark.parametrize(
    "fleet",
    [
        spec(training=Training(min_rows=2)),
        spec(
            training=Training(min_rows=1), model="author_models:picky", problem=Regression(target="y", baseline="last")
        ),
        classification(),
    ],
    ids=["ridge", "picky", "logistic"],
)
@settings(max_examples=40)
@given(given=st.dictionaries(st.sampled_from(["", "a/b", "..", "x", "y"]), parts(), max_size=4))
def test_every_partition_ends_as_exactly_one_row(fleet: Any, given: dict[str, Part]) -> None:
    rows = train(given, fleet)
    assert set(rows) == set(given)
    for name, row in rows.items():
        assert row["status"] in ("trained", "skipped", "failed")
        assert row["n_rows"] == len(given[name]["day"]) == row["n_train"] + row["n_test"] + row["n_null_target"]
        trained = row["status"] == "trained"
        assert (row["reason"] is None) == (row["message"] is None) == trained
        assert (row["model"] is not None) == (row["model_digest"] is not None) == (row["serves"] == "model") == trained
        assert row["baseline_value"] is None or math.isfinite(row["baseline_value"])
        assert (row["serves"] == "none") == (not trained and row["baseline_value"] is None)


@pytest.mark.parametrize(
    "problem, y, value, serving",
    [
        (Regression(target="y"), [float(n) for n in range(DAYS)], 13.5, 19.5),
        (Regression(target="y", baseline="last"), [float(n) for n in range(DAYS)], 27.0, 39.0),
        (Classification(target="y"), [1.0, 0.0, 0.0, 0.0] * 10, 0.25, 0.25),
        (Classification(target="y", baseline="last"), [0.0, 1.0] * 20, 1.0, 1.0),
    ],
    ids=["mean", "last", "majority", "last class"],
)
def test_baseline_is_measured_without_the_holdout_and_serves_with_it(
    problem: Any, y: list[float], value: float, serving: float
) -> None:
    model = "author_models:logistic" if isinstance(problem, Classification) else "author_models:build"
    row = train({"S": part(y=y)}, spec(problem=problem, model=model))["S"]
    assert row["status"] == "trained"
    assert row["baseline_value"] == serving
    truth = np.array(y[TRAINED:])
    if isinstance(problem, Classification):
        assert row["baseline_brier"] == pytest.approx(np.mean((value - truth) ** 2))
        assert row["baseline_accuracy"] == pytest.approx(np.mean((value >= 0.5) == truth))
    else:
        assert row["baseline_mae"] == pytest.approx(np.mean(np.abs(value - truth)))


@pytest.mark.parametrize("refit, mean", [(True, 19.5), (False, 13.5)])
def test_refit_model_has_seen_all_rows(refit: bool, mean: float) -> None:
    fleet = spec(model="author_models:picky", training=Training(min_rows=5, refit=refit))
    row = train({"S": part(y=[float(n) for n in range(DAYS)])}, fleet)["S"]
    assert pack.load_model(row["model"], row["model_digest"]).mean == mean
    assert row["bias"] == pytest.approx(13.5 - np.mean(range(TRAINED, DAYS)))


def test_partition_without_holdout_rows_is_trained_but_not_measured() -> None:
    row = train({"S": part(20)})["S"]
    assert (row["status"], row["n_test"], row["baseline_status"], row["mae"]) == ("trained", 0, "none", None)


def test_bucket_without_rows_gives_no_rows_of_the_same_schema() -> None:
    assert train({}) == {}
    hashes = slices.row_hashes(bucket({}))
    assert len(hashes) == 0


def test_keys_keep_their_types_in_the_row() -> None:
    field = pa.field("store", pa.date32())
    settled = plan()
    rows = bucket({"S": HEALTHY}).set_column(0, field, pa.array([date(2013, 1, 1)] * DAYS))
    made = BucketTrainer(settled, codes_of(settled)).rows(rows, [field])
    assert made.column("store").to_pylist() == [date(2013, 1, 1)]
    assert made.schema.field("store") == field
