"""The Spark session and the one fan-out: a function over many buckets.

Spark distributes; the data goes through Arrow and the lake's own filesystem in the Python workers, never through the JVM.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from modelfleet import settings
from modelfleet.errors import ModelfleetError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[str, int, int], None]
"""Called with a label, how many are done and how many there are."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
"""One native thread per worker: the buckets are what runs in parallel."""


EMBEDDED = {
    # Jobs of seconds on one machine: the JVM plans and joins, the work is in Python. The quick compiler alone, one
    # collector thread and no generated stages halve a small job's CPU time; a cluster has its own settings.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.shuffle.partitions": "4",
    # A driver that is its own cluster needs no address but loopback.
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
"""The settings of the embedded Spark, ``local[*]``."""


def session(app: str, *, timezone: str) -> SparkSession:
    """The Spark session of this process; under spark-submit the master and its settings are those it was given.

    Naive text in Spark SQL (``hour(t)``, ``date(t)``) is read in the fleet's `timezone`.
    """
    os.environ.update(ONE_THREAD)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    conf = SparkConf()
    conf.setIfMissing("spark.master", settings.spark_master())
    if str(conf.get("spark.master")).startswith("local"):
        for name, value in EMBEDDED.items():
            conf.setIfMissing(name, value)
    for name, value in ONE_THREAD.items():
        conf.setIfMissing(f"spark.executorEnv.{name}", value)
    spark = SparkSession.builder.config(conf=conf).appName(app).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.conf.set("spark.sql.session.timeZone", timezone)
    return spark


def fan_out(
    spark: SparkSession,
    work: Callable[[T], R],
    tasks: Sequence[T],
    *,
    label: str,
    progress: Progress | None = None,
) -> list[R]:
    """``[work(task) for task in tasks]``, one Spark task each, started in the order given: put the big ones first.

    A ModelfleetError raised by `work` arrives as itself. Results should be small: data goes to the lake.
    """
    if not tasks:
        return []
    context = spark.sparkContext
    with _reporting(context, label, len(tasks), progress):
        outcomes = context.parallelize(tasks, len(tasks)).map(partial(_guarded, work)).collect()
    errors = [value for ok, value in outcomes if not ok]
    if errors:
        raise errors[0]
    return [value for _, value in outcomes]


def parallelism(spark: SparkSession) -> int:
    """How many tasks run at once."""
    return int(spark.sparkContext.defaultParallelism)


def _guarded(work: Callable[[T], R], task: T) -> tuple[bool, Any]:
    try:
        return True, work(task)
    except ModelfleetError as error:
        return False, error


@contextmanager
def _reporting(context: Any, label: str, total: int, progress: Progress | None) -> Iterator[None]:
    """Report finished tasks while the block's Spark job runs."""
    if progress is None:
        yield
        return
    group = f"modelfleet-{label}-{threading.get_ident()}"
    context.setJobGroup(group, label)
    finished = threading.Event()

    def watch() -> None:
        tracker = context.statusTracker()
        while not finished.wait(0.2):
            stages = [s for job in tracker.getJobIdsForGroup(group) for s in tracker.getJobInfo(job).stageIds]
            infos = [info for info in map(tracker.getStageInfo, stages) if info is not None]
            progress(label, sum(info.numCompletedTasks for info in infos), total)

    watcher = threading.Thread(target=watch, daemon=True)
    progress(label, 0, total)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
    progress(label, total, total)
