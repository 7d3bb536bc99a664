"""Carried over is what fitting again would give; what has changed, or could turn out otherwise, is fitted again."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet import Candidate, FleetSpec, Gate, Training, pack
from modelfleet.lake import Lake
from modelfleet.lake.buckets import BucketPlace
from modelfleet.prediction import OF_CODE, TRANSIENT, Reason, may_differ
from modelfleet.slices import PARTITION
from modelfleet.training import Carrying
from modelfleet.training.carrying import BY_CUTOFF, in_order, way_of, without
from modelfleet.training.checkpoints import Checkpoints
from training_bench import CUTOFF, KEY_FIELDS, Part, bucket, part, plan, spec, train_in_lake

LATER = CUTOFF + timedelta(days=2)
PLAIN = {f"S{n}": part(seed=n) for n in range(6)} | {
    "short": part(3),
    "flat": part(y=1.0),
    "blank": part(b=[None] * 40),
    "infinite": part(y=[float("inf")] * 40),
}
NUMBER = itertools.count()
TIMED = {"fit_seconds", "trained_attempt", "candidates"}


def rows_of(made: pack.Pack) -> dict[str, dict[str, Any]]:
    return {row["store"]: row for row in made.rows(0, 2**64).to_pylist()}


def of(made: pack.Pack, *, again: frozenset[str] = frozenset(), same_champion: bool = True) -> Carrying:
    """All of a pack without models over many partitions, but for the reasons given."""
    return Carrying(made, (), again, same_champion)


def fitted_anew(made: pack.Pack, name: str) -> set[str]:
    """The stores whose row an attempt made itself."""
    return {store for store, row in rows_of(made).items() if row["trained_attempt"] == name}


def content(row: dict[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in row.items() if name not in TIMED}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def first(lake: Lake) -> pack.Pack:
    return train_in_lake(lake, PLAIN, name="first", buckets=3)


class TestCarriedIsAsFittedAgain:
    @settings(max_examples=12, deadline=None)
    @given(
        changed=st.sets(st.sampled_from(sorted(PLAIN))),
        gone=st.sets(st.sampled_from(sorted(PLAIN)), max_size=3),
        added=st.sets(st.sampled_from(["new", "newer"])),
        buckets=st.sampled_from([1, 2, 5]),
    )
    def test_random_changes(
        self,
        lake: Lake,
        first: pack.Pack,
        changed: set[str],
        gone: set[str],
        added: set[str],
        buckets: int,
    ) -> None:
        parts = {store: rows for store, rows in PLAIN.items() if store not in gone}
        parts |= {store: _other(parts[store]) for store in changed - gone} | {s: part(seed=99) for s in added}
        if not parts:
            return
        name = f"random-{next(NUMBER)}"
        carried = train_in_lake(lake, parts, name=f"{name}-c", buckets=buckets, carrying=of(first))
        again = train_in_lake(lake, parts, name=f"{name}-f", buckets=buckets)

        assert fitted_anew(carried, f"{name}-c") == (changed - gone) | added
        assert {s: content(row) for s, row in rows_of(carried).items()} == {
            s: content(row) for s, row in rows_of(again).items()
        }
        assert carried.header.digest == again.header.digest

    def test_row_keeps_all_it_said_with_the_models_bytes(self, lake: Lake, first: pack.Pack) -> None:
        made = train_in_lake(lake, PLAIN, name="later", buckets=2, cutoff=LATER, carrying=of(first))

        assert rows_of(made) == rows_of(first)


class TestFittedAgain:
    def test_what_could_turn_out_otherwise(self, lake: Lake, first: pack.Pack) -> None:
        again = frozenset({Reason.TOO_FEW_ROWS, Reason.BAD_TARGET})
        made = train_in_lake(lake, PLAIN, name="again", buckets=2, carrying=of(first, again=again))

        assert fitted_anew(made, "again") == {"short", "infinite"}

    def test_skipped_for_rows_about_the_cutoff_when_that_moves(self, lake: Lake) -> None:
        young = {"young": part(10, start=CUTOFF), "old": part()}
        before = train_in_lake(lake, young, name="young", buckets=1)
        assert rows_of(before)["young"]["reason"] == Reason.NO_ROWS_BEFORE_CUTOFF
        moved = CUTOFF + timedelta(days=7)

        made = train_in_lake(lake, young, name="grown", buckets=1, cutoff=moved, carrying=of(before, again=BY_CUTOFF))

        assert rows_of(made)["young"]["status"] == "trained"
        assert fitted_anew(made, "grown") == {"young"}

    def test_reasons_are_each_of_one_kind(self) -> None:
        assert may_differ(same_code=True) == TRANSIENT
        assert may_differ(same_code=False) == TRANSIENT | OF_CODE
        of_rows = set(Reason) - TRANSIENT - OF_CODE
        assert of_rows >= BY_CUTOFF | {Reason.NO_TARGET, Reason.TOO_FEW_ROWS, Reason.BAD_TARGET, Reason.BAD_SERIES}
        assert not TRANSIENT & OF_CODE


SPANNING = spec(
    model=None,
    candidates=(Candidate("author_models:build"), Candidate("author_models:forest", scope="fleet", name="global")),
    training=Training(min_rows=5, fallback=("fleet", "baseline")),
)
WILD = {f"S{n}": part(seed=n) | ({"y": [3.0 * (a > 0) for a in part(seed=n)["a"]]} if n % 2 else {}) for n in range(6)}
"""Every other shop's target is a step, which a line does not fit."""


