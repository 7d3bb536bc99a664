"""Work in a guarded process: results arrive whole, in order and once; nothing of the process is left."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modelfleet.errors import CorruptionError, ModelfleetError, UnavailableError
from modelfleet.guard import Broken, Limits, each, one, processes
from modelfleet.prediction import Reason

LIMITS = Limits(seconds=0.8, memory=256 << 20)
PATIENT = Limits(seconds=20, memory=256 << 20)


def test_results_come_in_order() -> None:
    assert list(each(lambda n: n * n, 1000, LIMITS)) == [n * n for n in range(1000)]


def test_no_items_give_no_results() -> None:
    assert list(each(lambda n: n, 0, LIMITS)) == []


def test_one_gives_the_result() -> None:
    x = np.arange(5.0)
    made = one(lambda: x * 2, LIMITS)
    assert isinstance(made, np.ndarray)
    np.testing.assert_array_equal(made, x * 2)


def test_all_items_share_one_process_that_is_not_this_one() -> None:
    assert len({*each(lambda _: os.getpid(), 100, LIMITS)} | {os.getpid()}) == 2


def test_without_limits_a_crash_still_costs_only_itself() -> None:
    made = list(each(lambda n: n if n != 1 else os.abort(), 3, Limits()))
    assert made == [0, Broken(Reason.CRASHED, "killed by SIGABRT"), 2]


def test_standard_input_is_empty() -> None:
    assert one(lambda: (sys.stdin.read(), os.read(0, 10)), LIMITS) == ("", b"")


@pytest.mark.parametrize("error", [CorruptionError("it is not read", hint="restore it"), UnavailableError("gone")])
def test_error_of_the_platform_arrives_as_itself(error: ModelfleetError) -> None:
    def work(n: int) -> int:
        if n == 2:
            raise error
        return n

    outcomes = each(work, 5, LIMITS)
    assert [next(outcomes), next(outcomes)] == [0, 1]
    with pytest.raises(type(error)) as caught:
        next(outcomes)
    assert (str(caught.value), caught.value.hint) == (str(error), error.hint)
    assert "in work" in caught.value.__notes__[0]  # the traceback, which no pickle holds


def test_other_error_arrives_as_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        one(lambda: 1 / 0, LIMITS)


def test_error_that_can_not_be_pickled_arrives_as_what_it_says() -> None:
    class LocalError(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(f"{a} and {b}")

    def work() -> None:
        raise LocalError(1, 2)

    with pytest.raises(RuntimeError, match="LocalError: 1 and 2"):
        one(work, LIMITS)


def test_error_of_whoever_takes_the_results_ends_the_process() -> None:
    pids = []

    def take() -> None:
        for pid in each(lambda _: os.getpid(), 100_000, LIMITS):
            pids.append(pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take()
    assert gone(pids[0])


def test_closed_iterator_ends_the_process_in_the_middle_of_an_item() -> None:
    outcomes = each(lambda n: os.getpid() if n == 0 else time.sleep(1000), 5, Limits())
    pid = next(outcomes)
    outcomes.close()
    assert gone(pid)


def test_process_of_an_item_that_is_broken_has_ended_before_it_is_told(tmp_path: Path) -> None:
    def work(n: int) -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(1000)

    outcomes = each(work, 2, LIMITS)
    assert next(outcomes) == Broken(Reason.TIMEOUT, "still running after 0.8 s; per_model allows seconds=0.8")
    assert gone((tmp_path / "pid").read_text())
    outcomes.close()


def gone(pid: Any) -> bool:
    return not Path(f"/proc/{pid}").exists()


def ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_killed_parent_takes_the_process_with_it(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from modelfleet.guard import each, Limits\n"
        "def work(n):\n"
        "    if n: time.sleep(1000)\n"
        "    return os.getpid()\n"
        "for pid in each(work, 2, Limits()): print(pid, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not ended(pid)
        parent.kill()
    deadline = time.monotonic() + 5
    while not ended(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended(pid)


def test_time_is_that_of_the_item_alone() -> None:
    def work(n: int) -> int:
        time.sleep(0.3)
        return n

    with closing(each(work, 3, LIMITS)) as outcomes:
        for n, outcome in enumerate(outcomes):
            assert outcome == n
            time.sleep(0.9)  # who takes the results may take his time


def test_large_results_arrive_whole() -> None:
    made = list(each(lambda n: np.full(13 << 20, n, np.float64), 2, Limits(20, 1 << 30)))
    assert [(array.nbytes, array.min(), array.max()) for array in made] == [(104 << 20, n, n) for n in range(2)]


def test_results_that_nobody_takes_yet_are_not_made() -> None:
    """The process goes ahead of whoever takes the results by no more than its pipe holds."""
    begun = mmap.mmap(-1, 8)

    def work(n: int) -> bytes:
        begun[:8] = (n + 1).to_bytes(8, "little")
        return b"x" * (1 << 20)

    with closing(each(work, 500, LIMITS)) as outcomes:
        next(outcomes)
        time.sleep(0.3)
        assert int.from_bytes(begun[:8], "little") < 10
    begun.close()


def test_items_cost_far_less_than_a_fit() -> None:
    def cpu() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    before = cpu()
    assert sum(each(lambda n: n, 100_000, PATIENT)) == sum(range(100_000))  # type: ignore[misc]
    assert cpu() - before < 100_000 * 50e-6


def test_signals_and_threads_of_the_parent_stay_with_the_parent() -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        made = list(each(lambda n: n if n != 1 else os.kill(os.getpid(), signal.SIGTERM), 3, LIMITS))
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)
    assert made == [0, Broken(Reason.CRASHED, "killed by SIGTERM"), 2]
    assert caught == []


def test_arrow_and_its_threads_work_in_the_process() -> None:
    table = pa.table({"x": np.arange(100_000) % 7, "y": np.ones(100_000)})

    def sums() -> pa.Table:
        return table.group_by("x").aggregate([("y", "sum")]).sort_by("x")

    expected = sums()  # which starts Arrow's threads here, before the fork
    assert one(sums, PATIENT) == expected


def test_nested_guards_leave_each_other_alone() -> None:
    with closing(each(lambda n: n, 3, LIMITS)) as outer, closing(each(lambda n: -n, 3, LIMITS)) as inner:
        assert list(zip(outer, inner, strict=True)) == [(0, 0), (1, -1), (2, -2)]
    assert one(lambda: list(each(lambda n: n, 3, LIMITS)), PATIENT) == [0, 1, 2]


def test_parent_that_ignores_its_children_still_gets_results() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        made = list(each(lambda n: n if n != 1 else os._exit(3), 3, LIMITS))
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert made == [0, Broken(Reason.CRASHED, "its process is gone"), 2]


def test_marks_tell_processes_apart() -> None:
    with subprocess.Popen(["sleep", "100"]) as other:
        try:
            assert processes.marked(processes.new_mark()) == []
        finally:
            other.kill()
