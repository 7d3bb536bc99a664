"""Buckets of a step: each ends with a sidecar that names its files, so that a killed attempt's finished work is kept.

A sidecar counts only under the same fingerprint (inputs, spec, code) and the same number of buckets, and only while its
files still have the recorded bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelfleet.errors import NotFoundError
from modelfleet.lake.runs import Attempt, earlier_attempts, encode, run_folder
from modelfleet.lake.store import FileEntry, Lake


@dataclass(frozen=True)
class BucketTask:
    """One bucket of a dataset to work on: its number, the file of its rows, and the file of its partitions' fingerprints."""

    bucket: int
    rows: FileEntry
    partitions: FileEntry | None = None


@dataclass(frozen=True)
class BucketResult:
    """What one bucket wrote: its files by output name, and small facts (counts, digests)."""

    bucket: int
    files: Mapping[str, FileEntry]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class BucketPlace:
    """Where the buckets of one step of one attempt write."""

    folder: str
    fingerprint: str
    buckets: int

    @classmethod
    def of(cls, attempt: Attempt, step: str, *, fingerprint: str, buckets: int) -> BucketPlace:
        return cls(attempt.path(step), fingerprint, buckets)

    def file(self, name: str, bucket: int, token: str, suffix: str) -> str:
        """A write-once name: `token` tells apart two Spark tasks that work on the same bucket."""
        return f"{self.folder}/{name}-{bucket:05d}-{token}.{suffix}"

    def sidecar(self, bucket: int) -> str:
        return f"{self.folder}/bucket-{bucket:05d}.json"


def finish(lake: Lake, place: BucketPlace, result: BucketResult) -> BucketResult:
    """Write the bucket's sidecar; where a twin task was quicker, the twin's result stands."""
    content = encode({**asdict(result), "fingerprint": place.fingerprint, "buckets": place.buckets})
    try:
        lake.write_once(place.sidecar(result.bucket), content)
    except FileExistsError:
        return read_sidecar(lake, place, result.bucket) or result
    return result


def read_sidecar(lake: Lake, place: BucketPlace, bucket: int) -> BucketResult | None:
    """The result of a finished bucket, or None where it is missing, of other inputs, or its files are not intact."""
    try:
        given = json.loads(lake.read(place.sidecar(bucket)))
        made_for = given["fingerprint"], given["buckets"]
        files = {name: FileEntry(**entry) for name, entry in given["files"].items()}
    except (NotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None  # missing, or damaged: the bucket is made again
    if made_for != (place.fingerprint, place.buckets):
        return None
    if not all(lake.holds(entry) for entry in files.values()):
        return None
    return BucketResult(given["bucket"], files, given["facts"])


def earlier_places(lake: Lake, attempt: Attempt, step: str, place: BucketPlace) -> tuple[BucketPlace, ...]:
    """Where the attempts before this one wrote the buckets of a step, the latest first; none that is forced to work anew."""
    if attempt.options.get("force"):
        return ()
    folder = run_folder(attempt.fleet, attempt.pipeline, attempt.interval.key)
    return tuple(
        BucketPlace(f"{folder}/{before}/{step}", place.fingerprint, place.buckets)
        for before in earlier_attempts(lake, attempt)
    )


def kept(
    lake: Lake, place: BucketPlace, earlier: Sequence[BucketPlace], buckets: Iterable[int] | None = None
) -> dict[int, BucketResult]:
    """Finished buckets of this place and of those before it; the latter get a sidecar of their own here.

    :param buckets: which to look for; default: all.
    """
    found: dict[int, BucketResult] = {}
    for bucket in range(place.buckets) if buckets is None else buckets:
        own = read_sidecar(lake, place, bucket)
        if own is None:
            taken = next(filter(None, (read_sidecar(lake, before, bucket) for before in earlier)), None)
            own = finish(lake, place, taken) if taken is not None else None
        if own is not None:
            found[bucket] = own
    return found
