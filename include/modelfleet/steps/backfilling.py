"""Backfill: run a fleet's pipelines over past intervals, as its schedule would have. First decided, then done.

`decide` gives the runs in order, and is all that a dry run shows. `carry_out` does them one after the other and goes on
past failures; a run whose input was just not made is skipped, as Airflow would not have started it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from modelfleet import interval as intervals
from modelfleet.errors import DataError, ModelfleetError
from modelfleet.interval import Interval
from modelfleet.plan import PIPELINES
from modelfleet.steps.runner import EmptyInterval, NoChampionYet, NotReady, RunRef, open_run

if TYPE_CHECKING:
    from modelfleet.spec import FleetSpec

NEEDS = {"score": "ingest", "promote": "train"}
"""Which pipeline of the same interval has to be done before."""

Status = Literal["done", "waiting", "empty", "skipped", "failed"]


@dataclass(frozen=True)
class Planned:
    """A run to be made."""

    pipeline: str
    interval: str


@dataclass(frozen=True)
class Outcome:
    """What became of a planned run; `message` says why it is not done."""

    planned: Planned
    status: Status
    message: str = ""
    seconds: float = 0.0


def decide(
    spec: FleetSpec,
    first: str,
    last: str,
    *,
    pipelines: Sequence[str] = (),
    train: bool = False,
    now: datetime | None = None,
) -> list[Planned]:
    """The runs of the intervals whose last day (or hour) lies between two keys, both included; in the order of time.

    :param pipelines: only these; default: ingest and, where the schedule has it, score.
    :param train: train and promote, too.
    :raises DataError: for malformed keys, bounds the wrong way round or not over yet, a pipeline without a clock, or
        bounds in which no interval ends.
    """
    start = intervals.of_key(first, timezone=spec.timezone)
    end = intervals.of_key(last, timezone=spec.timezone)
    where = f"fleet {spec.name!r}: backfill from {first} to {last}"
    if start.utc[0] >= end.utc[1]:
        raise DataError(f"{where}: the first interval is after the last", hint="give the earlier key as --from")
    if end.utc[1] > (now or datetime.now(UTC)):
        raise DataError(f"{where}: {last} is not over yet", hint="end with an interval whose rows are all there")
    wanted = set(pipelines) or {"ingest", *(["score"] if spec.schedule.score else [])}
    wanted |= {"train", "promote"} if train else set()
    found = []
    for pipeline in (name for name in PIPELINES if name in wanted):
        cron = _cron(spec, pipeline, where)
        found += [(interval, pipeline) for interval in _scheduled(cron, start.utc[0], end, spec.timezone)]
    if not found:
        raise DataError(f"{where}: no interval of its schedule ends there")
    found.sort(key=lambda item: item[0].utc[1])  # stable: of one end in the order of the pipelines
    return [Planned(pipeline, interval.key) for interval, pipeline in found]


def carry_out(
    spec: FleetSpec, planned: Sequence[Planned], run: Callable[[RunRef], object], *, as_of: bool = False
) -> Iterator[Outcome]:
    """Make the runs, one after the other; each outcome comes when its run has ended.

    :param run: runs the steps of an open attempt.
    :param as_of: score with the champion of that time, not with today's.
    """
    undone: set[Planned] = set()
    for each in planned:
        began = perf_counter()
        needed = Planned(NEEDS.get(each.pipeline, ""), each.interval)
        if needed in undone:
            outcome = Outcome(each, "skipped", f"{needed.pipeline} of {needed.interval} is not done")
        else:
            outcome = _outcome(spec, each, run, as_of=as_of, began=began)
        if outcome.status in ("failed", "skipped"):
            undone.add(each)
        yield outcome


def _outcome(
    spec: FleetSpec, planned: Planned, run: Callable[[RunRef], object], *, as_of: bool, began: float
) -> Outcome:
    status: Status = "done"
    message = ""
    try:
        run(open_run(spec, planned.pipeline, planned.interval, as_of=as_of and planned.pipeline == "score"))
    except NotReady as exc:
        status = (
            "waiting" if isinstance(exc, NoChampionYet) else "empty" if isinstance(exc, EmptyInterval) else "skipped"
        )
        message = exc.message
    except ModelfleetError as exc:
        status, message = "failed", f"{type(exc).__name__}: {exc}"
    except Exception as exc:  # Spark's, MLflow's: whatever ended this run, the next one may do
        status, message = "failed", f"{type(exc).__name__}: {str(exc)[:1000]}"
    return Outcome(planned, status, message, perf_counter() - began)


def _cron(spec: FleetSpec, pipeline: str, where: str) -> str:
    field = "ingest" if pipeline in ("ingest", "score") else "train"
    cron = spec.schedule.ingest_cron if field == "ingest" else spec.schedule.train_cron
    if cron is None:
        raise DataError(
            f"{where}: {pipeline} has no clock, so its intervals are not known",
            hint=f"set schedule.{field}, or run them one by one: modelfleet run {spec.name} --step {pipeline} --interval <day>",
        )
    return cron


def _scheduled(cron: str, since: datetime, until: Interval, timezone: str) -> list[Interval]:
    """The intervals that tile the time by a schedule and whose last day or hour lies in the bounds."""
    unit = intervals.unit_of(cron)
    every, step = ("@hourly", timedelta(hours=1)) if unit == "hour" else ("@daily", timedelta(days=1))
    # From the interval that begins at the last tick in the bounds, back in time.
    after = intervals.key_of_tick(_following(until.end, step), timezone=timezone, cron=every)
    bound = intervals.of_key(after, timezone=timezone, cron=cron).start
    found: list[Interval] = []
    while True:
        key = intervals.key_of_tick(bound, timezone=timezone, cron=cron)
        if intervals.of_key(key, timezone=timezone).utc[0] < since:
            return found[::-1]
        found.append(intervals.of_key(key, timezone=timezone, cron=cron))
        bound = found[-1].start


def _following(end: datetime, step: timedelta) -> datetime:
    """The end of the day or hour after one that ends at `end`: days are the calendar's."""
    if step < timedelta(days=1):
        return (end.astimezone(UTC) + step).astimezone(end.tzinfo)
    return (end.replace(tzinfo=None) + step).replace(tzinfo=end.tzinfo)
