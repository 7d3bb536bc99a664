"""Names that columns and metrics of an author keep clear of, since the platform's own tables have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelfleet.errors import Failure
from modelfleet.rules import metrics_of
from modelfleet.spec.base import Found
from modelfleet.spec.problem import Forecast, quantile_name
from modelfleet.spec.values import shown

if TYPE_CHECKING:
    from modelfleet.spec.fleet import FleetSpec

INTERNAL = ("_hash", "_partition", "_problem")
"""Columns that the platform adds to rows."""

_PREDICTIONS = (
    *("partition", "step", "prediction", "probability", "source", "model_version", "interval", "attempt", "issued_at"),
    *("actual", "error", "covered", "loaded_at", "_rank"),
)
"""Columns of predictions, and of the views over them."""
RESERVED = frozenset(
    (
        *INTERNAL,
        *_PREDICTIONS,
        *("status", "reason", "message", "serves", "level", "candidate", "candidates", "code", "features", "shared"),
        *("model", "group", "n_folds", "n_rows", "n_null_target", "n_train", "n_test", "baseline_value"),
        *("baseline_status", "champion_status", "fallback_status", "baseline", "champion", "fallback"),
        *("window_start", "window_end", "fit_seconds", "model_digest", "fingerprint", "trained_interval"),
        *("trained_attempt", "fleet", "decision", "rule", "serves_version", "mode", "champion_interval"),
    )
)
"""Columns of the tables that key columns and id columns share a table with."""

_PREFIXES = ("baseline_", "champion_", "fallback_")
_RENAME = "rename the column in prepare, or in a view"


def findings(spec: FleetSpec) -> Iterator[Found]:
    """Key, id and time columns, and metrics of the author, that are named like columns of the platform's tables."""
    own = spec.training.metrics
    builtin = metrics_of(spec.problem.kind)
    for name in own:
        if name in builtin or name in RESERVED or name.startswith((*_PREFIXES, "median_")):
            yield Failure("training.metrics", shown(name), "allowed: names the platform does not use itself"), None
    quantiles = spec.problem.quantiles if isinstance(spec.problem, Forecast) else ()
    predicted = {*_PREDICTIONS, *map(quantile_name, quantiles)}
    measured = {f"{prefix}{name}" for name in (*builtin, *own) for prefix in ("", *_PREFIXES)}
    for field, columns, taken in (
        ("partition_by", spec.partition_by, RESERVED | predicted | measured),
        ("id_columns", spec.id_columns, RESERVED | predicted | measured),
        (_time_field(spec), (spec.time_column,), predicted),
    ):
        lowered = [column.lower() for column in columns]
        for column in columns:
            if column.lower() in taken:
                yield (
                    Failure(field, shown(column), "allowed: names the platform's tables do not use themselves"),
                    _RENAME,
                )
            if lowered.count(column.lower()) > 1:
                yield Failure(field, shown(column), "allowed: names that differ in more than case"), None
    for column in {spec.problem.target, spec.time_column, *spec.columns}.intersection(INTERNAL):
        yield Failure("features", shown(column), "allowed: columns the platform does not add itself"), _RENAME


def _time_field(spec: FleetSpec) -> str:
    """Where the author named the time column."""
    return "problem.time" if spec.time_column != spec.data.time else f"data.{spec.data.main[0]}.time"
