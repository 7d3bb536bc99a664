"""The size a workload is run in: quick, full, or as asked for."""

from __future__ import annotations

import argparse
from dataclasses import replace

from bench.workloads import Workload

_OF_SALES = ("features", "skew")


def add_options(parser: argparse.ArgumentParser) -> None:
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
