"""The Spark session of the two implementations that groupBy().applyInPandas does the work of."""

from __future__ import annotations

import os
from typing import Any

from bench.measure import Meter
from bench.ours import start_workers

SETTINGS = {
    "spark.driver.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # One task is one shuffle partition: merged small ones would leave a core idle.
    "spark.sql.adaptive.enabled": "false",
}


ROWS_OF_TASK = 500_000


def started(meter: Meter) -> Any:
    """A session with its first workers, measured as the step session; as many shuffle partitions as the rows need."""
    from pyspark.sql import SparkSession

    with meter.step("session"):
        builder = SparkSession.builder.master("local[*]").appName(meter.implementation)
        shuffled = max(4 * (os.cpu_count() or 1), meter.rows // ROWS_OF_TASK)
        for name, value in {**SETTINGS, "spark.sql.shuffle.partitions": str(shuffled)}.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
        spark.sparkContext.setLogLevel("ERROR")
        start_workers(spark, spark.sparkContext.defaultParallelism)
    return spark
