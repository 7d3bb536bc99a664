"""What all partitions of an opened training share, each part read once: its plan, rows, models and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelfleet import keys, pack
from modelfleet.dataset import read_bucket
from modelfleet.errors import DataError, NotFoundError, bounded
from modelfleet.group_models import CANDIDATE, GroupModels
from modelfleet.lake import runs
from modelfleet.matrices import Bucket
from modelfleet.steps import preparing
from modelfleet.steps import training as training_steps
from modelfleet.training import TrainingPlan, groups
from modelfleet.training.group_fitting import FINAL
from modelfleet.training.groups import TrainedGroups

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.spec import FleetSpec
    from modelfleet.workbench.opening import Opened

Json = dict[str, Any]
_UNTRAINED = "only a training fits it, and the one that is open did not, or by other features or folds"


@dataclass
class Bench:
    """An opened training; nothing of it is ever written."""

    opened: Opened
    _bucket: tuple[str, Bucket] | None = field(default=None, init=False)

    @property
    def spec(self) -> FleetSpec:
        """What fits go by."""
        return self.opened.spec

    @property
    def facts(self) -> Json:
        """What the dataset step found."""
        return self.opened.dataset.facts

    @cached_property
    def plan(self) -> TrainingPlan:
        """The training's plan, of the spec that is looked at.

        :raises DataError: when it needs columns or categories that the prepared rows do not have.
        """
        ctx, spec, before = self.opened.context, self.spec, self.opened.own_spec
        if spec.partition_by != before.partition_by:
            raise DataError(
                f"fleet {spec.name!r}: the training of {ctx.interval} was by {', '.join(before.partition_by)}; "
                f"the fleet file is by {', '.join(spec.partition_by)} now",
                hint="open(..., as_trained=True) goes by the old file",
            )
        lacking = [name for name in preparing.columns(ctx).all if name not in self.facts["schema"]]
        lacking += [name for name in spec.declared.categorical if name not in self.facts["categories"]]
        if lacking:
            raise DataError(
                f"fleet {spec.name!r}: the prepared rows of {ctx.interval} lack {bounded(map(repr, lacking))}, "
                "which the fleet file names now",
                hint=f"prepare them again: modelfleet profile {spec.name} --interval {ctx.interval}",
            )
        return training_steps.plan(ctx)

    @cached_property
    def key_types(self) -> dict[str, keys.KeyType]:
        """The key columns' types, in the order of the canonical key."""
        return {name: self.facts["key_types"][name] for name in self.opened.own_spec.partition_by}

    @cached_property
    def trained(self) -> pack.Pack | None:
        """The pack that the training wrote; None where it got not as far."""
        made = self.opened.trained
        return (
            None if made is None else training_steps.open_pack(self.opened.lake, made.files[training_steps.HEADER][0])
        )

    @cached_property
    def stored_groups(self) -> GroupModels:
        """The training's models over many partitions, fitted on all rows."""
        return GroupModels() if self.trained is None else GroupModels.opened(self.trained)

    @cached_property
    def champion(self) -> pack.Pack | None:
        """The pack of the champion that the training met."""
        return preparing.champion_pack(self.opened.context) if "champion" in self.opened.attempt.inputs else None

    @cached_property
    def champion_groups(self) -> GroupModels:
        """Its models over many partitions."""
        return GroupModels() if self.champion is None else GroupModels.opened(self.champion)

    def bucket(self, key: str) -> tuple[Bucket, int]:
        """The bucket that a partition's rows are in, and which of its partitions it is.

        :raises NotFoundError: when the prepared rows have none of it.
        """
        number = keys.bucket_of(keys.hash_of(key), self.facts["buckets"])
        entry = self.opened.dataset.files["rows"][number]
        if self._bucket is None or self._bucket[0] != entry.path:
            context = (*self.spec.partition_by, self.spec.time_column)
            self._bucket = entry.path, Bucket(read_bucket(self.opened.lake, entry), self.spec.time_column, context)
        bucket = self._bucket[1]
        for position, (name, _, _) in enumerate(bucket.bounds):
            if name == key:
                return bucket, position
        raise NotFoundError(
            f"fleet {self.spec.name!r}: the prepared rows of {self.opened.attempt.interval.key} have no partition {key!r}",
            hint=f'list them: modelfleet.open("{self.spec.name}").partitions()',
        )

    def groups(self, rows: pa.Table) -> TrainedGroups:
        """The training's models over many partitions, as a worker gets them; those alone that are still of the spec."""
        made = self.opened.trained
        files = () if made is None else made.files.get(training_steps.FOLDS, ())
        before = training_steps.plan(self.opened.own_context)
        alike = self.plan.content()[1:4] == before.content()[1:4] and self.plan.gap == before.gap
        found = groups.read(self.opened.lake, self.plan, files if alike else (), rows).rows
        same = {None, *(learner.name for learner in self.plan.learners if learner in before.learners)}
        kept: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {
            place: [row for row in listed if row["candidate"] in same] for place, listed in found.items()
        }
        for learner in self.plan.learners:
            if not kept.get((CANDIDATE, learner.name)):
                kept[CANDIDATE, learner.name] = [{"fold": FINAL, "model": None, "message": _UNTRAINED}]
        return TrainedGroups({learner.name: learner for learner in self.plan.learners}, kept)

    def champions(self, key: str) -> dict[str, Json]:
        """The champion's row of a partition, with its model, by its key."""
        return {row["partition"]: row for row in _rows_of(self.champion, key) if row["serves"] == "model"}

    def stored(self, key: str) -> Json | None:
        """The training's own row of a partition, with its model."""
        return next(iter(_rows_of(self.trained, key)), None)

    def decisions(self) -> pa.Table | None:
        """The decisions on this very training."""
        attempt, fleet, lake = self.opened.attempt, self.spec.name, self.opened.lake
        key = attempt.interval.key
        promoted = runs.committed(lake, fleet, "promote", key)
        if promoted is None or promoted.inputs[f"train/{key}"]["attempt"] != attempt.id:
            return None
        decided = runs.load_step(lake, fleet, "promote", key, promoted.attempt, "decide")
        return None if decided is None else _read(lake, decided.files["decisions"])

    def present(self) -> dict[str, int]:
        """How many prepared rows each partition has, by its key."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from modelfleet import slices

        buckets = [
            read_bucket(self.opened.lake, entry, [slices.PARTITION]) for entry in self.opened.dataset.files["rows"]
        ]
        chunks = [chunk for rows in buckets for chunk in rows.column(0).cast(pa.string()).chunks]
        found = pa.chunked_array(chunks, pa.string())
        return {row["values"]: row["counts"] for row in pc.value_counts(found).to_pylist()}


def _rows_of(opened: pack.Pack | None, key: str) -> list[Json]:
    if opened is None:
        return []
    hashed = keys.hash_of(key)
    return [row for row in opened.rows(hashed, hashed + 1).to_pylist() if row["partition"] == key]


def _read(lake: Any, entries: Sequence[Any], columns: list[str] | None = None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for entry in entries:
        with lake.open_input(entry.path) as file:
            tables.append(pq.read_table(file, columns=columns))
    return pa.concat_tables(tables)
