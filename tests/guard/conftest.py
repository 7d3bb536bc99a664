"""What every test of the guard needs: proof that nothing is left over, and of what was worked on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No process, zombie or open file remains of any test."""
    files, processes = set(os.listdir("/proc/self/fd")), _processes()
    yield
    assert _processes() == processes
    assert set(os.listdir("/proc/self/fd")) == files


def _processes() -> set[int]:
    """Those below this one, zombies too; other tests of this process may have left a server."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


class Log:
    """A file that says which items were begun, whichever process did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def note(self, item: int) -> None:
        with self.path.open("a") as file:
            file.write(f"{item}\n")

    @property
    def items(self) -> list[int]:
        return [int(line) for line in self.path.read_text().split()]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")
