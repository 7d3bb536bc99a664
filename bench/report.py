"""Write ``docs/performance.md`` and its plots from ``bench/results/latest.json`` alone: ``python -m bench.report``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import results
from bench.bars import SCORING, TRAINING, bars, seconds_of
from bench.one import ROOT
from bench.results import Json
from bench.workloads import WORKLOADS

DOCS = ROOT / "docs"
FORMS = ("full", "quick", "custom")
OTHERS = {"reference": "the reference", "tuned": "tuned applyInPandas", "plain": "the plain script"}
_COLUMNS = (
    *("implementation", "step", "seconds", "CPU seconds", "driver", "JVM", "workers"),
    *("peak MB driver", "JVM", "worker"),
)
INTRODUCTION = """# Performance

Every figure here comes from `bench/results/latest.json`; `python -m bench.report` writes this page from it. `make bench`
runs the quick sizes, `make bench-full` the full ones; `python -m bench.run W1 --full` one workload.

**ours** is the whole chain through the package's steps: checks, registries, gate, and runs, models and decisions in the
warehouse, in one process with one Spark session. Loading the predictions is left out (`--load` adds it; `copy` measures
it). Three others do the same modelling (fit, measure on the holdout beside the baseline, fit again on all rows) on the same
files, one after the other:

- **reference**: the way that the many-models architecture was published. groupBy().applyInPandas, where each fit logs and
  registers an MLflow model of its own under tags; scoring finds it by its tags and downloads it. It runs on as many
  partitions as fit in `--seconds-per-reference`, drawn at random, their rows in files of their own, with a warm session;
  its seconds are extrapolated per partition, marked ~ (by the difference to a run on 8 partitions, so that what does not
  grow with them counts once).
- **tuned**: groupBy().applyInPandas with NumPy inside, nothing registered; models and predictions are Parquet.
- **plain**: DuckDB sorts, joblib fits in a process per core; nothing is kept safe, all rows are in memory.

Their metrics agree partition by partition, or the run fails. "Times as fast" compares our dataset, train, commit and
register with their training, and our dataset, score and commit with their scoring; the bar of the whole chain counts
quality and promotion too. A session's start with a worker per core, which imports NumPy, pandas and Arrow, is the
step `session` of each. Seconds are wall seconds; CPU seconds count all processes; memory is that of the largest
single process of its kind (PSS), looked at every 0.4 to 3 seconds. Where the load before a run was above 0.5, others
used the machine (or a run just before it): its wall seconds say less, its CPU seconds and ratios more.

Further runs: *airflow*, W1's chain under Airflow's scheduler, from the trigger of ingest to the committed predictions, with
a spark-submit per training and scoring; *cluster*, boosted trees on a Spark standalone cluster with the lake on Azurite,
with one executor, with two, and with two of which one is killed; *resume*, a training killed at half and run again;
*incremental*, a training a day later, with rows of one partition in a hundred; *copy*, predictions into PostgreSQL;
*poison*, misbehaving models, whose bar divides by the healthy seconds and the timeouts over the cores.
"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="the folder of latest.json")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder to write to")
    given = parser.parse_args()
    print(write(results.latest(given.results), given.docs))


def write(runs: Sequence[Json], docs: Path) -> Path:
    """Write ``performance.md`` and ``images/``; the page's path."""
    from bench.plots import growth, steps

    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    shown = [run for form in FORMS for run in runs if run["form"] == form]
    workloads = [run for run in shown if "agreement" in run]
    parts = [INTRODUCTION, "\n".join(_bars(runs))]
    if workloads:
        parts += ["\n".join(_summary(workloads))]
        steps(_largest(workloads), images / "performance-steps.png")
        growth(workloads, images / "performance-growth.png")
        parts += ["## Time per step\n\n![Seconds of each step of ours](images/performance-steps.png)"]
        parts += ["## Time against partitions\n\n![Seconds against partitions](images/performance-growth.png)"]
    parts += ["\n".join(_workload(run)) for run in workloads]
    parts += ["\n".join(_other(run)) for run in shown if "figures" in run]
    page = docs / "performance.md"
    page.write_text("\n\n".join(part.strip() for part in parts) + "\n")
    return page


