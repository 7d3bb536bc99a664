"""Buckets of a killed attempt: kept only where inputs and number of buckets are the same, and their bytes intact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelfleet.interval import of_key
from modelfleet.lake import Attempt, FileEntry, Lake, runs
from modelfleet.lake.buckets import BucketPlace, BucketResult, earlier_places, finish, kept, read_sidecar


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def begin(lake: Lake, **options: bool) -> Attempt:
    return runs.begin(
        lake,
        fleet="demand",
        pipeline="train",
        interval=of_key("2013-09-30", timezone="UTC"),
        spec_json="{}",
        spec_digest="",
        code_version="",
        inputs={},
        options=options,
    )


def place_of(attempt: Attempt, fingerprint: str = "inputs", buckets: int = 3) -> BucketPlace:
    return BucketPlace.of(attempt, "train", fingerprint=fingerprint, buckets=buckets)


def kept_by(lake: Lake, attempt: Attempt, place: BucketPlace) -> dict[int, BucketResult]:
    return kept(lake, place, earlier_places(lake, attempt, "train", place))


def write(lake: Lake, place: BucketPlace, bucket: int, token: str = "t") -> BucketResult:
    path = place.file("pack", bucket, token, "parquet")
    lake.write_once(path, f"{bucket}-{token}".encode())
    return finish(lake, place, BucketResult(bucket, {"pack": lake.entry(path, 1)}, {"rows": bucket}))


def test_finished_buckets_of_a_killed_attempt_are_kept(lake: Lake) -> None:
    killed = begin(lake)
    made = {bucket: write(lake, place_of(killed), bucket) for bucket in (0, 2)}
    resumed = begin(lake)
    assert kept_by(lake, resumed, place_of(resumed)) == made
    assert read_sidecar(lake, place_of(resumed), 2) == made[2]


def test_buckets_are_kept_through_two_killed_attempts(lake: Lake) -> None:
    first = begin(lake)
    made = {0: write(lake, place_of(first), 0)}
    second = begin(lake)
    kept_by(lake, second, place_of(second))
    made[1] = write(lake, place_of(second), 1)
    third = begin(lake)
    assert kept_by(lake, third, place_of(third)) == made


def test_first_attempt_has_only_its_own_buckets(lake: Lake) -> None:
    attempt = begin(lake)
    assert kept_by(lake, attempt, place_of(attempt)) == {}
    made = write(lake, place_of(attempt), 1)
    assert kept_by(lake, attempt, place_of(attempt)) == {1: made}


def test_forced_attempt_keeps_its_own_buckets_and_no_others(lake: Lake) -> None:
    killed = begin(lake)
    write(lake, place_of(killed), 0)
    forced = begin(lake, force=True)
    assert kept_by(lake, forced, place_of(forced)) == {}
    made = write(lake, place_of(forced), 1)
    assert kept_by(lake, forced, place_of(forced)) == {1: made}


def test_buckets_that_nobody_asks_for_are_not_looked_for(lake: Lake) -> None:
    attempt = begin(lake)
    made = {bucket: write(lake, place_of(attempt), bucket) for bucket in (0, 1)}
    assert kept(lake, place_of(attempt), (), [1, 2]) == {1: made[1]}


@pytest.mark.parametrize("change", [{"fingerprint": "others"}, {"buckets": 4}], ids=str)
def test_buckets_of_other_inputs_or_another_layout_are_made_again(lake: Lake, change: dict[str, object]) -> None:
    killed = begin(lake)
    write(lake, place_of(killed), 0)
    resumed = begin(lake)
    assert kept_by(lake, resumed, place_of(resumed, **change)) == {}  # type: ignore[arg-type]
    assert kept_by(lake, killed, place_of(killed, **change)) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", [b"0-T", b"", None], ids=repr)
def test_bucket_whose_file_is_damaged_is_made_again(lake: Lake, damage: bytes | None) -> None:
    killed = begin(lake)
    file = lake.root / write(lake, place_of(killed), 0).files["pack"].path
    intact = write(lake, place_of(killed), 1)
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    resumed = begin(lake)
    assert kept_by(lake, resumed, place_of(resumed)) == {1: intact}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"fingerprint": "inputs", "buckets": 3}'])
def test_damaged_sidecar_means_the_bucket_is_made_again(lake: Lake, text: str) -> None:
    attempt = begin(lake)
    write(lake, place_of(attempt), 0)
    (lake.root / place_of(attempt).sidecar(0)).write_text(text)
    assert kept_by(lake, attempt, place_of(attempt)) == {}
    again = write(lake, place_of(attempt), 0, token="again")
    assert again.files["pack"].path.endswith("pack-00000-again.parquet")


def test_twin_task_that_was_quicker_stands(lake: Lake) -> None:
    place = place_of(begin(lake))
    quick = write(lake, place, 0, token="quick")
    assert write(lake, place, 0, token="slow") == quick
    assert json.loads(lake.read(place.sidecar(0)))["files"]["pack"]["path"] == quick.files["pack"].path


def test_twin_task_whose_file_was_lost_does_not_stand(lake: Lake) -> None:
    place = place_of(begin(lake))
    quick = write(lake, place, 0, token="quick")
    (lake.root / quick.files["pack"].path).unlink()
    slow = write(lake, place, 0, token="slow")
    assert isinstance(slow.files["pack"], FileEntry)
    assert slow.files["pack"].path.endswith("-slow.parquet")