@pytest.fixture(scope="module")
def before(lake: Lake) -> Carrying:
    """All of a training with a level, and with a candidate over the fleet."""
    made = train_in_lake(lake, WILD, name="spanning", buckets=2, of=SPANNING)
    files = sorted(lake.root.glob("shops/train/2013-03-12/spanning/train/groups/*/folds-*.parquet"))
    folds = tuple(lake.entry(str(file.relative_to(lake.root)), 0) for file in files)
    assert len(folds) == 2
    return Carrying(made, folds, frozenset(), same_champion=True)


class TestModelsOverManyPartitions:
    def test_same_rows_carry_them_and_all_that_refer_to_them(self, lake: Lake, before: Carrying) -> None:
        made = train_in_lake(lake, WILD, name="kept", buckets=3, of=SPANNING, carrying=before)

        assert rows_of(made) == rows_of(before.pack)
        assert _groups(made) == _groups(before.pack)
        assert {row["shared"] is None for row in rows_of(made).values()} == {True, False}

    def test_one_other_row_fits_them_and_what_follows_them_again(self, lake: Lake, before: Carrying) -> None:
        parts = {**WILD, "S0": _other(WILD["S0"])}
        shared = {store for store, row in rows_of(before.pack).items() if row["shared"] is not None}
        assert 0 < len(shared - {"S0"}) < 5

        made = train_in_lake(lake, parts, name="followed", buckets=3, of=SPANNING, carrying=before)
        again = train_in_lake(lake, parts, name="anew", buckets=1, of=SPANNING)

        assert fitted_anew(made, "followed") == shared | {"S0"}
        assert {row["trained_attempt"] for row in _groups(made)} == {"followed"}
        assert [row["model_digest"] for row in _groups(made)] == [row["model_digest"] for row in _groups(again)]
        for store in shared:
            assert content(rows_of(made)[store]) == content(rows_of(again)[store])

    def test_of_them_as_well_what_could_turn_out_otherwise(self, lake: Lake, before: Carrying) -> None:
        rows = before.groups(lake, "fleet", ["fleet"], plan(SPANNING, categories={"store": tuple(sorted(WILD))}))
        (group,) = rows.values()
        group.rows[0]["reason"] = Reason.TIMEOUT
        settled = plan(SPANNING, categories={"store": tuple(sorted(WILD))})

        assert not group.usable(settled, TRANSIENT)
        assert group.usable(settled, frozenset())
        assert not group.usable(plan(SPANNING, categories={"store": ("S0", "S1")}), frozenset())


class TestBesideTheChampion:
    def test_very_same_model(self, lake: Lake, first: pack.Pack) -> None:
        made = rows_of(train_in_lake(lake, PLAIN, name="same", buckets=2, champion=first, carrying=_unmet(first)))

        for store in ("S0", "S5"):
            assert made[store]["champion_status"] == "same"
            assert made[store]["champion_mae"] == made[store]["mae"]
            assert made[store]["trained_attempt"] == "first"
        assert made["short"]["champion_status"] == "none"

    def test_other_model_by_its_stored_metrics(self, lake: Lake, first: pack.Pack) -> None:
        other = {store: _other(rows) if store == "S1" else rows for store, rows in PLAIN.items()}
        champion = train_in_lake(lake, other, name="other", buckets=4)

        made = rows_of(train_in_lake(lake, PLAIN, name="stored", buckets=2, champion=champion, carrying=_unmet(first)))

        assert made["S1"]["champion_status"] == "stored"
        assert made["S1"]["champion_mae"] == rows_of(champion)["S1"]["mae"]
        assert made["S2"]["champion_status"] == "same"

    def test_no_champion_any_more(self, lake: Lake, first: pack.Pack) -> None:
        met = train_in_lake(lake, PLAIN, name="met", buckets=1, champion=first)
        assert rows_of(met)["S0"]["champion_status"] != "none"

        made = rows_of(train_in_lake(lake, PLAIN, name="alone", buckets=1, carrying=_unmet(met)))

        assert {row["champion_status"] for row in made.values()} == {"none"}
        assert {row["champion_mae"] for row in made.values()} == {None}

    def test_the_champion_it_was_compared_with(self, lake: Lake, first: pack.Pack) -> None:
        met = train_in_lake(lake, PLAIN, name="met-one", buckets=1, champion=first)

        made = train_in_lake(lake, PLAIN, name="met-again", buckets=2, champion=first, carrying=of(met))

        assert rows_of(made) == rows_of(met)


