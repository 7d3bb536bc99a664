"""Which training is looked at: its attempt, the spec that it is looked at by, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelfleet import modelcode, settings
from modelfleet.errors import DataError, NotFoundError, bounded
from modelfleet.lake import Attempt, Lake, StepManifest, runs
from modelfleet.spec import loader
from modelfleet.spec.fleet import FleetSpec
from modelfleet.steps import inputs, preparing
from modelfleet.steps.runner import Context

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Opened:
    """One attempt at a training that got as far as its prepared rows.

    :ivar spec: the fleet file's as it is now, or the attempt's own.
    :ivar trained: what its models were written by; None where it failed before.
    :ivar notes: what has changed since the attempt, for people.
    """

    lake: Lake
    spec: FleetSpec
    own_spec: FleetSpec
    attempt: Attempt
    dataset: StepManifest
    trained: StepManifest | None
    committed: bool
    notes: tuple[str, ...]

    @property
    def context(self) -> Context:
        """What the steps of a training get, with the spec that is looked at."""
        return Context(self.lake, self.spec, self.attempt)

    @property
    def own_context(self) -> Context:
        """The same, with the attempt's own spec."""
        return Context(self.lake, self.own_spec, self.attempt)


def opened(fleet: str, key: str | None, *, as_trained: bool = False) -> Opened:
    """The training in force of an interval, else the latest attempt at one, if it failed too.

    The rows of an attempt that was made for the spec and code of now, as `modelfleet profile` makes one, are preferred.

    :param key: default: the interval of the latest training, else of the latest attempt.
    :param as_trained: look at it by the attempt's own spec, not by the fleet file as it is now.
    :raises NotFoundError: for a fleet that is nowhere; for an interval of which nothing was trained or profiled.
    :raises DataError: when no attempt got as far as its prepared rows.
    """
    lake = Lake.open()
    modelcode.code_version.cache_clear()  # a session goes on while its author edits
    now = None if as_trained else _of_now(fleet, settings.dags_folder())
    interval = key or _latest(lake, fleet)
    if interval is None or not _attempt_ids(lake, fleet, interval):
        there = [name for name in lake.intervals(f"{fleet}/train") if _attempt_ids(lake, fleet, name)]
        if now is None and not there:
            loader.load_fleet(fleet, settings.dags_folder())  # which says that there is no such fleet
        raise NotFoundError(
            f"fleet {fleet!r}: nothing was trained or profiled yet"
            + (f" for interval {key}; there are: {bounded(there) or 'none'}" if key else ""),
            hint=f"modelfleet run {fleet} --interval <last day> --start <first day>",
        )
    found = list(_usable(lake, fleet, interval, now))
    if not found:
        raise DataError(
            f"fleet {fleet!r}: no attempt at the training of {interval} got as far as prepared rows that can be read",
            hint=f"see why: modelfleet run {fleet} --interval {interval} --step train",
        )
    return next((made for made in found if _is_current(made)), found[0])


def _of_now(fleet: str, folder: Path) -> FleetSpec | None:
    """The fleet file's spec; None where there is no such file, as on a machine that has the lake alone."""
    try:
        return loader.load_fleet(fleet, folder)
    except NotFoundError:
        return None


def _latest(lake: Lake, fleet: str) -> str | None:
    """The interval of the latest training in force, else of the attempt that was opened last."""
    committed = runs.all_committed(lake, fleet, "train")
    if committed:
        return committed[-1].interval.key
    tried = {key: ids[0] for key in lake.intervals(f"{fleet}/train") if (ids := _attempt_ids(lake, fleet, key))}

    def opened_at(key: str) -> str:
        return runs.load_attempt(lake, fleet, "train", key, tried[key]).created_at

    return max(tried, key=opened_at, default=None)


def _attempt_ids(lake: Lake, fleet: str, interval: str) -> list[str]:
    """The attempt in force first, then the one opened last and those before it."""
    listed: list[str] = []
    in_force = runs.committed(lake, fleet, "train", interval)
    if in_force is not None:
        listed.append(in_force.attempt)
    try:
        last = json.loads(lake.read(f"{runs.run_folder(fleet, 'train', interval)}/latest.json"))["attempt"]
    except NotFoundError:
        return listed
    before = runs.earlier_attempts(lake, runs.load_attempt(lake, fleet, "train", interval, last))
    return list(dict.fromkeys([*listed, last, *before]))


def _usable(lake: Lake, fleet: str, interval: str, now: FleetSpec | None) -> Iterator[Opened]:
    """The attempts whose prepared rows are there."""
    in_force = runs.committed(lake, fleet, "train", interval)
    for name in _attempt_ids(lake, fleet, interval):
        dataset = runs.load_step(lake, fleet, "train", interval, name, "dataset")
        if dataset is None or not preparing.are_there(lake, dataset):
            continue
        attempt = runs.load_attempt(lake, fleet, "train", interval, name)
        own = FleetSpec.from_json(runs.load_spec_json(lake, attempt))
        trained = runs.load_step(lake, fleet, "train", interval, name, "train")
        committed = in_force is not None and in_force.attempt == name
        made = Opened(lake, now or own, own, attempt, dataset, trained, committed, ())
        yield replace(made, notes=tuple(_notes(made)))


def _is_current(made: Opened) -> bool:
    """Whether a training of now would prepare these very rows of the same ingests."""
    attempt = replace(made.attempt, code_version=inputs.code_version(made.spec))
    known = preparing.dataset_fingerprint(Context(made.lake, made.spec, attempt))
    return runs.digest_of(["dataset", known]) == made.dataset.fingerprint


def _notes(made: Opened) -> Iterator[str]:
    name, key = made.spec.name, made.attempt.interval.key
    if made.spec.digest != made.attempt.spec_digest:
        yield "the fleet file has changed since: fits are by the file of now; open(..., as_trained=True) goes by the old"
    elif inputs.code_version(made.spec) != made.attempt.code_version:
        yield "the model code has changed since: fits are by the code of now"
    if not _is_current(made):
        yield (
            "the rows were prepared for the spec and code of then; "
            f"`modelfleet profile {name} --interval {key}` prepares them again"
        )
