"""A training that is killed and run again: ``python -m bench.resume [--full] [--rows N --partitions N]``.

W5's fleet. It is trained once in peace; then elsewhere, with kill -9 for all its processes when half of that time is
over, and run again. The result must be the very same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench import generate, options, results
from bench.measure import Meter
from bench.one import Job, environment, settle
from bench.workloads import WORKLOADS, Workload, fleet

FITTING = "train.quality"
"""The step before the one that is killed."""


def main() -> None:
    """Run, check, save; or, as ``--child JOB``, train in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_sizes(parser)
    options.add_places(parser)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        train(Job.from_json(given.child.read_text()))
        return
    workload, form = options.sized(WORKLOADS["W5"], given)
    with options.workplace("resume", given) as home:
        run = measure(workload, home)
    print(results.save({**run, "form": form}, given.results))


def measure(workload: Workload, home: Path) -> dict[str, Any]:
    """Train in peace, train and kill, train again; what is kept of it.

    :raises AssertionError: when the result differs, or nothing was left to fit when it was killed.
    """
    generate.write(workload.sales, home / "data")
    jobs = {name: Job(workload, name, str(home / "data"), str(home / place)) for name, place in _PLACES.items()}
    peace = _finished(jobs["peace"])
    half = _of(peace, "train.train")["seconds"] / 2
    _kill_at(jobs["killed"], half)
    again = _finished(jobs["again"])
    digests = {
        name: _of(records, "train.train")["facts"]["digest"] for name, records in (("peace", peace), ("again", again))
    }
    assert digests["peace"] == digests["again"], f"digests differ: {digests}"
    seconds = {name: _seconds(records) for name, records in (("peace", peace), ("again", again))}
    figures = {
        "seconds": seconds,
        "share": round(seconds["again"] / seconds["peace"], 3),
        "killed_after": round(half, 1),
    }
    return results.measured("resume", "W5, killed at half and run again", [*peace, *again], **figures)


_PLACES = {"peace": "peace", "killed": "killed", "again": "killed"}
"""Where each training works: the third goes on in the home of the second."""


def train(job: Job) -> None:
    """Ingest where that is not done, and train, measured; the records go to ``records.json``."""
    from bench.ours import BULK, prepare_home, run_pipeline, start_session
    from modelfleet.lake import Lake, runs

    settle(Path(job.home))
    sales = job.workload.sales
    meter = Meter("resume", job.implementation, sales.rows, sales.partitions)
    spec, last = fleet(job.workload, Path(job.data)), sales.last_day.isoformat()
    prepare_home()
    start_session(spec, meter)
    if runs.committed(Lake.open(), spec.name, "ingest", last) is None:
        run_pipeline(spec, "ingest", last, meter, options=BULK)
    run_pipeline(spec, "train", last, meter)
    Path(job.home, "records.json").write_text(json.dumps([record.to_json() for record in meter.records]))


def _started(job: Job, out: Path) -> subprocess.Popen[bytes]:
    home = Path(job.home)
    home.mkdir(parents=True, exist_ok=True)
    (home / "job.json").write_text(job.to_json())
    command = [sys.executable, "-m", "bench.resume", "--child", str(home / "job.json")]
    with out.open("wb") as told:
        return subprocess.Popen(command, env=dict(environment(home)), stdout=told, stderr=told)


def _finished(job: Job) -> list[dict[str, Any]]:
    out = Path(job.home).parent / f"{job.implementation}.txt"
    code = _started(job, out).wait()
    if code:
        raise RuntimeError(f"the training ended with exit code {code}\n{out.read_text()[-4000:]}")
    return list(json.loads(Path(job.home, "records.json").read_text()))


def _kill_at(job: Job, seconds: float) -> None:
    """Kill a training and all its processes so many seconds after it began to fit."""
    out = Path(job.home).parent / f"{job.implementation}.txt"
    process = _started(job, out)
    while FITTING not in out.read_text():
        if process.poll() is not None:
            raise RuntimeError(f"the training ended before it fitted\n{out.read_text()[-4000:]}")
        time.sleep(0.05)
    time.sleep(seconds)
    assert process.poll() is None, "the training was over before it was killed: give it more partitions"
    for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def _of(records: list[dict[str, Any]], step: str) -> dict[str, Any]:
    return next(record for record in records if record["step"] == step)


def _seconds(records: list[dict[str, Any]]) -> float:
    return round(sum(record["seconds"] for record in records if record["step"].startswith("train.")), 2)


if __name__ == "__main__":
    main()
