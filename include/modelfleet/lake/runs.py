"""Runs and attempts in the lake: what a step wrote, what a run was made from, and the one write that commits it.

Layout::

    <fleet>/<pipeline>/<interval>/manifest.json            the attempt in force (RunManifest)
    <fleet>/<pipeline>/<interval>/latest.json              the attempt opened last: where a killed one is resumed from
    <fleet>/<pipeline>/<interval>/<attempt>/attempt.json   its options and pinned inputs
    <fleet>/<pipeline>/<interval>/<attempt>/spec.json
    <fleet>/<pipeline>/<interval>/<attempt>/<step>.json    what the step wrote (StepManifest)
    <fleet>/<pipeline>/<interval>/<attempt>/<step>/...     its files
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelfleet.errors import ConflictError, NotFoundError
from modelfleet.interval import Interval
from modelfleet.lake.store import FileEntry, Lake

Json = dict[str, Any]


def digest_of(value: object) -> str:
    """A stable digest of any JSON-able value, hexadecimal (blake2b, 128 bits)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def encode(value: object) -> bytes:
    """A manifest's bytes."""
    return json.dumps(value, sort_keys=True, indent=1, default=str).encode()


@dataclass(frozen=True)
class StepManifest:
    """What one step of one attempt wrote.

    `fingerprint` is the digest of all that determines the result: the same one means the result can be taken over.
    `digest` is the content's own (no names, no times). `files` are grouped by output name; they may lie in the folder of
    an earlier attempt whose work was taken over.
    """

    step: str
    fingerprint: str
    digest: str
    files: Mapping[str, tuple[FileEntry, ...]]
    facts: Json = field(default_factory=dict)
    seconds: float = 0.0
    reused_from: str | None = None
    created_at: str = ""

    @classmethod
    def from_json(cls, data: bytes) -> StepManifest:
        given = json.loads(data)
        given["files"] = {name: tuple(FileEntry(**f) for f in files) for name, files in given["files"].items()}
        return cls(**given)


@dataclass(frozen=True)
class RunManifest:
    """The committed state of one interval: which attempt is in force and what it was made from.

    `status` is ``committed`` or ``empty``. `inputs` maps ``<pipeline>/<interval>`` (or ``champion``) to the digest and
    attempt it used.
    """

    fleet: str
    pipeline: str
    interval: Interval
    attempt: str
    status: str
    digest: str
    inputs: Mapping[str, Json]
    spec_digest: str
    code_version: str
    steps: Mapping[str, str]
    facts: Json
    created_at: str
    committed_at: str
    options: Json

    @classmethod
    def from_json(cls, data: bytes) -> RunManifest:
        given = json.loads(data)
        given["interval"] = Interval.from_json(given["interval"])
        return cls(**given)

    def to_json(self) -> bytes:
        return encode({**asdict(self), "interval": self.interval.to_json()})


@dataclass(frozen=True)
class Attempt:
    """One try at a run. Its folder is written by it alone, and never again once committed.

    `inputs` are the pinned inputs, `previous_digest` that of the manifest in force when the attempt began: it can only
    be committed over that one. `resumes` names the attempt opened before, whose finished work may be taken over.
    """

    fleet: str
    pipeline: str
    interval: Interval
    id: str
    spec_digest: str
    code_version: str
    created_at: str
    inputs: Mapping[str, Json]
    options: Json
    previous_digest: str | None = None
    resumes: str | None = None

    @property
    def folder(self) -> str:
        return f"{run_folder(self.fleet, self.pipeline, self.interval.key)}/{self.id}"

    def path(self, name: str) -> str:
        """The lake path of a file of this attempt."""
        return f"{self.folder}/{name}"

    def to_json(self) -> bytes:
        return encode({**asdict(self), "interval": self.interval.to_json()})

    @classmethod
    def from_json(cls, data: bytes) -> Attempt:
        given = json.loads(data)
        given["interval"] = Interval.from_json(given["interval"])
        return cls(**given)


def run_folder(fleet: str, pipeline: str, interval: str) -> str:
    """The lake folder of all attempts of a run."""
    return f"{fleet}/{pipeline}/{interval}"


def begin(
    lake: Lake,
    *,
    fleet: str,
    pipeline: str,
    interval: Interval,
    spec_json: str,
    spec_digest: str,
    code_version: str,
    inputs: Mapping[str, Json],
    options: Json,
) -> Attempt:
    """Open a new attempt: its folder with ``attempt.json`` and ``spec.json``, and the pointer to it."""
    folder = run_folder(fleet, pipeline, interval.key)
    now = datetime.now(UTC)
    previous = _read(lake, f"{folder}/manifest.json")
    latest = _read(lake, f"{folder}/latest.json")
    attempt = Attempt(
        fleet=fleet,
        pipeline=pipeline,
        interval=interval,
        id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        spec_digest=spec_digest,
        code_version=code_version,
        created_at=now.isoformat(),
        inputs=inputs,
        options=options,
        previous_digest=_bytes_digest(previous),
        resumes=json.loads(latest)["attempt"] if latest else None,
    )
    lake.write_once(attempt.path("spec.json"), spec_json.encode())
    lake.write_once(attempt.path("attempt.json"), attempt.to_json())
    _point_to(lake, f"{folder}/latest.json", attempt.id)
    return attempt


def load_attempt(lake: Lake, fleet: str, pipeline: str, interval: str, attempt: str) -> Attempt:
    """An attempt as it was opened.

    :raises NotFoundError: when there is none of that id.
    """
    return Attempt.from_json(lake.read(f"{run_folder(fleet, pipeline, interval)}/{attempt}/attempt.json"))


