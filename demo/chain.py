"""What the demo runs: which intervals of which fleets, what of it is committed, and what to start next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelfleet.plan import PIPELINES
from modelfleet.warehouse import Warehouse

FLEETS = ["flight_delays", "flight_lateness"]
"""What the demo runs; `choose` takes others."""
BULK, BULK_START = "2013-09-30", "2013-01-01"
DAYS = ("2013-10-01", "2013-10-02", "2013-10-03")
DONE = ("committed", "empty", "reused")


@dataclass(frozen=True, order=True)
class Goal:
    """One interval of one pipeline of a fleet, to be committed."""

    fleet: str
    pipeline: str
    interval: str

    @property
    def dag_id(self) -> str:
        return f"{self.fleet}_{self.pipeline}"


@dataclass(frozen=True)
class Start:
    """A run to trigger."""

    goal: Goal
    conf: dict[str, object]


def choose(fleets: Sequence[str]) -> None:
    """Run these fleets instead."""
    FLEETS[:] = fleets


def goals() -> tuple[Goal, ...]:
    """Everything the demo wants committed, in the order it happens."""
    return tuple(goal for fleet in FLEETS for goal in _of_fleet(fleet))


def dag_ids() -> list[str]:
    """The DAGs of the demo's fleets."""
    return [f"{fleet}_{pipeline}" for fleet in FLEETS for pipeline in PIPELINES]


def committed() -> frozenset[Goal]:
    """The goals whose latest run is done, by the warehouse."""
    latest: dict[Goal, str] = {}
    for fleet in FLEETS:
        for row in Warehouse.open().runs(fleet, limit=1000):  # the latest first
            latest.setdefault(Goal(fleet, row["pipeline"], row["interval"]), row["status"])
    return frozenset(goal for goal in goals() if latest.get(goal) in DONE)


def to_start(done: frozenset[Goal], begun: frozenset[Goal]) -> Iterator[Start]:
    """The runs nothing else starts: the bulk ingest, the training and, once there is a champion, the daily ingests.

    Promotion and scoring follow by asset events; they are only triggered here where an interrupted demo lost the event,
    that is, where what they follow was done before this one began.
    """
    for fleet in FLEETS:
        bulk, train = Goal(fleet, "ingest", BULK), Goal(fleet, "train", BULK)
        promote = Goal(fleet, "promote", BULK)
        wanted = [Start(bulk, {"start": BULK_START, "train_only": True})]
        if bulk in done:
            wanted.append(Start(train, {}))
        if train in done and train not in begun:
            wanted.append(Start(promote, {}))
        if promote in done:
            for day in DAYS:
                ingest = Goal(fleet, "ingest", day)
                wanted.append(Start(ingest, {}))
                if ingest in done and ingest not in begun:
                    wanted.append(Start(Goal(fleet, "score", day), {}))
        yield from (start for start in wanted if start.goal not in done and start.goal not in begun)


def _of_fleet(fleet: str) -> Iterator[Goal]:
    for pipeline in ("ingest", "train", "promote"):
        yield Goal(fleet, pipeline, BULK)
    for day in DAYS:
        yield Goal(fleet, "ingest", day)
        yield Goal(fleet, "score", day)
