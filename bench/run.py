"""Run a workload with each implementation on the same data, and keep the figures.

``python -m bench.run W1 [--full] [--rows N --partitions N] [--implementations ours,reference,tuned,plain]``. Each
implementation runs in a process of its own, one after the other. They do the same modelling, which is checked: their
metrics must agree. ``--full`` is the size of the issue's bars; without it, a quick one.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench import generate, options, results
from bench.agreement import compare
from bench.one import Job, start
from bench.workloads import IMPLEMENTATIONS, WORKLOADS, Workload


def main() -> None:
    """Parse, run, save."""
    given = _parser().parse_args()
    for name in given.workloads:
        workload, form = options.sized(WORKLOADS[name], given)
        names = given.implementations.split(",") if given.implementations else workload.implementations
        chosen = [each for each in workload.implementations if each in names]
        with options.workplace(name, given) as home:
            found = run(workload, home, chosen, seconds=given.seconds_per_reference, load=given.load)
        saved = results.save({**found, "form": form}, given.results)
        print(f"{name}: {saved}")


def run(
    workload: Workload, home: Path, implementations: list[str], *, seconds: float = 60.0, load: bool = False
) -> dict[str, Any]:
    """Generate the data and run the implementations one after the other; what is kept of it.

    :param home: a folder, in which each has its own.
    :param seconds: what each step of the reference may take; the rest is extrapolated.
    :raises AssertionError: when their metrics do not agree.
    """
    data = home / "data"
    generate.write(workload.sales, data)
    records: list[dict[str, Any]] = []
    for name in implementations:
        records += start(Job(workload, name, str(data), str(home / name), seconds, load))
    agreed = compare({name: home / name / "metrics.parquet" for name in implementations}, workload)
    share = _inside(home / "ours" / "metrics.parquet", records) if "ours" in implementations else None
    return results.described(workload, records, agreed) | {"inside_models": share}


def _inside(metrics: Path, records: list[dict[str, Any]]) -> float:
    """The share of the cores' time in ours' step train that was spent on partitions' models: fitting, predicting, measuring."""
    fitting = pc.sum(pq.read_table(metrics, columns=["fit_seconds"]).column(0)).as_py()
    wall = sum(r["seconds"] for r in records if (r["implementation"], r["step"]) == ("ours", "train.train"))
    return round(fitting / (wall * (os.cpu_count() or 1)), 3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="+", choices=WORKLOADS, metavar="WORKLOAD", help=", ".join(WORKLOADS))
    options.add_sizes(parser)
    parser.add_argument("--features", type=int, help="another number of feature columns")
    parser.add_argument("--skew", choices=("equal", "zipf"), help="another distribution of rows")
    parser.add_argument("--implementations", help=f"some of {','.join(IMPLEMENTATIONS)}")
    parser.add_argument("--seconds-per-reference", type=float, default=60.0, help="what each of its steps may take")
    parser.add_argument("--load", action="store_true", help="load ours' predictions into the warehouse too")
    options.add_places(parser)
    parser.add_argument("--keep", action="store_true", help="keep what the runs made")
    return parser


if __name__ == "__main__":
    main()
