"""Checks of a whole spec: what its parts say of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelfleet.errors import Failure, bounded
from modelfleet.rules import Names, RuleError, each_names, fleet_names, metrics_of, parse_rule
from modelfleet.spec import unbuilt
from modelfleet.spec.base import nearest
from modelfleet.spec.values import shown

if TYPE_CHECKING:
    from modelfleet.spec.fleet import FleetSpec

RESERVED = frozenset(
    (
        *(
            "partition",
            "status",
            "reason",
            "message",
            "serves",
            "candidate",
            "features",
            "model",
            "_hash",
            "_partition",
        ),
        *("n_rows", "n_null_target", "n_train", "n_test", "baseline_value", "baseline_status", "champion_status"),
        *(
            "window_start",
            "window_end",
            "fit_seconds",
            "model_digest",
            "fingerprint",
            "trained_interval",
            "trained_attempt",
        ),
        *(
            "baseline",
            "champion",
            "prediction",
            "probability",
            "source",
            "model_version",
            "interval",
            "issued_at",
            "attempt",
        ),
        *("fleet", "decision", "rule", "serves_version", "mode", "champion_interval"),
    )
)
"""Columns of the tables that key columns and id columns share a table with."""

Found = tuple[Failure, str | None]


def findings(spec: FleetSpec) -> tuple[list[Failure], list[str]]:
    """What is wrong, and hints; fields not built yet come first, since the rest may follow from them."""
    refused = unbuilt.findings(spec)
    found = [*_columns(spec), *_model(spec), *_tables(spec)]
    if not any(failure.field == "problem" for failure in refused):
        found += [*_names(spec), *_rules(spec)]
    return [*refused, *(failure for failure, _ in found)], [hint for _, hint in found if hint]


def _columns(spec: FleetSpec) -> Iterator[Found]:
    """The target, key columns, features and id columns are different columns."""
    target, keys = spec.problem.target, spec.partition_by
    if target in keys:
        yield Failure("partition_by", shown(target), "allowed: columns other than the target"), None
    if isinstance(spec.features, tuple):
        if target in spec.features:
            yield (
                Failure("features", shown(target), "allowed: columns other than the target"),
                "a model that sees its target learns nothing",
            )
        for column in _both(spec.features, keys):
            yield Failure("features", shown(column), "allowed: columns other than those of partition_by"), _CONSTANT
    taken = {target: "the target", spec.data.time: "the time column"} | dict.fromkeys(keys, "a column of partition_by")
    for column in spec.id_columns:
        if column in taken:
            yield Failure("id_columns", shown(column), f"allowed: columns that are not {taken[column]}"), None


_CONSTANT = "key columns are constant in a partition, so no model can learn from them"


def _model(spec: FleetSpec) -> Iterator[Found]:
    if spec.model is None and not spec.candidates:
        yield Failure("model", "nothing", "is required: a dotted path 'package.module:name'"), None
    if spec.model is not None and spec.candidates:
        yield Failure("model", shown(spec.model), "allowed: either model or candidates"), None


def _tables(spec: FleetSpec) -> Iterator[Found]:
    ready = spec.schedule.when_ready
    tables = tuple(spec.data.tables)
    if ready is not None and ready not in tables:
        yield (
            Failure("schedule.train.when_ready", shown(ready), f"allowed: a table of data: {bounded(tables)}"),
            nearest(ready, tables),
        )
    listed = getattr(spec.data.main[1], "columns", None)
    if listed is None or spec.data.prepare is not None:
        return
    for field, columns in (
        ("partition_by", spec.partition_by),
        ("problem.target", (spec.problem.target,)),
        ("id_columns", spec.id_columns),
    ):
        for column in columns:
            if column not in listed:
                name = spec.data.main[0]
                yield (
                    Failure(field, shown(column), f"allowed: the columns of table {name!r}: {bounded(listed)}"),
                    nearest(column, listed),
                )


def _names(spec: FleetSpec) -> Iterator[Found]:
    """Key and id columns, and metrics of the author, keep clear of the names of the platform's own columns."""
    own = spec.training.metrics
    builtin = metrics_of(spec.problem.kind)
    for name in own:
        if name in builtin or name in RESERVED or name.startswith(("baseline_", "champion_", "median_")):
            yield Failure("training.metrics", shown(name), "allowed: names the platform does not use itself"), None
    taken = RESERVED | {f"{prefix}{name}" for name in (*builtin, *own) for prefix in ("", "baseline_", "champion_")}
    for field, columns in (("partition_by", spec.partition_by), ("id_columns", spec.id_columns)):
        lowered = [column.lower() for column in columns]
        for column in columns:
            if column.lower() in taken:
                yield (
                    Failure(field, shown(column), "allowed: names the platform's tables do not use themselves"),
                    _RENAME,
                )
            if lowered.count(column.lower()) > 1:
                yield Failure(field, shown(column), "allowed: names that differ in more than case"), None


_RENAME = "rename the column in prepare, or in a view"


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


def _both(left: Sequence[str], right: Sequence[str]) -> list[str]:
    return [item for item in left if item in right]
