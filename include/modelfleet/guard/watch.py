"""The parent's side: forks the process, takes its results, and ends it when an item goes beyond its limits."""

from __future__ import annotations

import fcntl
import math
import os
import pickle
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from modelfleet.guard import child, processes
from modelfleet.guard.limits import OUTPUT, Broken, Limits, size, too_large, too_loud, too_slow
from modelfleet.prediction import Reason, raised, short

TICK = 0.2
"""How often, in seconds, an item that takes longer is looked after: whether its process lives, and what memory it holds."""
NAP = 0.02
"""How long, in seconds, results gather before any is taken. To wake up for each costs more than it: both processes' caches."""
_GRACE = 1.0
"""How long, in seconds, a process may take to end after it closed its pipe."""
_CHUNK = 1 << 16
_PIPE = 1 << 20
_TAIL = 2000
"""So many bytes of what was printed last are kept, for the message of a crash."""
_OUT_OF_MEMORY = re.compile(rb"bad_alloc|MemoryError|[Cc]annot allocate memory|[Oo]ut of memory")


class Child:
    """A forked process that works on `items`; its parent must call `end`.

    It dies with the thread that made it.
    """

    def __init__(self, work: Callable[[int], Any], items: range, limits: Limits) -> None:
        self.items, self.item, self.limits = items, items.start, limits
        self.over = False
        self.mark = processes.new_mark()
        self.owner = os.getpid()
        processes.load()
        self.results, results = os.pipe()
        self.output, output = os.pipe()
        try:
            with suppress(OSError):  # a user may have only so much in pipes
                fcntl.fcntl(results, fcntl.F_SETPIPE_SZ, _PIPE)
            self.pid = self._fork(work, child.Ends(results, output, self.owner, self.mark))
        except OSError:
            self._close()
            raise
        finally:
            os.close(results)
            os.close(output)
        self.held = self.inherited = processes.anonymous_of(self.pid)
        self.poll = select.poll()
        for file in (self.results, self.output):
            self.poll.register(file, select.POLLIN)
        self.loud = select.poll()
        self.loud.register(self.output, select.POLLIN)
        self.buffer, self.taken = bytearray(), 0
        self.closed = False
        self.printed, self.tail = 0, b""

    def _fork(self, work: Callable[[int], Any], ends: child.Ends) -> int:
        try:
            pid = os.fork()
            if pid == 0:
                self._close()
                child.run(work, self.items, self.limits, ends)
        finally:
            # Whatever happens there, the child must not go on with what its parent was doing.
            if os.getpid() != self.owner:
                os._exit(0)
        return pid

    def outcomes(self) -> Iterator[Any]:
        """Results in the order of the items; a Broken of this process's doing, or its last item's, is the last of them.

        :raises Exception: what the work raised.
        """
        for item in self.items:
            self.item = item
            broken = None if self._complete() else self._wait()
            if broken is None:
                last, outcome = self._take()
                yield outcome
                if last:
                    return
            else:
                self.end()  # before whoever takes this goes on: it may still run, or hold much memory
                yield broken
                return

    def end(self) -> None:
        """Kill the process and all that it started, if any still runs; reap it, and close the pipes."""
        if os.getpid() != self.owner or self.over:
            return
        self.over = True
        self._close()
        processes.end(self.pid, self.mark)

    def _close(self) -> None:
        os.close(self.results)
        os.close(self.output)

    def _complete(self) -> bool:
        """Whether a whole result has come, or what can't be one."""
        have = len(self.buffer) - self.taken - child.HEADER.size
        if have < 0:
            return False
        item, length, *_ = self._header()
        return have >= length or item != self.item

    def _header(self) -> tuple[int, int, int, int]:
        item, length, held, kind = child.HEADER.unpack_from(self.buffer, self.taken)
        return item, length, held, kind

    def _take(self) -> tuple[bool, Any]:
        """The next result, and whether the process ends after it."""
        item, length, self.held, kind = self._header()
        if item != self.item:
            return True, Broken(Reason.CRASHED, "wrote into the pipe that its result goes through")
        start = self.taken + child.HEADER.size
        self.taken = start + length
        self.printed, self.tail = 0, b""
        last, kind = bool(kind & child.LAST), kind & ~child.LAST
        try:
            with memoryview(self.buffer) as data, data[start : self.taken] as own:
                value = pickle.loads(own)
        except Exception as exc:
            kind = child.RESULT
            value = Broken(Reason.CRASHED, short(f"its result can't be unpickled: {raised(exc)}"))
        if self.taken == len(self.buffer) or self.taken > _PIPE:
            del self.buffer[: self.taken]
            self.taken = 0
        if kind == child.RAISED:
            raise value
        return last, value

    def _wait(self) -> Broken | None:
        """Wait for a whole result; what breaks the item before it comes."""
        since = looked = time.monotonic()
        dead, status = False, None
        if self.item + 1 < self.items.stop and not self._reports():
            self._nap()
        while True:
            events = {file for file, _ in self.poll.poll(self._pause(since, dead))}
            if self.results in events:
                self._read()
                if self._complete():
                    return None
                since = time.monotonic()
            elif self.output in events:
                self._drain()
            if dead and self.results not in events:
                return self._crashed(status)
            if broken := self._beyond(since):
                return broken
            if self.closed or time.monotonic() - looked >= TICK:
                looked = time.monotonic()
                dead, status = self._ended()
                if not dead and (broken := self._too_large()) and not self._reports():
                    return broken

    def _beyond(self, since: float) -> Broken | None:
        if self.printed > OUTPUT:
            return too_loud()
        if self.limits.seconds is not None and time.monotonic() - since >= self.limits.seconds:
            return too_slow(self.limits)
        return None

    def _nap(self) -> None:
        """Sleep, but for what is printed: its pipe is small, and who prints would wait."""
        until = time.monotonic() + NAP
        while (left := until - time.monotonic()) > 0 and self.loud.poll(math.ceil(left * 1000)):
            if not self._drain():
                break

    def _pause(self, since: float, dead: bool) -> int:
        """How long to wait for something to come, in milliseconds."""
        if dead:
            return 0
        pause = TICK
        if self.limits.seconds is not None:
            pause = min(pause, since + self.limits.seconds - time.monotonic())
        return max(0, math.ceil(pause * 1000))

    def _reports(self) -> bool:
        """Whether a result is coming just now: then it is not the item that was looked at."""
        return any(file == self.results for file, _ in self.poll.poll(0))

    def _read(self) -> None:
        data = os.read(self.results, _CHUNK)
        self.buffer += data
        if not data:
            self.closed = True
            self.poll.unregister(self.results)

    def _drain(self) -> bool:
        """Take some of what was printed, whether more may come; nothing while a result waits, which was there before it."""
        if self._reports():
            return False
        data = os.read(self.output, _CHUNK)
        self.printed += len(data)
        self.tail = (self.tail + data)[-_TAIL:]
        if not data:
            self.poll.unregister(self.output)
            self.loud.unregister(self.output)
        return bool(data)

    def _ended(self) -> tuple[bool, int | None]:
        """Whether the process has ended, and how; one that closed its pipe counts as ended, since nothing can come of it."""
        until = time.monotonic() + (_GRACE if self.closed else 0)
        while True:
            dead, status = processes.exited(self.pid)
            if dead:
                return True, status
            if time.monotonic() >= until:
                return self.closed, child.LOST if self.closed else None
            time.sleep(0.001)

    def _too_large(self) -> Broken | None:
        """Memory that the limit of address space does not see: that of all processes together."""
        if self.limits.memory is None:
            return None
        pids = processes.marked(self.mark)
        if len(pids) > 1:
            shares = processes.anonymous_shares(pids)
            # What came from this process, which holds it still, is all theirs but for one share, if they only forked.
            heirs = sum(held - share >= self.inherited / 4 for held, share in shares)
            before = self.inherited * heirs // (heirs + 1) + self.held - self.inherited
            used = sum(share for _, share in shares) - before
        else:
            used = processes.anonymous_of(self.pid) - self.held
        if used <= self.limits.memory:
            return None
        return too_large(self.limits, f"{size(used)} in {len(pids)} processes" if len(pids) > 1 else size(used))

    def _crashed(self, status: int | None) -> Broken:
        words = self.tail.decode(errors="replace").strip().rpartition("\n")[2].strip()
        told = f"; printed last: {words[:200]}" if words else ""
        if self.limits.memory is not None and status == -signal.SIGABRT and _OUT_OF_MEMORY.search(self.tail):
            return too_large(self.limits, f"killed by SIGABRT{told}")
        return Broken(Reason.CRASHED, _how(status) + told)


def _how(status: int | None) -> str:
    if status is None:
        return "its process is gone"
    if status == child.LOST:
        return "closed the pipe that its result goes through"
    if status >= 0:
        return f"ended its process with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal
        name = f"signal {-status}"
    return f"killed by {name}" + (", as the system does where memory runs out" if status == -signal.SIGKILL else "")
