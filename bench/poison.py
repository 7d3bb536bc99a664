"""Misbehaving models among healthy ones: ``python -m bench.poison [--partitions 10000] [--each 20]``.

Twenty of each kind of `bench.misbehaving`. Each must be recorded with its reason, each healthy model be the very one that it is
without the others, and the whole take no longer than the healthy models, the timeouts over the cores, and a fifth.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench import options, results
from bench.generate import Sales, numbers_of, tables
from bench.measure import Meter
from bench.misbehaving import EXPECTED, KINDS
from bench.one import settle
from bench.workloads import WORKLOADS, fleet
from modelfleet import FleetSpec, Limits

if TYPE_CHECKING:
    from modelfleet.steps.runner import Context

ROWS_EACH = 100
SECONDS, MEMORY = 2.0, "256m"
"""What a model may use."""


def main() -> None:
    """Run, check, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=10_000, help="all together")
    parser.add_argument("--each", type=int, default=20, help="of each kind")
    options.add_places(parser)
    given = parser.parse_args()
    sales = Sales(given.partitions * ROWS_EACH, given.partitions)
    with options.workplace("poison", given) as home:
        run = measure(sales, home, given.each)
    form = "full" if given.partitions >= 10_000 and given.each >= 20 else "custom"
    print(results.save({**run, "form": form}, given.results))


def measure(sales: Sales, home: Path, each: int) -> dict[str, Any]:
    """Train healthy models, then the same with misbehaving ones among them; what is kept of it.

    :raises AssertionError: when a reason is wrong or a healthy model is another one.
    """
    from bench.ours import BULK, prepare_home, run_pipeline, start_session

    kinds = {"healthy": np.zeros(sales.partitions, np.int32), "poison": _kinds(sales.partitions, each)}
    records, found, started = [], {}, False
    for name, kind in kinds.items():
        settle(home / name)
        write(sales, kind, home / name / "data")
        meter = Meter("poison", name, sales.rows, sales.partitions)
        spec = spec_of(sales, home / name / "data")
        prepare_home()
        if not started:
            start_session(spec, meter)
            started = True
        run_pipeline(spec, "ingest", sales.last_day.isoformat(), meter, options=BULK)
        found[name] = _models(run_pipeline(spec, "train", sales.last_day.isoformat(), meter), sales)
        records += [record.to_json() for record in meter.records]
    reasons = check(found["healthy"], found["poison"], kinds["poison"])
    seconds = {r["implementation"]: r["seconds"] for r in records if r["step"] == "train.train"}
    timeouts = each * sum(reason == "timeout" for reason in EXPECTED.values()) * SECONDS
    waited = round(timeouts / (os.cpu_count() or 1), 2)
    figures = {"seconds": seconds, "waited_seconds": waited, "reasons": reasons, "of_each_kind": each}
    return results.measured("poison", "misbehaving models among healthy ones", records, **figures)


def spec_of(sales: Sales, data: Path) -> FleetSpec:
    """W1's fleet with the moody model and limits."""
    plain = fleet(WORKLOADS["W1"].sized(sales.rows, sales.partitions), data)
    training = plain.training.model_copy(update={"per_model": Limits(seconds=SECONDS, memory=MEMORY)})
    changes = {"features": (*sales.feature_names, "kind"), "model": "bench.misbehaving:moody", "training": training}
    return plain.model_copy(update=changes)


def write(sales: Sales, kind: np.ndarray, folder: Path) -> None:
    """The sales with the column ``kind``, which is `kind` of the partition's number."""
    folder.mkdir(parents=True)
    for number, table in enumerate(tables(sales)):
        numbers = numbers_of(sales, *(table.column(name).to_numpy() for name in ("store", "item")))
        pq.write_table(table.append_column("kind", pa.array(kind[numbers])), folder / f"sales-{number:03d}.parquet")


def check(healthy: pa.Table, poison: pa.Table, kind: np.ndarray) -> dict[str, int]:
    """The partitions by kind that were recorded rightly.

    :raises AssertionError: naming the first that was not.
    """
    right: dict[str, int] = {}
    for name, expected in EXPECTED.items():
        rows = poison.filter(
            pa.array(np.isin(poison.column("number").to_numpy(), np.flatnonzero(kind == KINDS.index(name))))
        )
        told = rows.column("reason").to_pylist()
        wrong = [reason for reason in told if reason != expected]
        assert not wrong, (
            f"{len(wrong)} of {len(told)} models of kind {name!r} have reason {wrong[0]!r}, not {expected!r}"
        )
        right[name] = len(told)
    sound = pa.array(np.flatnonzero(kind == 0))
    alone, among = (
        table.column("model_digest").take(pc.index_in(sound, table.column("number"))) for table in (healthy, poison)
    )
    assert alone.equals(among), "healthy models differ from those trained without the others"
    return right


def _kinds(partitions: int, each: int) -> np.ndarray:
    """The kind of each partition: `each` of every kind that misbehaves, drawn at random."""
    kind = np.zeros(partitions, np.int32)
    chosen = np.random.default_rng(3).permutation(partitions)[: each * (len(KINDS) - 1)]
    kind[chosen] = 1 + np.arange(len(chosen)) % (len(KINDS) - 1)
    return kind


def _models(context: Context, sales: Sales) -> pa.Table:
    from bench.ours import model_index

    index = model_index(context).select(["store", "item", "status", "reason", "model_digest"]).combine_chunks()
    numbers = numbers_of(sales, index.column("store").to_numpy(), index.column("item").to_numpy())
    return index.append_column("number", pa.array(numbers))


if __name__ == "__main__":
    main()
