"""Models that misbehave: each costs itself alone, and its message says what it did."""

from __future__ import annotations

import mmap
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import misbehaviour
import numpy as np
import pytest

from modelfleet.guard import Broken, Limits, each, one
from modelfleet.prediction import Reason

if TYPE_CHECKING:
    from conftest import Log

LIMITS = Limits(seconds=0.8, memory=256 << 20)
PATIENT = Limits(seconds=20, memory=256 << 20)

MEMORY = "needed more memory than the 256 MB that per_model allows"
SLOW = "still running after 0.8 s; per_model allows seconds=0.8"
EXIT = "ended its process with exit status"
PIPE = "the pipe that its result goes through"
CASES: dict[str, tuple[Callable[[], Any], Reason, str]] = {
    "python loop": (misbehaviour.python_loop, Reason.TIMEOUT, SLOW),
    "native loop": (misbehaviour.native_loop, Reason.TIMEOUT, SLOW),
    "native sleep": (misbehaviour.native_sleep, Reason.TIMEOUT, SLOW),
    "stopped": (misbehaviour.stop, Reason.TIMEOUT, SLOW),
    "ignores signals": (misbehaviour.ignore_signals_and_loop, Reason.TIMEOUT, SLOW),
    "exit 0": (lambda: os._exit(0), Reason.CRASHED, f"{EXIT} 0"),
    "exit 3": (lambda: os._exit(3), Reason.CRASHED, f"{EXIT} 3"),
    "sys.exit": (lambda: sys.exit(3), Reason.CRASHED, "called sys.exit(3)"),
    "interrupt": (misbehaviour.raise_interrupt, Reason.CRASHED, "raised KeyboardInterrupt: "),
    "segfault": (misbehaviour.segfault, Reason.CRASHED, "killed by SIGSEGV"),
    "abort": (misbehaviour.abort, Reason.CRASHED, "killed by SIGABRT"),
    "deep stack": (misbehaviour.overflow_the_stack, Reason.CRASHED, "killed by SIGSEGV"),
    "kill -9": (misbehaviour.kill_self, Reason.CRASHED, "killed by SIGKILL, as the system does where memory runs out"),
    "closes files": (misbehaviour.close_all_files, Reason.CRASHED, f"closed {PIPE}"),
    "closes files and loops": (misbehaviour.close_all_files_and_loop, Reason.CRASHED, f"closed {PIPE}"),
    "writes into pipes": (misbehaviour.write_into_pipes, Reason.CRASHED, f"wrote into {PIPE}"),
    "can't be read": (misbehaviour.Unreadable, Reason.CRASHED, "its result can't be unpickled: ValueError: unreadable"),
    "dies, grandchild lives": (misbehaviour.die_before_a_grandchild, Reason.CRASHED, f"{EXIT} 4"),
}


@pytest.mark.parametrize("name", CASES)
def test_misbehaviour_costs_its_own_item_and_says_why(name: str, log: Log) -> None:
    work, reason, message = CASES[name]

    def item(n: int) -> Any:
        log.note(n)
        return n if n != 2 else work()

    assert list(each(item, 5, LIMITS)) == [0, 1, Broken(reason, message), 3, 4]
    assert log.items == [0, 1, 2, 3, 4]


LARGE: dict[str, tuple[Callable[[], Any], str]] = {
    "huge, Python": (misbehaviour.huge_python, MEMORY),
    "huge, NumPy": (misbehaviour.huge_numpy, MEMORY + ": Unable to allocate 8.00 GiB for an array"),
    "creeping, Python": (misbehaviour.creeping_python, MEMORY),
    "creeping, NumPy": (misbehaviour.creeping_numpy, MEMORY),
    "huge result": (misbehaviour.huge_result, MEMORY),
    "aborts": (misbehaviour.bad_alloc, MEMORY + ": killed by SIGABRT; printed last: terminate called after"),
    "grandchildren": (misbehaviour.greedy_grandchildren, MEMORY + r": [2-4]\d\d(\.\d)? MB in \d processes"),
    "forks": (misbehaviour.greedy_fork, MEMORY + r": [2-4]\d\d(\.\d)? MB in \d processes"),
}


@pytest.mark.parametrize("name", LARGE)
def test_memory_beyond_the_limit_costs_its_own_item(name: str, log: Log) -> None:
    work, message = LARGE[name]

    def item(n: int) -> Any:
        log.note(n)
        return n if n != 1 else work()

    before, broken, after = each(item, 3, PATIENT)
    assert (before, after) == (0, 2)
    assert isinstance(broken, Broken)
    assert broken.reason == Reason.MEMORY_EXCEEDED
    assert re.match(message, broken.message), broken.message
    assert log.items == [0, 1, 2]


@pytest.mark.parametrize("name", ["grandchildren", "forks"])
def test_memory_of_many_processes_is_seen_though_their_parent_held_much(name: str) -> None:
    held = np.ones(64 << 20)  # 512 MB
    work, message = LARGE[name]
    made, broken = each(lambda n: float(held[n]) if n == 0 else work(), 2, PATIENT)
    assert made == 1.0
    assert isinstance(broken, Broken)
    assert re.match(message, broken.message), broken.message


def test_memory_that_was_there_before_counts_for_nobody() -> None:
    held = np.ones(20 << 20)  # 160 MB
    made = list(each(lambda n: float(np.ones(10 << 20).sum() + held[n]), 3, Limits(5, 128 << 20)))
    assert made == [(10 << 20) + 1.0] * 3


