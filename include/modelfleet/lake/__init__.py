"""The lake: files, runs, attempts, manifests and commits."""

from modelfleet.lake.runs import Attempt, RunManifest, StepManifest
from modelfleet.lake.store import FileEntry, Lake

__all__ = ["Attempt", "FileEntry", "Lake", "RunManifest", "StepManifest"]
