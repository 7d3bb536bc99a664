"""Checks of the tables against what the rest of a spec wants of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from modelfleet.errors import Failure, bounded
from modelfleet.interval import duration
from modelfleet.spec.base import Found, nearest
from modelfleet.spec.features import Features
from modelfleet.spec.problem import Forecast
from modelfleet.spec.treatments import Clip, Dedupe, Fill
from modelfleet.spec.values import shown

if TYPE_CHECKING:
    from modelfleet.spec.fleet import FleetSpec


def findings(spec: FleetSpec) -> Iterator[Found]:
    """Tables that are not there, columns that are not read, and what nobody knows ahead."""
    ready = spec.schedule.when_ready
    tables = tuple(spec.data.tables)
    if ready is not None and ready not in tables:
        yield (
            Failure("schedule.train.when_ready", shown(ready), f"allowed: a table of data: {bounded(tables)}"),
            nearest(ready, tables),
        )
    yield from _treatments(spec)
    if spec.data.prepare is None:
        yield from _ahead(spec)
        yield from _listed(spec)


def _treatments(spec: FleetSpec) -> Iterator[Found]:
    """Keys and times stay as they are; rows are made unique once."""
    kept = (*spec.partition_by, spec.time_column)
    dedupes = 0
    for position, part in enumerate(spec.treatments):
        field = f"treatments[{position}]"
        if isinstance(part, Clip | Fill) and part.column in kept:
            allowed = "allowed: columns other than the time column and those of partition_by"
            yield Failure(f"{field}.column", shown(part.column), allowed), None
        if isinstance(part, Dedupe):
            dedupes += 1
            if dedupes > 1:
                yield Failure(field, shown(part), "allowed: one Dedupe"), None
            if spec.problem.kind == "classification" and part.keep in ("sum", "mean"):
                yield Failure(f"{field}.keep", shown(part.keep), "allowed for classes: first, last, max"), None


def _ahead(spec: FleetSpec) -> Iterator[Found]:
    """Columns that are known ahead come from a table that is read ahead, far enough."""
    problem, known = spec.problem, spec.declared.known_ahead
    read = {name: table.ahead for name, table in spec.data.tables.items() if table.ahead is not None}
    if not isinstance(problem, Forecast):
        for name, ahead in read.items():
            yield Failure(f"data.{name}.ahead", shown(ahead), "allowed: for a Forecast, or with prepare"), None
        return
    least = timedelta(seconds=problem.frequency.least_seconds) * problem.horizon
    for name, ahead in read.items():
        if known and duration(ahead) < least:
            allowed = f"allowed: at least the horizon, {problem.horizon} steps of {problem.freq!r}"
            yield Failure(f"data.{name}.ahead", shown(ahead), allowed), None
    if known and not read:
        field = "features.known_ahead" if isinstance(spec.features, Features) else "features"
        yield (
            Failure(field, shown(known), "allowed: columns of a table with `ahead`, or of rows that prepare makes"),
            "what is only known afterwards goes into Features(past=(Lag(...), ...))",
        )


def _listed(spec: FleetSpec) -> Iterator[Found]:
    """Where tables name the columns to read, those the fleet needs are among them."""
    (name, main), *joined = spec.data.tables.items()
    read = [getattr(table, "columns", None) for table in (main, *(table for _, table in joined))]
    if read[0] is None:
        return
    everywhere = None if None in read else tuple(dict.fromkeys(column for columns in read for column in columns or ()))
    wanted: tuple[tuple[str, Sequence[str], Sequence[str] | None], ...] = (
        ("partition_by", spec.partition_by, read[0]),
        ("problem.time", (spec.time_column,), read[0]),
        ("problem.target", (spec.problem.target,), read[0]),
        ("id_columns", spec.id_columns, read[0]),
        ("features", [column for column in spec.declared.columns if column != spec.problem.target], everywhere),
        ("training.weight", [spec.training.weight] if spec.training.weight else [], everywhere),
    )
    where = f"table {name!r}" if not joined else "the tables"
    for field, columns, there in wanted:
        for column in columns:
            if there is not None and column not in there:
                yield (
                    Failure(field, shown(column), f"allowed: the columns of {where}: {bounded(there)}"),
                    nearest(column, there),
                )