def _largest(runs: Sequence[Json]) -> list[Json]:
    """Of each workload the run with the most rows."""
    best: dict[str, Json] = {}
    for run in runs:
        if run["workload"] not in best or _rows(run) > _rows(best[run["workload"]]):
            best[run["workload"]] = run
    return list(best.values())


def _rows(run: Json) -> int:
    return int(run["records"][0]["rows"])


def _bars(runs: Sequence[Json]) -> Iterator[str]:
    yield "## Bars\n"
    yield "Of the full sizes. What was not run yet is left open.\n"
    yield _row(["bar", "target", "measured", "cleared"])
    yield _row(["---"] * 4)
    for bar in bars(runs):
        told = ("", "") if bar.measured is None else (_short(bar.measured), "yes" if bar.cleared else "no")
        yield _row([bar.what, bar.target, *told])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _summary(runs: Sequence[Json]) -> Iterator[str]:
    yield "## In short\n"
    yield (
        "How many times as long as ours the others take, to train (dataset, train, commit, register) and to score "
        "(dataset, score, commit):\n"
    )
    yield _row(["workload", "rows", "partitions", "training, s", *OTHERS.values(), "scoring, s", *OTHERS.values()])
    yield _row(["---"] * (5 + 2 * len(OTHERS)))
    for run in runs:
        first = run["records"][0]
        cells = [f"{run['workload']} ({run['form']})", f"{first['rows']:,}", f"{first['partitions']:,}"]
        yield _row([*cells, *_ratios(run, TRAINING, "train"), *_ratios(run, SCORING, "score")])


def _ratios(run: Json, ours: Sequence[str], theirs: str) -> list[str]:
    own = seconds_of(run, "ours", ours)
    if own is None:
        return [""] * (1 + len(OTHERS))
    found = [seconds_of(run, name, (theirs,)) for name in OTHERS]
    return [f"{own:,.1f}", *("" if each is None else f"{each / own:.1f} x" for each in found)]


def _workload(run: Json) -> Iterator[str]:
    first = run["records"][0]
    yield f"## {run['workload']}: {WORKLOADS[run['workload']].purpose} ({run['form']})\n"
    yield f"{first['rows']:,} rows, {first['partitions']:,} partitions. {_circumstances(run)}\n"
    yield _row(
        [
            "implementation",
            "step",
            "seconds",
            "CPU seconds",
            "driver",
            "JVM",
            "workers",
            "peak MB driver",
            "JVM",
            "worker",
        ]
    )
    yield _row(["---"] * len(_COLUMNS))
    for record in run["records"]:
        cut = record["measured"] < record["partitions"]
        cpu, peak = record["cpu"], record["peak_mb"]
        yield _row(
            [
                record["implementation"],
                record["step"] + (f", on {record['measured']:,} partitions" if cut else ""),
                ("~" if cut else "") + f"{record['seconds']:,.1f}",
                ("~" if cut else "") + f"{record['cpu_seconds']:,.1f}",
                *(f"{cpu[kind]:,.1f}" for kind in ("driver", "jvm", "worker")),
                *(f"{peak[kind]:,}" for kind in ("driver", "jvm", "worker")),
            ]
        )
    if run["inside_models"] is not None:
        yield f"\nOf the cores' time in ours' step train, {run['inside_models']:.0%} was spent on partitions' models."


def _other(run: Json) -> Iterator[str]:
    yield f"## {run['workload']}: {run['purpose']} ({run['form']})\n"
    first = run["records"][0]
    yield f"{first['rows']:,} rows, {first['partitions']:,} partitions. {_circumstances(run)}\n"
    yield _row(["figure", "value"])
    yield _row(["---"] * 2)
    for name, value in run["figures"].items():
        yield _row([name.replace("_", " "), _told(value)])


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_told(each)}" for name, each in value.items())
    return str(value) if value is None or isinstance(value, str) else f"{value:,}"


def _circumstances(run: Json) -> str:
    machine = run["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"`{run['command']}` on {run['date'][:10]}, commit `{run['commit']}`. {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}, {versions}. "
        f"Load before: {machine['load_before']}."
    )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
