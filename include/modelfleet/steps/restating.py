"""Late and restated data: which ingests a run pins, whose rows it sees when, and what was restated since it was made.

The ingests of a run's own intervals are pinned always. One of another interval is pinned only where its late tail (or what
it read ahead) replaced rows of those intervals; `restates` names them. Which spans of a table show of an input is pinned
too, in `visible`, where that is not just its interval: so a run can be repeated as it was, and told from one that would see
other rows now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelfleet.errors import DataError
from modelfleet.ingest import Reading, TableManifest
from modelfleet.ingest.readings import Piece, Span, changed, merged, visible
from modelfleet.interval import Interval

if TYPE_CHECKING:
    from modelfleet.lake import Attempt, RunManifest

Json = dict[str, Any]


@dataclass(frozen=True)
class Ingested:
    """An ingest in force and what it read, by table; snapshots are left out."""

    run: RunManifest
    readings: Mapping[str, Reading]

    @classmethod
    def of(cls, run: RunManifest) -> Ingested:
        tables = {name: TableManifest.from_json(table) for name, table in run.facts["tables"].items()}
        timed = {name: table for name, table in tables.items() if table.kind != "snapshot"}
        return cls(run, {name: Reading.of(run.interval, run.created_at, table) for name, table in timed.items()})

    @property
    def key(self) -> str:
        return self.run.interval.key

    @cached_property
    def span(self) -> Span:
        """All that it read of any table."""
        spans = [self.run.interval.utc, *(reading.span for reading in self.readings.values())]
        return min(start for start, _ in spans), max(end for _, end in spans)


def by_table(ingested: Iterable[Ingested]) -> dict[str, list[Reading]]:
    """The readings of several ingests, table by table."""
    found: dict[str, list[Reading]] = {}
    for ingest in ingested:
        for name, reading in ingest.readings.items():
            found.setdefault(name, []).append(reading)
    return found


def restated(
    attempt: Attempt, tables: Mapping[str, TableManifest], others: Mapping[str, Sequence[Reading]]
) -> list[str]:
    """The ingested intervals of which a new ingest has other rows than were known, in the order of time."""
    keys: set[str] = set()
    for name, table in tables.items():
        if table.span is not None:
            new = Reading.of(attempt.interval, attempt.created_at, table)
            keys |= {key for _, key in changed(new, others.get(name, ())) if key is not None}
    return sorted(keys)


def pin(fleet: str, ingests: Sequence[RunManifest], in_force: Iterable[RunManifest]) -> dict[str, Json]:
    """The inputs of a run that uses `ingests`: these, and what of `in_force` restated their intervals.

    :raises DataError: when rows that would have to show are kept in no ingest any more.
    """
    own = {run.interval.key: Ingested.of(run) for run in ingests}
    others = {run.interval.key: Ingested.of(run) for run in in_force if run.interval.key not in own}
    shown: dict[str, dict[str, list[Span]]] = {key: {} for key in own}
    replaced: dict[str, set[str]] = {}
    for table, pieces in _pieces(fleet, own.values(), others.values()).items():
        for key in own:
            shown[key][table] = []
        for piece in pieces:
            shown.setdefault(piece.source.key, {}).setdefault(table, []).append(piece.span)
            if piece.source.key not in own:
                replaced.setdefault(piece.source.key, set()).add(_holder(piece.span, own.values()))
    inputs = {f"ingest/{key}": _input(ingest.run, shown[key]) for key, ingest in own.items()}
    for key in sorted(replaced):
        inputs[f"ingest/{key}"] = {**_input(others[key].run, shown[key]), "restates": sorted(replaced[key])}
    return inputs


def spans(used: Json, table: str, interval: Interval) -> tuple[Interval, ...] | None:
    """What shows of a table of a pinned ingest; None: its interval. Of a restating one, only what is pinned shows."""
    pinned = _pinned(used, table)
    if pinned is None:
        return None
    zone = interval.end.tzinfo
    return tuple(Interval(interval.key, *(bound.astimezone(zone) for bound in span)) for span in pinned)


def is_restated(inputs: Mapping[str, Json], key: str) -> bool:
    """Whether another ingest has rows of an interval: so that one that was empty may not be any more."""
    return any(key in used.get("restates", ()) for used in inputs.values())


def content(inputs: Mapping[str, Json]) -> dict[str, Any]:
    """What the rows of a run's pinned ingests depend on; part of fingerprints and of the lineage."""
    return {
        name: [used["digest"], used["visible"]] if "visible" in used else used["digest"]
        for name, used in inputs.items()
        if name.startswith("ingest/")
    }


def reasons(run: RunManifest, in_force: Mapping[str, Ingested]) -> list[str]:
    """By which ingests intervals that a run used were restated since it was made: ``restated by 2024-04-02``."""
    pinned = {name.partition("/")[2]: used for name, used in run.inputs.items() if name.startswith("ingest/")}
    own = {key: in_force[key] for key, used in pinned.items() if "restates" not in used and key in in_force}
    if not own:
        return []
    since, until = min(ingest.span[0] for ingest in own.values()), max(ingest.span[1] for ingest in own.values())
    near = (ingest for ingest in in_force.values() if ingest.span[0] < until and ingest.span[1] > since)
    try:
        tables = _pieces(run.fleet, own.values(), [ingest for ingest in near if ingest.key not in own])
    except DataError as exc:
        return [exc.message]
    found = set()
    for table, pieces in tables.items():
        then = {key: _shown_then(used, table, in_force.get(key)) for key, used in pinned.items()}
        everything = merged(span for shown in then.values() for span in shown)
        for piece in pieces:
            if _inside(piece.span, everything) and not _inside(piece.span, then.get(piece.source.key, ())):
                found.add(piece.newest.key)
    return [f"restated by {key}" for key in sorted(found)]


def _pieces(fleet: str, own: Iterable[Ingested], others: Iterable[Ingested]) -> dict[str, list[Piece]]:
    """Who shows when, of each table of which an ingest read more than its interval."""
    rest = by_table(others)
    return {
        table: visible(listed, rest.get(table, ()), label=f"fleet {fleet!r}, table {table!r}")
        for table, listed in by_table(own).items()
        if any(reading.is_wider for reading in (*listed, *rest.get(table, ())))
    }


def _input(run: RunManifest, shown: Mapping[str, Sequence[Span]]) -> Json:
    """A pinned ingest; what shows of a table is left out where that is its interval."""
    joined = {table: merged(listed) for table, listed in shown.items()}
    other = {
        table: [[bound.isoformat() for bound in span] for span in listed]
        for table, listed in joined.items()
        if listed != [run.interval.utc]
    }
    return {"attempt": run.attempt, "digest": run.digest, **({"visible": other} if other else {})}


def _pinned(used: Json, table: str) -> list[Span] | None:
    listed = used.get("visible", {}).get(table)
    if listed is None:
        return [] if "restates" in used else None
    read = [[datetime.fromisoformat(bound).astimezone(UTC) for bound in span] for span in listed]
    return [(start, end) for start, end in read]


def _shown_then(used: Json, table: str, ingest: Ingested | None) -> list[Span]:
    """What of a table showed of a pinned ingest when the run was made."""
    pinned = _pinned(used, table)
    if pinned is not None:
        return pinned
    return [] if ingest is None else [ingest.run.interval.utc]


def _holder(span: Span, ingested: Iterable[Ingested]) -> str:
    """The interval that a span lies in."""
    return next(ingest.key for ingest in ingested if _inside(span, [ingest.run.interval.utc]))


def _inside(span: Span, spans: Sequence[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in spans)
