"""Models over many partitions: what is read of large groups, what a killed attempt leaves, why partitions have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import training_bench
from forecast_bench import KEY_FIELDS, bucket, key, part, plan, rows_of, spec, train_in_lake
from modelfleet import Candidate, FleetSpec, Training, dataset, keys, pack
from modelfleet.group_models import CANDIDATE, FLEET
from modelfleet.lake import FileEntry, Lake
from modelfleet.prediction import NoModelError, Reason
from modelfleet.training import GroupFiles, TrainingPlan, groups
from modelfleet.training.groups import TrainedGroups

IMPUTED = "author_forecasters:imputed_ridge"
PARTS = {(store, item): part(40 + n, seed=n) for n, (store, item) in enumerate((s, i) for s in "STUV" for i in "ab")}
ROWS = sum(len(given["y"]) for given in PARTS.values())


def fleet(*candidates: Candidate, levels: tuple[str, ...] = ("item", "fleet", "baseline")) -> FleetSpec:
    training = Training(folds=2, min_rows=20, fallback=levels)
    return spec(candidates=candidates or (Candidate(IMPUTED),), training=training)


def group_rows(made: pack.Pack) -> dict[tuple[str, str], dict[str, Any]]:
    found = made.groups()
    assert found is not None
    return {(row["level"], row["partition"]): row for row in found.to_pylist()}


def entries_of(lake: Lake, of: FleetSpec, buckets: int) -> list[FileEntry]:
    """The rows of `PARTS` in buckets."""
    found = []
    for number in range(buckets):
        inside = {n: p for n, p in PARTS.items() if keys.bucket_of(keys.hash_of(key(n)), buckets) == number}
        found.append(training_bench.write_bucket(lake, f"rows-{number}.arrow", bucket(inside, of)))
    return found


def fitted(lake: Lake, settled: TrainingPlan, entries: list[FileEntry], folder: str, *earlier: str) -> GroupFiles:
    return training_bench.group_files(lake, settled, KEY_FIELDS, entries, folder, earlier=earlier)


@pytest.mark.parametrize("largest", [100, 1])
def test_large_groups_are_the_same_however_many_buckets_their_rows_lie_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(groups, "MAX_ROWS", largest)
    of = fleet(Candidate(IMPUTED, scope="fleet", name="global"), Candidate(IMPUTED, name="own"))
    one, five = (group_rows(train_in_lake(Lake(tmp_path / str(n)), PARTS, of, name="made", buckets=n)) for n in (1, 5))
    assert {level for level, _ in one} == {"item", FLEET, CANDIDATE}
    for group, row in one.items():
        assert row["n_rows"] <= max(largest, 48) < ROWS / 2
        assert (five[group]["n_rows"], five[group]["model_digest"]) == (row["n_rows"], row["model_digest"])


def test_no_more_is_read_of_the_whole_fleet_than_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, of = Lake(tmp_path), fleet(levels=("fleet", "baseline"))
    entries = entries_of(lake, of, 5)
    read: list[str] = []
    plain = dataset.read_bucket
    monkeypatch.setattr(groups, "MAX_ROWS", 1)
    monkeypatch.setattr(dataset, "read_bucket", lambda lake, entry: (read.append(entry.path), plain(lake, entry))[1])
    fitted(lake, plan(of, PARTS), entries, "groups")
    assert read == [next(entry.path for entry in entries if entry.rows)]


def test_groups_of_a_killed_attempt_are_taken_over_and_not_fitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, of = Lake(tmp_path), fleet()
    entries, settled = entries_of(lake, of, 3), plan(of, PARTS)
    before = fitted(lake, settled, entries, "first/groups")
    assert len(before.pack) == len(before.folds) == len(before.digests) > 1

    monkeypatch.setattr(groups, "fit_group", lambda *_: pytest.fail("fitted again"))
    assert fitted(lake, settled, entries, "second/groups", "first/groups") == before
    assert fitted(lake, settled, entries, "first/groups") == before, "the attempt itself goes on"
    assert fitted(lake, settled, entries, "third/groups", "second/groups") == before
    assert not list(tmp_path.rglob("fragment-*")), "rows that were split are deleted"


def test_group_whose_file_was_lost_is_fitted_again(tmp_path: Path) -> None:
    lake, of = Lake(tmp_path), fleet()
    entries, settled = entries_of(lake, of, 3), plan(of, PARTS)
    before = fitted(lake, settled, entries, "first/groups")
    lake.delete(before.folds[0].path)
    again = fitted(lake, settled, entries, "second/groups", "first/groups")
    assert again.digests == before.digests
    assert again.pack[0] != before.pack[0]
    assert again.pack[1:] == before.pack[1:]


def test_why_a_candidate_over_the_fleet_has_no_model_is_why_its_partitions_have_none(tmp_path: Path) -> None:
    refusing = Candidate("author_forecasters:refusing", scope="fleet", name="global")
    made = train_in_lake(Lake(tmp_path), PARTS, fleet(refusing, levels=("baseline",)), name="refusing")
    group = group_rows(made)[CANDIDATE, "global"]
    assert group["reason"] == Reason.PREDICTION_INVALID
    for row in rows_of(made).values():
        assert (row["status"], row["reason"]) == ("failed", group["reason"])
        assert row["message"] == f"candidate 'global' over the fleet: {group['message']}"


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.MEMORY_EXCEEDED, Reason.CRASHED])
def test_a_retry_sees_that_such_partitions_may_turn_out_otherwise(reason: Reason) -> None:
    row = {"fold": groups.FINAL, "model": None, "reason": str(reason), "message": "why"}
    with pytest.raises(NoModelError) as caught:
        TrainedGroups(rows={(CANDIDATE, "global"): [row]}).shared("global", 0)
    assert (caught.value.reason, caught.value.message) == (reason, "candidate 'global' over the fleet: why")
