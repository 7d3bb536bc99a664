"""The prepared rows to look at: those of the training in force, else made by the training's own first steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelfleet import engine
from modelfleet import interval as intervals
from modelfleet.errors import DataError, bounded
from modelfleet.interval import Interval
from modelfleet.lake import FileEntry, Lake, RunManifest, StepManifest, runs
from modelfleet.lake.runs import Json
from modelfleet.steps import preparing, restating
from modelfleet.steps.inputs import code_version, training_span
from modelfleet.steps.runner import open_context, open_run, run_step
from modelfleet.warehouse import Warehouse

if TYPE_CHECKING:
    from modelfleet.spec import FleetSpec


@dataclass(frozen=True)
class Prepared:
    """The rows of a dataset step: files sorted by partition and time.

    :ivar attempt: the training attempt they belong to; `committed` tells whether its models were trained.
    """

    lake: Lake
    spec: FleetSpec
    interval: Interval
    attempt: str
    committed: bool
    files: tuple[FileEntry, ...]
    facts: Json

    @property
    def rows(self) -> int:
        return sum(entry.rows for entry in self.files)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row but those of Modelfleet itself."""
        return tuple(name for name in self.facts["schema"] if not name.startswith("_"))


def prepared_rows(spec: FleetSpec, key: str | None = None, *, progress: engine.Progress | None = None) -> Prepared:
    """The rows that a training of interval `key` sees by the spec, code and ingests of now.

    Taken from the training in force where nothing has changed since; else the steps `pin` and `dataset` of a training are
    run. Nothing is committed, and the training that follows takes the dataset over.

    :param key: default: the interval of the latest training, else of the latest ingest that has rows.
    :raises DataError: for a malformed key; when nothing is ingested, or no row is left.
    """
    lake = Lake.open()
    key = key or _latest(lake, spec)
    interval = intervals.of_key(key, timezone=spec.timezone)
    trained = runs.committed(lake, spec.name, "train", key)
    if trained is not None and _is_current(lake, spec, trained):
        manifest = runs.load_step(lake, spec.name, "train", key, trained.attempt, "dataset")
        if manifest is not None and preparing.are_there(lake, manifest):
            return _prepared(lake, spec, interval, trained.attempt, manifest, committed=True)
    return _prepare(lake, spec, interval, progress)


def _latest(lake: Lake, spec: FleetSpec) -> str:
    trained = runs.all_committed(lake, spec.name, "train")
    if trained:
        return trained[-1].interval.key
    ingested = runs.all_committed(lake, spec.name, "ingest")
    with_rows = [run for run in ingested if run.status != "empty"]
    if not with_rows:
        there = f": the ingests of {bounded(run.interval.key for run in ingested)} hold no rows" if ingested else ""
        raise DataError(
            f"fleet {spec.name!r}: nothing is ingested to look at{there}",
            hint=f"ingest first: modelfleet run {spec.name} --step ingest --interval <last day> --start <first day>",
        )
    return with_rows[-1].interval.key


def _is_current(lake: Lake, spec: FleetSpec, trained: RunManifest) -> bool:
    """Whether a training of now would use the same spec, code and ingests."""
    if (trained.spec_digest, trained.code_version) != (spec.digest, code_version(spec)):
        return False
    span = training_span(spec, trained.interval)
    ingested = runs.all_committed(lake, spec.name, "ingest")
    within = [run for run in ingested if run.interval.overlaps(span) and run.interval.utc[1] <= span.utc[1]]
    return restating.content(restating.pin(spec.name, within, ingested)) == restating.content(trained.inputs)


def _prepare(lake: Lake, spec: FleetSpec, interval: Interval, progress: engine.Progress | None) -> Prepared:
    ref = open_run(spec, "train", interval.key)
    try:
        context = open_context(ref, progress=progress)
        run_step(ref, "dataset", context=context)
    finally:  # it is no training, so nobody should see one that never ends
        Warehouse.open().forget_run(spec.name, "train", interval.key, ref.attempt)
    return _prepared(lake, spec, interval, ref.attempt, context.step("dataset"), committed=False)


def _prepared(
    lake: Lake, spec: FleetSpec, interval: Interval, attempt: str, manifest: StepManifest, *, committed: bool
) -> Prepared:
    found = Prepared(lake, spec, interval, attempt, committed, tuple(manifest.files["rows"]), manifest.facts)
    if found.rows == 0:
        raise DataError(
            f"fleet {spec.name!r}, {interval.key}: there are no prepared rows to look at",
            hint="does `prepare` or a treatment drop them all, or does no row lie in the window?",
        )
    return found
