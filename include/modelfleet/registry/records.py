"""What is written to and read from the registries: releases, packs as models, versions, moves of the champion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modelfleet.errors import CorruptionError

if TYPE_CHECKING:
    import pyarrow as pa

PREVIOUS_CHAMPION = "previous_champion"
_REQUIRED = ("interval", "attempt", "pack_digest", "pack_manifest")
_FORBIDDEN_IN_KEY = re.compile(r"[^\w./ -]")


@dataclass(frozen=True)
class Release:
    """What a version is of: the run that made it, its spec and code, the span of its data, the digest of its pack.

    `tags` are the author's; one whose name is taken by Modelfleet is written as ``author.<name>``.
    `lineage` are further tags of Modelfleet: what the version was made from.
    """

    fleet: str
    interval: str
    attempt: str
    spec_digest: str
    code_version: str
    data_start: datetime
    data_end: datetime
    pack_digest: str
    tags: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, str]:
        """The tags by which a repeated run finds the version it already made, whichever attempt made it."""
        return {"fleet": self.fleet, "interval": self.interval, "pack_digest": self.pack_digest}

    def version_tags(self, **more: object) -> dict[str, str]:
        """All tags of a version; `more` are further ones of Modelfleet, left out where None."""
        own = {
            **self.identity(),
            "attempt": self.attempt,
            **self.lineage,
            "spec_digest": self.spec_digest,
            "code_version": self.code_version,
            "data_start": self.data_start.isoformat(),
            "data_end": self.data_end.isoformat(),
            **{name: str(value) for name, value in more.items() if value is not None},
        }
        reserved = {*own, PREVIOUS_CHAMPION, "pack_manifest", "staging_version"}
        author = {}
        for name, value in self.tags.items():
            key = _FORBIDDEN_IN_KEY.sub("_", name)[:200]
            taken = key in reserved or key.startswith("mlflow.")
            author[f"author.{key}" if taken else key] = str(value)[:5000]
        return {**author, **own}


@dataclass(frozen=True)
class PackModel:
    """A pack as MLflow logs it: a pyfunc model that any MLflow client can load.

    `folder` is local and holds ``pack.json`` and Parquet files. `columns` are the raw columns ``predict(frame)`` reads
    (keys, time, features), `required` those without which it can't; `outputs` what it returns.
    `code` are the packages it needs beside its requirements: Modelfleet's own folder and the author's.
    `requirements` are the names of installed distributions, pinned when logged.
    """

    folder: Path
    columns: pa.Schema
    required: tuple[str, ...] = ()
    outputs: pa.Schema | None = None
    code: tuple[Path, ...] = ()
    requirements: tuple[str, ...] = (
        *("mlflow", "numpy", "pandas", "pyarrow", "scikit-learn"),
        *(
            "pydantic",
            "duckdb",
            "croniter",
            "holidays",
        ),  # the spec in the pack's header is parsed; holidays are features
    )
    loader_module: str = "modelfleet.pyfunc"


@dataclass(frozen=True)
class TrainingVersion:
    """The version of a training in the staging registry, and its MLflow run."""

    run_id: str
    version: int


@dataclass(frozen=True)
class FleetVersion:
    """One version of a fleet in a registry. `is_champion` is always False in staging."""

    fleet: str
    version: int
    run_id: str
    tags: Mapping[str, str]
    created: datetime
    is_champion: bool = False

    @property
    def interval(self) -> str:
        """The key of the training interval its newest models are of."""
        return self.tags["interval"]

    @property
    def attempt(self) -> str:
        """The attempt that published it."""
        return self.tags["attempt"]

    @property
    def pack_digest(self) -> str:
        """The digest of the pack's content: the same models, the same digest."""
        return self.tags["pack_digest"]

    @property
    def header_digest(self) -> str:
        """The digest the pack's header must have before any of its models is unpickled.

        :raises CorruptionError: when the version has none: its pack can't be trusted.
        """
        digest = self.tags.get("header_digest")
        if not digest:
            raise CorruptionError(
                f"fleet {self.fleet!r}: version {self.version} in the registry lacks the tag header_digest",
                hint="its pack can't be checked and is not read; roll back to a version that has one",
            )
        return digest

    @property
    def pack_manifest(self) -> str:
        """The lake path of the pack's manifest."""
        return self.tags["pack_manifest"]

    @property
    def previous_champion(self) -> int | None:
        """The version that served before this one first did; where a rollback goes."""
        value = self.tags.get(PREVIOUS_CHAMPION)
        return int(value) if value else None

    def missing_tags(self) -> list[str]:
        """Tags every version published by Modelfleet has, and this one has not."""
        return [name for name in _REQUIRED if not self.tags.get(name)]


@dataclass(frozen=True)
class ChampionMove:
    """One move of the alias ``champion``; `why` is "promoted", "forced" or "rolled back"."""

    at: datetime
    from_version: int | None
    to_version: int
    why: str
