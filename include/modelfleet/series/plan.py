"""What a forecast fleet asks of its series: the grid, the columns and what is known of them, the end of history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from modelfleet.errors import DataError, bounded
from modelfleet.frequency import parse
from modelfleet.series.grid import Grid
from modelfleet.slices import PARTITION
from modelfleet.spec.treatments import Treatment

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.spec import FleetSpec

PROBLEM = "_problem"
"""The column that says what is wrong with a partition's series; null when nothing is."""
AHEAD = "known-ahead column"
"""How the problem of a partition begins where a known-ahead column has no values for the steps to forecast."""


@dataclass(frozen=True)
class Lookup:
    """A known-ahead table, small enough to hand to every bucket.

    :ivar time: its time column; rows that are not on the grid are left out.
    :ivar keys: the key columns it shares with the partition; none for a calendar.
    :ivar columns: the columns it gives.
    """

    name: str
    rows: pa.Table
    time: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class SeriesPlan:
    """How rows become regular series.

    :ivar end: the interval's end, aware: history lies before it.
    :ivar future: how many steps to append from `end` on; 0 when training.
    :ivar ids: columns that identify a row, kept also beyond `end`.
    """

    fleet: str
    frequency: str
    timezone: str
    time: str
    target: str
    keys: tuple[str, ...]
    static: tuple[str, ...]
    known_ahead: tuple[str, ...]
    missing: Literal["reject", "zero", "previous"]
    end: datetime
    future: int
    treatments: tuple[Treatment, ...]
    lookups: tuple[Lookup, ...] = ()
    ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: FleetSpec, *, end: datetime, future: int, lookups: Iterable[Lookup] = ()) -> SeriesPlan:
        """The plan of a forecast fleet."""
        problem = spec.problem
        if problem.kind != "forecast":
            raise ValueError(f"fleet {spec.name!r} is no forecast")
        return cls(
            fleet=spec.name,
            frequency=problem.freq,
            timezone=spec.timezone,
            time=spec.time_column,
            target=problem.target,
            keys=tuple(spec.partition_by),
            static=tuple(spec.declared.static),
            known_ahead=tuple(name for name in spec.declared.known_ahead if name != problem.target),
            missing=problem.missing,
            end=end,
            future=future,
            treatments=tuple(spec.treatments),
            lookups=tuple(lookups),
            ids=tuple(spec.id_columns),
        )

    def grid(self, kind: pa.DataType) -> Grid:
        """The grid on the time column.

        :raises DataError: naming the fleet, for a type that the frequency can't be of.
        """
        try:
            return Grid.of(parse(self.frequency), kind, self.timezone)
        except DataError as exc:
            raise DataError(f"fleet {self.fleet!r}, time column {self.time!r}: {exc.message}", hint=exc.hint) from None

    def check(self, rows: pa.Table) -> None:
        """See that the rows, together with the lookups, have the columns of the plan.

        :raises DataError: naming the fleet and the columns.
        """
        given = {column for lookup in self.lookups for column in lookup.columns}
        ahead = [name for name in self.known_ahead if name not in given]
        needed = (PARTITION, *self.keys, self.time, self.target, *self.static, *ahead)
        missing = [name for name in dict.fromkeys(needed) if name not in rows.column_names]
        if missing:
            tables = f" and tables give {bounded(sorted(given))} ahead" if given else ""
            raise DataError(
                f"fleet {self.fleet!r}: the prepared rows have no column {bounded(map(repr, missing))}; "
                f"they have {bounded(rows.column_names, limit=40)}{tables}",
                hint="select it in `prepare`, or correct the spec",
            )
