"""Composing the published pack, one bucket at a time: promoted challengers, kept champions, baselines for the rest."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelfleet import pack, slices
from modelfleet.errors import CorruptionError
from modelfleet.lake import FileEntry, StepManifest
from modelfleet.lake.buckets import BucketPlace
from modelfleet.matrices import Inputs
from modelfleet.promotion import serving
from modelfleet.steps.deciding import open_decisions
from modelfleet.steps.runner import Context
from modelfleet.steps.training import write_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DECIDED = ["partition", "decision", "level"]
_USED = ("code", "features", "shared")


def compose(
    ctx: Context, decided: StepManifest, challenger: pack.Pack, champion: pack.Pack | None
) -> tuple[pack.PackHeader, FileEntry]:
    """Write the pack of the fleet to come; its header, and that header's file."""
    theirs = None if champion is None else champion.header
    made = _Composition(ctx, challenger, champion)
    with open_decisions(ctx, decided) as decisions:
        files = [made.bucket(at, own) for at, own in enumerate(_parts(ctx, decisions, challenger.header.files))]
        groups = made.groups(_levels(decisions))
    inputs = _inputs(challenger.header, theirs, made.used["features"])
    header = pack.make_header(
        ctx.spec,
        key_types=dict(challenger.header.key_types),
        time_type=challenger.header.time_type,
        feature_types=_feature_types(challenger.header, theirs, inputs),
        inputs=inputs,
        code=[*challenger.header.code, *sorted(made.used["code"])],
        files=zip(files, challenger.header.ranges, strict=True),
        groups=groups,
        digest=slices.combine(made.digests),
    )
    # Every try writes a header of its own: the names of the files differ, their content does not.
    path = ctx.attempt.path(f"publish/pack-{secrets.token_hex(4)}.json")
    return header, write_header(ctx.lake, path, header)


@dataclass
class _Composition:
    """A pack that is being composed, and what is known of its rows so far.

    `used` are the distinct values of `_USED` in the rows whose model serves.
    """

    ctx: Context
    challenger: pack.Pack
    champion: pack.Pack | None
    digests: list[str] = field(default_factory=list)
    used: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _USED})

    @cached_property
    def place(self) -> BucketPlace:
        return BucketPlace.of(self.ctx.attempt, "publish", fingerprint="", buckets=0)

    @cached_property
    def columns(self) -> list[str]:
        """Those of the challenger's index."""
        names: list[str] = next(self.challenger.index_parts()).column_names
        return names

    def bucket(self, position: int, decisions: pa.Table) -> FileEntry:
        """The file of one of the challenger's buckets to come: its own where the rows serve as they are."""
        header = self.challenger.header
        entry, (low, high) = header.files[position], header.ranges[position]
        index = self.challenger.rows(low, high, self.columns)
        if not index.column("partition").equals(decisions.column("partition")):
            raise _of_other_rows(self.ctx, entry)
        outcome = decisions.column("decision")
        champions = self.kept(low, high, index, outcome)
        if champions is None and serving.stay_as_they_are(index, outcome):
            self.note(index)
            return entry
        own = self.challenger.rows(low, high)
        rows = serving.rows(own, outcome, champions, forecasts=header.problem == "forecast")
        return self.written("pack", position, rows)

    def kept(self, low: int, high: int, index: pa.Table, outcome: pa.ChunkedArray) -> pa.Table | None:
        """The champion's rows of a range of hashes that serve on; None for none: then no model of it is decoded."""
        if self.champion is None:
            return None
        partitions = self.champion.rows(low, high, ["partition"])
        if not pc.any(serving.kept(partitions, index, outcome), min_count=0).as_py():
            return None
        rows = self.champion.rows(low, high)
        return rows.filter(serving.kept(rows, index, outcome))

    def groups(self, levels: pa.Table) -> list[FileEntry]:
        """The file of the models over many partitions, if there are any; `levels` are the decisions about them."""
        shared = pa.array(sorted(self.used["shared"]), pa.string())
        theirs = None if self.champion is None else self.champion.groups()
        rows = serving.groups(self.challenger.groups(), theirs, levels, shared)
        return [] if rows is None else [self.written("groups", 0, rows)]

    def written(self, name: str, position: int, rows: pa.Table) -> FileEntry:
        self.note(rows)
        return pack.write_rows(self.ctx.lake, self.place.file(name, position, secrets.token_hex(4), "parquet"), rows)

    def note(self, rows: pa.Table) -> None:
        self.digests.append(pack.content_digest(rows))
        models = rows.select(["serves", *_USED]).filter(pc.equal(rows.column("serves"), "model"))
        for name, values in self.used.items():
            values.update(filter(None, pc.unique(models.column(name)).to_pylist()))


def _parts(ctx: Context, decisions: pq.ParquetFile, files: tuple[FileEntry, ...]) -> Iterator[pa.Table]:
    """The decisions about each of the challenger's files, in the order of its rows.

    :raises CorruptionError: when there are fewer decisions than rows.
    """
    batches = decisions.iter_batches(columns=_DECIDED)
    rest = _table(decisions, ())
    for entry in files:
        while rest.num_rows < entry.rows:
            batch = next(batches, None)
            if batch is None:
                raise _of_other_rows(ctx, entry)
            rest = pa.concat_tables([rest, pa.Table.from_batches([batch])])
        yield rest.slice(0, entry.rows)
        rest = rest.slice(entry.rows)


def _levels(decisions: pq.ParquetFile) -> pa.Table:
    """The decisions about models of coarser levels."""
    batches = decisions.iter_batches(columns=_DECIDED)
    return _table(decisions, (batch.filter(pc.is_valid(batch.column("level"))) for batch in batches))


def _table(decisions: pq.ParquetFile, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    schema = decisions.schema_arrow
    return pa.Table.from_batches(batches, schema=pa.schema([schema.field(name) for name in _DECIDED]))


def _of_other_rows(ctx: Context, entry: FileEntry) -> CorruptionError:
    return CorruptionError(
        f"fleet {ctx.spec.name!r}, promote of {ctx.interval}: the decisions are not about the rows of {entry.path!r}",
        hint="decide again: force",
    )


def _inputs(challenger: pack.PackHeader, champion: pack.PackHeader | None, used: set[str]) -> dict[str, Any]:
    """How the matrices of serving models are made: the challenger's ways, and those of kept champions."""
    earlier = {} if champion is None else champion.inputs
    return {**challenger.inputs, **{name: way for name, way in earlier.items() if name in used}}


def _feature_types(
    challenger: pack.PackHeader, champion: pack.PackHeader | None, inputs: dict[str, Any]
) -> dict[str, str]:
    """The types of all columns that a serving model reads: the challenger's, and what kept champions read beside."""
    read = {name for way in inputs.values() for name in Inputs.from_json(way).needs}
    earlier = {} if champion is None else champion.feature_types
    return {
        **challenger.feature_types,
        **{n: kind for n, kind in earlier.items() if n in read - set(challenger.features)},
    }
