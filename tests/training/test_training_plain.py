"""What is converted once for a bucket is what each partition, taken alone and converted plainly, gives: to the bit."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from modelfleet import FleetSpec, Training, keys, metrics, modelcode, pack, slices
from modelfleet.training import BucketTrainer, TrainingPlan
from modelfleet.training.champions import Champions
from training_bench import CUTOFF, INPUTS, KEY_FIELDS, SCHEMA, START, Row, bucket, classification, codes_of, plan, spec

MOMENT = pa.timestamp("us", "UTC")
KINDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "float": (pa.float64(), [None, float("nan"), -0.0, 0.1, 2.5]),
    "single": (pa.float32(), [None, 0.5, 1.25]),
    "int": (pa.int64(), [None, -3, 0, 2**53 + 1]),
    "bool": (pa.bool_(), [None, True, False]),
    "text": (pa.string(), [None, "", "\u00e9", "b"]),
    "decimal": (pa.decimal128(8, 2), [None, Decimal("0.10"), Decimal("7.00")]),
    "moment": (MOMENT, [None, START, CUTOFF]),
}


def told(x: Any) -> str:
    """All of a matrix that an estimator could tell apart."""
    if isinstance(x, np.ndarray):
        return f"{x.dtype} {x.shape} {x.flags.c_contiguous} {x.flags.writeable} {x.tobytes().hex()}"
    return f"{x.dtypes.to_dict()} {x.to_dict('split')}"


class Told(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps what it was given, and predicts by all that it sees."""

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Told:
        self.seen = told(x), y.tobytes(), y.flags.writeable
        self.weights = None if sample_weight is None else sample_weight.tobytes()
        self.mean, self.classes_ = float(y.mean()), np.array([0.0, 1.0])
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.mean + zlib.crc32(told(x).encode()) / 2**32)


class ToldClass(ClassifierMixin, Told):  # type: ignore[misc]
    """The same of classes."""

    def predict(self, x: Any) -> Any:
        return (super().predict(x) % 1.0 >= 0.5).astype(float)

    def predict_proba(self, x: Any) -> Any:
        share = super().predict(x) % 1.0
        return np.column_stack([1 - share, share])


def scaled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["store"])


def plainly(part: pa.Table, settled: TrainingPlan, code: modelcode.ModelCode, champion: Row | None) -> Row:
    """One partition's row, from a table of its rows alone."""
    key, classes = part.column(slices.PARTITION)[0].as_py(), settled.problem == "classification"
    target = np.array([float("nan") if v is None else float(v) for v in part.column("y").to_pylist()])
    valid = ~np.isnan(target)
    times = np.array(part.column("day").cast(pa.timestamp("us")).to_pylist(), dtype="datetime64[us]")[valid]
    cutoff = np.datetime64(settled.cutoff.replace(tzinfo=None), "us")
    y, cut = target[valid], int((times < cutoff).sum())
    row: Row = {"partition": key, "store": part.column("store")[0].as_py(), "n_rows": len(target)}
    row |= {"n_null_target": int((~valid).sum()), "n_train": cut, "n_test": len(y) - cut, "champion_status": "none"}
    if champion is not None:
        row["champion_status"] = "not_comparable"
    row |= {"baseline_value": float(np.mean(y)) if len(y) else None}
    window = times[[0, -1]].tolist() if len(y) else [None, None]
    row |= dict(zip(("window_start", "window_end"), window, strict=True))
    reason = why_not(part.filter(pa.array(valid)), y, cut, settled)
    if reason is not None:
        return row | {"status": "skipped", "reason": reason}
    x = rows_of(part, settled.inputs.columns, code)
    x = x if valid.all() else modelcode.take(x, np.flatnonzero(valid))
    weights = None if settled.weight is None else part.column("w").to_numpy()[valid]

    def fitted(upto: int) -> Any:
        estimator = code.build(random_state=keys.seed_of(key))
        return estimator.fit(modelcode.take(x, slice(0, upto)), y[:upto], None if weights is None else weights[:upto])

    row |= {"status": "trained", "reason": None, "model_digest": pack.dump_model(fitted(len(y)))[1]}
    if len(y) > cut:
        later, truth, mean = modelcode.take(x, slice(cut, len(y))), y[cut:], float(np.mean(y[:cut]))
        naive = np.full(len(truth), float(mean >= 0.5) if classes else mean)
        row |= said(fitted(cut), later, truth, "")
        row |= scored(truth, naive, np.full(len(naive), mean) if classes else None, "baseline_")
        row |= scored(truth, naive, np.full(len(naive), mean) if classes else None, "fallback_")
        if champion is not None:
            row |= said(pack.load_model(champion["model"], champion["model_digest"]), later, truth, "champion_")
            row["champion_status"] = "compared"
    return row


def said(model: Any, x: Any, truth: np.ndarray, prefix: str) -> Row:
    """The metrics of what a model says of some rows."""
    chance = model.predict_proba(x)[:, 1] if isinstance(model, ToldClass) else None
    return scored(truth, model.predict(x), chance, prefix)


