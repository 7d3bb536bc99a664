"""Eight expectations on daily sales, judged by Great Expectations three ways, each in a process of its own.

``.venv/bin/python bench/quality.py [--rows N] [--partitions N] [--sample N] [--only NAME ...] [--out FILE.json]`` writes Parquet
files, which Spark reads too, then judges them with Modelfleet (``ours``), on a sample of about ``--sample`` rows as one
pandas frame (``gx_pandas``), and with Great Expectations' Spark engine (``gx_spark``). CPU seconds and peak memory are
those of Python and the JVM together; the import of Great Expectations and the start of Spark are steps of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from modelfleet.quality import checks, judge
from modelfleet.spec import Quality

FILE_ROWS = 1_000_000
FEATURES = 6
QUALITY = Quality(
    not_null=("units", "f0"),
    between={"units": (0, 1000), "f1": (-20, 20), "f2": (-20, 20)},
    in_set={"store": tuple(range(1000))},
    unique=(("store", "item", "day"),),
    row_count=(1, None),
)


def write(folder: Path, rows: int, partitions: int) -> None:
    """About `rows` rows of `partitions` series of equal length, each within one file and in order of time."""
    length = max(1, rows // partitions)
    a_file = max(1, FILE_ROWS // length)
    for number, first in enumerate(range(0, partitions, a_file)):
        series = np.arange(first, min(first + a_file, partitions))
        rng, count = np.random.default_rng(number), len(series) * length
        days = np.tile(np.arange(length, dtype=np.int32) + 15_000, len(series))
        columns: dict[str, Any] = {
            "store": np.repeat(series % 1000, length),
            "item": np.repeat(series // 1000, length),
            "day": pa.array(days).cast(pa.date32()),
            "units": rng.gamma(2, 10, count).round(),
            **{f"f{feature}": rng.normal(size=count).round(3) for feature in range(FEATURES)},
        }
        path = folder / f"bucket-{number:05}.parquet"
        pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=131_072)


def spent() -> tuple[float, float]:
    """Seconds by the clock, and CPU seconds of this process and those it started."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return time.perf_counter(), sum(each.user + each.system for each in times)


def peak_mb() -> int:
    """The most memory that this process and those it started each held."""
    me, total = psutil.Process(), 0
    for process in (me, *me.children(recursive=True)):
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        total += next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
    return total >> 10


def ours(files: list[str]) -> Callable[[], list[bool]]:
    """The quality step's judge."""
    rows = ds.dataset(files)
    return lambda: [check.success for check in judge(QUALITY, rows, fleet="sales", interval="bench").checks]


def gx_pandas(files: list[str]) -> Callable[[], list[bool]]:
    """One pandas frame of the columns that are checked."""
    from modelfleet.quality import expectations, frame

    wanted, rows = checks(QUALITY), ds.dataset(files)
    columns = [name for name in rows.schema.names if any(name in check.columns for check in wanted)]

    def run() -> list[bool]:
        built = [expectations.build(check) for check in wanted]
        results = expectations.evaluate(built, frame.frame_of(rows, columns))
        return [results[check.id].success for check in wanted]

    return run


def gx_spark(files: list[str]) -> Callable[[], list[bool]]:
    """Great Expectations' Spark engine on two cores; started when this returns."""
    from pyspark.sql import SparkSession

    from modelfleet.quality import expectations

    gx = expectations.gx()
    session = SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g").getOrCreate()
    asset = gx.get_context(mode="ephemeral").data_sources.add_spark("spark").add_dataframe_asset("rows")

    def run() -> list[bool]:
        frame = session.read.parquet(*files)
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        built = [expectations.build(check) for check in checks(QUALITY)]
        suite = gx.ExpectationSuite(name="bench", expectations=built)
        shown = {"result_format": "SUMMARY", "exclude_unexpected_values": True, "return_unexpected_index_query": False}
        return [result.success for result in batch.validate(suite, result_format=shown).results]

    return run


IMPLEMENTATIONS = {"ours": ours, "gx_pandas": gx_pandas, "gx_spark": gx_spark}


def measure(implementation: str, files: list[str], partitions: int) -> list[dict[str, Any]]:
    """Records of the start and of the judging; raises when a check fails, as none should."""
    from modelfleet.quality import expectations

    begun = spent()
    with expectations.quiet():
        expectations.build(checks(QUALITY)[0])
        run = IMPLEMENTATIONS[implementation](files)
        started = spent()
        verdicts = run()
        ended = spent()
    if verdicts != [True] * len(verdicts):
        raise SystemExit(f"{implementation}: not all checks pass: {verdicts}")
    rows, records = ds.dataset(files).count_rows(), []
    for step, before, after in (("start", begun, started), ("quality", started, ended)):
        records.append(
            {
                "workload": "quality",
                "implementation": implementation,
                "step": step,
                "rows": rows,
                "partitions": partitions,
                "seconds": round(after[0] - before[0], 2),
                "cpu_seconds": round(after[1] - before[1], 2),
                "peak_mb": peak_mb(),
            }
        )
    return records


def main() -> None:
    """Write the files, measure, print, and write the records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=4_000_000, help="rows judged as one pandas frame")
    parser.add_argument("--only", nargs="+", choices=sorted(IMPLEMENTATIONS), default=list(IMPLEMENTATIONS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    records = []
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as temporary:
        write(Path(temporary), options.rows, options.partitions)
        files = sorted(str(path) for path in Path(temporary).iterdir())
        for implementation in options.only:
            taken = files[: max(1, options.sample // FILE_ROWS)] if implementation == "gx_pandas" else files
            partitions = options.partitions * len(taken) // len(files)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                found = alone.submit(measure, implementation, taken, partitions).result()
            for record in found:
                print(
                    *(f"{name}={value}" for name, value in record.items()), f"load={os.getloadavg()[0]:.1f}", flush=True
                )
            records += found
    if options.out:
        options.out.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
