"""W1's whole chain under Airflow's own scheduler: ``python -m bench.orchestrated [--rows N --partitions N]``.

Ingest and training are triggered as an operator would; promotion and scoring follow by asset events. Each pipeline's Spark
steps are a spark-submit of their own. It is over when the predictions are committed; loading forty million of them into
SQLite, which follows, is not waited for (`bench.copying` measures loads).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import generate, options, results
from bench.measure import Meter
from bench.one import ROOT, settle
from bench.ours import BULK, prepare_home
from bench.workloads import WORKLOADS, Workload

PIPELINES = ("ingest", "train", "promote", "score")
DAG_FILE = '''"""The fleet of a workload. An Airflow DAG file."""

from pathlib import Path

from bench.workloads import WORKLOADS, fleet
from modelfleet.airflow import many_models

many_models(fleet(WORKLOADS["W1"].sized({rows}, {partitions}), Path("{data}")))
'''


def main() -> None:
    """Run, check, save."""
    full = WORKLOADS["W1"].sales
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=full.rows)
    parser.add_argument("--partitions", type=int, default=full.partitions)
    parser.add_argument("--minutes", type=float, default=20.0, help="give up after this long")
    options.add_places(parser)
    given = parser.parse_args()
    with options.workplace("airflow", given) as home:
        run = measure(WORKLOADS["W1"].sized(given.rows, given.partitions), home, given.minutes)
    form = "full" if (given.rows, given.partitions) == (full.rows, full.partitions) else "custom"
    print(json.dumps(run["figures"], indent=1))
    print(results.save({**run, "form": form}, given.results))


def measure(workload: Workload, home: Path, minutes: float) -> dict[str, Any]:
    """Run the chain; what is kept of it.

    :raises RuntimeError: when a run fails, or it is not over in time.
    """
    from modelfleet.airflow.standalone import Standalone

    settle(home)
    data, dags = home / "data", home / "dags"
    generate.write(workload.sales, data)
    dags.mkdir()
    sales = workload.sales
    (dags / "sales.py").write_text(DAG_FILE.format(rows=sales.rows, partitions=sales.partitions, data=data))
    prepare_home()
    meter = Meter("airflow", "ours", sales.rows, sales.partitions)
    interval = sales.last_day.isoformat()
    with Standalone(home, dags=dags, plugins=ROOT / "plugins", parse_seconds=600) as airflow:
        ids = [f"sales_{pipeline}" for pipeline in PIPELINES]
        airflow.wait_for_dags(ids)
        airflow.client.unpause(ids)
        deadline = time.monotonic() + 60 * minutes
        with meter.step("chain"):
            airflow.client.trigger("sales_ingest", interval, BULK)
            _wait_for(airflow, "ingest", interval, deadline)
            airflow.client.trigger("sales_train", interval)
            _wait_for(airflow, "score", interval, deadline)
        tasks = {f"{pipeline}.{name}": seconds for pipeline, name, seconds in _tasks(airflow, interval)}
        counts = _counts(interval)
    figures = {"seconds": meter.records[0].seconds, "seconds_of_tasks": tasks, **counts}
    records = [record.to_json() for record in meter.records]
    return results.measured("airflow", "W1's whole chain under Airflow", records, **figures)


def _wait_for(airflow: Any, pipeline: str, interval: str, deadline: float) -> None:
    """Until the pipeline's run is committed."""
    from modelfleet.lake import Lake, runs

    while runs.committed(Lake.open(), "sales", pipeline, interval) is None:
        failed = [run.dag_id for run in airflow.client.runs() if run.state == "failed"]
        if failed or time.monotonic() > deadline:
            why = f"{', '.join(failed)} failed" if failed else f"{pipeline} of {interval} is not committed in time"
            raise RuntimeError(f"{why}\n{airflow.log_file.read_text(errors='replace')[-4000:]}")
        time.sleep(0.5)


def _tasks(airflow: Any, interval: str) -> Iterator[tuple[str, str, float]]:
    """The tasks that ran, with their seconds."""
    for pipeline in PIPELINES:
        for run in airflow.client.runs(f"sales_{pipeline}"):
            if run.interval == interval:
                for task in airflow.client.tasks(run):
                    if task.state == "success" and task.seconds:
                        yield pipeline, task.id, round(task.seconds, 1)


def _counts(interval: str) -> dict[str, int]:
    """What came of it, so that a chain that skipped its work does not look quick."""
    from modelfleet.lake import Lake, runs

    lake = Lake.open()
    made = {pipeline: runs.committed(lake, "sales", pipeline, interval) for pipeline in PIPELINES}
    facts = {pipeline: {} if run is None else run.facts for pipeline, run in made.items()}
    return {
        "trained": facts["train"].get("trained", 0),
        "promoted": facts["promote"].get("promoted", 0),
        "scored": facts["score"].get("scored", 0),
    }


if __name__ == "__main__":
    main()
