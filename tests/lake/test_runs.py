"""Runs and attempts: one commits whole, twice is the same, and what a step wrote is written once."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelfleet.errors import ConflictError, ModelfleetError, NotFoundError
from modelfleet.interval import of_key
from modelfleet.lake import Attempt, FileEntry, Lake, StepManifest, runs

FLEET, PIPELINE, KEY = "demand", "train", "2013-09-30"
INTERVAL = of_key(KEY, timezone="Europe/Berlin")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def begin(lake: Lake, key: str = KEY) -> Attempt:
    return runs.begin(
        lake,
        fleet=FLEET,
        pipeline=PIPELINE,
        interval=of_key(key, timezone="Europe/Berlin"),
        spec_json='{"name": "demand"}',
        spec_digest="spec",
        code_version="0.1.0+code",
        inputs={"ingest/2013-09-30": {"digest": "raw", "attempt": "one"}},
        options={"force": False},
    )


def step(name: str = "train", digest: str = "result", fingerprint: str = "inputs") -> StepManifest:
    return StepManifest(name, fingerprint, digest, {"pack": (FileEntry("a/b", 1, 2, "c"),)}, {"rows": 1}, 0.5)


def commit(lake: Lake, attempt: Attempt, digest: str = "result") -> runs.RunManifest:
    return runs.commit(lake, attempt, status="committed", steps=[step(digest=digest)], facts={"rows": 1})


def in_force(lake: Lake) -> runs.RunManifest:
    manifest = runs.committed(lake, FLEET, PIPELINE, KEY)
    assert manifest is not None
    return manifest


def test_attempt_reads_back_as_it_was_opened(lake: Lake) -> None:
    attempt = begin(lake)
    assert runs.load_attempt(lake, FLEET, PIPELINE, KEY, attempt.id) == attempt
    assert attempt.interval == INTERVAL
    assert runs.load_spec_json(lake, attempt) == '{"name": "demand"}'
    assert attempt.path("train/x") == f"demand/train/2013-09-30/{attempt.id}/train/x"
    with pytest.raises(NotFoundError):
        runs.load_attempt(lake, FLEET, PIPELINE, KEY, "another")


def test_commit_puts_the_attempt_in_force_with_what_it_was_made_of(lake: Lake) -> None:
    assert runs.committed(lake, FLEET, PIPELINE, KEY) is None
    attempt = begin(lake)
    manifest = commit(lake, attempt)
    assert in_force(lake) == manifest
    assert (manifest.attempt, manifest.interval, manifest.inputs) == (attempt.id, INTERVAL, attempt.inputs)
    assert (manifest.status, manifest.steps, manifest.spec_digest) == ("committed", {"train": "result"}, "spec")


def test_commit_of_the_same_attempt_twice_changes_nothing(lake: Lake) -> None:
    attempt = begin(lake)
    first = commit(lake, attempt)
    before = lake.read(f"{FLEET}/{PIPELINE}/{KEY}/manifest.json")
    assert commit(lake, attempt, digest="ignored") == first
    assert lake.read(f"{FLEET}/{PIPELINE}/{KEY}/manifest.json") == before


def test_attempt_begun_after_a_commit_replaces_it(lake: Lake) -> None:
    first = begin(lake)
    commit(lake, first)
    second = begin(lake)
    assert second.resumes == first.id
    commit(lake, second, digest="another")
    assert (in_force(lake).attempt, in_force(lake).digest) == (second.id, runs.digest_of([("train", "another")]))


def test_attempt_begun_before_anothers_commit_is_refused(lake: Lake) -> None:
    slow, quick = begin(lake), begin(lake)
    commit(lake, quick)
    with pytest.raises(ConflictError, match=f"fleet 'demand', train of {KEY}: attempt {quick.id} was committed while"):
        commit(lake, slow)
    assert in_force(lake).attempt == quick.id


def test_attempt_is_refused_even_where_the_other_has_the_same_result(lake: Lake) -> None:
    commit(lake, begin(lake))
    slow, quick = begin(lake), begin(lake)
    commit(lake, quick)
    with pytest.raises(ConflictError):
        commit(lake, slow)


@pytest.mark.parametrize("committed_before", [False, True])
def test_attempts_that_commit_at_once_leave_exactly_one_whole(lake: Lake, committed_before: bool) -> None:
    if committed_before:
        commit(lake, begin(lake))
    attempts = [begin(lake) for _ in range(6)]
    start = threading.Barrier(len(attempts))

    def race(attempt: Attempt) -> str | None:
        start.wait()
        try:
            return commit(lake, attempt, digest=attempt.id).attempt
        except ConflictError:
            return None

    with ThreadPoolExecutor(len(attempts)) as pool:
        won = [attempt for attempt in pool.map(race, attempts) if attempt is not None]
    assert won == [in_force(lake).attempt]
    assert in_force(lake).steps == {"train": won[0]}


def test_twins_of_one_attempt_that_commit_at_once_both_succeed(lake: Lake) -> None:
    attempt = begin(lake)
    start = threading.Barrier(6)

    def race(_: int) -> str | ModelfleetError:
        start.wait()
        try:
            return commit(lake, attempt).attempt
        except ModelfleetError as exc:
            return exc

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(race, range(6))) == [attempt.id] * 6


COMMIT = """
import sys
from pathlib import Path
from modelfleet.errors import ConflictError
from modelfleet.lake import Lake, StepManifest, runs
lake, attempt = Lake(Path(sys.argv[1])), sys.argv[2]
opened = runs.load_attempt(lake, "demand", "train", "2013-09-30", attempt)
print("ready", flush=True)
sys.stdin.readline()
try:
    runs.commit(lake, opened, status="committed", steps=[StepManifest("train", "f", attempt, {})], facts={})
    print("committed")
