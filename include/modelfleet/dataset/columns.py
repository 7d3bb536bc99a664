"""The columns of prepared rows, and what is done to a bucket's rows before anything sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from modelfleet import keys, series, slices
from modelfleet.errors import DataError, bounded

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.series import SeriesPlan
    from modelfleet.spec import FleetSpec


@dataclass(frozen=True)
class Columns:
    """The columns of a prepared row and their parts; `target` is None when scoring, where it is never read."""

    fleet: str
    keys: tuple[str, ...]
    time: str
    ids: tuple[str, ...]
    features: tuple[str, ...]
    target: str | None
    looked_at: tuple[str, ...] = ()
    """Columns that only treatments look at."""

    @property
    def all(self) -> tuple[str, ...]:
        listed = (*self.keys, self.time, *self.ids, *self.features, *((self.target,) if self.target else ()))
        listed = (*listed, *self.looked_at)
        return tuple(dict.fromkeys(listed))

    @classmethod
    def of(cls, spec: FleetSpec, *, with_target: bool) -> Columns:
        forecasts = spec.problem.kind == "forecast"
        return cls(
            fleet=spec.name,
            keys=tuple(spec.partition_by),
            time=spec.time_column,
            ids=() if forecasts else tuple(spec.id_columns),
            features=tuple(spec.columns),
            target=spec.problem.target if with_target or forecasts else None,
            looked_at=looked_at(spec),
        )


def looked_at(spec: FleetSpec) -> tuple[str, ...]:
    """The columns that treatments name, but for the target."""
    named = (getattr(treatment, "column", spec.problem.target) for treatment in spec.treatments)
    return tuple(dict.fromkeys(name for name in named if name != spec.problem.target))


@dataclass(frozen=True)
class Treated:
    """What is done to a bucket's sorted rows: a Forecast's series are made regular, others only treated."""

    spec: FleetSpec
    series: SeriesPlan | None = None
    since: datetime | None = None
    """Partitions without a row from then on are only there to look back on, and not counted."""

    @property
    def given(self) -> tuple[str, ...]:
        """Columns that known-ahead tables give, so that the prepared rows may lack them."""
        lookups = () if self.series is None else self.series.lookups
        return tuple(name for lookup in lookups for name in lookup.columns)

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The rows as models see them, and what was done to how many."""
        if self.series is not None:
            return series.regularize(rows, self.series)
        target = self.spec.problem.target
        # What looks at the target, or makes one row of several by it, is not for rows whose target is yet to come.
        known = [
            treatment
            for treatment in self.spec.treatments
            if target in rows.column_names or getattr(treatment, "column", target) != target
        ]
        if not known:
            return rows, {}
        return series.apply(
            rows, known, fleet=self.spec.name, target=self.spec.problem.target, time=self.spec.time_column
        )


def check_columns(schema: pa.Schema, columns: Columns, *, given: Sequence[str] = ()) -> None:
    """See that every column the fleet names is there, with a type it can have; those of `given` may come later.

    :raises DataError: naming the fleet and the columns.
    """
    import pyarrow.types as t

    missing = [name for name in columns.all if name not in schema.names and name not in given]
    if missing:
        raise DataError(
            f"fleet {columns.fleet!r}: the prepared rows have no column {bounded(map(repr, missing))}; "
            f"they have {bounded(schema.names, limit=40)}",
            hint="select it in `prepare`, or correct the spec",
        )
    for taken in (slices.PARTITION, series.PROBLEM):
        if taken in columns.all:
            raise DataError(f"fleet {columns.fleet!r}: column name {taken!r} is taken by Modelfleet", hint="rename it")
    for name in columns.keys:
        keys.key_type(name, schema.field(name).type, fleet=columns.fleet)
    if not (t.is_timestamp(schema.field(columns.time).type) or t.is_date(schema.field(columns.time).type)):
        raise DataError(
            f"fleet {columns.fleet!r}: time column {columns.time!r} is of type {schema.field(columns.time).type}; "
            "allowed are timestamp and date"
        )
    for name in (name for name in columns.features if name in schema.names):
        if t.is_nested(schema.field(name).type) or t.is_binary(schema.field(name).type):
            raise DataError(
                f"fleet {columns.fleet!r}: feature {name!r} is of type {schema.field(name).type}; "
                "allowed are numbers, bool, string, date and timestamp"
            )
    if columns.target is not None:
        kind = schema.field(columns.target).type
        if not (t.is_integer(kind) or t.is_floating(kind) or t.is_boolean(kind) or t.is_decimal(kind)):
            raise DataError(
                f"fleet {columns.fleet!r}: target {columns.target!r} is of type {kind}; allowed are numbers and bool"
            )
