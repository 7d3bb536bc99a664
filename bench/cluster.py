"""Boosted trees on a real Spark standalone cluster, the lake on Azurite: one executor, two, and two of which one is killed.

``python -m bench.cluster [--rows 4000000] [--partitions 1000]`` (``make azurite`` first). Everything listens on
loopback; an executor has one core. Each run has a cluster, a session and a lake folder of its own and works on the same
files. All must give the same digest. From Spark's event log comes which buckets were run again after the kill.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench import generate, options, results
from bench.measure import Meter
from bench.one import ROOT, environment
from bench.ours import start_workers
from bench.workloads import WORKLOADS, fleet

sys.path.append(str(ROOT / "tests"))
from cloud_servers import HOST, KEY, Standalone, azurite, standalone

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAMES = {"one executor": 1, "two executors": 2, "two executors, one killed": 2}
KILLED = "two executors, one killed"
BUCKETS_OF_CORE = 16
"""For each of two cores. Many, so that both end at about the same time."""


@dataclass
class Killer:
    """Kills an executor when half of the buckets are trained; a `Progress`."""

    cluster: Standalone
    killed_at: int | None = None

    def __call__(self, label: str, done: int, total: int) -> None:
        if label == "train" and self.killed_at is None and done >= total // 2 and done < total:
            self.killed_at = done
            os.kill(self.cluster.executors()[0], signal.SIGKILL)


def main() -> None:
    """Start Azurite, run all three one after the other, compare, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--partitions", type=int, default=1_000)
    options.add_places(parser)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "HOME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended too
        run(given.one[0], Path(given.one[1]), given.rows, given.partitions)
        return
    with options.workplace("cluster", given) as home:
        records = run_all(home, given.rows, given.partitions)
    figures = compared(records)
    purpose = "boosted trees on a Spark standalone cluster, the lake on Azurite"
    found = results.measured("cluster", purpose, records, **figures)
    form = "full" if (given.rows, given.partitions) == (4_000_000, 1_000) else "custom"
    print(json.dumps(figures, indent=1))
    print(f"cluster: {results.save({**found, 'form': form}, given.results)}")


def run_all(home: Path, rows: int, partitions: int) -> list[dict[str, Any]]:
    """The records of all runs, each made in a process of its own.

    :raises RuntimeError: when one fails, or wrote the account's key into its log.
    """
    generate.write(WORKLOADS["W5"].sized(rows, partitions).sales, home / "data")
    records: list[dict[str, Any]] = []
    with azurite() as server:
        (emulator,) = [each for each in psutil.Process().children() if each.name() == "node"]
        for name, executors in NAMES.items():
            place = home / name.replace(" ", "-").replace(",", "")
            place.mkdir()
            variables = {**environment(place), **server.environment("lake", place.name), **_spark(executors, place)}
            sizes = ["--rows", str(rows), "--partitions", str(partitions)]
            command = [sys.executable, "-m", "bench.cluster", "--one", name, str(place), *sizes]
            before = sum(emulator.cpu_times()[:2])
            with (place / "log.txt").open("wb") as log:
                done = subprocess.run(command, cwd=ROOT, env=variables, stderr=log, check=False)
            text = (place / "log.txt").read_text(errors="replace")
            if done.returncode or KEY in text:
                raise RuntimeError(f"{name}: exit code {done.returncode}, key in log: {KEY in text}\n{text[-4000:]}")
            made = json.loads((place / "records.json").read_text())
            made[-1]["facts"]["azurite_cpu_seconds"] = round(sum(emulator.cpu_times()[:2]) - before, 1)
            records += made
    return records