def scored(truth: np.ndarray, prediction: np.ndarray, chance: np.ndarray | None, prefix: str) -> Row:
    """The metrics of a prediction, with the columns' prefix."""
    found = (
        metrics.regression(truth, prediction) if chance is None else metrics.classification(truth, chance, prediction)
    )
    return {f"{prefix}{name}": value for name, value in found.items()}


def why_not(rows: pa.Table, y: np.ndarray, cut: int, settled: TrainingPlan) -> str | None:
    """Why rows with a target are not trained on; the first `cut` of them come before the holdout."""
    head = rows.slice(0, cut)
    empty = [pc.is_null(head.column(name), nan_is_null=True).to_numpy().all() for name in settled.inputs.columns]
    found = {
        "no_target": len(y) == 0,
        "too_few_rows": len(y) < settled.min_rows,
        "no_rows_before_cutoff": cut == 0,
        "constant_target": len(set(y[:cut].tolist())) == 1,
        "all_null_feature": any(empty),
    }
    return next((reason for reason, holds in found.items() if holds), None)


def rows_of(part: pa.Table, features: tuple[str, ...], code: modelcode.ModelCode) -> Any:
    """The matrix of all rows of a partition."""
    if code.features is not None:
        return code.features(modelcode.widened(part.select(["store", "day", *features])).to_pandas())
    if {str(part.schema.field(name).type) for name in features} <= {"double", "float", "int64", "bool"}:
        listed = [part.column(name).to_pylist() for name in features]
        return np.array([[np.nan if v is None else float(v) for v in column] for column in listed]).T.copy(order="F")
    return modelcode.widened(part.select(list(features))).to_pandas()


@st.composite
def cases(draw: st.DrawFn) -> tuple[FleetSpec, pa.Table, bool]:
    """A fleet, a bucket of it, and whether the author has ``features``."""
    classes, weighted = draw(st.booleans()), draw(st.booleans())
    a, b = draw(st.sampled_from(sorted(KINDS))), draw(st.sampled_from(sorted(KINDS)))
    schema = SCHEMA.set(2, pa.field("a", KINDS[a][0])).set(3, pa.field("b", KINDS[b][0]))
    schema = schema.append(pa.field("w", pa.float64()))
    targets: list[Any] = [None, float("nan"), 0.1, -7.25, 1e6]
    if classes:
        kind, targets = draw(st.sampled_from([(pa.bool_(), [None, False, True]), (pa.int32(), [None, 0, 1])]))
        schema = schema.set(4, pa.field("y", kind))
    parts = {}
    for store in draw(st.lists(st.sampled_from("ABCDE"), unique=True, max_size=4)):
        days = sorted(draw(st.lists(st.integers(0, 39), min_size=1, max_size=24)))  # some of them the same
        column = partial(st.lists, min_size=len(days), max_size=len(days))
        parts[store] = {
            "day": [START + timedelta(days=n) for n in days],
            "a": draw(column(st.sampled_from(KINDS[a][1]))),
            "b": draw(column(st.sampled_from(KINDS[b][1]))),
            "y": draw(column(st.sampled_from(targets))),
            "w": draw(column(st.sampled_from([0.0, 1.0, 2.5]))),
        }
    training = Training(min_rows=draw(st.integers(2, 4)), weight="w" if weighted else None)
    of = classification() if classes else spec()
    rows = bucket(parts, schema)
    chunks = draw(st.integers(0, rows.num_rows))
    return (
        of.model_copy(update={"training": training}),
        pa.concat_tables([rows[:chunks], rows[chunks:]]),
        draw(st.booleans()),
    )


@settings(max_examples=120, deadline=None)
@given(cases())
def test_partitions_of_a_bucket_are_trained_as_plainly_alone(case: tuple[FleetSpec, pa.Table, bool]) -> None:
    of, rows, featured = case
    settled = plan(of)
    build = ToldClass if settled.problem == "classification" else Told
    hook = scaled if featured else None
    (code,) = codes_of(settled, build=build, features=hook).values()
    codes = dict.fromkeys(codes_of(settled), code)
    # The champion's own code has no ``features``.
    before = rows.filter(pc.less(rows.column("day"), pa.scalar(CUTOFF, MOMENT)))[: 0 if featured else None]
    met = BucketTrainer(settled, codes).rows(before, KEY_FIELDS)
    known = {row["partition"]: row for row in met.to_pylist() if row["serves"] == "model"}
    champions: Mapping[str, Row] = Champions(met, settled.metrics)
    assert dict(champions) == {key: {name: row[name] for name in champions[key]} for key, row in known.items()}
    trainer = BucketTrainer(settled, codes, champions, INPUTS)
    made = {row["partition"]: row for row in trainer.rows(rows, KEY_FIELDS).to_pylist()}
    assert list(made) == [key for key, _, _ in slices.bounds(rows)]
    for key, part in slices.cut(rows):
        expected = plainly(part, settled, code, known.get(key))
        assert shown({name: made[key][name] for name in expected}) == shown(expected)


def shown(row: Row) -> dict[str, str]:
    """Values as text, so that NaN equals NaN; moments as the digits they have in UTC."""
    return {
        name: value.replace(tzinfo=None).isoformat() if isinstance(value, datetime) else repr(value)
        for name, value in row.items()
    }
