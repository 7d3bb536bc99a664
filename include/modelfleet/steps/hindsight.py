"""What was known at a past moment: the ingests of a replayed run, those that go beyond it cut there by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from modelfleet import interval as intervals
from modelfleet.ingest.readings import Span
from modelfleet.steps import restating
from modelfleet.steps.inputs import tables_of, training_span

if TYPE_CHECKING:
    from modelfleet.interval import Interval
    from modelfleet.lake import RunManifest
    from modelfleet.lake.runs import Json
    from modelfleet.spec import FleetSpec


def known_at(spec: FleetSpec, ingests: Sequence[RunManifest], interval: Interval) -> dict[str, Json]:
    """The inputs of a training or scoring as it would have been at the interval's end.

    Of the ingests only those that had ended by then, and the one whose interval goes beyond it, as a bulk load does: its
    rows up to then, and of a table with `ahead` as far as that. Tables without a time are those of the last ingest that had
    ended; where there is none, those of the bulk load.
    """
    end = interval.utc[1]
    span = training_span(spec, interval)
    before = [run for run in ingests if run.interval.utc[1] <= end]
    crossing = [run for run in ingests if run.interval.utc[0] < end < run.interval.utc[1]]
    own = [run for run in before if run.interval.overlaps(span)] + crossing
    inputs = restating.pin(spec.name, own, [*before, *crossing])
    held = {name for run in own if run not in crossing for name in run.facts["tables"]}
    return inputs | {
        f"ingest/{run.interval.key}": _cut(spec, run, inputs[f"ingest/{run.interval.key}"], (_BEGIN, end), held)
        for run in crossing
    }


def known_today(spec: FleetSpec, ingests: Sequence[RunManifest], within: Interval) -> dict[str, Json]:
    """The inputs of a dataset of the rows within a span of time as they are known now, late and restated ones included."""
    own = [run for run in ingests if run.interval.overlaps(within)]
    inputs = restating.pin(spec.name, own, ingests)
    beyond = [run for run in own if run.interval.utc[0] < within.utc[0] or run.interval.utc[1] > within.utc[1]]
    return inputs | {
        f"ingest/{run.interval.key}": _cut(spec, run, inputs[f"ingest/{run.interval.key}"], within.utc, set())
        for run in beyond
    }


_BEGIN = datetime(1900, 1, 1, tzinfo=UTC)


def _cut(spec: FleetSpec, run: RunManifest, used: Json, within: Span, held: set[str]) -> Json:
    """A pinned ingest of which only a span of time shows; its tables without a time not at all where others are `held`."""
    shown = dict(used.get("visible", {}))
    for name, table in tables_of(run.facts).items():
        declared = spec.data.tables.get(name)
        if declared is None:
            continue
        if table.kind == "snapshot" or declared.time is None:
            shown |= {name: []} if name in held else {}
            continue
        limits = within[0], within[1] + _ahead(declared)
        spans = restating.spans(used, name, run.interval)
        parts = [run.interval.utc] if spans is None else [span.utc for span in spans]
        shown[name] = [[bound.isoformat() for bound in span] for span in _clipped(parts, limits)]
    return {**used, "visible": shown}


def _clipped(spans: Sequence[Span], limits: Span) -> Iterator[Span]:
    for start, end in spans:
        if max(start, limits[0]) < min(end, limits[1]):
            yield max(start, limits[0]), min(end, limits[1])


def _ahead(table: object) -> timedelta:
    text = getattr(table, "ahead", None)
    return intervals.duration(text) if text else timedelta()
