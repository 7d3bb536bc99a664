"""Rows of a bucket -> regular series: treated, on the grid, without gaps, with the steps to forecast appended.

All for a whole bucket at once. What becomes of a partition depends on its own rows and the lookups alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError
from modelfleet.series.columns import array_of, changes, is_missing, last_before, partition_codes, replace, take, whole
from modelfleet.series.grid import Grid
from modelfleet.series.layout import Found, Layout, Span
from modelfleet.series.lookups import Joined, fill, with_columns
from modelfleet.series.plan import AHEAD, PROBLEM, SeriesPlan
from modelfleet.series.problems import Problems
from modelfleet.series.treatments import apply, values
from modelfleet.slices import PARTITION
from modelfleet.spec.treatments import Clip, Fill

_STEP, _ON, _PAST = "_step", "_on_grid", "_past"
_MOST = 1 << 26
"""No bucket may have more steps: such series begin at a date that stands for something else, such as the year 1."""


@dataclass(frozen=True)
class _Task:
    """What all parts of the work on one bucket share, and what they find."""

    plan: SeriesPlan
    grid: Grid
    cutoff: int
    joined: tuple[Joined, ...]
    problems: Problems = field(default_factory=Problems)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What messages call a step."""
        return "time" if self.grid.frequency.unit == "elapsed" else "date"

    def count(self, label: str, number: int) -> None:
        self.counts[label] = self.counts.get(label, 0) + number

    def names(self, steps: np.ndarray, at: np.ndarray) -> pa.Array:
        return self.grid.texts(steps[at])


def regularize(rows: pa.Table, plan: SeriesPlan) -> tuple[pa.Table, dict[str, int]]:
    """Make a gapless series of every partition, from its first target to the plan's end, then its future steps.

    :param rows: a sorted bucket: by partition, then time, ties by all other columns.
    :returns: the same columns, known-ahead ones that only lookups have, and `PROBLEM`; and counts for the manifest.
    :raises DataError: naming the fleet: for columns that are missing or of a wrong type, lookups with several rows of one
        time, series of absurd length.
    """
    plan.check(rows)
    rows = whole(rows)
    grid = plan.grid(rows.schema.field(plan.time).type)
    joined = tuple(Joined(lookup, rows, plan, grid) for lookup in plan.lookups)
    task = _Task(plan, grid, grid.at(plan.end), joined)
    treated = _treated(rows, task)
    found = _found(treated, plan.target)
    treated = treated.drop_columns([_STEP, _ON, _PAST])
    span = Span.of(found, task.cutoff, plan.future)
    _check_size(span, treated, found, task)
    layout = Layout.of(found, span, task.cutoff)
    table = _with_lookups(_assemble(treated, found, layout, task), layout, task)
    _judge_ahead(table, layout, task)
    _judge_rows(treated, found, task)
    table = _with_target(table, layout, task)
    end = task.names(np.array([task.cutoff]), np.array([0]))[0].as_py()
    task.problems.say(span.empty, f"no row before {end} has a target")
    texts = task.problems.texts(found.partitions)
    task.count("leading", layout.leading)
    task.count("future_rows", int(layout.ahead.sum()))
    task.count("problems", len(texts) - texts.null_count)
    counts = {label: number for label, number in task.counts.items() if number}
    return table.append_column(PROBLEM, texts.dictionary_encode().take(pa.array(layout.partition))), counts


def check_static(rows: pa.Table, plan: SeriesPlan) -> dict[str, int]:
    """In how many partitions static columns have several values, nulls aside, as ``"static category varies"``."""
    counts, codes = {}, partition_codes(rows)
    for name in plan.static:
        column = array_of(rows, name)
        there = np.flatnonzero(~is_missing(column))
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        value, code = pc.fill_null(encoded.indices, 0).to_numpy()[there], codes[there]
        varied = changes(value) & ~changes(code)
        if varied.any():
            counts[f"static {name} varies"] = len(np.unique(code[varied]))
    return counts


