"""What Linux knows of processes: whose they are, how much memory they hold, and how they end."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

_PAGE = resource.getpagesize()
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_ROUNDS = 100
"""So often processes are looked for that are started while they are killed."""


def new_mark() -> int:
    """A number that no other guarded process has."""
    return int.from_bytes(os.urandom(7), "little") | 1 << 59


def mark_self(mark: int) -> None:
    """Mark this process and all that it will ever start, whatever session they move to.

    The mark is the limit on the time of real-time processes: it is inherited, can't be raised again, and at
    thousands of years limits nothing.
    """
    with suppress(ValueError, OSError):  # where it is limited already, only the process group is found
        resource.setrlimit(resource.RLIMIT_RTTIME, (mark, mark))


def marked(mark: int) -> list[int]:
    """The living processes that have a mark."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, mark) and _lives(pid)]


def _has(pid: int, mark: int) -> bool:
    try:
        return resource.prlimit(pid, resource.RLIMIT_RTTIME)[1] == mark
    except OSError:  # another user's, or gone
        return False


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def end(pid: int, mark: int) -> None:
    """Kill a guarded process and all that it started, and reap it."""
    for kill in (os.kill, os.killpg):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    for _ in range(_ROUNDS):
        strays = [found for found in marked(mark) if found != pid]
        if not strays:
            break
        for stray in strays:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(stray, signal.SIGKILL)
        time.sleep(0.001)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def exited(pid: int) -> tuple[bool, int | None]:
    """Whether a child has ended, and how: its exit status, or less than 0 the signal; None where nobody knows any more."""
    try:
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True, None
    if info is None:
        return False, None
    return True, info.si_status if info.si_code == os.CLD_EXITED else -info.si_status


def anonymous(statm: bytes) -> int:
    """The bytes of memory that a process holds by itself, without files and what is shared, from ``/proc/<pid>/statm``."""
    _, resident, shared, *_ = statm.split()
    return (int(resident) - int(shared)) * _PAGE


def anonymous_of(pid: int) -> int:
    """`anonymous` of a process; 0 of one that is gone."""
    try:
        return anonymous(Path(f"/proc/{pid}/statm").read_bytes())
    except OSError:
        return 0


def anonymous_shares(pids: Iterable[int]) -> list[tuple[int, int]]:
    """Of each process the bytes that it holds, and its share of them: of a page that four processes hold, a quarter."""
    return [
        (found["Anonymous"], found["Pss_Anon"])
        for found in map(_rollup, pids)
        if found.keys() >= {"Anonymous", "Pss_Anon"}
    ]


def _rollup(pid: int) -> dict[str, int]:
    """The sums of a process's memory, in bytes by their names; nothing of one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: int(value.split()[0]) << 10 for name, _, value in (line.partition(":") for line in lines)}


def die_with(parent: int) -> None:
    """This process ends when the thread that forked it does."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(0)


def keep_orphans() -> None:
    """What this process starts stays below it, though what is between ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def has_children() -> bool:
    """Whether this process has any, those that ended and that nobody waited for among them."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@cache
def load() -> ctypes.CDLL:
    """The C library; loaded before a fork, so that no child loads it again."""
    return ctypes.CDLL(None)


def _prctl(option: int, value: int) -> None:
    load().prctl(option, ctypes.c_ulong(value), 0, 0, 0)
