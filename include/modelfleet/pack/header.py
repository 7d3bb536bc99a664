"""The header of a pack: what its reader must know, and the digests of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelfleet import keys
from modelfleet.errors import DataError
from modelfleet.lake.store import FileEntry

if TYPE_CHECKING:
    from modelfleet.matrices import Inputs
    from modelfleet.spec import FleetSpec

FORMAT = 3
"""Raise it when a change makes older readers misread a pack: readers refuse a newer format by name."""
HEADER = "pack.json"


@dataclass(frozen=True)
class PackHeader:
    """What the reader of a pack must know. `digest` is of the content alone: same models, same digest.

    `spec` is that of the training, as JSON text, since the order of its tables counts. A kept champion may be of an earlier
    one, so its row says which code and which `inputs` (by their id, in the column `features`) are its own; `features` and
    `code` are those of all models together. `groups` are the files of models over many partitions.
    """

    format: int
    fleet: str
    problem: str
    key_types: tuple[tuple[str, keys.KeyType], ...]
    time: str
    time_type: str
    ids: tuple[str, ...]
    features: tuple[str, ...]
    feature_types: Mapping[str, str]
    target: str
    spec: str
    inputs: Mapping[str, Any]
    code: tuple[str, ...]
    groups: tuple[FileEntry, ...]
    files: tuple[FileEntry, ...]
    ranges: tuple[tuple[int, int], ...]
    rows: int
    digest: str

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> PackHeader:
        given = json.loads(data)
        if given.get("format") != FORMAT:
            raise DataError(
                f"pack of format {given.get('format')!r}; this version of Modelfleet reads format {FORMAT}",
                hint="train and promote the fleet anew under another home or name, or use the version that wrote it",
            )
        for name in ("files", "groups"):
            given[name] = tuple(FileEntry(**entry) for entry in given[name])
        given["ranges"] = tuple((low, high) for low, high in given["ranges"])
        given["key_types"] = tuple((name, kind) for name, kind in given["key_types"])
        return cls(**{**given, **{name: tuple(given[name]) for name in ("ids", "features", "code")}})

    @cached_property
    def fleet_spec(self) -> FleetSpec:
        """The spec of the training."""
        from modelfleet.spec import FleetSpec

        return FleetSpec.from_json(self.spec)

    @cached_property
    def all_inputs(self) -> dict[str, Inputs]:
        """How the matrices of its models are made, by their id."""
        from modelfleet.matrices import Inputs

        return {name: Inputs.from_json(given) for name, given in self.inputs.items()}


def header_digest(data: bytes) -> str:
    """The digest of a header's bytes, by which the registry knows the pack."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def make_header(
    spec: FleetSpec,
    *,
    key_types: Mapping[str, keys.KeyType],
    time_type: str,
    feature_types: Mapping[str, str],
    inputs: Mapping[str, Any],
    code: Iterable[str],
    files: Iterable[tuple[FileEntry, tuple[int, int]]],
    groups: Iterable[FileEntry] = (),
    digest: str,
) -> PackHeader:
    """The header of a pack whose files are `files`, each with the range of hashes it covers.

    :param time_type: the Arrow type of the time column.
    :param feature_types: of every column that a model of the pack reads; kept champions' beside the spec's.
    :param inputs: how matrices are made, as JSON values, by their id.
    :param code: dotted paths of the candidates; the spec's first.
    """
    listed = tuple(files)
    return PackHeader(
        format=FORMAT,
        fleet=spec.name,
        problem=spec.problem.kind,
        key_types=tuple(key_types.items()),
        time=spec.time_column,
        time_type=time_type,
        ids=tuple(spec.id_columns),
        features=tuple(feature_types),
        feature_types=dict(feature_types),
        target=spec.problem.target,
        spec=spec.canonical(),
        inputs=dict(inputs),
        code=tuple(dict.fromkeys(code)),
        groups=tuple(groups),
        files=tuple(entry for entry, _ in listed),
        ranges=tuple(hashes for _, hashes in listed),
        rows=sum(entry.rows for entry, _ in listed),
        digest=digest,
    )
