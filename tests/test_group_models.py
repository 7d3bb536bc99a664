"""Models over many partitions: what serves where a partition has none, and one model that many partitions share."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from forecast_bench import (
    END,
    KEY_FIELDS,
    RIDGE,
    Row,
    bucket,
    groups_of,
    key,
    model_of,
    part,
    problem,
    rows_of,
    score,
    served,
    spec,
    train_in_lake,
)
from modelfleet import Candidate, FleetSpec, Gate, Training, keys, pack, promotion
from modelfleet.errors import CorruptionError, ModelCodeError
from modelfleet.forecasting import naive
from modelfleet.group_models import CANDIDATE, FLEET, GroupModels, group_of
from modelfleet.lake import Lake
from modelfleet.metric_names import FORECAST
from modelfleet.metrics import forecast, scale
from modelfleet.promotion import serving
from modelfleet.shared_model import SharedModel
from modelfleet.training import groups as grouping

IMPUTED = "author_forecasters:imputed_ridge"
HISTORY = {
    (store, item): part(70 + 7 * n, seed=n, level=20.0 + 30.0 * (item == "b"))
    for n, (store, item) in enumerate([("S", "a"), ("S", "b"), ("T", "a"), ("T", "b")])
}
SHORT = ("U", "a")
PARTS = HISTORY | {SHORT: part(10, seed=9)}
NEW = {
    SHORT: part(17, seed=9, ahead=7, end=END),
    ("V", "a"): part(12, seed=10, ahead=7),
    ("V", "z"): part(12, seed=11, ahead=7),
    ("V", "empty"): part(12, seed=11, ahead=7, y=None),
    ("S", "a"): part(70, seed=0, ahead=7),
}
LEVELS = ("item", "fleet", "baseline")


def fleet(*candidates: Candidate, **changes: Any) -> FleetSpec:
    training = {"folds": 2, "min_rows": 20, "fallback": LEVELS, **changes.pop("training", {})}
    return spec(candidates=candidates or (Candidate(IMPUTED),), training=Training(**training), **changes)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def made(lake: Lake) -> pack.Pack:
    """Each partition has a model of its own, but for one; and there are models of items and of the fleet."""
    return train_in_lake(lake, PARTS, fleet(problem=problem(quantiles=(0.1, 0.9))), name="levels")


@pytest.fixture(scope="module")
def shared(lake: Lake) -> pack.Pack:
    """One candidate over the whole fleet is the only one."""
    return train_in_lake(lake, PARTS, fleet(Candidate(IMPUTED, scope="fleet", name="global")), name="shared")


def group_rows(made: pack.Pack) -> dict[tuple[str, str], Row]:
    groups = made.groups()
    assert groups is not None
    return {(row["level"], row["partition"]): row for row in groups.to_pylist()}


def by_hand(made: pack.Pack, row: Row, names: tuple[str, str]) -> np.ndarray:
    """What the model of a row says of the coming week of a partition of `NEW`."""
    inputs = made.header.all_inputs[row["features"]]
    assert inputs.recipe is not None
    table = bucket({names: NEW[names]}, made.header.fleet_spec, future=7)
    x = inputs.recipe.compute(table, np.zeros(1, np.int64), time="day", ahead=7)
    return np.asarray(model_of(row).fitted.estimators[0].predict(x[-7:]))


class TestFallback:
    @pytest.mark.parametrize(
        "names, source, outcome",
        [
            (("S", "a"), "model", "scored"),
            (SHORT, "item", "fallback"),
            (("V", "a"), "item", "fallback"),
            (("V", "z"), "fleet", "fallback"),
            (("V", "empty"), "fleet", "fallback"),
        ],
        ids=["own model", "short at training", "new store", "new item", "no history"],
    )
    def test_partition_is_served_by_the_first_level_that_has_a_model(
        self, made: pack.Pack, names: tuple[str, str], source: str, outcome: str
    ) -> None:
        predictions, outcomes = score(made, NEW)
        assert set(served(predictions, names, "source")) == {source}
        assert outcomes[key(names)]["outcome"] == outcome
        assert None not in served(predictions, names)
        bands = [served(predictions, names, name) for name in ("q10", "q90")]
        assert all(low < high for low, high in zip(*bands, strict=True))

    def test_partition_without_history_and_levels_is_served_by_nothing(self, made: pack.Pack) -> None:
        predictions, outcomes = score(made, {("V", "empty"): NEW["V", "empty"]}, groups=GroupModels())
        assert set(served(predictions, ("V", "empty"), "source")) == {"none"}
        assert served(predictions, ("V", "empty")) == served(predictions, ("V", "empty"), "q90") == [None] * 7
        assert outcomes[key(("V", "empty"))]["outcome"] == "no_model"

    @pytest.mark.parametrize("names, level, group", [(("V", "a"), "item", "item=a"), (("V", "z"), FLEET, FLEET)])
    def test_forecast_is_that_of_the_groups_model(
        self, made: pack.Pack, names: tuple[str, str], level: str, group: str
    ) -> None:
        predictions, _ = score(made, NEW)
        expected = by_hand(made, group_rows(made)[level, group], names)
        np.testing.assert_allclose(served(predictions, names), expected, rtol=1e-12)

    def test_every_row_of_a_fleet_with_many_new_partitions_has_a_forecast_and_its_source(self, made: pack.Pack) -> None:
        known = {names: part(70, seed=n, ahead=7) for n, names in enumerate(HISTORY)}
        new = {("N", item): part(9, seed=20 + n, ahead=7) for n, item in enumerate(["a", "b", "c"])}
        predictions, outcomes = score(made, known | new)
        assert predictions["prediction"].null_count == 0
        assert predictions.num_rows == 7 * len(known | new)
        sources = {names: set(served(predictions, names, "source")) for names in known | new}
        assert sources == {
            **{names: {"model"} for names in known},
            ("N", "a"): {"item"},
            ("N", "b"): {"item"},
            ("N", "c"): {"fleet"},
        }
        assert {row["message"] for row in outcomes.values()} == {None}

    @pytest.mark.parametrize(
        "gone, source", [([], "item"), (["item"], "fleet"), (["item", FLEET], "baseline")], ids=["none", "item", "both"]
    )
    def test_level_without_a_model_leaves_the_next(self, made: pack.Pack, gone: list[str], source: str) -> None:
        groups = GroupModels.of(row for (level, _), row in group_rows(made).items() if level not in gone)
        predictions, outcomes = score(made, {("V", "a"): NEW["V", "a"]}, groups=groups)
        assert set(served(predictions, ("V", "a"), "source")) == {source}
        assert outcomes[key(("V", "a"))]["outcome"] == "fallback"
        if source == "baseline":
            known = np.array(NEW["V", "a"]["y"][:12], dtype=float)
            assert served(predictions, ("V", "a")) == naive("seasonal_naive", known, 7, 7).tolist()

    def test_level_whose_model_does_not_predict_leaves_the_next_and_is_told(self, lake: Lake) -> None:
        made = train_in_lake(lake, HISTORY, fleet(Candidate(RIDGE)), name="refusing")
        young = {("V", "a"): part(5, seed=3, ahead=7)}  # no lags, which Ridge can't do without
        predictions, outcomes = score(made, young)
        assert set(served(predictions, ("V", "a"), "source")) == {"baseline"}
        told = outcomes[key(("V", "a"))]
        assert (told["outcome"], told["message"][:36]) == ("fallback", "item: predict raised ValueError: Inp")
        assert "; fleet: predict raised" in told["message"]

    def test_model_of_its_own_that_fails_is_told_and_the_level_serves(self, made: pack.Pack) -> None:
        rows = rows_of(made)
        gone = b"cauthor_models\nGone\n."
        rows[key(("S", "a"))] |= {"model": gone, "model_digest": pack.header_digest(gone)}
        predictions, outcomes = score(made, {("S", "a"): NEW["S", "a"]}, rows=rows)
        assert set(served(predictions, ("S", "a"), "source")) == {"item"}
        assert outcomes[key(("S", "a"))]["outcome"] == "failed"
        assert outcomes[key(("S", "a"))]["message"].startswith("AttributeError: ")

    def test_fleet_without_levels_has_no_groups(self, lake: Lake) -> None:
        made = train_in_lake(lake, HISTORY, fleet(training={"fallback": ("baseline",)}), name="none")
        assert (made.groups(), made.header.groups) == (None, ())
        predictions, _ = score(made, {("V", "a"): NEW["V", "a"]})
        assert set(served(predictions, ("V", "a"), "source")) == {"baseline"}


class TestMeasured:
    def test_beside_a_partitions_own_stands_what_the_first_level_makes_of_the_same_rows(
        self, lake: Lake, made: pack.Pack
    ) -> None:
        row = rows_of(made)[key(("S", "b"))]
        assert row["fallback_status"] == "item"
        # The item's model of a training a week before, which did not know the holdout.
        week = timedelta(days=7)
        before = {names: {name: values[:-7] for name, values in given.items()} for names, given in PARTS.items()}
        earlier = train_in_lake(lake, before, made.header.fleet_spec, name="earlier", end=END - week)
        given = {**HISTORY["S", "b"], "y": [*HISTORY["S", "b"]["y"][:-7], *[None] * 7]}
        predictions, _ = score(earlier, {("S", "b"): given}, end=END - week, rows={})
        assert set(served(predictions, ("S", "b"), "source")) == {"item"}
        y = np.array(HISTORY["S", "b"]["y"])
        expected = forecast(y[-7:], served(predictions, ("S", "b")), scale=scale(y[:-7], 7))
        measured = {name: row[f"fallback_{name}"] for name in expected}
        assert measured == pytest.approx(expected, rel=1e-12, nan_ok=True)

    def test_group_rows_are_like_others_with_their_level(self, made: pack.Pack) -> None:
        found = group_rows(made)
        assert set(found) == {("item", "item=a"), ("item", "item=b"), (FLEET, FLEET)}
        row = found["item", "item=a"]
        assert (row["status"], row["serves"], row["candidate"], row["code"]) == (
            "trained",
            "model",
            "imputed_ridge",
            IMPUTED,
        )
        assert (row["n_rows"], row["n_train"], row["n_test"]) == (70 + 84 + 10, 70 + 84 + 10 - 21, 21)
        assert (row["baseline_status"], row["fallback_status"], row["champion_status"]) == (
            "compared",
            "baseline",
            "none",
        )
        assert row["fallback_wape"] == row["baseline_wape"]
        assert 0 < row["wape"] < 1
        assert (row["store"], row["item"]) == (None, None)
        assert made.index().column("level").null_count == made.header.rows

    def test_rule_can_demand_that_a_model_beats_its_fallback(self, made: pack.Pack) -> None:
        decided = promotion.decide(
            Gate(each=("mae < fallback.mae",)),
            made.index(),
            None,
            metrics=FORECAST,
            key_columns=("store", "item"),
            challenger_interval="2013-03-31",
        )
        found = {row["partition"]: row["decision"] for row in decided.decisions.to_pylist()}
        expected = {
            name: "promoted" if row["status"] == "trained" and row["mae"] < row["fallback_mae"] else "rejected"
            for name, row in rows_of(made).items()
        }
        assert found == expected
        assert len(set(found.values())) == 2


class TestShared:
    def test_partitions_refer_to_the_model_by_its_digest_and_the_pack_has_it_once(self, shared: pack.Pack) -> None:
        row = group_rows(shared)[CANDIDATE, "global"]
        trained = [r for r in rows_of(shared).values() if r["status"] == "trained"]
        assert len(trained) == len(HISTORY)
        assert {r["shared"] for r in trained} == {row["model_digest"]}
        assert {r["features"] for r in trained} == {row["features"]} != {None}
        assert all(len(r["model"]) < 500 < len(row["model"]) for r in trained)
        held = model_of(trained[0]).fitted
        assert isinstance(held, SharedModel)
        assert (held.digest, held.model) == (row["model_digest"], None)

    def test_reference_is_resolved_when_scoring(self, shared: pack.Pack) -> None:
        predictions, outcomes = score(shared, {("S", "a"): NEW["S", "a"]})
        expected = by_hand(shared, group_rows(shared)[CANDIDATE, "global"], ("S", "a"))
        np.testing.assert_allclose(served(predictions, ("S", "a")), expected, rtol=1e-12)
        assert set(served(predictions, ("S", "a"), "source")) == {"model"}
        assert outcomes[key(("S", "a"))]["outcome"] == "scored"

    def test_reference_to_what_is_not_there_stops_the_bucket(self, shared: pack.Pack) -> None:
        with pytest.raises(CorruptionError, match="the pack lacks the model over many partitions of digest"):
            score(shared, {("S", "a"): NEW["S", "a"]}, groups=GroupModels())

    def test_model_that_is_not_fitted_again_is_referred_to_likewise(self, lake: Lake) -> None:
        of = fleet(Candidate(IMPUTED, scope="fleet", name="global"), training={"refit": False})
        made = train_in_lake(lake, HISTORY, of, name="unrefitted")
        digest = group_rows(made)[CANDIDATE, "global"]["model_digest"]
        assert {row["shared"] for row in rows_of(made).values()} == {digest}

    def test_candidate_of_the_fleet_competes_with_those_of_the_partition(self, lake: Lake) -> None:
        of = fleet(Candidate(IMPUTED, scope="fleet", name="global"), Candidate(IMPUTED, name="own"))
        rows = rows_of(train_in_lake(lake, PARTS, of, name="both"))
        for row in rows.values():
            if row["status"] == "trained":
                assert '"global", "score": 0.' in row["candidates"]
                assert (row["shared"] is not None) == (row["candidate"] == "global")

    def test_candidate_of_the_fleet_that_fails_leaves_the_others(self, lake: Lake) -> None:
        of = fleet(
            Candidate("author_forecasters:refusing", scope="fleet", name="global"), Candidate(IMPUTED, name="own")
        )
        made = train_in_lake(lake, HISTORY, of, name="failing")
        assert group_rows(made)[CANDIDATE, "global"]["status"] == "failed"
        for row in rows_of(made).values():
            assert (row["status"], row["candidate"]) == ("trained", "own")
            assert (
                "candidate 'global' over the fleet: predict raised ValueError: no prediction today" in row["candidates"]
            )

    def test_forecaster_over_the_fleet_is_refused_by_name(self, lake: Lake) -> None:
        with pytest.raises(ModelCodeError, match=r"fleet 'items': candidate 'last' of scope 'fleet' is a forecaster"):
            train_in_lake(lake, HISTORY, fleet(Candidate("author_forecasters:last", scope="fleet")), name="forecaster")

    def test_champion_that_is_shared_is_measured_on_the_new_holdout(self, lake: Lake, shared: pack.Pack) -> None:
        later = END + timedelta(days=7)
        grown = {names: part(80, seed=n, end=later) for n, names in enumerate(HISTORY)}
        made = train_in_lake(lake, grown, fleet(), name="later", champion=shared, end=later)
        rows = rows_of(made)
        assert {row["champion_status"] for row in rows.values()} == {"compared"}
        given = grown["S", "a"]
        held = {**given, "y": [*given["y"][:-7], *[None] * 7]}
        predictions, _ = score(shared, {("S", "a"): held}, end=END)
        y = np.array(given["y"])
        expected = forecast(y[-7:], served(predictions, ("S", "a")), scale=scale(y[:-7], 7))
        row = rows[key(("S", "a"))]
        assert row["champion_mae"] == pytest.approx(expected["mae"], rel=1e-12)
        assert row["champion_wape"] == pytest.approx(expected["wape"], rel=1e-12)


class TestPromoted:
    """`serving.groups`: which models over many partitions the production pack gets."""

    @staticmethod
    def packed(*rows: tuple[str, str, bytes]) -> Any:
        listed = [
            {
                "_hash": n,
                "partition": group,
                "level": level,
                "status": "trained",
                "serves": "model",
                "model": data,
                "model_digest": pack.header_digest(data),
            }
            for n, (level, group, data) in enumerate(rows)
        ]
        table = pa.Table.from_pylist(listed, schema=pack.row_schema(KEY_FIELDS, FORECAST))

        class Given:
            def groups(self) -> pa.Table | None:
                return table if rows else None

        return Given()

    def chosen(
        self, ours: Any, theirs: Any, decisions: dict[str, str], shared: set[bytes]
    ) -> set[tuple[str, str, bytes]]:
        digests = {pack.header_digest(data) for data in shared}
        decided = pa.table(
            {"partition": pa.array(decisions, pa.string()), "decision": pa.array(decisions.values(), pa.string())}
        )
        given = (None if each is None else each.groups() for each in (ours, theirs))
        table = serving.groups(*given, decided, pa.array(digests, pa.string()))
        return set() if table is None else {(r["level"], r["partition"], r["model"]) for r in table.to_pylist()}

    def test_promoted_ones_replace_the_champions_and_kept_ones_stay(self) -> None:
        ours = self.packed(("item", "item=a", b"new a"), ("item", "item=b", b"new b"), (FLEET, FLEET, b"new"))
        theirs = self.packed(("item", "item=a", b"old a"), ("item", "item=b", b"old b"), ("item", "item=c", b"old c"))
        decisions = {"item=a": "promoted", "item=b": "kept", "item=c": "kept", FLEET: "rejected"}
        expected = {("item", "item=a", b"new a"), ("item", "item=b", b"old b"), ("item", "item=c", b"old c")}
        assert self.chosen(ours, theirs, decisions, set()) == expected

    def test_shared_ones_are_there_as_long_as_a_serving_model_refers_to_them(self) -> None:
        ours, theirs = self.packed((CANDIDATE, "global", b"new")), self.packed((CANDIDATE, "global", b"old"))
        both = {(CANDIDATE, "global", b"new"), (CANDIDATE, "global", b"old")}
        assert self.chosen(ours, theirs, {}, {b"new", b"old"}) == both
        assert self.chosen(ours, theirs, {}, {b"old"}) == {(CANDIDATE, "global", b"old")}
        assert self.chosen(ours, theirs, {}, set()) == set()

    def test_level_that_was_rejected_does_not_serve_for_being_the_same_model_as_a_shared_one(self) -> None:
        ours = self.packed((CANDIDATE, "global", b"same"), (FLEET, FLEET, b"same"))
        expected = {(CANDIDATE, "global", b"same")}
        assert self.chosen(ours, None, {FLEET: "rejected"}, {b"same"}) == expected

    def test_champions_stay_where_the_training_has_none(self) -> None:
        theirs = self.packed(("item", "item=a", b"old a"))
        assert self.chosen(self.packed(), theirs, {"item=a": "kept"}, set()) == {("item", "item=a", b"old a")}
        assert self.chosen(self.packed(), None, {}, set()) == set()


def test_group_is_named_by_its_level_and_value() -> None:
    values = {"store": "S", "item": "a/b"}
    assert (group_of("item", values), group_of(FLEET, values)) == ("item=a%2Fb", FLEET)


def test_reference_is_pickled_without_the_model() -> None:
    again = pickle.loads(pickle.dumps(SharedModel("digest", object())))
    assert (again.digest, again.model) == ("digest", None)


def test_large_group_is_fitted_on_whole_partitions_of_it(
    lake: Lake, made: pack.Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "MAX_ROWS", 160)
    sampled = train_in_lake(lake, PARTS, made.header.fleet_spec, name="sampled")
    rows = group_rows(sampled)[FLEET, FLEET]["n_rows"]
    lengths = [len(PARTS[names]["y"]) for names in sorted(PARTS, key=lambda names: keys.hash_of(key(names)))]
    assert rows == max(total for total in np.cumsum(lengths).tolist() if total <= 160)
    assert groups_of(sampled).row(FLEET, {}) is not None