def test_process_that_items_grow_is_replaced_before_it_holds_twice_the_limit() -> None:
    leaked: list[Any] = []

    def leak(_: int) -> tuple[int, int]:
        leaked.append(np.ones(4 << 20))  # 32 MB
        return os.getpid(), len(leaked)

    made = list(each(leak, 30, Limits(5, 128 << 20)))
    assert not any(isinstance(outcome, Broken) for outcome in made)
    assert 2 < len({pid for pid, _ in made}) < 12
    assert max(count for _, count in made) <= 8


def test_address_space_that_is_only_reserved_counts() -> None:
    made = one(lambda: len(mmap.mmap(-1, 1 << 30)), Limits(5, 128 << 20))
    assert made == Broken(
        Reason.MEMORY_EXCEEDED,
        "needed more memory than the 128 MB that per_model allows: [Errno 12] Cannot allocate memory",
    )


@pytest.mark.parametrize(
    "work",
    [
        misbehaviour.print_a_gigabyte,
        misbehaviour.print_a_gigabyte_as_errors,
        misbehaviour.write_a_gigabyte,
        misbehaviour.grandchild_prints_a_gigabyte,
    ],
    ids=lambda work: work.__name__,
)
def test_a_gigabyte_printed_costs_its_own_item(work: Callable[[], None], capfd: pytest.CaptureFixture[str]) -> None:
    loud = Broken(Reason.OUTPUT_EXCEEDED, "printed more than the 16 MB that a model may")
    assert list(each(lambda n: n if n != 1 else work(), 3, PATIENT)) == [0, loud, 2]
    assert capfd.readouterr() == ("", "")


def test_what_models_print_goes_nowhere_and_each_may_print_anew(capfd: pytest.CaptureFixture[str]) -> None:
    def loud(n: int) -> int:
        print("x" * (6 << 20))
        os.write(2, b"y" * 1000)
        subprocess.run(["echo", "z"], check=True)
        return n

    assert list(each(loud, 6, PATIENT)) == list(range(6))
    assert capfd.readouterr() == ("", "")


def test_crash_tells_what_was_printed_last() -> None:
    def work() -> None:
        sys.stderr.write("first\n")
        os.write(2, b"Fatal: no such solver\n")
        os.abort()

    assert one(work, LIMITS) == Broken(Reason.CRASHED, "killed by SIGABRT; printed last: Fatal: no such solver")


STARTED = "import os, sys, time; {}print(os.getpid(), flush=True); time.sleep(1000)"


def grandchild(code: str) -> int:
    """Start a process that outlives this one; its id."""
    started = subprocess.Popen([sys.executable, "-c", STARTED.format(code)], stdout=subprocess.PIPE)
    assert started.stdout is not None
    return int(started.stdout.readline())


ESCAPES = {
    "stays in the group": "",
    "leaves the session": "os.setsid(); ",
    "is an orphan in another session": "os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); ",
}


@pytest.mark.parametrize("code", ESCAPES.values(), ids=list(ESCAPES))
@pytest.mark.parametrize(
    "end", [lambda: None, lambda: os._exit(1), misbehaviour.segfault], ids=["well", "ill", "worse"]
)
def test_process_that_a_model_leaves_behind_is_killed(code: str, end: Callable[[], None], tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def work(n: int) -> int:
        if n == 1:
            told.write_text(str(grandchild(code)))
            end()
        return n

    made = []
    for n, outcome in enumerate(each(work, 4, PATIENT)):
        made.append(outcome)
        if n == 2:  # the item after it has none of it
            assert is_dead(int(told.read_text()))
    assert [made[0], *made[2:]] == [0, 2, 3]


def is_dead(pid: int) -> bool:
    """Gone, or a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_thread_that_a_model_leaves_behind_does_not_meet_the_next_one() -> None:
    def work(n: int) -> int:
        if n == 1:
            threading.Timer(0.5, os._exit, [9]).start()
        time.sleep(0.04)
        return n

    assert list(each(work, 20, LIMITS)) == list(range(20))


def test_model_that_forks_and_returns_twice_counts_once() -> None:
    def work(n: int) -> int:
        if n == 1:
            os.fork()
        return n

    assert list(each(work, 4, PATIENT)) == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [{0}, {9}, {3, 4, 5}, set(range(10)), {0, 9}, {0, 2, 4, 6, 8}], ids=str)
def test_wherever_bad_items_lie_all_others_are_worked_on_once(bad: set[int], log: Log) -> None:
    def work(n: int) -> int:
        log.note(n)
        if n in bad:
            os._exit(1)
        return n

    made = list(each(work, 10, LIMITS))
    assert [isinstance(outcome, Broken) for outcome in made] == [n in bad for n in range(10)]
    assert [outcome for outcome in made if not isinstance(outcome, Broken)] == [n for n in range(10) if n not in bad]
    assert log.items == list(range(10))


def test_poison_among_healthy_items_takes_little_more_than_its_timeouts() -> None:
    bad = set(range(50, 2050, 100))

    def work(n: int) -> int:
        if n in bad:
            misbehaviour.python_loop()
        return n

    limits = Limits(seconds=0.1, memory=256 << 20)
    began = time.monotonic()
    made = list(each(work, 2050, limits))
    took = time.monotonic() - began
    assert {n for n, outcome in enumerate(made) if isinstance(outcome, Broken)} == bad
    assert len(bad) * 0.1 <= took < len(bad) * 0.1 + 5


def test_no_core_is_dumped_and_no_fault_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        os.chdir(tmp_path)
        misbehaviour.segfault()

    assert one(work, LIMITS) == Broken(Reason.CRASHED, "killed by SIGSEGV")
    assert list(tmp_path.glob("core*")) == []
    assert capfd.readouterr() == ("", "")
