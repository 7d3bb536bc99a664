"""An incremental training: ``python -m bench.incremental [--full] [--rows N --partitions N] [--share 0.01]``.

W5's fleet with ``train_mode="changed"`` is trained on all days; then comes a day with rows of one partition in a hundred,
and it is trained again: only those are fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench import generate, options, results
from bench.measure import Meter
from bench.one import settle
from bench.workloads import WORKLOADS, Workload, fleet


def main() -> None:
    """Run, check, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_sizes(parser)
    parser.add_argument("--share", type=float, default=0.01, help="of the partitions, that the next day has rows of")
    options.add_places(parser)
    given = parser.parse_args()
    workload, form = options.sized(WORKLOADS["W5"], given)
    with options.workplace("incremental", given) as home:
        run = measure(workload, home, given.share)
    print(results.save({**run, "form": form}, given.results))


def measure(workload: Workload, home: Path, share: float) -> dict[str, Any]:
    """Train twice; what is kept of it.

    :raises AssertionError: when other models are fitted than those of the partitions that changed.
    """
    from bench.ours import BULK, prepare_home, run_pipeline, start_session

    settle(home / "ours")
    sales, data = workload.sales, home / "data"
    generate.write(sales, data)
    spec = fleet(workload, data, training={"train_mode": "changed"})
    prepare_home()
    first = Meter("incremental", "all", sales.rows, sales.partitions)
    start_session(spec, first)
    last = sales.last_day.isoformat()
    run_pipeline(spec, "ingest", last, first, options=BULK)
    run_pipeline(spec, "train", last, first)
    generate.write_next_day(sales, data, share)
    following = (sales.last_day + timedelta(days=1)).isoformat()
    second = Meter("incremental", "changed", sales.rows, sales.partitions)
    run_pipeline(spec, "ingest", following, second)
    context = run_pipeline(spec, "train", following, second)
    facts = context.step("train").facts
    changed = max(round(share * sales.partitions), 1)
    assert facts.get("carried") == sales.partitions - changed, f"{facts.get('carried')} models carried over"
    seconds = {"all": training_seconds(first), "changed": training_seconds(second)}
    figures = {"seconds": seconds, "share": round(seconds["changed"] / seconds["all"], 3), "changed": changed}
    purpose = "W5 again after a day with rows of one partition in a hundred"
    records = [record.to_json() for record in (*first.records, *second.records)]
    return results.measured("incremental", purpose, records, **figures)


def training_seconds(
    meter: Meter, steps: Iterable[str] = ("pin", "dataset", "quality", "train", "commit", "register")
) -> float:
    """The wall seconds of the training's steps."""
    wanted = {f"train.{step}" for step in steps}
    return round(sum(record.seconds for record in meter.records if record.step in wanted), 2)


if __name__ == "__main__":
    main()
