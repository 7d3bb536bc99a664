"""Carrying over: models of an earlier training whose rows are the very same are taken as they are, not fitted again.

A carried row keeps what its own training said: `trained_interval`, `trained_attempt`, window, metrics and `n_test` are of
then. Its holdout ended with that training's interval; no row has come since, so the holdout of a later interval would
have fewer rows or none, and a model that was fitted without its holdout (``refit=False``) would be measured on rows it knows.

Only what stands beside the model is of now: the champion. Where another champion serves than the one it was compared with, the
comparison is with the champion's stored metrics, and where that is the very same model, `champion_status` says so.
All of it is done by Arrow for a whole bucket; per partition there is only the fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modelfleet import pack, slices
from modelfleet.group_models import CANDIDATE
from modelfleet.lake.store import FileEntry, Lake
from modelfleet.prediction import Reason
from modelfleet.training.plan import ChampionStatus, TrainingPlan

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.spec import FleetSpec

BY_CUTOFF = frozenset({Reason.NO_ROWS_BEFORE_CUTOFF, Reason.CONSTANT_TARGET, Reason.ALL_NULL_FEATURE})
"""Why rows were skipped that lie otherwise about a later cutoff: looked at again in every interval. It costs no fit."""


def way_of(spec: FleetSpec, plan: TrainingPlan) -> dict[str, Any]:
    """All that a model depends on beside its rows and the author's code, as JSON values.

    Not the gate, the schedule or the limits per model: changing them makes no other model. `inputs` are what matrices are
    made by, the categories of the whole fleet's rows among them.
    """
    training = spec.training
    measured = [training.holdout, training.gap, training.folds]
    way = {"format": pack.FORMAT, "plan": plan.way(), "measured": measured, "inputs": plan.inputs.id}
    read_back: dict[str, Any] = json.loads(json.dumps(way))  # as a manifest gives it: lists, no tuples
    return read_back


@dataclass(frozen=True)
class Group:
    """A group's rows of the pack, one per candidate at the level of candidates, and those of its folds."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    folds: list[dict[str, Any]] = field(default_factory=list)

    def usable(self, plan: TrainingPlan, again: frozenset[str]) -> bool:
        """Whether it goes with the matrices of now, and none of it is to be tried again."""
        return all(row["features"] == plan.shared_inputs.id and row["reason"] not in again for row in self.rows)


@dataclass(frozen=True)
class Carrying:
    """What a training carries over.

    :ivar pack: of the earlier training.
    :ivar folds: the files with its models over many partitions, of every fold.
    :ivar again: the reasons for which partitions without a model are tried again.
    :ivar same_champion: whether the earlier training was compared with the champion of now.
    :ivar shared: digests of this training's candidates over the fleet: a model that refers to another is chosen anew.
    """

    pack: pack.Pack
    folds: tuple[FileEntry, ...]
    again: frozenset[str]
    same_champion: bool
    shared: frozenset[str] = frozenset()

    def beside(self, lake: Lake, groups: Sequence[FileEntry]) -> Carrying:
        """The same, beside this training's models over many partitions, whose pack files are given."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        digests: set[str] = set()
        for entry in groups:
            with lake.open_input(entry.path) as file:
                rows = pq.read_table(file, columns=["level", "model_digest"])
            digests |= set(rows.filter(pc.equal(rows.column("level"), CANDIDATE)).column("model_digest").to_pylist())
        return replace(self, shared=frozenset(digest for digest in digests if digest is not None))

    def groups(self, lake: Lake, level: str, names: Sequence[str], plan: TrainingPlan) -> dict[str, Group]:
        """The models over many partitions of a level that may be carried over, by the fingerprint of their rows.

        A group is fitted again if any of its rows changed.
        """
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        rows = self.pack.groups()
        if rows is None:
            return {}
        mine = pc.and_(pc.equal(rows.column("level"), level), pc.is_in(rows.column("partition"), _texts(names)))
        found: dict[str, Group] = {}
        for row in rows.filter(mine).to_pylist():
            found.setdefault(row["fingerprint"], Group()).rows.append(row)
        usable = {print_: group for print_, group in found.items() if group.usable(plan, self.again)}
        holders = {row["partition"]: group for group in usable.values() for row in group.rows}
        for entry in self.folds if holders else ():
            with lake.open_input(entry.path) as file:
                chosen = (pc.field("level") == level) & pc.field("partition").isin(list(holders))
                for fold in pq.read_table(file, filters=chosen).to_pylist():
                    holders[fold["partition"]].folds.append(fold)
        return usable

    def rows(
        self, prints: Mapping[str, str], hashes: tuple[int, int], champion: pa.Table | None, schema: pa.Schema
    ) -> pa.Table:
        """The pack rows, models included, of the partitions of a bucket that are as they were.

        :param prints: the fingerprints of the bucket's partitions.
        :param hashes: the range of hashes that the bucket covers.
        :param champion: the champion's pack rows of that range.
        :raises CorruptionError: when a file of the earlier pack does not hold the recorded bytes.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        earlier = self.pack.rows(*hashes)
        names, values = (pa.array(list(listed), pa.string()) for listed in (prints.keys(), prints.values()))
        at = pc.index_in(earlier.column("partition"), value_set=names)
        same = pc.equal(earlier.column("fingerprint"), values.take(at.combine_chunks()))
        again = pc.is_in(earlier.column("reason"), value_set=_texts(self.again))
        follows = pc.or_(
            pc.is_null(earlier.column("shared")), pc.is_in(earlier.column("shared"), value_set=_texts(self.shared))
        )
        kept = pc.and_(pc.and_(pc.fill_null(same, False), pc.invert(again)), follows)
        carried = earlier.filter(kept).select(schema.names).cast(schema)
        return carried if self.same_champion else _beside(carried, champion)