def _treated(rows: pa.Table, task: _Task) -> pa.Table:
    """The rows up to the horizon, without targets that are not known yet, with what lookups have for them, treated."""
    plan, cutoff = task.plan, task.cutoff
    step, on = task.grid.index(rows.column(plan.time))
    rows = rows.append_column(_STEP, pa.array(step)).append_column(_ON, pa.array(on))
    rows = rows.append_column(_PAST, pa.array(step < cutoff))
    beyond = step >= cutoff + plan.future
    if beyond.any():
        rows, step, on = rows.filter(pa.array(~beyond)).combine_chunks(), step[~beyond], on[~beyond]
        task.count("beyond_horizon", int(beyond.sum()))
    if (step >= cutoff).any():
        target = array_of(rows, plan.target)
        rows = replace(rows, plan.target, pc.if_else(array_of(rows, _PAST), target, pa.scalar(None, target.type)))
    rows = fill(with_columns(rows, task.joined, plan.known_ahead), task.joined, step, on)
    rows, counts = apply(rows, plan.treatments, target=plan.target, time=plan.time, fleet=plan.fleet, history=_PAST)
    task.counts.update(counts)
    return rows


def _found(rows: pa.Table, target: str) -> Found:
    codes = partition_codes(rows)
    begins = changes(codes)
    if begins.sum() != len(np.unique(codes)):
        raise ValueError("the rows of a partition are not together")
    step, on, past = (array_of(rows, name).to_numpy(zero_copy_only=False) for name in (_STEP, _ON, _PAST))
    return Found(np.cumsum(begins) - 1, step, on, past, ~is_missing(array_of(rows, target)))


def _check_size(span: Span, rows: pa.Table, found: Found, task: _Task) -> None:
    total = int(span.length.sum())
    if total <= _MOST:
        return
    longest = int(span.length.argmax())
    row = int(np.flatnonzero(found.partition == longest)[0])
    raise DataError(
        f"fleet {task.plan.fleet!r}: the series of one bucket would have {total} steps of freq {task.plan.frequency!r}; "
        f"the longest, of partition {rows.column(PARTITION)[row].as_py()!r}, {int(span.length[longest])} from "
        f"{task.names(span.begin, np.array([longest]))[0].as_py()} on",
        hint="leave rows with such dates out in `prepare`, correct freq, or give training a window",
    )


def _assemble(rows: pa.Table, found: Found, layout: Layout, task: _Task) -> pa.Table:
    """The columns of all steps, before lookups and policies fill what rows do not have."""
    plan = task.plan
    first = found.first_row(np.ones(len(found.step), bool))[layout.partition]
    past_only = np.where(layout.ahead, -1, layout.source)
    kept = {*plan.known_ahead, *plan.ids, *(name for table in task.joined for name in table.columns)}
    varying = check_static(rows, plan)
    task.counts.update(varying)
    steady = [
        name
        for name in plan.static
        if f"static {name} varies" not in varying and not is_missing(array_of(rows, name)).any()
    ]
    columns = {}
    for name in rows.column_names:
        column = array_of(rows, name)
        if name == plan.time:
            columns[name] = task.grid.times(layout.step)
        elif name == PARTITION:
            columns[name] = pa.DictionaryArray.from_arrays(column.indices.take(pa.array(first)), column.dictionary)
        elif name in plan.keys or name in steady:
            columns[name] = take(column, first)
        elif name in plan.static:
            columns[name] = _static(column, first, found, layout)
        else:
            columns[name] = take(column, layout.source if name in kept else past_only)
    return pa.table(columns, schema=rows.schema)


def _static(column: pa.Array, first: np.ndarray, found: Found, layout: Layout) -> pa.Array:
    """A static column: an inserted step has the value of the row before, a future one that of the last row of history."""
    last = found.last_row(found.past & found.on_grid & ~found.repeated)
    last = np.where(last >= 0, last, found.last_row(found.past))[layout.partition]
    place = last_before(layout.source >= 0, changes(layout.partition))
    before = np.where(place >= 0, layout.source[place], first)
    donor = np.where((layout.ahead | (place < 0)) & (last >= 0), last, before)
    result = take(column, np.where(layout.source >= 0, layout.source, donor))
    without = is_missing(result) & layout.ahead
    return pc.if_else(pa.array(without), take(column, donor), result) if without.any() else result


