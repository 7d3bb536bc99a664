"""Features of a fleet's past, computed bucket by bucket: ten lag and rolling features, one process per core.

``.venv/bin/python -m bench.features [--rows N] [--length N] [--processes N]`` writes buckets of about 64 MB, as Parquet, then
measures reading them and computing their matrices. Printed: wall seconds, those of each part, and each process's memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", ARROW_NUM_THREADS="1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.workloads import past
from modelfleet import Data, FleetSpec, SqlTable
from modelfleet.features import Recipe
from modelfleet.slices import PARTITION, bounds
from modelfleet.spec import Candidate, Features, Forecast, Rolling

BUCKET_BYTES = 64 << 20
ROW_BYTES = 20  # time, target, partition
MEDIAN = Rolling("units", "28D", "median")


def recipe(*more: Rolling) -> Recipe:
    """The ten features, and more."""
    spec = FleetSpec(
        name="demand",
        owner="bench",
        data=Data(SqlTable("pos", "sales", time="day")),
        partition_by=("item",),
        problem=Forecast(target="units", freq="D", horizon=28),
        features=Features(past=(*past("units"), *more)),
        candidates=(Candidate("sklearn.linear_model:Ridge"),),
    )
    return Recipe.of(spec, {})


def write_buckets(folder: Path, rows: int, length: int) -> Iterator[Path]:
    """Buckets of partitions of `length` days each, a value in fifty null."""
    per_bucket = max(BUCKET_BYTES // ROW_BYTES // length, 1)
    partitions = max(rows // length, 1)
    draw = np.random.default_rng(0)
    first = date(2015, 1, 1).toordinal() - date(1970, 1, 1).toordinal()
    for begin in range(0, partitions, per_bucket):
        count = min(per_bucket, partitions - begin)
        units = draw.gamma(2.0, 10.0, count * length)
        names = pa.array([f"item={begin + n}" for n in range(count)])
        codes = pa.array(np.repeat(np.arange(count, dtype=np.int32), length))
        table = pa.table(
            {
                PARTITION: pa.DictionaryArray.from_arrays(codes, names),
                "day": pa.array(np.tile(np.arange(first, first + length) * 86_400_000_000, count), pa.timestamp("us")),
                "units": pa.array(units, mask=draw.random(len(units)) < 0.02),
            }
        )
        path = folder / f"bucket-{begin:08d}.parquet"
        pq.write_table(table, path)
        yield path


def compute(path: Path, made: Recipe) -> dict[str, float]:
    """One bucket: the seconds of each part, and the process's peak memory."""
    began = time.perf_counter()
    rows = pq.read_table(path, use_threads=False)
    starts = np.array([start for _, start, _ in bounds(rows)], dtype=np.int64)
    read = time.perf_counter()
    matrix = made.compute(rows, starts, time="day", ahead=28)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    arrow, out = rows.nbytes / 2**20, matrix.nbytes / 2**20
    return {
        "read": read - began,
        "computed": done - read,
        "peak": peak,
        "arrow": arrow,
        "matrix": out,
        "rows": len(matrix),
    }


def one_row(made: Recipe) -> float:
    """Microseconds of the features of the row after two years of one partition."""
    history = {"units": np.random.default_rng(0).gamma(2.0, 10.0, 730)}
    began = time.perf_counter()
    for _ in range(2000):
        made.past_row(history)
    return (time.perf_counter() - began) / 2000 * 1e6


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--length", type=int, default=4_000, help="rows of each partition")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--median", action="store_true", help="an eleventh feature, a rolling median")
    given = parser.parse_args()
    made = recipe(*([MEDIAN] if given.median else []))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        paths = list(write_buckets(Path(folder), given.rows, given.length))
        with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(_start, range(given.processes)))
            began = time.perf_counter()
            found = list(pool.map(compute, paths, [made] * len(paths)))
            seconds = time.perf_counter() - began
    rows = int(sum(each["rows"] for each in found))
    total = {name: sum(each[name] for each in found) for name in ("read", "computed")}
    widest = {name: max(each[name] for each in found) for name in ("arrow", "matrix", "peak")}
    width = len(made.names(28))
    print(
        f"{rows:,} rows x {width} features, {len(paths)} buckets, {given.processes} processes, load before {load:.1f}"
    )
    print(f"wall {seconds:.1f} s; in the processes: reading {total['read']:.1f} s, features {total['computed']:.1f} s")
    print(
        f"{total['computed'] / rows / width * 1e9:.1f} ns per value; MB: {', '.join(f'{k} {v:.0f}' for k, v in widest.items())}"
    )
    print(f"one row: {one_row(made):.0f} us")


def _start(_: int) -> None:
    """Start a process: imports are no part of what is measured."""
    time.sleep(0.2)


if __name__ == "__main__":
    main()
