"""What the benches' commands have in common: the size of the workload, where they work, and where figures are kept."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import results
from bench.workloads import Workload

_OF_SALES = ("features", "skew")


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """``--full``, ``--rows`` and ``--partitions``."""
    parser.add_argument("--full", action="store_true", help="the full size; else a quick one")
    parser.add_argument("--rows", type=int, help="another number of rows")
    parser.add_argument("--partitions", type=int, help="another number of partitions")


def sized(workload: Workload, given: argparse.Namespace) -> tuple[Workload, str]:
    """The workload in the size asked for, and the word for it: quick, full, or custom."""
    sales = workload.sales
    rows, partitions = (sales.rows, sales.partitions) if given.full else workload.quick
    made = workload.sized(given.rows or rows, given.partitions or partitions)
    changed = {name: value for name in _OF_SALES if (value := getattr(given, name, None)) is not None}
    made = replace(made, sales=replace(made.sales, **changed))
    own = changed or given.rows or given.partitions
    return made, "custom" if own else "full" if given.full else "quick"


def add_places(parser: argparse.ArgumentParser) -> None:
    """``--home`` and ``--results``."""
    parser.add_argument("--home", type=Path, help="where to work; default: the system's temporary folder")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="where figures are kept")


@contextmanager
def workplace(name: str, given: argparse.Namespace) -> Iterator[Path]:
    """A new folder for a bench to work in, removed at its end, also when it is told to end; not with ``--keep``."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are ended too
    if given.home is not None:
        given.home.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"bench-{name}-", dir=given.home))
    try:
        yield home
    finally:
        if not getattr(given, "keep", False):
            shutil.rmtree(home, ignore_errors=True)