def _with_lookups(table: pa.Table, layout: Layout, task: _Task) -> pa.Table:
    """What lookups know of the steps that no row gave, treated as the rows were."""
    inserted = layout.source < 0
    if not inserted.any():
        return table
    table = fill(table, task.joined, layout.step, inserted)
    for treatment in task.plan.treatments:
        if isinstance(treatment, Clip | Fill) and treatment.column in task.plan.known_ahead:
            table, changed = values(table, treatment, inserted, task.plan.fleet)
            task.count(f"{treatment.kind} {treatment.column}", int(changed.sum()))
    return table


def _judge_ahead(table: pa.Table, layout: Layout, task: _Task) -> None:
    """See that known-ahead columns have values for all steps to forecast."""
    plan = task.plan
    for name in plan.known_ahead:
        gone = np.flatnonzero(is_missing(array_of(table, name)) & layout.ahead)
        source = next((table for table in task.joined if name in table.columns), None)
        origin, mend = "", "give its rows in `prepare` or in a table with `ahead`"
        if source is not None:
            off = f" ({source.off_grid} of its rows are not on the grid of freq {plan.frequency!r})"
            origin, mend = f" of table {source.name!r}{off if source.off_grid else ''}", "extend the table"
        task.problems.add(
            layout.partition[gone],
            partial(task.names, layout.step[gone]),
            before=(f"{AHEAD} {name!r}{origin} has no value for ",) * 2,
            after=f" ({{}} of {plan.future} future {task.unit}s); {mend}, or lower the horizon",
        )
        task.count(f"no {name} ahead", len(gone))


def _judge_rows(rows: pa.Table, found: Found, task: _Task) -> None:
    """Rows that are not on the grid, and times with several rows."""
    off = np.flatnonzero(~found.on_grid)
    times = array_of(rows, task.plan.time).take(pa.array(off))
    where = f"on the grid of freq {task.plan.frequency!r}"
    task.problems.add(
        found.partition[off],
        lambda at: task.grid.texts_of(times.take(pa.array(at))),
        before=(f"{{}} row is not {where}: ", f"{{}} rows are not {where}: "),
        after="; aggregate them in prepare, or correct freq",
    )
    several = found.repeated & ~np.roll(found.repeated, 1)
    task.problems.add(
        found.partition[several],
        partial(task.names, found.step[several]),
        before=(f"{{}} {task.unit} has several rows: ", f"{{}} {task.unit}s have several rows: "),
        after="; aggregate in prepare, or add Dedupe to treatments",
    )
    task.count("off_grid", len(off))
    task.count("duplicates", int(found.repeated.sum()))


def _with_target(table: pa.Table, layout: Layout, task: _Task) -> pa.Table:
    """The target of steps of history that have none: refused or filled, by the plan's policy."""
    plan, column = task.plan, array_of(table, task.plan.target)
    gone = is_missing(column)
    needed = gone & ~layout.ahead & ~layout.stands_in
    if gone.sum() > column.null_count:
        column = pc.if_else(pa.array(gone), pa.scalar(None, column.type), column)
    if plan.missing == "reject":
        task.problems.add(
            layout.partition[needed],
            partial(task.names, layout.step[needed]),
            before=(f"{{}} {task.unit} has no row or no target: ", f"{{}} {task.unit}s have no row or no target: "),
            after=f"; allowed: every {task.unit}, or missing='zero' / 'previous' in Forecast",
        )
    elif plan.missing == "zero":
        column = pc.if_else(pa.array(needed), pa.scalar(0).cast(column.type), column)
    else:
        before = last_before(~gone, changes(layout.partition))
        column = take(column, np.where(needed, before, np.arange(len(gone))))
    task.count("missing_dates" if plan.missing == "reject" else "filled_dates", int(needed.sum()))
    return replace(table, plan.target, column)
