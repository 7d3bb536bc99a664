"""Scoring: every partition has one outcome, every row one source, and the target is never needed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import author_models as models
from modelfleet import keys, pack, slices
from modelfleet.errors import CorruptionError
from modelfleet.lake import Lake
from modelfleet.lake.buckets import BucketPlace, BucketTask
from modelfleet.scoring import OUTCOMES, BucketWork, Scorer, predict_table, read_batches
from training_bench import SCHEMA, asking, bucket, classification, key, part, spec, train_in_lake, write_bucket

WITHOUT_TARGET = SCHEMA.remove(SCHEMA.get_field_index("y"))
TRAINED = {
    "good": part(seed=1),
    "short": part(2, y=[4.0, 6.0]),
    "moody": part(seed=2),
    "null": part(y=None),
}
SCORED = {name: part(3, seed=7) for name in ("good", "short", "moody", "null", "new", "..")}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def made(lake: Lake) -> pack.Pack:
    return train_in_lake(lake, TRAINED, name="one", buckets=2)


def rows_of(made: pack.Pack) -> dict[str, dict[str, Any]]:
    rows = {row["partition"]: row for row in made.rows(0, 1 << 64).to_pylist()}
    moody = models.Picky()
    moody.asked, moody.mean = models.PREDICTS_NAN, 0.0
    if key("moody") in rows:
        rows[key("moody")]["model"], rows[key("moody")]["model_digest"] = pack.dump_model(moody)
    return rows


def test_partitions_are_served_by_their_model_their_baseline_or_nothing(made: pack.Pack) -> None:
    rows = rows_of(made)
    predictions, outcomes = predict_table(Scorer(made.header), rows, bucket(SCORED, WITHOUT_TARGET))
    found = {row["partition"]: row for row in outcomes.to_pylist()}
    assert {name: found[key(name)]["outcome"] for name in SCORED} == {
        "good": "scored",
        "short": "fallback",
        "moody": "failed",
        "null": "no_model",
        "new": "no_model",
        "..": "no_model",
    }
    sources = dict(
        zip(predictions.column("partition").to_pylist(), predictions.column("source").to_pylist(), strict=True)
    )
    assert {name: sources[key(name)] for name in SCORED} == {
        "good": "model",
        "short": "baseline",
        "moody": "baseline",
        "null": "none",
        "new": "none",
        "..": "none",
    }
    served = {name: predictions.filter(pc.equal(predictions["partition"], key(name)))["prediction"] for name in SCORED}
    x = np.column_stack([SCORED["good"]["a"], SCORED["good"]["b"]])
    model = pack.load_model(rows[key("good")]["model"], rows[key("good")]["model_digest"])
    assert served["good"].to_pylist() == model.predict(x).tolist()
    assert served["short"].to_pylist() == [5.0] * 3
    assert served["moody"].to_pylist() == [rows[key("moody")]["baseline_value"]] * 3
    assert served["new"].to_pylist() == served["null"].to_pylist() == [None] * 3
    messages = {name: found[key(name)]["message"] for name in SCORED}
    assert messages.pop("moody") == "predict gave NaN or infinity for 3 of 3 rows"
    assert set(messages.values()) == {None}


def test_rows_keep_their_order_and_their_columns(made: pack.Pack) -> None:
    table = bucket(SCORED, WITHOUT_TARGET)
    predictions, outcomes = predict_table(Scorer(made.header), rows_of(made), table)
    assert predictions.column_names == ["store", "day", "prediction", "source", "partition"]
    for name in ("store", "day"):
        assert predictions[name].to_pylist() == table[name].to_pylist()
    assert sum(outcomes.column("rows").to_pylist()) == predictions.num_rows == table.num_rows
    assert set(outcomes.column("outcome").to_pylist()) <= set(OUTCOMES)


def test_bucket_without_rows_has_no_predictions_of_the_same_columns(made: pack.Pack) -> None:
    empty, outcomes = predict_table(Scorer(made.header), rows_of(made), bucket({}, WITHOUT_TARGET))
    some, _ = predict_table(Scorer(made.header), rows_of(made), bucket(SCORED, WITHOUT_TARGET))
    assert (empty.num_rows, outcomes.num_rows) == (0, 0)
    assert empty.schema == some.schema


def test_target_changes_nothing(made: pack.Pack) -> None:
    with_target, _ = predict_table(Scorer(made.header), rows_of(made), bucket(SCORED))
    without, _ = predict_table(Scorer(made.header), rows_of(made), bucket(SCORED, WITHOUT_TARGET))
    assert with_target.equals(without)


def test_null_features_are_the_models_to_handle(made: pack.Pack) -> None:
    scored = {"good": part(2, a=None), "moody": part(2, b=None)}
    predictions, outcomes = predict_table(Scorer(made.header), rows_of(made), bucket(scored, WITHOUT_TARGET))
    outcome = dict(zip(outcomes["partition"].to_pylist(), outcomes["outcome"].to_pylist(), strict=True))
    assert outcome == {key("good"): "scored", key("moody"): "failed"}  # the pipeline imputes
    assert predictions["prediction"].null_count == 0


def test_model_that_can_not_be_unpickled_any_more_costs_its_partition_alone(made: pack.Pack) -> None:
    rows = rows_of(made)
    gone = b"cauthor_models\nGone\n."
    rows[key("moody")] |= {"model": gone, "model_digest": pack.header_digest(gone)}
    _, outcomes = predict_table(Scorer(made.header), rows, bucket(SCORED, WITHOUT_TARGET))
    found = {row["partition"]: row for row in outcomes.to_pylist()}
    assert found[key("moody")]["outcome"] == "failed"
    assert found[key("moody")]["message"].startswith("AttributeError: ")
    assert found[key("good")]["outcome"] == "scored"


def test_model_whose_bytes_are_others_stops_the_bucket(made: pack.Pack) -> None:
    rows = rows_of(made)
    rows[key("good")]["model"] += b"x"
    with pytest.raises(CorruptionError):
        predict_table(Scorer(made.header), rows, bucket(SCORED, WITHOUT_TARGET))


def test_classes_come_with_their_probability(lake: Lake) -> None:
    y = [0.0, 0.0, 1.0, 0.0] * 10
    made = train_in_lake(lake, {"good": part(y=y), "short": part(4, y=y[:4])}, name="c", buckets=1, of=classification())
    scored = {name: part(3, seed=7) for name in ("good", "short", "new")}
    predictions, _ = predict_table(Scorer(made.header), rows_of(made), bucket(scored, WITHOUT_TARGET))
    assert predictions.column_names == ["store", "day", "prediction", "probability", "source", "partition"]
    by_store = {name: predictions.filter(pc.equal(predictions["store"], name)).to_pydict() for name in scored}
    assert (by_store["short"]["prediction"], by_store["short"]["probability"]) == ([0.0] * 3, [0.25] * 3)
    assert (by_store["new"]["prediction"], by_store["new"]["probability"]) == ([None] * 3, [None] * 3)
    assert by_store["good"]["source"] == ["model"] * 3
    assert by_store["good"]["prediction"] == [float(p >= 0.5) for p in by_store["good"]["probability"]]


def test_bucket_in_the_lake_writes_predictions_outcomes_and_totals(lake: Lake, made: pack.Pack) -> None:
    totals, sources, rows, digests = Counter[str](), Counter[str](), 0, set()
    for buckets in (1, 3):
        place = BucketPlace(f"shops/score/2013-03-12/of{buckets}/score", "inputs", buckets)
        work = BucketWork(lake, place, made)
        results = []
        for number in range(buckets):
            inside = {s: p for s, p in SCORED.items() if keys.bucket_of(keys.hash_of(key(s)), buckets) == number}
            entry = write_bucket(lake, f"{place.folder}-rows-{number}", bucket(inside, WITHOUT_TARGET))
            results.append(work(BucketTask(number, entry)))
        totals = sum((Counter(r.facts["counts"]) for r in results), Counter())
        sources = sum((Counter(r.facts["sources"]) for r in results), Counter())
        rows = sum(batch.num_rows for batch in read_batches(lake, [r.files["predictions"] for r in results]))
        written = pa.concat_tables([pq.read_table(lake.location(r.files["outcomes"].path)) for r in results])
        assert Counter(written["outcome"].to_pylist()) == totals
        digests.add(slices.combine(r.facts["digest"] for r in results))
    assert len(digests) == 1
    assert totals == {"scored": 2, "fallback": 1, "no_model": 3}
    assert sources == {"model": 6, "baseline": 3, "none": 9}
    assert rows == sum(sources.values()) == 18


def test_features_that_raise_cost_their_partition_alone(lake: Lake) -> None:
    fleet = spec(model="author_features:build")
    made = train_in_lake(lake, {"good": part(), "raises": part(seed=2)}, name="f", buckets=1, of=fleet)
    rows = {row["partition"]: row for row in made.rows(0, 1 << 64).to_pylist()}
    assert (rows[key("good")]["serves"], rows[key("raises")]["serves"]) == ("model", "baseline")
    # Trained on a day on which its features did not raise.
    rows[key("raises")] |= {
        name: rows[key("good")][name] for name in ("model", "model_digest", "serves", "code", "features")
    }
    scored = {name: part(3, seed=7) for name in ("good", "raises")}
    _, outcomes = predict_table(Scorer(made.header), rows, bucket(scored, WITHOUT_TARGET))
    found = {row["partition"]: row for row in outcomes.to_pylist()}
    assert (found[key("raises")]["outcome"], found[key("good")]["outcome"]) == ("failed", "scored")
    assert found[key("raises")]["message"] == "ZeroDivisionError: no features today"


def test_model_is_served_with_the_features_and_the_code_it_was_trained_with(lake: Lake, made: pack.Pack) -> None:
    rows = rows_of(made)
    kept = {"swapped": spec(features=("b", "a")), "hooked": spec(model="author_features:build")}
    inputs = {**made.header.inputs}
    for name, fleet in kept.items():
        own = train_in_lake(lake, {name: part(seed=3)}, name=name, buckets=1, of=fleet)
        rows[key(name)] = own.rows(0, 1 << 64).to_pylist()[0]
        inputs |= own.header.inputs
    scored = part(5, seed=7)
    predictions, outcomes = predict_table(
        Scorer(replace(made.header, inputs=inputs)), rows, bucket(dict.fromkeys(kept, scored), WITHOUT_TARGET)
    )
    assert outcomes["outcome"].to_pylist() == ["scored"] * 2
    frame = pd.DataFrame({name: scored[name] for name in ("a", "b")})
    matrices = {"swapped": frame[["b", "a"]].to_numpy(), "hooked": frame.assign(before=frame["a"].shift(1))}
    for name, x in matrices.items():
        model = pack.load_model(rows[key(name)]["model"], rows[key(name)]["model_digest"])
        served = predictions.filter(pc.equal(predictions["store"], name))["prediction"].to_pylist()
        assert served == pytest.approx(model.predict(x).tolist())


def test_kept_model_whose_code_is_gone_costs_its_partition_alone(made: pack.Pack) -> None:
    rows = rows_of(made)
    rows[key("moody")]["code"] = "no_such_package:build"
    _, outcomes = predict_table(Scorer(made.header), rows, bucket(SCORED, WITHOUT_TARGET))
    found = {row["partition"]: row for row in outcomes.to_pylist()}
    assert (found[key("moody")]["outcome"], found[key("good")]["outcome"]) == ("failed", "scored")
    assert "no_such_package:build can't be imported" in found[key("moody")]["message"]


def test_trained_fleet_has_one_outcome_per_partition_whatever_its_models_do(lake: Lake) -> None:
    wrong = range(models.FIT_RAISES, models.PREDICT_RAISES + 1)
    trained = {str(n): asking(n) for n in wrong} | {"good": part()}
    made = train_in_lake(lake, trained, name="picky", buckets=1, of=spec(model="author_models:picky"))
    table = bucket({name: part(2) for name in trained}, WITHOUT_TARGET)
    _, outcomes = predict_table(Scorer(made.header), rows_of(made), table)
    assert Counter(outcomes["outcome"].to_pylist()) == {"scored": 1, "fallback": len(wrong)}
