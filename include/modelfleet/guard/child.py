"""The forked process: works on one item after the other, and hands each result over before it begins the next."""

from __future__ import annotations

import faulthandler
import fcntl
import gc
import os
import pickle
import resource
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from modelfleet.guard import processes
from modelfleet.guard.limits import Broken, Limits, too_large
from modelfleet.prediction import Reason, lacks_memory, raised, short

RESULT, BROKEN, RAISED = range(3)
LAST = 4
"""Added to a kind: this process ends, a new one is to go on."""
HEADER = struct.Struct("<QQQB")
"""Item, length of what follows, bytes of memory held after the item, kind."""
LOST = 113
"""The exit status when there is no way left to hand a result over."""
_TRACEBACK = 4000


@dataclass(frozen=True)
class Ends:
    """Where results and printed text go, by file descriptor; who forked this process, and its mark."""

    results: int
    output: int
    parent: int
    mark: int


def run(work: Callable[[int], Any], items: range, limits: Limits, ends: Ends) -> None:
    """Work on the items. Must be called in a process that was just forked, and that ends after it."""
    results = _settle(ends)
    pid, statm = os.getpid(), os.open("/proc/self/statm", os.O_RDONLY)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    space = _Space(limits.memory, soft, hard)
    state = os.pread(statm, 100, 0)
    most = None if limits.memory is None else processes.anonymous(state) + limits.memory
    for item in items:
        space.allow(state)
        kind, data = _outcome(work, item, limits, space)
        if os.getpid() != pid:  # the item forked, and this is not the one that was guarded
            os._exit(0)
        try:
            state = os.pread(statm, 100, 0)
            held = processes.anonymous(state)
            if processes.has_children() or threading.active_count() > 1 or (most is not None and held > most):
                kind |= LAST
            _write(results, HEADER.pack(item, len(data), held, kind), data)
        except OSError:
            os._exit(LOST)
        if kind & LAST:
            return


class _Space:
    """The limit of address space, which is set anew for each item, as what is held before is none of its fault."""

    def __init__(self, memory: int | None, soft: int, hard: int) -> None:
        self.memory, self.soft, self.hard = memory, soft, hard
        self.before = b""

    def allow(self, statm: bytes) -> None:
        if self.memory is None:
            return
        total = statm[: statm.index(b" ")]
        if total == self.before:
            return
        self.before = total
        wanted = int(total) * resource.getpagesize() + self.memory
        bounds = [bound for bound in (self.soft, self.hard) if bound != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *bounds]), self.hard))

    def free(self) -> None:
        if self.memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (self.soft, self.hard))


def _outcome(work: Callable[[int], Any], item: int, limits: Limits, space: _Space) -> tuple[int, bytes]:
    """The kind of what came of an item, and its pickle."""
    try:
        return RESULT, pickle.dumps(work(item), 5)
    except Exception as exc:
        if lacks_memory(exc):
            space.free()
            # What was being done when memory ran out may be half done: nothing else is done in this process.
            return BROKEN | LAST, pickle.dumps(too_large(limits, short(str(exc))))
        return RAISED | LAST, _portable(exc)
    except SystemExit as exc:
        return _ended(f"called sys.exit({exc.code!r})")
    except BaseException as exc:
        return _ended(f"raised {raised(exc)}")


def _ended(what: str) -> tuple[int, bytes]:
    return BROKEN, pickle.dumps(Broken(Reason.CRASHED, short(what)))


def _portable(exc: Exception) -> bytes:
    """An exception's pickle; of one that can't be pickled or unpickled, of what it says."""
    told = "".join(traceback.format_exception(exc))[-_TRACEBACK:]
    try:
        exc.add_note(f"In the guarded process:\n{told}")
        data = pickle.dumps(exc)
        pickle.loads(data)
    except Exception:
        return pickle.dumps(RuntimeError(f"{raised(exc)}\nIn the guarded process:\n{told}"))
    return data


def _write(file: int, header: bytes, data: bytes) -> None:
    written = os.writev(file, [header, data])
    if written < len(header) + len(data):  # a signal came
        rest = memoryview(header + data)[written:]
        while rest:
            rest = rest[os.write(file, rest) :]


def _settle(ends: Ends) -> int:
    """Leave what belongs to the parent: its terminal, signals, standard files. Returns where results go."""
    processes.die_with(ends.parent)
    os.setsid()
    processes.mark_self(ends.mark)
    processes.keep_orphans()
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # rather this one than who watches it
        file.write("1000")
    _default_signals()
    # Not among the standard files, where the parent had closed its own.
    results, output = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in (ends.results, ends.output))
    for end in (ends.results, ends.output):
        os.close(end)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    for end in (nothing, output):
        if end > 2:
            os.close(end)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    gc.freeze()  # what the parent made is none of this process's garbage, and stays on the pages they share
    return results


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
