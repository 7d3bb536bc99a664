"""The bars that the full sizes must clear, each with what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.measure import KINDS
from bench.results import Json

TRAINING = ("train.dataset", "train.train", "train.commit", "train.register")
SCORING = ("score.dataset", "score.score", "score.commit")
MEMORY = {"driver": 1500, "jvm": 2000, "worker": 1500}
"""Megabytes that the largest process of a kind may take."""
GROWN = (100_000, 1_000_000)
"""The partitions between which the chain's time may grow 11 times, at as many rows each."""


@dataclass(frozen=True)
class Bar:
    """A bar; `measured` is None where what it takes was not run in full size."""

    what: str
    target: str
    measured: float | None
    cleared: bool


def seconds_of(run: Json, implementation: str, steps: Iterable[str] | None = None) -> float | None:
    """The wall seconds of some steps of an implementation, or of all but the session's start; None where it did not run."""
    wanted = None if steps is None else set(steps)
    found = [
        record["seconds"]
        for record in run["records"]
        if record["implementation"] == implementation
        and (record["step"] != "session" if wanted is None else record["step"] in wanted)
    ]
    return sum(found) if found else None


def bars(runs: Sequence[Json]) -> Iterator[Bar]:
    """All bars, from the full runs."""
    full = {run["workload"]: run for run in runs if run["form"] == "full"}
    w1, w2 = full.get("W1"), full.get("W2")
    for other, least in (("reference", 24.0), ("tuned", 2.0), ("plain", 1.2)):
        yield _least(f"W1 training, times as fast as {other}", least, _ratio(w1, TRAINING, other, "train"))
    yield _least("W1 scoring, times as fast as reference", 10.0, _ratio(w1, SCORING, "reference", "score"))
    yield _most("W1f training, seconds more than W1", 60.0, _more(full.get("W1f"), w1))
    yield _most("W1 quality, seconds for 8 expectations", 25.0, _quality(w1))
    yield _most("W1 whole chain, seconds", 100.0, _chain(w1))
    yield _most("W1 whole chain under Airflow, seconds", 240.0, _figure(full, "airflow", "seconds"))
    yield _least("W5, share of the cores' time in models", 0.85, (full.get("W5") or {}).get("inside_models"))
    speedup = _figure(full, "cluster", "speedup_of_two_executors")
    yield _least("two executors of a Spark cluster, times as fast as one", 1.7, speedup)
    yield _most("W2 whole chain, seconds", 1800.0, _chain(w2))
    yield _most("growth of the chain from 100,000 to 1,000,000 partitions, times", 11.0, _growth(runs))
    for kind in KINDS:
        measured = [_peak(full[name], kind) for name in ("W1", "W2", "W3") if name in full]
        whole = max(measured) if len(measured) == 3 else None
        yield _most(f"largest {kind} of W1, W2 and W3, MB", MEMORY[kind], whole)
    yield _most("incremental, share of the full training's time", 0.1, _figure(full, "incremental", "share"))
    yield _most("resumed after kill -9 at half, share of the full time", 0.6, _figure(full, "resume", "share"))
    yield _least("predictions into PostgreSQL, share of a bare COPY's rows/s", 0.6, _figure(full, "copy", "share"))
    yield _most("poison suite, times the healthy seconds and the timeouts over the cores", 1.2, _poisoned(full))


def _least(what: str, target: float, measured: float | None) -> Bar:
    return Bar(what, f">= {target:,g}", measured, measured is not None and measured >= target)


def _most(what: str, target: float, measured: float | None) -> Bar:
    return Bar(what, f"<= {target:,g}", measured, measured is not None and measured <= target)


def _ratio(run: Json | None, ours: Sequence[str], other: str, theirs: str) -> float | None:
    own, seconds = (None, None) if run is None else (seconds_of(run, "ours", ours), seconds_of(run, other, (theirs,)))
    return seconds / own if own and seconds else None


def _quality(run: Json | None) -> float | None:
    return None if run is None else seconds_of(run, "ours", ("train.quality",))


def _more(run: Json | None, than: Json | None) -> float | None:
    if run is None or than is None:
        return None
    seconds = [seconds_of(each, "ours", TRAINING) for each in (run, than)]
    return None if seconds[0] is None or seconds[1] is None else seconds[0] - seconds[1]


def _chain(run: Json | None) -> float | None:
    return None if run is None else seconds_of(run, "ours")


def _growth(runs: Sequence[Json]) -> float | None:
    found: dict[int, float | None] = {}
    for run in runs:
        first = run["records"][0]
        if run["workload"] == "W2" and first["rows"] == 40 * first["partitions"]:
            found[first["partitions"]] = seconds_of(run, "ours")
    small, large = (found.get(partitions) for partitions in GROWN)
    return large / small if small and large else None


def _peak(run: Json, kind: str) -> float:
    return max((r["peak_mb"][kind] for r in run["records"] if r["implementation"] == "ours"), default=0.0)


def _poisoned(full: dict[str, Json]) -> float | None:
    if "poison" not in full:
        return None
    figures = full["poison"]["figures"]
    return figures["seconds"]["poison"] / (figures["seconds"]["healthy"] + figures["waited_seconds"])


def _figure(full: dict[str, Json], name: str, figure: str) -> float | None:
    return full[name]["figures"][figure] if name in full else None
