"""What derived features may look back on: nothing that is not known yet when a prediction is made.

A past feature of a row that lies `ahead` steps beyond the last known one ends `ahead` steps before the row, at training
as at scoring. So windows and differences are known for every row. A lag is always the value so many steps before the
row, so that it is known up to as many steps ahead, and the models of later steps go without it:

- direct: the model of the steps (first, last) has ``ahead = last`` and the lags of at least `last`. A lag that is known
  to no model is refused, and so are features that leave some model without any.
- recursive: ``ahead = 1``, as predictions stand in for the targets to come. For other columns nothing does: only lags of
  at least the horizon are known for all steps.
- Columns that are known ahead may be looked back on from any row.
- Without a Forecast a row is predicted when its own columns are known, and those of the rows before it; the target is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelfleet.errors import Failure
from modelfleet.interval import duration
from modelfleet.spec.base import Found
from modelfleet.spec.features import Difference, Expanding, Features, Lag, Rolling
from modelfleet.spec.problem import Forecast
from modelfleet.spec.values import shown

if TYPE_CHECKING:
    from modelfleet.spec.fleet import FleetSpec

    Derived = Lag | Difference | Rolling | Expanding


def findings(spec: FleetSpec) -> Iterator[Found]:
    """Derived features that would read what is not known, or that no row can have."""
    problem, declared = spec.problem, spec.declared
    seen = {*declared.known_ahead, *declared.static, *declared.dated}
    for position, part in enumerate(declared.past):
        field = f"features.past[{position}]"
        refused = _column(spec, part)
        if refused is not None:
            yield Failure(field, shown(part.column), f"allowed: {refused[0]}"), refused[1]
        elif isinstance(problem, Forecast):
            if part.column not in declared.known_ahead:
                yield from _unknown(problem, part, field)
            yield from _window(problem, part, field)
            yield from _beyond(spec, problem, part, field)
        again = seen.intersection(part.names)
        if again:
            yield Failure(field, shown(sorted(again)), "allowed: features of names that no other has"), None
        seen.update(part.names)
    if isinstance(problem, Forecast):
        yield from _bare(declared, problem)


def _column(spec: FleetSpec, part: Derived) -> tuple[str, str | None] | None:
    """What is allowed instead, where no feature may look back on this column; with a hint."""
    column, declared = part.column, spec.declared
    if column == spec.problem.target and spec.problem.kind != "forecast":
        return (
            "columns other than the target",
            "the targets before a row may not be known yet when it is scored; a Forecast looks back on its target",
        )
    if column == spec.time_column:
        return "columns other than the time column", "parts of the date go into calendar or cyclic"
    if column in (*spec.partition_by, *declared.static):
        return "columns that change in a partition", "key columns and static columns have no past of their own"
    if column in declared.categorical:
        return "columns of numbers, which categorical columns are not", None
    return None


def _unknown(problem: Forecast, part: Derived, field: str) -> Iterator[Found]:
    """A column that is only known afterwards."""
    lags = part.steps if isinstance(part, Lag) else ()
    if problem.strategy == "direct":
        least = problem.blocks[0][1]
        short = tuple(steps for steps in lags if steps < least)
        if short:
            yield (
                Failure(
                    field, shown(short), f"allowed: lags of at least {least} steps; no row to predict knows others"
                ),
                f"a lag of {max(short)} is known for the first steps with steps_per_model={max(short)}, "
                "and one of the target for all with strategy='recursive'",
            )
        return
    if part.column == problem.target or problem.horizon == 1:
        return
    short = tuple(steps for steps in lags if steps < problem.horizon)
    if short or not lags:
        yield (
            Failure(
                field,
                shown(short) if lags else shown(part),
                f"allowed with strategy 'recursive': of {part.column!r}, lags of at least the horizon, {problem.horizon}",
            ),
            f"{part.column!r} is not known for the steps to come; if it is, name it in known_ahead",
        )


def _window(problem: Forecast, part: Derived, field: str) -> Iterator[Found]:
    """A duration has a whole number of steps, of which enough may have values."""
    if not isinstance(part, Rolling) or isinstance(part.window, int):
        return
    steps = problem.frequency.steps_in(duration(part.window))
    if problem.frequency.unit == "month":
        allowed = f"allowed: a number of rows, such as 12, as steps of {problem.freq!r} differ in length"
        yield Failure(f"{field}.window", shown(part.window), allowed), None
    elif steps is None:
        allowed = f"allowed: a whole number of steps of {problem.freq!r}, or a number of rows"
        yield Failure(f"{field}.window", shown(part.window), allowed), None
    elif part.min_count > steps:
        yield Failure(f"{field}.min_count", shown(part.min_count), f"allowed: at most the window's {steps} steps"), None


def _beyond(spec: FleetSpec, problem: Forecast, part: Derived, field: str) -> Iterator[Found]:
    """A step back further than the training window reaches is null in every row."""
    if spec.training.window is None or not isinstance(part, Lag | Difference):
        return
    most = int(duration(spec.training.window).total_seconds()) // problem.frequency.least_seconds
    far = tuple(steps for steps in part.steps if steps >= most)
    if far:
        yield (
            Failure(field, shown(far), f"allowed: less than the {most} steps that are in training.window"),
            "rows before the window are not read, so the feature would always be null",
        )


def _bare(declared: Features, problem: Forecast) -> Iterator[Found]:
    """Of a Forecast's models each has a feature; those with none at all are forecasters, which need none."""
    always = (*declared.known_ahead, *declared.static, *declared.dated)
    lags = [part for part in declared.past if isinstance(part, Lag) and part.column not in declared.known_ahead]
    if always or len(lags) < len(declared.past) or not lags or problem.strategy == "recursive":
        return
    longest = max(steps for part in lags for steps in part.steps)
    bare = [block for block in problem.blocks if block[1] > longest]
    if bare and problem.blocks[0][1] <= longest:  # else no lag is known at all, which is said of each
        yield (
            Failure(
                "features.past",
                f"lags up to {longest}",
                f"allowed: a feature of the steps {bare[0][0]} to {problem.horizon} too, which know no such lag",
            ),
            f"add a lag of at least {problem.horizon}, a Rolling, or parts of the date",
        )