class TestWay:
    def test_changes_with_what_models_are_made_by_alone(self) -> None:
        plain = spec()
        same = (
            {"gate": Gate(each=("mae < 1",))},
            {"training": Training(min_rows=5, train_mode="changed")},
            {"tags": {"a": "b"}},
            {"owner": "others"},
        )
        others: tuple[dict[str, Any], ...] = (
            {"model": "author_models:forest"},
            {"features": ("a",)},
            {"training": Training(min_rows=6)},
            {"training": Training(min_rows=5, holdout="14D")},
            {"training": Training(min_rows=5, refit=False)},
            {"training": Training(min_rows=5, metrics=("spread",))},
        )
        assert all(_way(spec(**change)) == _way(plain) for change in same)
        assert all(_way(spec(**change)) != _way(plain) for change in others)
        listed = spec(params={"alphas": [0.1, 1.0]})
        for each in (plain, listed):
            assert json.loads(json.dumps(_way(each))) == _way(each)

    def test_is_of_no_interval(self) -> None:
        assert way_of(spec(), plan(cutoff=LATER)) == way_of(spec(), plan())


class TestCheckpoints:
    @settings(max_examples=20, deadline=None)
    @given(stores=st.sets(st.integers(0, 60), max_size=40), stop=st.integers(1, 4), seconds=st.sampled_from([0.0, 1e9]))
    def test_stopped_anywhere_what_was_written_is_found(
        self, tmp_path_factory: pytest.TempPathFactory, stores: set[int], stop: int, seconds: float
    ) -> None:
        lake, rows = Lake(tmp_path_factory.mktemp("lake")), bucket({f"S{n}": part(2) for n in stores})
        killed = Checkpoints(lake, BucketPlace("first", "inputs", 1), 0, seconds=seconds)
        done = list(itertools.islice(killed.keep(_fitted(rows), _SCHEMA), stop))
        written = killed.found()
        assert sum(t.num_rows for t in written) <= sum(t.num_rows for t in done)
        if seconds == 0.0 and stores:
            assert written

        successor = Checkpoints(lake, BucketPlace("second", "inputs", 1), 0, (killed.place,), seconds)
        found = successor.found()
        rest = without(rows, found)
        whole = in_order(rows, [*found, *successor.keep(_fitted(rest), _SCHEMA)], _SCHEMA)

        assert whole.equals(pa.Table.from_pylist(_fitted(rows), schema=_SCHEMA))
        assert successor.found() != [] or not written
        assert rest.num_rows == 2 * (len(stores) - sum(t.num_rows for t in found))

    def test_of_other_inputs_or_damaged_count_nothing(self, tmp_path: Path) -> None:
        lake, rows = Lake(tmp_path), bucket({f"S{n}": part(2) for n in range(40)})
        made = Checkpoints(lake, BucketPlace("first", "inputs", 1), 0, seconds=0.0)
        list(made.keep(_fitted(rows), _SCHEMA))
        assert made.found()
        for other in (BucketPlace("first", "others", 1), BucketPlace("first", "inputs", 2)):
            assert replace(made, place=other).found() == []
        for file in (tmp_path / "first").glob("part-*.arrow"):
            file.write_bytes(b"damaged")
        assert made.found() == []

    def test_are_deleted_once_the_bucket_is_finished_but_those_of_other_attempts(self, tmp_path: Path) -> None:
        lake, rows = Lake(tmp_path), bucket({f"S{n}": part(2) for n in range(40)})
        earlier = Checkpoints(lake, BucketPlace("first", "inputs", 1), 0, seconds=0.0)
        next(iter(earlier.keep(_fitted(rows), _SCHEMA)))
        made = Checkpoints(lake, BucketPlace("second", "inputs", 1), 0, (earlier.place,), seconds=0.0)
        list(made.keep(_fitted(without(rows, made.found())), _SCHEMA))

        made.forget()

        assert not list((tmp_path / "second").glob("*.arrow"))
        assert earlier.found()
        assert [part.num_rows for part in made.found()] == [part.num_rows for part in earlier.found()]


_SCHEMA = pack.row_schema(KEY_FIELDS, ("mae",))


def _fitted(rows: pa.Table) -> list[dict[str, str]]:
    """A pack row per partition, without a model."""
    return [{"partition": name} for name in pc.unique(rows.column(PARTITION).cast(pa.string())).to_pylist()]


def _other(rows: Part) -> Part:
    """The same rows but for one value."""
    return {**rows, "a": [rows["a"][0] + 0.01, *rows["a"][1:]]}


def _groups(made: pack.Pack) -> list[dict[str, Any]]:
    found = made.groups()
    assert found is not None
    return sorted(found.to_pylist(), key=lambda row: (row["level"], row["partition"]))


def _unmet(made: pack.Pack) -> Carrying:
    return of(made, same_champion=False)


def _way(given: FleetSpec) -> dict[str, Any]:
    return way_of(given, plan(given))
