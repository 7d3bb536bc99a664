"""What only a local lake has: modes, links, and what a killed writer leaves in a folder; and which lake is opened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelfleet.errors import ConfigurationError
from modelfleet.lake import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_writing_leaves_nothing_but_the_file(lake: Lake) -> None:
    lake.write_once("a/file", b"data")
    lake.swap("a/swapped", b"data", expected=None)
    names = {path.name for path in (lake.root / "a").iterdir()}
    assert names == {"file", "swapped", ".swapped.lock"}


def test_what_is_written_can_be_read_by_whom_the_umask_allows(lake: Lake) -> None:
    before = os.umask(0o027)
    try:
        lake.write_once("once", b"")
        lake.swap("swapped", b"", expected=None)
        lake.open_output("stream").close()
    finally:
        os.umask(before)
    modes = [(lake.root / name).stat().st_mode & 0o777 for name in ("once", "swapped", "stream")]
    assert modes == [0o640] * 3


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


def test_lake_opens_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Lake.open().root == tmp_path / "home" / "lake"
    monkeypatch.setenv("MODELFLEET_LAKE", f"file://{tmp_path}/my%20lake")
    assert Lake.open().root == tmp_path / "my lake"
    monkeypatch.setenv("MODELFLEET_LAKE", "s3://lake/folder")
    with pytest.raises(ConfigurationError, match="lake 's3://lake/folder': the scheme 's3' is not known"):
        Lake.open()
