"""The lake's files: written once and whole, replaced on condition, checked against their digests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from modelfleet.errors import ConfigurationError, ConflictError, CorruptionError, NotFoundError
from modelfleet.lake import Lake

WRITERS = 8


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def together(lake: Lake, write: str) -> list[type[Exception] | None]:
    """What each of some writers that start at once got: None for the one that wrote."""
    start = threading.Barrier(WRITERS)

    def attempt(number: int) -> type[Exception] | None:
        content = str(number).encode() * 100_000
        start.wait()
        try:
            if write == "write_once":
                lake.write_once("a/file", content)
            else:
                lake.swap("a/file", content, expected=None)
        except Exception as exc:
            return type(exc)
        return None

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(attempt, range(WRITERS)))


@pytest.mark.parametrize("write, refusal", [("write_once", FileExistsError), ("swap", ConflictError)])
def test_writers_at_once_leave_the_whole_file_of_one(lake: Lake, write: str, refusal: type[Exception]) -> None:
    outcomes = together(lake, write)
    assert sorted(outcomes, key=str) == sorted([None] + [refusal] * (WRITERS - 1), key=str)
    assert lake.read("a/file") == str(outcomes.index(None)).encode() * 100_000
    assert [path.name for path in (lake.root / "a").iterdir() if not path.name.endswith(".lock")] == ["file"]


def test_second_write_is_refused_and_leaves_the_first(lake: Lake) -> None:
    lake.write_once("a/b/file", b"first")
    with pytest.raises(FileExistsError):
        lake.write_once("a/b/file", b"second")
    assert lake.read("a/b/file") == b"first"


def test_what_is_written_can_be_read_by_whom_the_umask_allows(lake: Lake) -> None:
    before = os.umask(0o027)
    try:
        lake.write_once("once", b"")
        lake.swap("swapped", b"", expected=None)
    finally:
        os.umask(before)
    assert [(lake.root / name).stat().st_mode & 0o777 for name in ("once", "swapped")] == [0o640, 0o640]


KILLED_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from modelfleet.lake import Lake
lake = Lake(Path(sys.argv[1]))
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # the bytes are written, the file has no name yet
if sys.argv[2] == "write_once":
    lake.write_once("a/file", b"new" * 1000)
else:
    lake.swap("a/file", b"new" * 1000, expected=b"old")
"""


@pytest.mark.parametrize("write", ["write_once", "swap"])
def test_writer_killed_half_way_leaves_nothing_visible(lake: Lake, write: str) -> None:
    if write == "swap":
        lake.write_once("a/file", b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED_HALF_WAY, str(lake.root), write], check=False)
    assert killed.returncode == -signal.SIGKILL
    if write == "swap":
        assert lake.read("a/file") == b"old"
        lake.swap("a/file", b"next", expected=b"old")
    else:
        assert not lake.exists("a/file")
        lake.write_once("a/file", b"next")
    assert lake.read("a/file") == b"next"


@pytest.mark.parametrize(
    "standing, expected",
    [
        pytest.param(b"other", b"old", id="changed"),
        pytest.param(b"other", None, id="made meanwhile"),
        pytest.param(None, b"old", id="gone"),
        pytest.param(b"", None, id="empty is not absent"),
    ],
)
def test_swap_of_something_else_than_expected_is_refused(
    lake: Lake, standing: bytes | None, expected: bytes | None
) -> None:
    if standing is not None:
        lake.write_once("manifest.json", standing)
    with pytest.raises(ConflictError, match=r"'manifest.json' was changed by another attempt"):
        lake.swap("manifest.json", b"new", expected=expected)
    assert (lake.read("manifest.json") if lake.exists("manifest.json") else None) == standing


def test_swap_of_what_is_expected_replaces_it(lake: Lake) -> None:
    lake.swap("manifest.json", b"one", expected=None)
    lake.swap("manifest.json", b"two", expected=b"one")
    assert lake.read("manifest.json") == b"two"


@pytest.mark.parametrize("damage", [b"changed!", b"data, longer", b"", None], ids=repr)
def test_file_other_than_its_entry_is_found_out(lake: Lake, damage: bytes | None) -> None:
    lake.write_once("file", b"the data")
    entry = lake.entry("file", rows=1)
    lake.verify(entry)
    if damage is None:
        (lake.root / "file").unlink()
    else:
        (lake.root / "file").write_bytes(damage)
    assert not lake.holds(entry)
    with pytest.raises(CorruptionError, match="file 'file' does not match the digest"):
        lake.verify(entry)


def test_entry_says_size_and_digest(lake: Lake) -> None:
    lake.write_once("file", b"the data")
    entry = lake.entry("file", rows=3)
    assert (entry.path, entry.rows, entry.bytes) == ("file", 3, 8)
    assert entry.digest == "9474a99983b8c42b7e40fbbf2c051ac3"
    assert not lake.holds(replace(entry, digest="0" * 32))


def test_open_input_reads_files_of_the_lake_and_files_in_place(lake: Lake, tmp_path: Path) -> None:
    lake.write_once("inside/file", b"inside")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"in place")
    with lake.open_input("inside/file") as inside, lake.open_input(str(elsewhere)) as outside:
        assert (inside.read(), outside.read()) == (b"inside", b"in place")


def test_reading_a_file_that_is_not_there_names_it(lake: Lake) -> None:
    with pytest.raises(NotFoundError, match="no file 'a/b' in the lake"):
        lake.read("a/b")


def test_intervals_are_the_folders_in_order(lake: Lake) -> None:
    lake.write_once("fleet/train/2013-10-01/manifest.json", b"")
    lake.write_once("fleet/train/2013-09-30/manifest.json", b"")
    lake.write_once("fleet/train/note", b"")
    assert lake.intervals("fleet/train") == ["2013-09-30", "2013-10-01"]
    assert lake.intervals("fleet/score") == []


def test_lake_opens_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Lake.open().root == tmp_path / "home" / "lake"
    monkeypatch.setenv("MODELFLEET_LAKE", f"file://{tmp_path}/my%20lake")
    assert Lake.open().root == tmp_path / "my lake"
    monkeypatch.setenv("MODELFLEET_LAKE", "abfs://lake@account")
    with pytest.raises(ConfigurationError, match="'abfs' is part of the design but not built yet"):
        Lake.open()