def load_spec_json(lake: Lake, attempt: Attempt) -> str:
    """The spec as it was when the attempt was opened."""
    return lake.read(attempt.path("spec.json")).decode()


def load_step(lake: Lake, fleet: str, pipeline: str, interval: str, attempt: str, step: str) -> StepManifest | None:
    """What a step of an attempt wrote, or None where it did not finish."""
    data = _read(lake, f"{run_folder(fleet, pipeline, interval)}/{attempt}/{step}.json")
    return None if data is None else StepManifest.from_json(data)


def save_step(lake: Lake, attempt: Attempt, manifest: StepManifest) -> StepManifest:
    """Write a step's manifest; where a twin of this very attempt was quicker, the twin's stands and is returned."""
    try:
        lake.write_once(attempt.path(f"{manifest.step}.json"), encode(asdict(manifest)))
    except FileExistsError:
        standing = load_step(lake, attempt.fleet, attempt.pipeline, attempt.interval.key, attempt.id, manifest.step)
        if standing is None or standing.fingerprint != manifest.fingerprint:
            raise ConflictError(
                f"{attempt.folder}: step {manifest.step!r} was already written from other inputs; open a new attempt"
            ) from None
        return standing
    return manifest


def note_step(lake: Lake, attempt: Attempt, manifest: StepManifest) -> None:
    """Note that a step ran that is repeated each time; the first note of an attempt stands."""
    with suppress(FileExistsError):
        lake.write_once(attempt.path(f"{manifest.step}.json"), encode(asdict(manifest)))


def committed(lake: Lake, fleet: str, pipeline: str, interval: str) -> RunManifest | None:
    """The run in force of an interval, or None where nothing is committed."""
    data = _read(lake, f"{run_folder(fleet, pipeline, interval)}/manifest.json")
    return None if data is None else RunManifest.from_json(data)


def all_committed(lake: Lake, fleet: str, pipeline: str) -> list[RunManifest]:
    """Every committed run of a pipeline, ordered by the end of its interval."""
    runs = [committed(lake, fleet, pipeline, key) for key in lake.intervals(f"{fleet}/{pipeline}")]
    return sorted((run for run in runs if run is not None), key=lambda run: run.interval.end)


def check_not_overtaken(lake: Lake, attempt: Attempt) -> None:
    """See that no other attempt was committed since this one began.

    :raises ConflictError: when one was; this one can't be committed any more.
    """
    current = _read(lake, f"{run_folder(attempt.fleet, attempt.pipeline, attempt.interval.key)}/manifest.json")
    if current is not None and RunManifest.from_json(current).attempt == attempt.id:
        return
    if _bytes_digest(current) != attempt.previous_digest:
        raise _overtaken(attempt, current)


def earlier_attempts(lake: Lake, attempt: Attempt, limit: int = 5) -> list[str]:
    """The attempts opened before this one, the latest first: where finished work of killed ones may lie."""
    found: list[str] = []
    resumes = attempt.resumes
    while resumes is not None and len(found) < limit:
        found.append(resumes)
        data = _read(
            lake, f"{run_folder(attempt.fleet, attempt.pipeline, attempt.interval.key)}/{resumes}/attempt.json"
        )
        resumes = None if data is None else Attempt.from_json(data).resumes
    return found


def commit(lake: Lake, attempt: Attempt, *, status: str, steps: Iterable[StepManifest], facts: Json) -> RunManifest:
    """Make the attempt the one in force, by one conditional write; committing it twice changes nothing.

    :raises ConflictError: when another attempt was committed since this one began; nothing changes.
    """
    path = f"{run_folder(attempt.fleet, attempt.pipeline, attempt.interval.key)}/manifest.json"
    steps = tuple(steps)
    manifest = RunManifest(
        fleet=attempt.fleet,
        pipeline=attempt.pipeline,
        interval=attempt.interval,
        attempt=attempt.id,
        status=status,
        digest=digest_of([(step.step, step.digest) for step in steps]),
        inputs=attempt.inputs,
        spec_digest=attempt.spec_digest,
        code_version=attempt.code_version,
        steps={step.step: step.digest for step in steps},
        facts=facts,
        created_at=attempt.created_at,
        committed_at=datetime.now(UTC).isoformat(),
        options=attempt.options,
    )
    current = _read(lake, path)
    if current is not None and RunManifest.from_json(current).attempt == attempt.id:
        return RunManifest.from_json(current)
    if _bytes_digest(current) != attempt.previous_digest:
        raise _overtaken(attempt, current)
    try:
        lake.swap(path, manifest.to_json(), expected=current)
    except ConflictError:
        current = _read(lake, path)
        if current is not None and RunManifest.from_json(current).attempt == attempt.id:
            return RunManifest.from_json(current)  # a twin of this very attempt was quicker
        raise _overtaken(attempt, current) from None
    return manifest


def _overtaken(attempt: Attempt, current: bytes | None) -> ConflictError:
    winner = RunManifest.from_json(current).attempt if current else "none"
    return ConflictError(
        f"fleet {attempt.fleet!r}, {attempt.pipeline} of {attempt.interval.key}: attempt {winner} was committed while "
        f"attempt {attempt.id} ran; this one is not committed",
        hint="run it again if its result is still wanted",
    )


def _point_to(lake: Lake, path: str, attempt: str) -> None:
    """The pointer only helps to resume; losing a race for it costs nothing but work done again."""
    try:
        lake.swap(path, encode({"attempt": attempt}), expected=_read(lake, path))
    except ConflictError:
        return


def _read(lake: Lake, path: str) -> bytes | None:
    try:
        return lake.read(path)
    except NotFoundError:
        return None


def _bytes_digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.blake2b(data, digest_size=16).hexdigest()
