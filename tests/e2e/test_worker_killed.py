"""A Python worker of Spark that is killed costs its running bucket: the run itself goes on and ends well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chain_bench import BULK, World
from wells import gauges

pytest_plugins = ["fixtures_mlflow"]


def workers(root: int) -> list[int]:
    """The Python workers below a process: the children of Spark's daemon."""
    parents, names = {}, {}
    for place in Path("/proc").iterdir():
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(place.name)] = (place / "cmdline").read_text()
        except (OSError, ValueError):
            continue

    def below(pid: int) -> bool:
        return pid == root or (pid in parents and below(parents[pid]))

    daemons = {pid for pid, name in names.items() if "pyspark.daemon" in name}
    return [pid for pid in daemons if parents[pid] in daemons and below(pid)]


@pytest.mark.slow
def test_killed_worker_costs_its_bucket_within_the_run(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    world.execute(f"UPDATE readings SET mood = {gauges.FIT_WAITS} WHERE well = 'plain' AND pad = 8")
    world.run("ingest", BULK)
    ref = world.open("train", BULK)
    named = {"fleet": ref.fleet, "pipeline": ref.pipeline, "interval": ref.interval, "attempt": ref.attempt}
    arguments = [part for name, value in named.items() for part in (f"--{name}", value)]
    job = subprocess.Popen(
        [sys.executable, "-m", "modelfleet.spark_job", *arguments, "--steps", "dataset,quality,train"],
        env={**os.environ, **world.environment, "WELLS_GATE": str(gate)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = world.home / "lake" / "wells" / "train" / BULK / ref.attempt / "train"
    deadline = time.monotonic() + 300
    while len(list(folder.glob("bucket-*.json"))) < 3 or not workers(job.pid):
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)

    for pid in workers(job.pid):
        os.kill(pid, signal.SIGKILL)
    gate.unlink()

    assert job.wait(300) == 0
    world.finish(ref, only=("commit", "register"))
    assert world.committed("train", BULK).facts["trained"] == 11
