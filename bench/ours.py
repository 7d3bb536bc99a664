"""The real chain, through the package's public steps, in one process with one Spark session: ingest, train, promote, score."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.generate import FIRST_DAY
from bench.measure import Meter
from bench.workloads import Workload, fleet
from modelfleet import registry
from modelfleet.plan import steps_of
from modelfleet.steps import RunRef, open_run, run_step
from modelfleet.steps.runner import Context, open_context

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet import FleetSpec

PIPELINES = ("ingest", "train", "promote", "score")
BULK = {"start": FIRST_DAY.isoformat()}
"""The options of an ingest of all days."""


def run(workload: Workload, data: Path, home: Path, meter: Meter, *, load: bool = False) -> None:
    """Run the chain and measure each step; the metrics of its models go to ``metrics.parquet``.

    :param home: an empty folder; ``MODELFLEET_HOME`` names it.
    :param load: whether the predictions are loaded into the warehouse too.
    """
    spec, last = fleet(workload, data), workload.sales.last_day.isoformat()
    prepare_home()
    start_session(spec, meter)
    for pipeline in PIPELINES:
        context = run_pipeline(
            spec, pipeline, last, meter, skip=() if load else ("load",), options=BULK if pipeline == "ingest" else {}
        )
        if pipeline == "train":
            write_metrics(context, home / "metrics.parquet")


def prepare_home() -> None:
    """Create both registries: once for an installation, so no part of a run."""
    registry.ensure("staging")
    registry.ensure("production")


def start_session(spec: FleetSpec, meter: Meter) -> None:
    """Start Spark and its first worker, and import Great Expectations meanwhile, as the Spark job of a run does."""
    from modelfleet import engine
    from modelfleet.quality import expectations

    with meter.step("session"):
        importing = threading.Thread(target=expectations.gx)
        importing.start()
        spark = engine.session("bench", timezone=spec.timezone)
        start_workers(spark, spark.sparkContext.defaultParallelism)
        importing.join()


def start_workers(spark: Any, cores: int) -> None:
    """Start a Python worker per core, of any implementation: barrier tasks all run at the same time."""
    spark.sparkContext.parallelize(range(cores), cores).barrier().mapPartitions(lambda _: [ready()]).collect()


def ready() -> None:
    """Nothing: who calls it has imported this module, and with it NumPy, pandas and Arrow, though not scikit-learn."""


def run_pipeline(
    spec: FleetSpec,
    pipeline: str,
    interval: str,
    meter: Meter,
    *,
    skip: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
) -> Context:
    """Run the steps of a pipeline, each measured as ``pipeline.step``; the context of its attempt."""
    given = dict(options or {})
    with meter.step(f"{pipeline}.pin"):
        ref: RunRef = open_run(spec, pipeline, interval, **given)
        context = open_context(ref)
    for step in steps_of(spec, pipeline):
        if step.name == "pin" or step.name in skip:
            continue
        with meter.step(f"{pipeline}.{step.name}") as facts:
            facts.update(_told(run_step(ref, step.name, context=context)))
    return context


def _told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a step that are worth keeping."""
    kept = (
        "digest",
        "rows",
        "partitions",
        "buckets",
        "trained",
        "skipped",
        "failed",
        "carried",
        "promoted",
        "reused_from",
    )
    return {name: facts[name] for name in kept if facts.get(name) is not None}


def model_index(context: Context, columns: Sequence[str] | None = None) -> pa.Table:
    """The models of a training without their bytes, in the order of the keys' hashes.

    :param columns: only these; a million models' are gigabytes in all.
    """
    from modelfleet.steps.training import HEADER, open_pack

    return open_pack(context.lake, context.step("train").files[HEADER][0]).index(columns)


def write_metrics(context: Context, path: Path) -> None:
    """Keys, metrics and fit seconds of the trained models."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from modelfleet.metrics import names

    wanted = [*context.spec.partition_by, *names(context.spec.problem.kind), "fit_seconds"]
    index = model_index(context, [*wanted, "status"])
    pq.write_table(index.filter(pc.equal(index.column("status"), "trained")).select(wanted), path)
