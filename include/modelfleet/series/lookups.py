"""Values of known-ahead tables for rows of a bucket, by step and by the key columns they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError
from modelfleet.series.columns import array_of, changes, is_missing, partition_codes, replace, take, whole
from modelfleet.series.grid import Grid
from modelfleet.series.plan import Lookup, SeriesPlan
from modelfleet.slices import PARTITION

_STEP = "_step"
_CELLS = 1 << 20
"""How many cells of groups and steps are worth a table of their own, beyond the rows that are looked up in it."""


class Joined:
    """A lookup made ready for the partitions of one bucket.

    :ivar name: of the table.
    :ivar columns: the columns it gives to the bucket: those of the rows, and the known-ahead ones.
    :ivar off_grid: how many of its rows are not on the grid, and so left out.
    :raises DataError: naming the fleet and the table: for columns it does not have, types that do not go together, and
        several rows of one time (and key).
    """

    def __init__(self, lookup: Lookup, rows: pa.Table, plan: SeriesPlan, grid: Grid) -> None:
        self.name, self._where = lookup.name, f"fleet {plan.fleet!r}, table {lookup.name!r}"
        table = whole(lookup.rows)
        self._check_columns(lookup)
        try:
            step, on = grid.index(table.column(lookup.time))
        except DataError as exc:
            raise DataError(f"{self._where}, time column {lookup.time!r}: {exc.message}", hint=exc.hint) from None
        self.off_grid = int((~on).sum())
        table = table.append_column(_STEP, pa.array(step)).filter(pa.array(on)).combine_chunks()
        self._check_unique(table, lookup, grid)
        kept = {plan.target, plan.time, *plan.keys, PARTITION}
        wanted = {*rows.column_names, *plan.known_ahead} - kept
        self.columns = tuple(name for name in lookup.columns if name in wanted)
        self._values = table.select(list(self.columns))
        self._index(table, lookup, rows)

    def type_of(self, column: str) -> pa.DataType:
        """The type of a column it gives."""
        return self._values.schema.field(column).type

    def rows_for(self, codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Its row for each partition code and step; -1 where it has none."""
        if not len(self._sorted):
            return np.full(len(steps), -1)
        groups, offsets = self._groups[codes], steps - self._low
        inside = (groups >= 0) & (offsets >= 0) & (offsets < self._span)
        wanted = np.where(inside, groups * self._span + offsets, -1)
        cells = int(self._sorted[-1]) + 1
        if cells <= len(wanted) + _CELLS:
            table = np.full(cells + 1, -1)
            table[self._sorted] = self._rows
            return table[np.minimum(wanted, cells)]  # -1 and what is beyond the last one have none
        place = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[place] == wanted, self._rows[place], -1)

    def values_of(self, column: str, rows: np.ndarray, kind: pa.DataType) -> pa.Array:
        """Its values of a column, as the bucket's type."""
        try:
            return take(array_of(self._values, column), rows).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            raise DataError(
                f"{self._where}: column {column!r} is of type {self.type_of(column)}, in the rows {kind}: {exc}",
                hint="cast one of them in `prepare` or in a view",
            ) from None

    def _check_columns(self, lookup: Lookup) -> None:
        missing = [
            name for name in (lookup.time, *lookup.keys, *lookup.columns) if name not in lookup.rows.column_names
        ]
        if missing:
            raise DataError(
                f"{self._where}: no column {', '.join(map(repr, missing))}; it has {lookup.rows.column_names}"
            )

    def _check_unique(self, table: pa.Table, lookup: Lookup, grid: Grid) -> None:
        names = [*lookup.keys, _STEP]
        counted = table.select(names).group_by(names).aggregate([([], "count_all")])
        if counted.num_rows == table.num_rows:
            return
        several = counted.filter(pc.greater(counted.column("count_all"), 1))
        several = several.sort_by([(name, "ascending") for name in names])
        first = several.slice(0, 1).to_pylist()[0]
        time = grid.texts(np.array([first[_STEP]]))[0].as_py()
        example = ", ".join([*(f"{name}={first[name]}" for name in lookup.keys), f"{lookup.time}={time}"])
        raise DataError(
            f"{self._where}: {several.num_rows} times have several rows, such as {example} ({first['count_all']} rows); "
            f"allowed is one per {', '.join([*lookup.keys, lookup.time])}",
            hint="aggregate them in a view, or join the table in `prepare`",
        )

    def _index(self, table: pa.Table, lookup: Lookup, rows: pa.Table) -> None:
        """Sort its rows by group (the shared keys) and step; find the group of each partition of the bucket."""
        codes = partition_codes(rows)
        firsts = np.flatnonzero(changes(codes))
        groups, ours = np.zeros(table.num_rows, np.int64), np.zeros(len(firsts), np.int64)
        for key in lookup.keys:
            given, known = self._coded(array_of(table, key), array_of(rows, key).take(pa.array(firsts)), key)
            groups = np.where((groups < 0) | (given < 0), -1, groups * len(firsts) + given)
            ours = ours * len(firsts) + known
            # Renumbered after every key, so that the product of their sizes can't overflow.
            distinct, ours = np.unique(ours, return_inverse=True)
            place = np.minimum(np.searchsorted(distinct, groups), max(len(distinct) - 1, 0))
            groups = np.where(np.isin(groups, distinct), place, -1)
        self._groups = np.full(int(codes.max(initial=-1)) + 1, -1, np.int64)
        self._groups[codes[firsts]] = ours
        used = np.flatnonzero(groups >= 0) if len(firsts) else np.empty(0, np.int64)
        steps = array_of(table, _STEP).to_numpy()[used]
        self._low = int(steps.min()) if len(steps) else 0
        self._span = int(steps.max()) - self._low + 1 if len(steps) else 0
        combined = groups[used] * self._span + (steps - self._low)
        order = np.argsort(combined, kind="stable")
        self._sorted, self._rows = combined[order], used[order]

    def _coded(self, given: pa.Array, ours: pa.Array, key: str) -> tuple[np.ndarray, np.ndarray]:
        """The values of a key column as numbers that agree; -1 for one the bucket does not have."""
        if pa.types.is_dictionary(ours.type):
            ours = ours.cast(ours.type.value_type)
        try:
            if pa.types.is_integer(given.type) and pa.types.is_integer(ours.type):
                given, ours = given.cast(pa.int64()), ours.cast(pa.int64())
            given = given.cast(ours.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            raise DataError(
                f"{self._where}: key column {key!r} is of type {given.type}, in the rows {ours.type}: {exc}",
                hint="cast one of them in `prepare` or in a view",
            ) from None
        values = ours.unique()
        return tuple(
            pc.fill_null(pc.index_in(column, value_set=values), -1).to_numpy(zero_copy_only=False).astype(np.int64)
            for column in (given, ours)
        )


def with_columns(rows: pa.Table, joined: Iterable[Joined], known_ahead: Sequence[str]) -> pa.Table:
    """The rows with the known-ahead columns that only lookups have, still null, in the lookups' types."""
    kinds: dict[str, pa.DataType] = {}
    for table in joined:
        for name in table.columns:
            kinds.setdefault(name, table.type_of(name))
    for name in known_ahead:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, kinds[name]))
        elif pa.types.is_null(rows.schema.field(name).type) and name in kinds:
            rows = replace(rows, name, pa.nulls(rows.num_rows, kinds[name]))
    return rows


def fill(rows: pa.Table, joined: Iterable[Joined], steps: np.ndarray, where: np.ndarray) -> pa.Table:
    """The rows with what lookups have for their nulls, the first lookup first; only rows that `where` says (bool)."""
    codes = partition_codes(rows)
    for table in joined:
        places: tuple[np.ndarray, np.ndarray] | None = None
        for name in table.columns:
            column = array_of(rows, name)
            open_ = is_missing(column) & where
            if not open_.any():
                continue
            if places is None:
                asked = np.flatnonzero(where)
                found = np.full(len(where), -1)
                found[asked] = table.rows_for(codes[asked], steps[asked])
                places = found, found >= 0
            from_table = open_ & places[1]
            if from_table.any():
                given = table.values_of(name, np.where(from_table, places[0], -1), column.type)
                rows = replace(rows, name, pc.if_else(pa.array(from_table), given, column))
    return rows
