"""The table of a bucket is that of its partitions predicted one by one, whatever they hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import author_models as models
import forecast_bench as items
from modelfleet import Candidate, Features, Lag, Training, pack, slices
from modelfleet.forecasting import quantile_name
from modelfleet.group_models import GroupModels
from modelfleet.lake import Lake
from modelfleet.lake.buckets import BucketPlace, BucketTask
from modelfleet.scoring import BucketWork, Scorer, plain, predict_table, read_batches
from training_bench import SCHEMA, START, Row, bucket, classification, key, part, spec, train_in_lake, write_bucket

RIDGE = "author_forecasters:ridge"
LEVELS = Training(min_rows=5, fallback=("fleet", "baseline"))
LAGGED = Features(known_ahead=("a",), past=(Lag("b", 2),))
BINARY = [0.0, 0.0, 1.0, 0.0] * 10
FLEETS: dict[str, Any] = {
    "regression": spec(),
    "with levels": spec(model=None, candidates=(Candidate(RIDGE),), training=LEVELS),
    "shared": spec(model=None, candidates=(Candidate(RIDGE, scope="fleet", name="all"),), training=LEVELS),
    "young rows": spec(model=None, candidates=(Candidate(RIDGE),), training=LEVELS, features=LAGGED),
    "classification": classification(),
    "author's features": spec(model="author_features:build"),
}
KNOWN = ("A", "B", "few", "moody")
WITHOUT_TARGET = SCHEMA.remove(SCHEMA.get_field_index("y"))
SETTINGS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

numbers = st.one_of(st.none(), st.floats(-5, 5, allow_nan=False), st.just(1.0))


@st.composite
def rows(draw: st.DrawFn) -> dict[str, list[Any]]:
    """A partition's rows in time order: one or more, nulls and equal times among them."""
    days = sorted(draw(st.lists(st.integers(0, 8), min_size=1, max_size=9)))
    columns = {name: draw(st.lists(numbers, min_size=len(days), max_size=len(days))) for name in "ab"}
    return {"day": [START + timedelta(days=day) for day in days], **columns, "y": [None] * len(days)}


buckets = st.dictionaries(st.sampled_from([*KNOWN, "new", "..", "é"]), rows(), max_size=6)
sinces = st.one_of(st.none(), st.integers(0, 9).map(lambda day: START + timedelta(days=day)))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module", params=FLEETS)
def made(request: pytest.FixtureRequest, lake: Lake) -> pack.Pack:
    of = FLEETS[request.param]
    y = {"y": BINARY} if of.problem.kind == "classification" else {}
    parts = {"A": part(seed=1, **y), "B": part(seed=2, **y), "few": part(3), "moody": part(seed=3, **y)}
    if y:
        parts["few"] = part(3, y=BINARY[:3])
    return train_in_lake(lake, parts, name=request.param.replace(" ", "-"), buckets=2, of=of)


def pack_rows(made: pack.Pack) -> dict[str, Row]:
    """The pack's rows, one of whose models does not predict."""
    found = {row["partition"]: row for row in made.rows(0, 1 << 64).to_pylist()}
    moody = models.Picky()
    moody.asked, moody.mean = models.PREDICTS_NAN, 0.0
    found[key("moody")]["model"], found[key("moody")]["model_digest"] = pack.dump_model(moody)
    return found


def one_by_one(scorer: Scorer, known: Mapping[str, Row], table: pa.Table) -> tuple[list[Row], list[Row]]:
    """What `predict_table` gives, made row by row from a bucket for each partition."""
    predictions, outcomes = [], []
    header, forecast = scorer.header, scorer.forecast
    names = [name for name, _ in header.key_types] + [header.time, *(() if forecast else header.ids)]
    for partition, own in slices.cut(table):
        alone = scorer.opened(own)
        first = scorer.first(alone, 0)
        given = own.to_pylist()[first:]
        if not given:
            continue
        made = scorer.partition(alone, 0, known.get(partition))
        outcomes.append({"partition": partition, "outcome": made.outcome, "rows": len(given), "message": made.message})
        for place, row in enumerate(given):
            line = {name: row[name] for name in names}
            if forecast is not None:
                line["step"] = place + 1
            line["prediction"] = number(made.values[place])
            if header.problem == "classification":
                line["probability"] = None if made.probability is None else number(made.probability[place])
            for band, quantile in enumerate(forecast.quantiles if forecast else ()):
                line[quantile_name(quantile)] = None if made.quantiles is None else number(made.quantiles[place, band])
            line["source"] = made.young_source if place < made.young else made.source
            predictions.append(line | {"partition": partition})
    return predictions, outcomes


