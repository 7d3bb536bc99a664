"""Models over many partitions of a Regression or Classification, and rows whose past is too short for a model."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.linear_model import Ridge

from forecast_bench import groups_of, rows_of
from modelfleet import Candidate, Classification, Features, FleetSpec, Lag, Training, pack
from modelfleet.group_models import CANDIDATE, FLEET
from modelfleet.lake import Lake
from modelfleet.scoring import Scorer, predict_table
from training_bench import CUTOFF, SCHEMA, START, Part, Row, bucket, key, part, spec, train_in_lake

RIDGE = "author_forecasters:ridge"
PARTS = {"A": part(seed=1), "B": part(seed=2), "C": part(30, seed=3), "short": part(3, seed=4)}
WITHOUT_TARGET = SCHEMA.remove(SCHEMA.get_field_index("y"))


def fleet(*candidates: Candidate, **changes: Any) -> FleetSpec:
    training = {"min_rows": 5, "fallback": ("fleet", "baseline"), **changes.pop("training", {})}
    return spec(model=None, candidates=candidates or (Candidate(RIDGE),), training=Training(**training), **changes)


def trained(path: Path, parts: dict[str, Part], of: FleetSpec) -> pack.Pack:
    return train_in_lake(Lake(path), parts, name="one", buckets=2, of=of)


def group(made: pack.Pack, level: str = FLEET) -> Row:
    groups = made.groups()
    assert groups is not None
    (row,) = (row for row in groups.to_pylist() if row["level"] == level)
    return dict(row)


def predicted(made: pack.Pack, scored: dict[str, Part], **of_scorer: Any) -> dict[str, dict[str, list[Any]]]:
    scorer = Scorer(made.header, groups_of(made), **of_scorer)
    table, _ = predict_table(scorer, rows_of(made), bucket(scored, WITHOUT_TARGET))
    return {store: table.filter(pc.equal(table["store"], store)).to_pydict() for store in scored}


def stacked(parts: list[Part], rows: slice = slice(None)) -> np.ndarray:
    return np.concatenate([np.column_stack([given["a"], given["b"]])[rows] for given in parts])


def test_new_partition_is_served_by_the_model_of_the_fleet(tmp_path: Path) -> None:
    made = trained(tmp_path, PARTS, fleet())
    scored = {"A": part(4, seed=7), "new": part(4, seed=8)}
    found = predicted(made, scored)
    assert {store: set(found[store]["source"]) for store in scored} == {"A": {"model"}, "new": {FLEET}}
    # The key is a feature; of a store that training has not seen it is -1. The stores' order is that of their names.
    stores = [0.0] * 40 + [1.0] * 40 + [2.0] * 30 + [3.0] * 3
    x = np.column_stack([stacked(list(PARTS.values())), stores])
    y = np.concatenate([given["y"] for given in PARTS.values()])
    new = np.column_stack([stacked([scored["new"]]), [-1.0] * 4])
    np.testing.assert_allclose(found["new"]["prediction"], Ridge().fit(x, y).predict(new), rtol=1e-9)


def test_partition_too_short_at_training_prefers_the_fleets_model_to_its_baseline(tmp_path: Path) -> None:
    row = rows_of(trained(tmp_path / "levels", PARTS, fleet()))[key("short")]
    assert (row["status"], row["serves"]) == ("skipped", "baseline")
    found = predicted(trained(tmp_path / "again", PARTS, fleet()), {"short": part(4, seed=7)})
    assert set(found["short"]["source"]) == {FLEET}
    without = fleet(training={"fallback": ("baseline",)})
    assert set(predicted(trained(tmp_path / "none", PARTS, without), {"short": part(4)})["short"]["source"]) == {
        "baseline"
    }


def test_classes_of_new_partitions_come_with_their_probability(tmp_path: Path) -> None:
    y = [0.0, 0.0, 1.0, 0.0] * 10
    parts = {name: {**part(seed=n), "y": y} for n, name in enumerate("ABC")}
    of = fleet(Candidate("author_models:logistic"), problem=Classification(target="y"))
    made = trained(tmp_path, parts, of)
    found = predicted(made, {"new": part(5, seed=9)})["new"]
    assert set(found["source"]) == {FLEET}
    assert found["prediction"] == [float(chance >= 0.5) for chance in found["probability"]]
    row = group(made)
    assert 0 < row["log_loss"] < 2
    assert row["baseline_log_loss"] > 0
    assert rows_of(made)[key("A")]["fallback_status"] == FLEET


def test_group_without_rows_in_the_holdout_is_trained_but_not_measured(tmp_path: Path) -> None:
    parts = {name: part(20, seed=n) for n, name in enumerate("ABC")}
    made = trained(tmp_path, parts, fleet(Candidate(RIDGE), Candidate(RIDGE, scope="fleet", name="global")))
    for row in (group(made), group(made, CANDIDATE)):
        assert (row["status"], row["n_train"], row["n_test"]) == ("trained", 60, 0)
        assert (row["baseline_status"], row["mae"], row["fallback_status"]) == ("none", None, "none")
    assert {row["status"] for row in rows_of(made).values()} == {"trained"}


def test_group_whose_rows_all_lie_in_the_holdout_has_no_model(tmp_path: Path) -> None:
    parts = {name: part(8, seed=n, start=CUTOFF) for n, name in enumerate("AB")}
    made = trained(tmp_path, parts, fleet())
    row = group(made)
    assert (row["status"], row["reason"], row["serves"]) == ("skipped", "no_rows_before_cutoff", "none")
    assert set(predicted(made, {"new": part(4)})["new"]["source"]) == {"none"}


def test_partitions_that_are_not_sound_are_no_part_of_a_group(tmp_path: Path) -> None:
    sound = {"A": PARTS["A"], "B": PARTS["B"]}
    bad = {"infinite": part(y=float("inf")), "few and infinite": part(2, y=float("-inf"))}
    rows = [group(trained(tmp_path / str(len(given)), given, fleet())) for given in (sound, sound | bad)]
    assert rows[0]["n_rows"] == rows[1]["n_rows"] == 80
    assert rows[0]["mae"] == pytest.approx(rows[1]["mae"], rel=0.2)


def test_shared_candidate_is_referred_to_and_served(tmp_path: Path) -> None:
    made = trained(
        tmp_path, PARTS, fleet(Candidate(RIDGE, scope="fleet", name="global"), training={"fallback": ("baseline",)})
    )
    digest = group(made, CANDIDATE)["model_digest"]
    assert {row["shared"] for row in rows_of(made).values() if row["serves"] == "model"} == {digest}
    found = predicted(made, {"A": part(4, seed=7), "new": part(4)})
    assert (set(found["A"]["source"]), set(found["new"]["source"])) == ({"model"}, {"none"})
    assert None not in found["A"]["prediction"]


LAGGED = Features(known_ahead=("a",), past=(Lag("b", 2),))


class TestYoungRows:
    """An estimator that takes no missing values, and rows before which there are too few for the features that look back."""

    @pytest.mark.parametrize(
        "store, first, second",
        [("A", "baseline", "model"), ("new", "none", FLEET)],
        ids=["of a partition that is known", "of a new one"],
    )
    def test_are_served_by_the_baseline_and_the_others_by_the_model(
        self, tmp_path: Path, store: str, first: str, second: str
    ) -> None:
        made = trained(tmp_path, PARTS, fleet(features=LAGGED))
        found = predicted(made, {store: part(5, seed=7)})[store]
        assert found["source"] == [first] * 2 + [second] * 3
        naive = rows_of(made)[key("A")]["baseline_value"] if store == "A" else None
        assert found["prediction"][:2] == [naive] * 2
        assert None not in found["prediction"][2:]

    def test_are_the_models_where_it_takes_missing_values(self, tmp_path: Path) -> None:
        made = trained(tmp_path, PARTS, fleet(Candidate("author_models:build"), features=LAGGED))
        assert set(predicted(made, {"A": part(5, seed=7)})["A"]["source"]) == {"model"}

    def test_are_none_where_the_rows_before_the_interval_are_there(self, tmp_path: Path) -> None:
        made = trained(tmp_path, PARTS, fleet(features=LAGGED))
        found = predicted(made, {"A": part(9, seed=7)}, since=START + timedelta(days=4))["A"]
        assert found["source"] == ["model"] * 5

    def test_that_are_all_there_is_cost_the_partition_its_model(self, tmp_path: Path) -> None:
        made = trained(tmp_path, PARTS, fleet(features=LAGGED, training={"fallback": ("baseline",)}))
        scorer = Scorer(made.header, groups_of(made))
        _, outcomes = predict_table(scorer, rows_of(made), bucket({"A": part(2, seed=7)}, WITHOUT_TARGET))
        (told,) = outcomes.to_pylist()
        assert (told["outcome"], "Input X contains NaN" in told["message"]) == ("failed", True)

    def test_with_classes_have_the_baselines_probability(self, tmp_path: Path) -> None:
        y = [0.0, 0.0, 1.0, 0.0] * 10
        of = fleet(
            Candidate("author_models:unimputed"),
            features=LAGGED,
            problem=Classification(target="y"),
            training={"fallback": ("baseline",)},
        )
        made = trained(tmp_path, {"A": part(y=y)}, of)
        found = predicted(made, {"A": part(5, seed=7)})["A"]
        assert found["source"] == ["baseline"] * 2 + ["model"] * 3
        assert (found["prediction"][:2], found["probability"][:2]) == ([0.0] * 2, [0.25] * 2)
        assert all(0 < chance < 1 for chance in found["probability"])


def test_outcomes_are_of_one_schema_with_and_without_groups(tmp_path: Path) -> None:
    made = trained(tmp_path, PARTS, fleet())
    one, other = (
        predict_table(Scorer(made.header, groups), rows_of(made), bucket({"new": part(2)}, WITHOUT_TARGET))
        for groups in (None, groups_of(made))
    )
    assert one[0].schema == other[0].schema
    assert one[1].schema == other[1].schema
    assert one[0].schema.field("source").type == pa.dictionary(pa.int32(), pa.string())
