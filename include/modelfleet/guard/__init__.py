"""Work that may misbehave, in a forked process: what an item does to its process costs that item alone.

`each` forks one process for many items. Its results come back one by one through a pipe; an item that takes too long, takes
too much memory, prints without end or ends its process becomes a `Broken`, and a new process goes on with the item
after it. No item is worked on twice.

What an item leaves behind can't reach the next one either: where it leaves processes or threads running, or has
grown the process by more than one model may use, the process is replaced.

Only Linux has all that this needs. Elsewhere the work is done in this process, without any guard.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

from modelfleet.guard.limits import Broken, Limits
from modelfleet.guard.watch import Child

T = TypeVar("T")

__all__ = ["Broken", "Limits", "each", "one"]


def each(work: Callable[[int], T], count: int, limits: Limits) -> Generator[T | Broken, None, None]:
    """``work(0), work(1), ... work(count - 1)``, in this order, each worked on in a forked process.

    `work` sees all that this process has at hand, but what it changes stays in the forked one. Its result is pickled, and
    unpickled here: it should be plain data. Results are taken as fast as they are asked for, and not held. An item's time
    begins when the item before it was handed over. Close the iterator, or exhaust it, so that no process is left over.

    :raises Exception: what `work` raised, as itself; all but a lack of memory and SystemExit, which are
        the item's own.
    """
    if sys.platform != "linux":
        yield from map(work, range(count))
        return
    done = 0
    while done < count:
        child = Child(work, range(done, count), limits)
        try:
            for outcome in child.outcomes():
                done += 1
                yield outcome
        finally:
            child.end()


def one(work: Callable[[], T], limits: Limits) -> T | Broken:
    """``work()`` in a forked process of its own; see `each`.

    :raises Exception: what `work` raised, as itself.
    """
    with closing(each(lambda _: work(), 1, limits)) as outcomes:
        return next(outcomes)