def number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def check(scorer: Scorer, known: Mapping[str, Row], table: pa.Table) -> None:
    predictions, outcomes = predict_table(scorer, known, table)
    expected = one_by_one(scorer, known, table)
    assert predictions.to_pylist() == expected[0]
    assert outcomes.to_pylist() == expected[1]
    empty, _ = predict_table(scorer, known, table.slice(0, 0))
    assert predictions.schema == empty.schema


@SETTINGS
@given(given=buckets, since=sinces)
def test_rows_of_a_bucket_are_predicted_as_each_partition_alone(
    made: pack.Pack, given: dict[str, Any], since: Any
) -> None:
    scorer = Scorer(made.header, GroupModels.opened(made), since=since)
    check(scorer, pack_rows(made), bucket(given, WITHOUT_TARGET))


@st.composite
def histories(draw: st.DrawFn) -> dict[tuple[str, str], Any]:
    """Series of items, too short ones and ones without a target among them."""
    names = st.tuples(st.sampled_from("SV"), st.sampled_from("abz"))
    chosen = draw(st.dictionaries(names, st.tuples(st.integers(1, 40), st.booleans()), max_size=4))
    return {
        name: items.part(days, seed=days, ahead=7, **({"y": None} if empty else {}))
        for name, (days, empty) in chosen.items()
    }


@pytest.fixture(scope="module", params=[(), (0.1, 0.5, 0.9)], ids=["values", "quantiles"])
def forecasts(request: pytest.FixtureRequest, lake: Lake) -> pack.Pack:
    of = items.spec(
        candidates=(Candidate(items.RIDGE),),
        problem=items.problem(quantiles=request.param),
        training=Training(folds=2, min_rows=20, fallback=("item", "baseline")),
    )
    known = {("S", "a"): items.part(70, seed=1), ("S", "b"): items.part(70, seed=2), ("V", "a"): items.part(10, seed=3)}
    return items.train_in_lake(lake, known, of, name=f"forecast-{len(request.param)}")


@settings(SETTINGS, max_examples=15)
@given(given=histories())
def test_forecasts_of_a_bucket_are_those_of_each_partition_alone(forecasts: pack.Pack, given: dict[Any, Any]) -> None:
    table = items.bucket(given, forecasts.header.fleet_spec, future=7)
    check(Scorer(forecasts.header, items.groups_of(forecasts)), items.rows_of(forecasts), table)


@settings(SETTINGS, max_examples=15)
@given(given=buckets)
def test_what_a_bucket_writes_is_read_back_the_same(
    made: pack.Pack, lake: Lake, given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = Path(tmp_path_factory.mktemp("run")).name
    table = bucket(given, WITHOUT_TARGET)
    place = BucketPlace(f"{root}/score", "inputs", 1)
    result = BucketWork(lake, place, made)(BucketTask(0, write_bucket(lake, f"{root}/rows.parquet", table)))
    known = {row["partition"]: row for row in made.rows(0, 1 << 64).to_pylist()}
    predictions, outcomes = predict_table(Scorer(made.header, items.groups_of(made)), known, table)
    written = [row for batch in read_batches(lake, [result.files["predictions"]]) for row in batch.to_pylist()]
    assert written == plain(predictions).to_pylist()
    assert sum(result.facts["sources"].values()) == predictions.num_rows
    assert sum(result.facts["counts"].values()) == outcomes.num_rows == len(given)