def run(name: str, home: Path, rows: int, partitions: int) -> None:
    """One run: a cluster, ingest and dataset, then the training step, measured."""
    from modelfleet.steps import open_run, run_step
    from modelfleet.steps.runner import open_context

    workload = WORKLOADS["W5"].sized(rows, partitions)
    spec, last = fleet(workload, home.parent / "data"), workload.sales.last_day.isoformat()
    meter = Meter("W5", name, rows, partitions)
    ingest = open_run(spec, "ingest", last, start=generate.FIRST_DAY.isoformat())
    for step in ("extract", "commit"):
        run_step(ingest, step)
    with standalone(NAMES[name], home / "spark") as cluster:
        os.environ["MODELFLEET_SPARK_MASTER"] = cluster.url
        killer = Killer(cluster)
        ref = open_run(spec, "train", last)
        context = open_context(ref, progress=killer if name == KILLED else lambda *_: None)
        with meter.step("session"):
            _wait_for(context.spark, NAMES[name])
        with meter.step("dataset"):
            run_step(ref, "dataset", context=context)
        with meter.step("quality"):
            run_step(ref, "quality", context=context)
        with meter.step("train") as facts:
            told = run_step(ref, "train", context=context)
            facts |= {field: told[field] for field in ("digest", "trained", "failed")}
        facts["buckets"] = context.step("dataset").facts["buckets"]
        facts["finished_before_the_kill"] = killer.killed_at
        context.spark.stop()
    facts["runs_of_buckets"] = runs_of_buckets(home / "events")
    (home / "records.json").write_text(json.dumps([record.to_json() for record in meter.records]))


def runs_of_buckets(events: Path) -> dict[str, int]:
    """How many buckets of the training Spark started how often: ``{"1": 15, "2": 1}``."""
    stages: set[int] = set()
    started: Counter[int] = Counter()
    for path in events.iterdir():
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerJobStart":
                group = event.get("Properties", {}).get("spark.jobGroup.id", "")
                stages |= set(event["Stage IDs"]) if group.startswith("modelfleet-train-") else set()
            elif event["Event"] == "SparkListenerTaskStart" and event["Stage ID"] in stages:
                started[event["Task Info"]["Index"]] += 1
    return {str(times): count for times, count in sorted(Counter(started.values()).items())}


def compared(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The bar's figures.

    :raises AssertionError: when the runs' models differ, or more was run again than ran on the killed executor.
    """
    train = {record["implementation"]: record for record in records if record["step"] == "train"}
    digests = {name: record["facts"]["digest"] for name, record in train.items()}
    assert len(set(digests.values())) == 1, digests
    again = train[KILLED]["facts"]["runs_of_buckets"]
    assert set(again) == {"1", "2"}, again
    assert again["2"] == 1, again  # an executor has one core, so one bucket was running on it
    one, two = train["one executor"]["seconds"], train["two executors"]["seconds"]
    return {
        "speedup_of_two_executors": round(one / two, 2),
        "digest": digests[KILLED],
        "buckets": train[KILLED]["facts"]["buckets"],
        "finished_before_the_kill": train[KILLED]["facts"]["finished_before_the_kill"],
        "buckets_run_again_after_the_kill": again["2"],
        "seconds_more_with_the_kill": round(train[KILLED]["seconds"] - two, 1),
    }


def _spark(executors: int, home: Path) -> dict[str, str]:
    events = home / "events"
    events.mkdir()
    settings = {
        "spark.cores.max": executors,
        "spark.executor.cores": 1,
        "spark.executor.memory": "1g",
        "spark.default.parallelism": BUCKETS_OF_CORE,  # the dataset makes twice as many buckets
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    }
    given = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    return {"PYSPARK_SUBMIT_ARGS": f"{given} pyspark-shell", "SPARK_LOCAL_IP": HOST}


def _wait_for(spark: SparkSession, executors: int) -> None:
    """Until all executors have registered with the driver, and have started their Python workers."""
    until = time.monotonic() + 120
    registered = spark.sparkContext._jsc.sc().getExecutorMemoryStatus
    while (count := registered().size() - 1) < executors:  # the driver is one of them
        if time.monotonic() > until:
            raise RuntimeError(f"{count} of {executors} executors registered within two minutes")
        time.sleep(0.1)
    start_workers(spark, executors)


if __name__ == "__main__":
    main()
