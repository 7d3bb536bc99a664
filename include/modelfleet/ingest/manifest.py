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
    where they are). `rows` are the interval's, also where more was read. `columns` maps names to Arrow types as text.
    `digest` is the content's: of all rows read, or of the referenced files. `source` names connection and table, without
    secrets.

    Of a table with `late` or `ahead`, `span` is what was read, wider than the interval: ``(start, end)``. `cells` cut it
    into ``(start, digest)``, each up to the next one's start, so that readings can be compared. The files hold the rows
    from `held_from` on: a tail that was as known is not kept. All are ISO texts in UTC.
    """

    table: str
    kind: TableKind
    files: tuple[FileEntry, ...]
    rows: int
    columns: Mapping[str, str]
    digest: str
    source: str
    span: tuple[str, str] | None = None
    held_from: str | None = None
    cells: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> TableManifest:
        span = given.get("span")
        return cls(
            **{
                **given,
                "files": tuple(FileEntry(**entry) for entry in given["files"]),
                "span": (span[0], span[1]) if span else None,
                "cells": tuple((start, digest) for start, digest in given.get("cells", ())),
            }
        )
