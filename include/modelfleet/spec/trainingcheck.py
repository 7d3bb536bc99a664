"""Checks of how models are fitted and measured: candidates, folds, fallbacks, weights, the metric to select by."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from modelfleet.errors import Failure
from modelfleet.interval import duration
from modelfleet.rules import metrics_of
from modelfleet.spec.base import Found, nearest
from modelfleet.spec.problem import Forecast
from modelfleet.spec.training import HOLDOUT, MAX_GRID
from modelfleet.spec.values import shown

if TYPE_CHECKING:
    from modelfleet.spec.fleet import FleetSpec


def findings(spec: FleetSpec) -> Iterator[Found]:
    """What of `training` and `candidates` does not suit the rest of the spec."""
    yield from _learners(spec)
    yield from _fallback(spec)
    yield from _selection(spec)
    if spec.training.weight in (spec.problem.target, spec.time_column, *spec.partition_by):
        allowed = "allowed: a column that is not the target, the time column or of partition_by"
        yield Failure("training.weight", shown(spec.training.weight), allowed), None
    if isinstance(spec.problem, Forecast):
        yield from _steps(spec, spec.problem)
    yield from _window(spec)


def _learners(spec: FleetSpec) -> Iterator[Found]:
    """There are some, not too many, and each has a name of its own."""
    if spec.model is None and not spec.candidates:
        yield Failure("model", "nothing", "is required: a dotted path 'package.module:name'; or candidates"), None
        return
    if spec.model is not None and spec.candidates:
        yield Failure("model", shown(spec.model), "allowed: either model or candidates"), None
    if spec.params and spec.candidates:
        yield Failure("params", shown(spec.params), "allowed: with model; a candidate has params of its own"), None
    names = [learner.name for learner in spec.learners]
    if len(names) > MAX_GRID:
        allowed = f"allowed: at most {MAX_GRID} candidates, each combination of a grid being one"
        yield Failure("candidates", f"{len(names)} candidates", allowed), None
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield (
            Failure("candidates", shown(name), "allowed: candidates of different names"),
            "give a `name` to candidates of one callable",
        )


def _fallback(spec: FleetSpec) -> Iterator[Found]:
    """Levels are coarser than the partition, and go from key columns to the fleet."""
    field, given = "training.fallback", spec.training.fallback
    coarser = spec.partition_by if len(spec.partition_by) > 1 else ()
    allowed = ", ".join((*coarser, "fleet", "baseline"))
    for level in spec.levels:
        if level == "fleet" or level in coarser:
            continue
        if level in spec.partition_by:
            yield (
                Failure(field, shown(level), f"allowed: {allowed}"),
                f"{level!r} alone is the key, so its level has the same models",
            )
        else:
            yield Failure(field, shown(level), f"allowed: {allowed}"), nearest(level, (*coarser, "fleet", "baseline"))
    if "fleet" in spec.levels[:-1]:
        yield Failure(field, shown(given), "allowed: 'fleet' after the key columns"), None


def _selection(spec: FleetSpec) -> Iterator[Found]:
    """Candidates are compared by a metric of which less, or more, is better."""
    field, given = "training.select_by", spec.training.select_by
    if given is None:
        return
    forecast = spec.problem if isinstance(spec.problem, Forecast) else None
    known = [name for name in metrics_of(spec.problem.kind, spec.training.metrics) if name not in ("bias", "coverage")]
    if given not in known:
        yield Failure(field, shown(given), f"allowed: {', '.join(known)}"), nearest(given, known)
    elif given == "pinball" and forecast is not None:
        if not forecast.quantiles:
            yield Failure(field, shown(given), "allowed: with quantiles, whose error it is"), None
        elif forecast.intervals == "residuals":
            yield (
                Failure(field, shown(given), "allowed: with intervals='model'"),
                "residuals follow from the selection",
            )


def _steps(spec: FleetSpec, problem: Forecast) -> Iterator[Found]:
    """Durations are whole steps of the series."""
    training, frequency = spec.training, problem.frequency
    steps = f"{problem.horizon} steps of {problem.freq!r}"
    if training.holdout is not None and frequency.steps_in(duration(training.holdout)) != problem.horizon:
        yield Failure("training.holdout", shown(training.holdout), f"allowed: the horizon, {steps}"), "leave it out"
    if training.gap is None:
        return
    if frequency.unit == "month":
        allowed = f"allowed: none with freq {problem.freq!r}, whose steps differ in length; leave it out"
        yield Failure("training.gap", shown(training.gap), allowed), None
    elif frequency.steps_in(duration(training.gap)) is None:
        hours = frequency.count % 3600 == 0
        elapsed = f"{frequency.count // 3600}h" if hours else f"{frequency.count // 60}min"
        least = f"{frequency.count}D" if frequency.unit == "day" else elapsed
        allowed = f"allowed: a whole number of steps of {problem.freq!r}, so a multiple of {least!r}"
        yield Failure("training.gap", shown(training.gap), allowed), None


def _window(spec: FleetSpec) -> Iterator[Found]:
    """The window has room for all holdouts, and for rows before them."""
    training, problem = spec.training, spec.problem
    if training.window is None:
        return
    if isinstance(problem, Forecast):
        one = timedelta(seconds=problem.frequency.least_seconds) * problem.horizon
        what, length = "horizon", f"{problem.horizon} steps of {problem.freq!r}"
    else:
        one = duration(training.holdout or HOLDOUT)
        what, length = "holdout", repr(training.holdout or HOLDOUT)
    gap = duration(training.gap) if training.gap else timedelta()
    if duration(training.window) <= one * training.folds + gap:
        times = f"{training.folds} times " if training.folds > 1 else ""
        beside = " and the gap" if training.gap else ""
        allowed = f"allowed: longer than {times}the {what}, {length}{beside}"
        yield Failure("training.window", shown(training.window), allowed), None
