"""What steps cost: wall and CPU seconds, and peak memory, of this process, its JVM and its workers.

CPU seconds count every process below this one, dead children too, which their parents waited for. Memory is the largest
single process of its kind; PSS, in which pages that forked processes share count once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

KINDS = ("driver", "jvm", "worker")
SAMPLE_SECONDS = 0.4, 3.0
"""How long between two looks at the memory: at the beginning of a step, and at most. Each takes 60 ms of a core."""


@dataclass(frozen=True)
class Record:
    """One step of one implementation. `cpu_seconds` and `peak_mb` by kind of process, the former also in all.

    `measured` says on how many partitions it ran; where that is fewer than `partitions`, the seconds are extrapolated.
    """

    workload: str
    implementation: str
    step: str
    rows: int
    partitions: int
    seconds: float
    cpu_seconds: float
    cpu: dict[str, float]
    peak_mb: dict[str, float]
    measured: int
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Meter:
    """Measures the steps of one implementation in this process, one at a time."""

    workload: str
    implementation: str
    rows: int
    partitions: int
    records: list[Record] = field(default_factory=list)

    @contextmanager
    def step(
        self, name: str, *, measured: int | None = None, rows: int | None = None, smaller: Record | None = None
    ) -> Iterator[dict[str, Any]]:
        """Measure the block as step `name`. What it puts into the dictionary it gets is kept beside the figures.

        :param measured: on how many partitions it runs, if not on all: seconds are extrapolated per partition.
        :param rows: the rows it runs on, if not all.
        :param smaller: the same step on fewer partitions still: what does not grow with them is then counted once.
        """
        facts: dict[str, Any] = {}
        count = self.partitions if measured is None else measured
        watch = _Watch()
        watch.start()
        before, began = cpu_by_kind(), time.perf_counter()
        try:
            yield facts
        finally:
            seconds, after = time.perf_counter() - began, cpu_by_kind()
            after["driver"] = max(after["driver"] - watch.cost, before["driver"])  # its watching is no part of the step
            watch.finish()
        small = {} if smaller is None else {**smaller.cpu, "wall": smaller.seconds}
        base = 0 if smaller is None else smaller.partitions

        def whole(name: str, value: float) -> float:
            known = small.get(name, 0.0)
            return round(known + max(value - known, 0.0) * (self.partitions - base) / (count - base), 2)

        cpu = {kind: whole(kind, after[kind] - before[kind]) for kind in KINDS}
        if measured is not None:
            facts |= {"measured_seconds": round(seconds, 2), "measured_rows": rows}
        made = Record(
            workload=self.workload,
            implementation=self.implementation,
            step=name,
            rows=self.rows,
            partitions=self.partitions,
            seconds=whole("wall", seconds),
            cpu_seconds=round(sum(cpu.values()), 2),
            cpu=cpu,
            peak_mb={kind: round(peak) for kind, peak in watch.peaks.items()},
            measured=count,
            facts=facts,
        )
        self.records.append(made)
        print(
            f"{self.workload} {self.implementation:9} {name:16} {made.seconds:9.1f} s, CPU {made.cpu_seconds:9.1f} s  "
            f"{', '.join(f'{kind} {cpu[kind]:.1f} s {made.peak_mb[kind]} MB' for kind in KINDS)}",
            flush=True,
        )


def cpu_by_kind() -> dict[str, float]:
    """CPU seconds so far of this process and all below it; dead children count as workers."""
    total = dict.fromkeys(KINDS, 0.0)
    for process, kind in _processes():
        with suppress(psutil.Error):
            times = process.cpu_times()
            total[kind] += times.user + times.system
            total["worker"] += times.children_user + times.children_system
    return total


def memory_by_kind() -> dict[str, float]:
    """Megabytes of the largest process of each kind, now."""
    largest = dict.fromkeys(KINDS, 0.0)
    for process, kind in _processes():
        with suppress(psutil.Error):
            largest[kind] = max(largest[kind], process.memory_full_info().pss / 2**20)
    return largest


def _processes() -> Iterator[tuple[psutil.Process, str]]:
    own = psutil.Process()
    yield own, "driver"
    with suppress(psutil.Error):
        for process in own.children(recursive=True):
            with suppress(psutil.Error):
                yield process, "jvm" if process.name() == "java" else "worker"


class _Watch(threading.Thread):
    """Samples the memory of the processes until it is told to finish; `cost` is the CPU seconds that takes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks = dict.fromkeys(KINDS, 0.0)
        self.cost = 0.0
        self._done = threading.Event()

    def run(self) -> None:
        least, most = SAMPLE_SECONDS
        began = time.perf_counter()
        while True:
            for kind, size in memory_by_kind().items():
                self.peaks[kind] = max(self.peaks[kind], size)
            self.cost = time.thread_time()
            if self._done.wait(min(max(least, (time.perf_counter() - began) / 10), most)):
                return

    def finish(self) -> None:
        """Stop."""
        self._done.set()
        self.join()
