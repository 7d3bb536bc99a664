"""One implementation on one workload, in a process of its own: ``python -m bench.one JOB.json``, which `bench.run` starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.generate import Sales
from bench.measure import Meter
from bench.workloads import Workload

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """What a process is to run. `home` is its own folder, `seconds` what the reference may take, for each of its steps."""

    workload: Workload
    implementation: str
    data: str
    home: str
    seconds: float = 60.0
    load: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        given = json.loads(text)
        sales = Sales(**given["workload"].pop("sales"))
        return cls(**{**given, "workload": Workload(**{**given["workload"], "sales": sales})})


def start(job: Job) -> list[dict[str, Any]]:
    """Run a job in a new process; its records.

    :raises RuntimeError: when it fails.
    """
    home = Path(job.home)
    home.mkdir(parents=True)
    (home / "job.json").write_text(job.to_json())
    command = [sys.executable, "-m", "bench.one", str(home / "job.json")]
    with (home / "log.txt").open("wb") as log:
        done = subprocess.run(command, cwd=ROOT, env=environment(home), stderr=log, check=False)
    if done.returncode:
        tail = (home / "log.txt").read_text(errors="replace")[-4000:]
        raise RuntimeError(f"{job.workload.name}: {job.implementation} ended with exit code {done.returncode}\n{tail}")
    return list(json.loads((home / "records.json").read_text()))


def environment(home: Path) -> Mapping[str, str]:
    """The environment of a process that works in `home`: one native thread, the bench importable by Spark's workers."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")},
        **dict.fromkeys(ONE_THREAD, "1"),
        "MODELFLEET_HOME": str(home),
        "PYTHONPATH": path,
        "PYSPARK_PYTHON": sys.executable,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def settle(home: Path) -> None:
    """Make this process one that works in `home`; before anything starts Spark."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(home))


def main() -> None:
    """Run the job and write its records beside it."""
    job = Job.from_json(Path(sys.argv[1]).read_text())
    sales = job.workload.sales
    meter = Meter(job.workload.name, job.implementation, sales.rows, sales.partitions)
    work, data, home = job.workload, Path(job.data), Path(job.home)
    if job.implementation == "ours":
        from bench import ours

        ours.run(work, data, home, meter, load=job.load)
    elif job.implementation == "reference":
        from bench import reference

        reference.run(work, data, home, meter, seconds=job.seconds)
    elif job.implementation == "tuned":
        from bench import tuned

        tuned.run(work, data, home, meter)
    else:
        from bench import plain

        plain.run(work, data, home, meter)
    (home / "records.json").write_text(json.dumps([record.to_json() for record in meter.records]))


if __name__ == "__main__":
    main()
