"""Checks of a whole spec: what its parts say of each other. Each concern has a module; here is what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelfleet.errors import Failure
from modelfleet.rules import Names, RuleError, each_names, fleet_names, parse_rule
from modelfleet.spec import datacheck, lookback, reserved, trainingcheck, unbuilt
from modelfleet.spec.base import Found
from modelfleet.spec.features import Features
from modelfleet.spec.problem import Forecast
from modelfleet.spec.values import shown

if TYPE_CHECKING:
    from modelfleet.spec.fleet import FleetSpec

_CONSTANT = "key columns are constant in a partition, so no model can learn from them"
_RENAME = "rename the column in prepare, or leave one of them out"


def findings(spec: FleetSpec) -> tuple[list[Failure], list[str]]:
    """What is wrong, and hints; fields not built yet come first, since the rest may follow from them."""
    refused = unbuilt.findings(spec)
    found = [
        *_columns(spec),
        *_features(spec),
        *trainingcheck.findings(spec),
        *lookback.findings(spec),
        *datacheck.findings(spec),
        *reserved.findings(spec),
        *_rules(spec),
    ]
    return [*refused, *(failure for failure, _ in found)], [hint for _, hint in found if hint]


def _columns(spec: FleetSpec) -> Iterator[Found]:
    """The target, the time column, key columns and id columns are different columns."""
    target, time, keys = spec.problem.target, spec.time_column, spec.partition_by
    if target == time:
        yield Failure("problem.target", shown(target), "allowed: columns other than the time column"), None
    if target in keys:
        yield Failure("partition_by", shown(target), "allowed: columns other than the target"), None
    if time in keys:
        yield Failure("partition_by", shown(time), "allowed: columns other than the time column"), None
    taken = {target: "the target", time: "the time column"} | dict.fromkeys(keys, "a column of partition_by")
    for column in spec.id_columns:
        if column in taken:
            yield Failure("id_columns", shown(column), f"allowed: columns that are not {taken[column]}"), None
    if spec.id_columns and isinstance(spec.problem, Forecast):
        yield (
            Failure("id_columns", shown(spec.id_columns), "allowed: none with a Forecast"),
            "its rows are dates to come, told apart by key, time and step",
        )


def _features(spec: FleetSpec) -> Iterator[Found]:
    """Models see something, and nothing that they can't learn from."""
    declared, target = spec.declared, spec.problem.target
    if not (declared.columns or declared.dated or isinstance(spec.problem, Forecast)):
        yield Failure("features", shown(spec.features), "allowed: at least one column"), None
    if target in (*declared.known_ahead, *declared.static):
        yield (
            Failure("features", shown(target), "allowed: columns other than the target"),
            "a model that sees its target learns nothing",
        )
    for column in (*declared.known_ahead, *declared.static):
        if column in spec.partition_by:
            yield Failure("features", shown(column), "allowed: columns other than those of partition_by"), _CONSTANT
    columns = (*declared.known_ahead, *declared.static, *spec.partition_by)
    again = tuple(name for name in declared.dated if name in columns)
    if again:
        yield Failure("features", shown(again), "allowed: parts of the date that are not named like a column"), _RENAME
    if isinstance(spec.problem, Forecast):
        yield from _dates(spec, declared, spec.problem)


def _dates(spec: FleetSpec, declared: Features, problem: Forecast) -> Iterator[Found]:
    """Parts of a date are named as such, and none is finer than the steps."""
    if spec.time_column in (*declared.known_ahead, *declared.static):
        yield (
            Failure("features", shown(spec.time_column), "allowed: columns other than the time column"),
            "parts of the date go into calendar or cyclic",
        )
    if problem.frequency.unit == "elapsed":
        return
    for field, parts in (("calendar", declared.calendar), ("cyclic", declared.cyclic)):
        fine = tuple(part for part in parts if part in ("hour", "minute"))
        if fine:
            allowed = f"allowed: parts of a date, with freq {problem.freq!r}"
            yield Failure(f"features.{field}", shown(fine), allowed), None


def _rules(spec: FleetSpec) -> Iterator[Found]:
    kind, own = spec.problem.kind, spec.training.metrics
    yield from _checked("gate.each", spec.gate.each, each_names(kind, own, spec.partition_by))
    yield from _checked("gate.fleet", spec.gate.fleet, fleet_names(kind, own))


def _checked(field: str, rules: Sequence[str], names: Names) -> Iterator[Found]:
    for position, rule in enumerate(rules):
        try:
            parse_rule(rule, names)
        except RuleError as exc:
            yield Failure(f"{field}[{position}]", shown(rule), exc.reason), exc.hint
