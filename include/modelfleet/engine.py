"""The Spark session and the one fan-out: a function over many buckets.

Spark distributes; the data goes through Arrow and the lake's own filesystem in the Python workers, never through the JVM.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from modelfleet import settings
from modelfleet.errors import ModelfleetError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[str, int, int], None]
"""Called with a label, how many are done and how many there are."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
"""One native thread per worker: the buckets are what runs in parallel."""
KEEP_MEMORY = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": str(512 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
}
"""Workers keep what they freed for the next columns: to have the system clear each page anew took a quarter of `dataset`."""

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
LOCAL_TRIES = 4
"""How often a task is tried, as on a cluster: after a crash, not after an error of ours."""


def session(app: str, *, timezone: str) -> SparkSession:
    """The Spark session of this process; under spark-submit the master and its settings are those it was given.

    Naive text in Spark SQL (``hour(t)``, ``date(t)``) is read in the fleet's `timezone`.
    """
    os.environ.update(ONE_THREAD)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    if "PYSPARK_GATEWAY_PORT" in os.environ:
        SparkContext._ensure_initialized()  # what was submitted is in the JVM, and SparkConf would not look there yet
    conf = SparkConf()
    conf.setIfMissing("spark.master", settings.spark_master())
    master = str(conf.get("spark.master"))
    if master.startswith("local"):
        conf.setMaster(_with_tries(master))
        for name, value in EMBEDDED.items():
            conf.setIfMissing(name, value)
    elif "PYTHONPATH" in os.environ:  # the lake and its key travel with the tasks, the packages of models don't
        conf.setIfMissing("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"])
    for name, value in (ONE_THREAD | KEEP_MEMORY).items():
        conf.setIfMissing(f"spark.executorEnv.{name}", value)
    spark = SparkSession.builder.config(conf=conf).appName(app).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.conf.set("spark.sql.session.timeZone", timezone)
    return spark


def _with_tries(master: str) -> str:
    """A local master that starts a task again whose Python worker died; unless said, Spark gives it up at the first."""
    bare = re.fullmatch(r"local(?:\[(\*|\d+)\])?", master)
    return master if bare is None else f"local[{bare[1] or 1},{LOCAL_TRIES}]"


def fan_out(
    spark: SparkSession,
    work: Callable[[T], R],
    tasks: Sequence[T],
    *,
    label: str,
    progress: Progress | None = None,
) -> list[R]:
    """``[work(task) for task in tasks]``, one Spark task each, started in the order given: put the big ones first.

    A ModelfleetError raised by `work` arrives as itself; one that a repetition may mend first costs the task its tries, a
    Spark task each. Results should be small: data goes to the lake.
    """
    if not tasks:
        return []
    context = spark.sparkContext
    with _reporting(context, label, len(tasks), progress):
        outcomes = context.parallelize(tasks, len(tasks)).map(partial(_guarded, work, _tries(context))).collect()
    errors = [value for ok, value in outcomes if not ok]
    if errors:
        raise errors[0]
    return [value for _, value in outcomes]


def parallelism(spark: SparkSession) -> int:
    """How many tasks run at once: ``spark.default.parallelism``, ``spark.cores.max``, or what Spark has.

    Of a cluster that is the number of cores that have come so far, which depends on the moment.
    """
    given = spark.sparkContext.getConf()
    said = given.get("spark.default.parallelism") or given.get("spark.cores.max")
    return int(said or spark.sparkContext.defaultParallelism)


def _tries(context: SparkContext) -> int:
    """How often Spark tries a task of this session."""
    local = re.fullmatch(r"local(?:\[[^,]*(?:, *(\d+))?\])?", context.master)
    return int(local[1] or 1) if local else int(context.getConf().get("spark.task.maxFailures") or LOCAL_TRIES)


def _guarded(work: Callable[[T], R], tries: int, task: T) -> tuple[bool, Any]:
    from pyspark import TaskContext

    try:
        return True, work(task)
    except ModelfleetError as error:
        running = TaskContext.get()
        if error.retryable and running is not None and running.attemptNumber() < tries - 1:
            raise
        return False, error
    finally:
        _set_imports_apart(len(sys.modules))


@lru_cache(maxsize=1)
def _set_imports_apart(modules: int) -> None:
    """Keep what `modules` imported modules made out of garbage collections, until more are imported.

    A worker collects after every task, and looking at all that libraries made took a sixth of `dataset`.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def _reporting(context: Any, label: str, total: int, progress: Progress | None) -> Iterator[None]:
    """Report finished tasks while the block's Spark job runs."""
    if progress is None:
        yield
        return
    group = f"modelfleet-{label}-{uuid.uuid4().hex}"  # another's of the same session would be counted too
    context.setJobGroup(group, label)
    finished = threading.Event()

    def watch() -> None:
        tracker = context.statusTracker()
        while not finished.wait(0.2):
            # Spark names a job, and a stage, before it knows anything else of it.
            jobs = filter(None, map(tracker.getJobInfo, tracker.getJobIdsForGroup(group)))
            infos = filter(None, [tracker.getStageInfo(stage) for job in jobs for stage in job.stageIds])
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
