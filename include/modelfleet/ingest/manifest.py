"""What ingest wrote of one table: its files, rows, columns and content digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from modelfleet.lake import FileEntry

TableKind = Literal["interval", "snapshot", "reference"]


@dataclass(frozen=True)
class TableManifest:
    """One table of one interval.

    `kind`: ``interval`` (its rows, by time), ``snapshot`` (the whole table then) or ``reference`` (files that stay
    where they are). `rows` are the interval's, also for ``reference``. `columns` maps names to Arrow types as text.
    `digest` is the content's: of the rows, or of the referenced files. `source` names connection and table, without
    secrets.
    """

    table: str
    kind: TableKind
    files: tuple[FileEntry, ...]
    rows: int
    columns: Mapping[str, str]
    digest: str
    source: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> TableManifest:
        return cls(**{**given, "files": tuple(FileEntry(**entry) for entry in given["files"])})
