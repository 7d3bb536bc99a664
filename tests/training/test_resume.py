"""A process that fits a bucket is killed; who goes on fits only what had not been written, and ends with the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import resume_bench
from resume_bench import LOG, SHOPS, fits, models

pytestmark = pytest.mark.slow

TESTS = Path(resume_bench.__file__).parent


def start(home: Path, log: Path, *attempts: str) -> subprocess.Popen[bytes]:
    """A process that fits the bucket in the first of the attempts, the others being before it."""
    return subprocess.Popen(
        [sys.executable, resume_bench.__file__, str(home), *attempts],
        env={**os.environ, LOG: str(log), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def kill_at(job: subprocess.Popen[bytes], log: Path, count: int) -> int:
    """Kill a process after so many fits in all; how many there were."""
    deadline = time.monotonic() + 240
    while fits(log) < count:
        assert job.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    return fits(log)


def test_killed_twice_fits_no_more_than_was_lost_and_gives_the_same(tmp_path: Path) -> None:
    quiet, whole, home, log = (tmp_path / name for name in ("quiet", "whole", "lake", "fits"))
    assert start(quiet, whole, "alone").wait(240) == 0
    total = fits(whole)
    assert total == 2 * SHOPS  # before the holdout, and on all rows

    first = kill_at(start(home, log, "first"), log, total // 2)
    kill_at(start(home, log, "second", "first"), log, first + total // 4)
    assert start(home, log, "third", "second", "first").wait(240) == 0

    assert fits(log) <= 1.2 * total  # each kill lost a tenth at most: killed at half, 60% of the work is left
    assert models(home, "third") == models(quiet, "alone")
