"""Checks of a whole spec: what its parts say of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelfleet.errors import Failure, bounded
from modelfleet.interval import duration
from modelfleet.rules import Names, RuleError, each_names, fleet_names, metrics_of, parse_rule
from modelfleet.spec import unbuilt
from modelfleet.spec.base import nearest
from modelfleet.spec.features import Lag
from modelfleet.spec.problem import Forecast
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
            "step",
            "actual",
            "candidates",
            "group",
            "level",
        ),
        *("fleet", "decision", "rule", "serves_version", "mode", "champion_interval"),
    )
)
"""Columns of the tables that key columns and id columns share a table with."""

Found = tuple[Failure, str | None]


def findings(spec: FleetSpec) -> tuple[list[Failure], list[str]]:
    """What is wrong, and hints; fields not built yet come first, since the rest may follow from them."""
    refused = unbuilt.findings(spec)
    found = [
        *_columns(spec),
        *_model(spec),
        *_training(spec),
        *_past(spec),
        *_tables(spec),
        *_names(spec),
        *_rules(spec),
    ]
    return [*refused, *(failure for failure, _ in found)], [hint for _, hint in found if hint]


def _columns(spec: FleetSpec) -> Iterator[Found]:
    """The target, key columns, features and id columns are different columns."""
    target, keys = spec.problem.target, spec.partition_by
    if target in keys:
        yield Failure("partition_by", shown(target), "allowed: columns other than the target"), None
    declared = spec.declared
    if (
        not declared.columns
        and not (declared.calendar or declared.cyclic or declared.holidays)
        and spec.problem.kind != "forecast"
    ):
        yield Failure("features", shown(spec.features), "allowed: at least one column"), None
    if target in (*declared.known_ahead, *declared.static):
        yield (
            Failure("features", shown(target), "allowed: columns other than the target"),
            "a model that sees its target learns nothing",
        )
    for column in _both((*declared.known_ahead, *declared.static), keys):
        yield Failure("features", shown(column), "allowed: columns other than those of partition_by"), _CONSTANT
    taken = {target: "the target", spec.time_column: "the time column"} | dict.fromkeys(
        keys, "a column of partition_by"
    )
    for column in spec.id_columns:
        if column in taken:
            yield Failure("id_columns", shown(column), f"allowed: columns that are not {taken[column]}"), None


_CONSTANT = "key columns are constant in a partition, so no model can learn from them"


def _model(spec: FleetSpec) -> Iterator[Found]:
    if spec.model is None and not spec.candidates:
        yield Failure("model", "nothing", "is required: a dotted path 'package.module:name'"), None
    if spec.model is not None and spec.candidates:
        yield Failure("model", shown(spec.model), "allowed: either model or candidates"), None


def _training(spec: FleetSpec) -> Iterator[Found]:
    """Candidates have names of their own; folds, fallbacks and the metric to select by suit the problem."""
    training = spec.training
    if spec.model is not None or spec.candidates:
        names = [learner.name for learner in spec.learners]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield (
                Failure("candidates", shown(name), "allowed: candidates of different names"),
                "give a `name` to candidates of one callable",
            )
    levels = (*spec.partition_by, "fleet")
    for level in spec.levels:
        if level not in levels:
            yield (
                Failure("training.fallback", shown(level), f"allowed: {', '.join(levels)}, baseline"),
                nearest(level, levels),
            )
        elif (level,) == spec.partition_by:
            yield Failure("training.fallback", shown(level), "allowed: levels coarser than the partition"), None
    if "fleet" in spec.levels[:-1]:
        yield Failure("training.fallback", shown(training.fallback), "allowed: 'fleet' after the key columns"), None
    known = [name for name in metrics_of(spec.problem.kind, training.metrics) if name not in ("bias", "coverage")]
    if training.select_by is not None and training.select_by not in known:
        yield (
            Failure("training.select_by", shown(training.select_by), f"allowed: {', '.join(known)}"),
            nearest(training.select_by, known),
        )
    if isinstance(spec.problem, Forecast):
        yield from _forecast(spec, spec.problem)


def _forecast(spec: FleetSpec, problem: Forecast) -> Iterator[Found]:
    training, frequency = spec.training, problem.frequency
    if training.holdout is not None and frequency.steps_in(duration(training.holdout)) != problem.horizon:
        yield (
            Failure(
                "training.holdout",
                shown(training.holdout),
                f"allowed: the horizon, {problem.horizon} steps of {problem.freq}",
            ),
            "leave it out",
        )
    if training.window is not None:
        seconds = duration(training.window).total_seconds()
        needed = frequency.least_seconds * problem.horizon * training.folds
        if seconds <= needed:
            yield (
                Failure(
                    "training.window",
                    shown(training.window),
                    f"allowed: longer than {training.folds} times the horizon",
                ),
                f"the horizon is {problem.horizon} steps of {problem.freq}",
            )
    if problem.quantiles and spec.training.select_by == "pinball" and problem.intervals == "residuals":
        yield (
            Failure("training.select_by", "'pinball'", "allowed: with intervals='model'"),
            "residuals follow from the selection",
        )
    if frequency.unit == "elapsed" or not spec.declared.calendar:
        return
    fine = [part for part in (*spec.declared.calendar, *spec.declared.cyclic) if part in ("hour", "minute")]
    if fine:
        yield Failure("features.calendar", shown(fine), f"allowed: parts of a date, with freq {problem.freq!r}"), None


def _past(spec: FleetSpec) -> Iterator[Found]:
    """No declared feature may read what is not known yet when the prediction is made."""
    problem, declared = spec.problem, spec.declared
    for position, part in enumerate(declared.past):
        field = f"features.past[{position}]"
        known = part.column in declared.known_ahead
        if not isinstance(problem, Forecast):
            if part.column == problem.target:
                yield (
                    Failure(field, shown(part.column), "allowed: columns other than the target"),
                    "the targets before a row may not be known yet when it is scored; a Forecast looks back on its target",
                )
            continue
        if known:
            continue
        recursed = problem.strategy == "recursive" and part.column == problem.target
        needed = 1 if recursed else problem.blocks[0][1] if problem.strategy == "direct" else problem.horizon
        if isinstance(part, Lag) and min(part.steps) < needed and not _useful_somewhere(part, problem):
            short = [steps for steps in part.steps if steps < needed]
            yield (
                Failure(
                    field,
                    shown(short),
                    f"allowed: lags of at least {needed} steps, known for all rows",
                ),
                "or forecast with steps_per_model=1 or strategy='recursive', where shorter lags of the target are known",
            )
        if problem.strategy == "recursive" and part.column != problem.target and not isinstance(part, Lag):
            yield (
                Failure(
                    field, shown(part.column), "allowed with strategy 'recursive': the target, or known_ahead columns"
                ),
                f"{part.column!r} is not known for the steps to come",
            )


def _useful_somewhere(part: Lag, problem: Forecast) -> bool:
    """Whether each lag is known for some direct estimator; the others go without it."""
    return problem.strategy == "direct" and min(part.steps) >= problem.blocks[0][1]


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
        ("problem.time", (spec.time_column,)),
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