except ConflictError:
    print("refused")
"""


def test_processes_that_commit_at_once_leave_exactly_one_whole(lake: Lake) -> None:
    attempts = [begin(lake), begin(lake)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMMIT, str(lake.root), attempt.id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for attempt in attempts
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        answers.append(process.communicate(timeout=60)[0].strip())
    assert sorted(answers) == ["committed", "refused"]
    winner = attempts[answers.index("committed")].id
    assert (in_force(lake).attempt, in_force(lake).steps) == (winner, {"train": winner})


def test_step_manifest_reads_back_as_it_was_saved(lake: Lake) -> None:
    attempt = begin(lake)
    assert runs.load_step(lake, FLEET, PIPELINE, KEY, attempt.id, "train") is None
    runs.save_step(lake, attempt, step())
    assert runs.load_step(lake, FLEET, PIPELINE, KEY, attempt.id, "train") == step()


def test_step_saved_twice_keeps_the_first_and_refuses_other_inputs(lake: Lake) -> None:
    attempt = begin(lake)
    runs.save_step(lake, attempt, step(digest="first"))
    assert runs.save_step(lake, attempt, step(digest="twin")).digest == "first"
    with pytest.raises(ConflictError, match="step 'train' was already written from other inputs"):
        runs.save_step(lake, attempt, step(fingerprint="others"))


def test_attempts_keep_folders_of_their_own(lake: Lake) -> None:
    one, other = begin(lake), begin(lake)
    runs.save_step(lake, one, step(digest="one"))
    runs.save_step(lake, other, step(digest="other", fingerprint="others"))
    assert one.folder != other.folder
    found = [runs.load_step(lake, FLEET, PIPELINE, KEY, attempt.id, "train") for attempt in (one, other)]
    assert [manifest.digest for manifest in found if manifest] == ["one", "other"]


def test_committed_runs_are_listed_by_the_end_of_their_interval(lake: Lake) -> None:
    for key in ("2013-10-02", "2013-09-30", "2013-10-01"):
        commit(lake, begin(lake, key))
    begin(lake, "2013-10-03")
    listed = runs.all_committed(lake, FLEET, PIPELINE)
    assert [run.interval.key for run in listed] == ["2013-09-30", "2013-10-01", "2013-10-02"]
    assert runs.all_committed(lake, FLEET, "score") == []


def test_digest_ignores_the_order_of_names_but_not_of_values() -> None:
    assert runs.digest_of({"a": 1, "b": [1, 2]}) == runs.digest_of({"b": [1, 2], "a": 1})
    assert runs.digest_of({"a": 1, "b": [1, 2]}) != runs.digest_of({"a": 1, "b": [2, 1]})
