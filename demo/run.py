"""The demo: two fleets on the flights of 2013, trained, gated, promoted and scored by Airflow's own scheduler.

``make demo``. January to September is one bulk ingest and one training; then three days of October are ingested and
scored, without their targets. Only ingests and trainings are triggered here; the rest happens by asset events. What is
committed is not run again: a second call only prints the summary. ``make demo-forecast`` does the same with a forecast fleet.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chain import FLEETS, Goal, choose, committed, dag_ids, goals, to_start
from progress import Progress
from rich.console import Console

from modelfleet.errors import ModelfleetError

if TYPE_CHECKING:
    from modelfleet.airflow.rest import Run
    from modelfleet.airflow.standalone import Standalone

ROOT = Path(__file__).resolve().parents[1]


class DemoFailed(Exception):
    """The chain did not end well; the message says which task and why."""


def main() -> int:
    """Run what is missing, then print the summary; the exit code is 0 when all is committed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="give up after this long (default: 20)")
    parser.add_argument("--fleets", nargs="+", default=[], help="these instead of the demo's own")
    options = parser.parse_args()
    choose(options.fleets or FLEETS)
    console = Console()
    _settle_environment()
    if missing := set(goals()) - committed():
        with Progress(console) as progress:
            progress.say(f"{len(goals()) - len(missing)} of {len(goals())} runs are committed")
            try:
                _run_chain(progress, time.monotonic() + 60 * options.minutes)
            except (DemoFailed, ModelfleetError) as failure:
                console.print(f"\n[red bold]The demo failed.[/]\n{failure}", highlight=False, soft_wrap=True)
                return 1
    else:
        console.print("All runs of the demo are committed; nothing is run again (make clean to start over).")

    import summary

    summary.show(console)
    return 0


def _settle_environment() -> None:
    """The demo's home is beside its code, its source a SQLite file there, unless the environment says otherwise."""
    os.environ.setdefault("MODELFLEET_HOME", str(ROOT / ".modelfleet"))
    os.environ.setdefault("AIRFLOW__CORE__DAGS_FOLDER", str(ROOT / "dags"))

    from modelfleet import settings

    settings.home().mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("AIRFLOW_CONN_FLIGHTS_DB", f"sqlite:///{settings.home() / 'source.db'}")


def _run_chain(progress: Progress, deadline: float) -> None:
    from modelfleet import settings
    from modelfleet.airflow.standalone import Standalone

    # The DAG files do not change while it runs: parsed once, they take no more of the two cores.
    airflow = Standalone(settings.home(), dags=ROOT / "dags", plugins=ROOT / "plugins", parse_seconds=600)
    progress.say("starting Airflow")
    airflow.launch()
    try:
        _load_source(progress)
        airflow.wait_until_healthy()
        progress.say(f"Airflow runs at {airflow.client.url}")
        airflow.wait_for_dags(dag_ids())
        airflow.client.unpause(dag_ids())
        _follow(airflow, progress, deadline)
    finally:
        airflow.stop()


def _load_source(progress: Progress) -> None:
    from flights import source
    from modelfleet import settings

    rows = source.load(settings.connection("flights_db"))
    progress.say("source database: " + ", ".join(f"{n} {table}" for table, n in rows.items()))


def _follow(airflow: Standalone, progress: Progress, deadline: float) -> None:
    """Start what is to be started, watch the rest happen, until all is committed."""
    begun: frozenset[Goal] = frozenset()
    before = {run.id for run in airflow.client.runs() if run.finished}  # of earlier demos
    while True:
        runs = [run for run in airflow.client.runs() if run.id not in before]
        of = {Goal(*_fleet_and_pipeline(run.dag_id), run.interval): run for run in runs}
        begun |= frozenset(of)
        done = committed()
        for start in to_start(done, begun):
            airflow.client.trigger(start.goal.dag_id, start.goal.interval, start.conf)
            begun |= {start.goal}
        progress.show(_states(airflow, of, done))
        if failed := next((run for run in runs if run.state == "failed"), None):
            raise DemoFailed(_explained(airflow, failed))
        if done == set(goals()) and all(run.finished for run in runs):
            return
        if time.monotonic() > deadline:
            open_goals = ", ".join(f"{goal.dag_id} {goal.interval}" for goal in goals() if goal not in done)
            raise DemoFailed(f"Out of time; not committed: {open_goals}. Log: {airflow.log_file}")
        time.sleep(1.0)


def _states(airflow: Standalone, of: dict[Goal, Run], done: frozenset[Goal]) -> dict[Goal, str]:
    running = {(dag_id, run_id): task for dag_id, run_id, task in airflow.client.running_tasks()}
    states = {}
    for goal in goals():
        run = of.get(goal)
        if goal in done:
            states[goal] = "done"
        elif run is None:
            states[goal] = "waiting"
        else:
            task = running.get((run.dag_id, run.id))
            states[goal] = task or ("failed" if run.state == "failed" else "queued")
    return states


def _explained(airflow: Standalone, run: Run) -> str:
    """The task that failed, with its message and where its log is."""
    from modelfleet.warehouse import Warehouse

    failed = [task.id for task in airflow.client.tasks(run) if task.state == "failed"]
    fleet, pipeline = _fleet_and_pipeline(run.dag_id)
    said = [
        row["message"]
        for row in Warehouse.open().incidents(fleet)
        if (row["pipeline"], row["interval"]) == (pipeline, run.interval) and row["step"] in failed
    ]
    logs = airflow.home / "airflow" / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.id}"
    return "\n".join(
        [f"Task {', '.join(failed) or '(none)'} of {run.dag_id}, interval {run.interval}:", *said[:1], f"Logs: {logs}"]
    )


def _fleet_and_pipeline(dag_id: str) -> tuple[str, str]:
    fleet, _, pipeline = dag_id.rpartition("_")
    return fleet, pipeline


if __name__ == "__main__":
    sys.exit(main())
