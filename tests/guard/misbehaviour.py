"""What a model may do to its process: each function does it for real."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np


def python_loop() -> None:
    while True:
        pass


def native_loop() -> None:
    """A match that takes for ever inside the regular expression engine, and that looks at no signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGALRM})
    re.compile("(a+)+$").match("a" * 60 + "b")


def native_sleep() -> None:
    ctypes.CDLL(None).sleep(1000)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def ignore_signals_and_loop() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


def huge_python() -> int:
    return len(bytearray(8 << 30))


def huge_numpy() -> int:
    return int(np.ones(1 << 30).sum())


def creeping_python() -> None:
    held = []
    while True:
        held.append("x" * 100_000 + str(len(held)))


def creeping_numpy() -> None:
    held = []
    while True:
        held.append(np.ones(1 << 17))


def huge_result() -> bytes:
    return b"x" * (200 << 20)


def greedy_grandchildren() -> None:
    """Each below the limit of one process; together above it."""
    code = "import time; held = b'x' * (100 << 20); time.sleep(1000)"
    for started in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]:
        started.wait()


def greedy_fork() -> None:
    """As before, without `exec`: the memory of the parent is shared, and must not count several times."""
    for _ in range(4):
        if os.fork() == 0:
            held = b"x" * (100 << 20)
            time.sleep(1000 + held[0])
    time.sleep(1000)


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def bad_alloc() -> None:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def overflow_the_stack() -> None:
    sys.setrecursionlimit(1 << 30)

    class Nested:
        def __repr__(self) -> str:
            return repr([self])

    repr(Nested())


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def close_all_files() -> None:
    os.closerange(0, 1 << 16)


def close_all_files_and_loop() -> None:
    os.closerange(0, 1 << 16)
    python_loop()


def write_into_pipes() -> None:
    """Into those as large as the guard's: of all others, some belong to whoever runs the tests."""
    for number in range(3, 100):
        with suppress(OSError):
            if fcntl.fcntl(number, fcntl.F_GETPIPE_SZ) == 1 << 20:
                os.write(number, b"\x01" * 100)
    time.sleep(1000)


class Unreadable:
    """Can be pickled, but not unpickled."""

    def __getstate__(self) -> int:
        return 1

    def __setstate__(self, state: int) -> None:
        raise ValueError("unreadable")


def print_a_gigabyte() -> None:
    for _ in range(1 << 14):
        print("x" * (1 << 16))


def print_a_gigabyte_as_errors() -> None:
    for _ in range(1 << 14):
        sys.stderr.write("x" * (1 << 16))


def write_a_gigabyte() -> None:
    data = b"x" * (1 << 20)
    for _ in range(1 << 10):
        os.write(1, data)


def grandchild_prints_a_gigabyte() -> None:
    subprocess.run([sys.executable, "-c", "while True: print('x' * 65536)"], check=False)


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def die_before_a_grandchild() -> None:
    """The grandchild holds the pipes open when the child is gone."""
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(4)