def without(bucket: pa.Table, done: Sequence[pa.Table]) -> pa.Table:
    """The rows of a bucket whose partitions are not done, which their pack rows say."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = pa.concat_arrays([chunk for part in done for chunk in part.column("partition").chunks] or [pa.nulls(0)])
    if len(names) == 0 or bucket.num_rows == 0:
        return bucket
    column = bucket.column(slices.PARTITION).unify_dictionaries().combine_chunks()
    is_done = pc.is_in(column.dictionary, value_set=names)
    return bucket.filter(pc.invert(is_done.take(column.indices)))


def in_order(bucket: pa.Table, parts: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """The pack rows of several parts in the order of the bucket's partitions; of one that is there twice, the first."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = pa.concat_tables([schema.empty_table(), *parts])
    names = pa.array([key for key, _, _ in slices.bounds(bucket)], pa.string())
    at = pc.index_in(rows.column("partition"), value_set=names).to_numpy()
    _, first = np.unique(at, return_index=True)
    return rows if np.array_equal(first, np.arange(rows.num_rows)) else rows.take(pa.array(first))


def _beside(rows: pa.Table, champion: pa.Table | None) -> pa.Table:
    """Carried rows beside the champion of now."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [name for name in rows.column_names if name.startswith("champion_") and name != "champion_status"]
    if champion is None:
        status = pa.array([str(ChampionStatus.NONE)] * rows.num_rows, pa.string())
        values = {name: pa.nulls(rows.num_rows, rows.schema.field(name).type) for name in names}
    else:
        served = champion.filter(pc.equal(champion.column("serves"), "model"))
        at = pc.index_in(rows.column("partition"), value_set=served.column("partition").combine_chunks())
        met = served.select(["model_digest"]).take(at).column("model_digest")
        values = {
            name: _taken(served, name.removeprefix("champion_"), at, rows.schema.field(name).type) for name in names
        }
        measured = pa.array([False] * rows.num_rows)
        for column in values.values():
            measured = pc.or_(measured, pc.is_valid(column))
        same = pc.fill_null(pc.equal(met, rows.column("model_digest")), False)
        status = pc.case_when(
            pc.make_struct(pc.is_null(at), same, measured, field_names=["none", "same", "stored"]),
            *(pa.scalar(str(s)) for s in (ChampionStatus.NONE, ChampionStatus.SAME, ChampionStatus.STORED)),
            pa.scalar(str(ChampionStatus.NOT_COMPARABLE)),
        )
    for name, column in {"champion_status": status, **values}.items():
        place = rows.column_names.index(name)
        rows = rows.set_column(place, rows.schema.field(place), column)
    return rows


def _taken(served: pa.Table, name: str, at: pa.ChunkedArray, kind: pa.DataType) -> Any:
    """A column of the champion's rows, taken by their positions; nulls where it has none of that name."""
    import pyarrow as pa

    if name not in served.column_names:
        return pa.nulls(len(at), kind)
    return served.column(name).take(at).cast(kind)


def _texts(values: Iterable[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(sorted(str(value) for value in values), pa.string())
