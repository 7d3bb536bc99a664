"""Models over many partitions, before the buckets are trained: of coarser levels, and of candidates of the whole fleet.

The grouped rows are split once more, by the level's key; then each bucket of groups is one task, which ends with a sidecar. A
group of more than `MAX_ROWS` rows is fitted on whole partitions of it, those of the smallest hashes; no more are read.
"""

from __future__ import annotations

import secrets
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import dataset, engine, keys, pack, slices
from modelfleet.forecast_model import ForecastModel
from modelfleet.group_models import CANDIDATE, FLEET, group_of
from modelfleet.lake.buckets import BucketPlace, BucketResult, finish, kept
from modelfleet.lake.store import FileEntry
from modelfleet.prediction import OF_CODE, TRANSIENT, NoModelError, Reason
from modelfleet.shared_model import SharedModel
from modelfleet.training.group_fitting import FINAL, fit_group, folds_table
from modelfleet.training.plan import TrainingPlan

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from modelfleet.lake.store import Lake
    from modelfleet.spec import Learner
    from modelfleet.training.carrying import Carrying

MAX_ROWS = 1_000_000
WHOLE = (FLEET, CANDIDATE)
"""The levels whose one group is the whole fleet."""
_Sources = tuple[dataset.Part | FileEntry, ...]
"""Where the rows of a bucket of groups are: parts of fragments, or the dataset's own buckets."""


@dataclass(frozen=True)
class TrainedGroups:
    """What the buckets need of the groups: rows (level, group, candidate, fold, digest, model), by level and group."""

    learners: Mapping[str, Learner] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    _loaded: dict[str, Any] = field(default_factory=dict)

    def shared(self, name: str, fold: int | None) -> Any:
        """The model of a candidate over the whole fleet; of all rows (None) as a reference, whose bytes the pack has.

        :raises NoModelError: the one with which its own training ended.
        """
        row = self._row(CANDIDATE, name, FINAL if fold is None else fold)
        if row is None or row["model"] is None:
            final = self._row(CANDIDATE, name, FINAL) or {}
            why = final.get("message") or "it was not fitted for this fold"
            own = final.get("reason")  # a retry goes by it
            reason = Reason(own) if own in TRANSIENT | OF_CODE else Reason.FIT_RAISED
            raise NoModelError("failed", reason, f"candidate {name!r} over the fleet: {why}")
        model = self._load(row)
        if fold is not None:
            return model
        reference = SharedModel(row["model_digest"], model)
        return ForecastModel(reference) if isinstance(model, ForecastModel) else reference

    def of(self, level: str, values: Mapping[str, Any], fold: int) -> tuple[Learner, Any] | None:
        """The chosen candidate of the group that a partition belongs to, and its model before a fold; None without one."""
        row = self._row(level, group_of(level, values), fold)
        if row is None or row["model"] is None:
            return None
        return replace(self.learners[row["candidate"]], scope="fleet"), self._load(row)

    def _row(self, level: str, group: str, fold: int) -> Mapping[str, Any] | None:
        return next((row for row in self.rows.get((level, group), ()) if row["fold"] == fold), None)

    def _load(self, row: Mapping[str, Any]) -> Any:
        digest = row["model_digest"]
        if digest not in self._loaded:
            self._loaded[digest] = pack.load_model(row["model"], digest)
        return self._loaded[digest]


@dataclass(frozen=True)
class GroupFiles:
    """What `train` wrote: rows of the pack, and the models of every fold that the buckets need."""

    pack: tuple[FileEntry, ...] = ()
    folds: tuple[FileEntry, ...] = ()
    digests: tuple[str, ...] = ()


def wanted(plan: TrainingPlan) -> tuple[str, ...]:
    """The levels to train: those that partitions fall back on, and that of candidates over the whole fleet."""
    competing = any(learner.scope == "fleet" for learner in plan.learners)
    return (*plan.levels, *((CANDIDATE,) if competing else ()))


def train(
    spark: SparkSession,
    lake: Lake,
    places: Mapping[str, tuple[BucketPlace, Sequence[BucketPlace]]],
    plan: TrainingPlan,
    key_fields: tuple[pa.Field, ...],
    rows: Sequence[FileEntry],
    progress: engine.Progress | None = None,
    *,
    carrying: Carrying | None = None,
) -> GroupFiles:
    """Fit the groups of every level, but for those that a killed attempt has fitted.

    :param places: where each level's files go, whose buckets are those of the groups' keys; and where earlier attempts put
        theirs.
    :param rows: the dataset's buckets, in the order of their hashes.
    :param carrying: what is taken from an earlier training.
    """
    fragments = _split_all(spark, lake, places, rows, progress)
    sources: dict[tuple[str, int], _Sources] = {}
    for level in places:
        if level in WHOLE:
            sources |= {(level, 0): tuple(entry for entry in rows if entry.rows)}
            continue
        listed = [found[level] for found in fragments]
        present = sorted({bucket for fragment in listed for bucket in fragment.buckets})
        sources |= {(level, b): tuple(f.part(b) for f in listed if b in f.buckets) for b in present}
    sources = {group: given for group, given in sources.items() if given}
    made: dict[tuple[str, int], BucketResult] = {}
    for level, (place, earlier) in places.items():
        wanted = [bucket for at, bucket in sources if at == level]
        made |= {(level, bucket): result for bucket, result in kept(lake, place, earlier, wanted).items()}
    todo = [(*group, given) for group, given in sources.items() if group not in made]
    work = partial(
        _fit_bucket, lake, {level: place for level, (place, _) in places.items()}, plan, key_fields, carrying
    )
    fitted = engine.fan_out(spark, work, todo, label="groups", progress=progress)
    made |= {(level, bucket): result for (level, bucket, _), result in zip(todo, fitted, strict=True)}
    for fragment in (fragment for found in fragments for fragment in found.values()):
        lake.delete(fragment.path)
    results = [made[group] for group in sources]
    return GroupFiles(
        tuple(result.files["pack"] for result in results),
        tuple(result.files["folds"] for result in results),
        tuple(result.facts["digest"] for result in results),
    )


def read(lake: Lake, plan: TrainingPlan, files: Sequence[FileEntry], bucket: pa.Table) -> TrainedGroups:
    """The groups that the partitions of a bucket belong to."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not files:
        return TrainedGroups()
    needed = {FLEET, *(learner.name for learner in plan.learners)}
    for level in plan.levels:
        if level != FLEET:
            needed |= {keys.encode([level], [value]) for value in pc.unique(bucket.column(level)).to_pylist()}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in files:
        with lake.open_input(entry.path) as file:
            table = pq.read_table(file, filters=pc.field("partition").isin(sorted(needed)))
        for row in table.to_pylist():
            found.setdefault((row["level"], row["partition"]), []).append(row)
    return TrainedGroups({learner.name: learner for learner in plan.learners}, found)


def _split_all(
    spark: SparkSession,
    lake: Lake,
    places: Mapping[str, tuple[BucketPlace, Sequence[BucketPlace]]],
    rows: Sequence[FileEntry],
    progress: engine.Progress | None,
) -> list[dict[str, dataset.Fragment]]:
    """The rows split by the groups of each level but the whole fleet's."""
    keyed = {level: place for level, (place, _) in places.items() if level not in WHOLE}
    tasks = [entry for entry in rows if entry.rows] if keyed else []
    return engine.fan_out(spark, partial(_split, lake, keyed), tasks, label="split groups", progress=progress)


def _split(lake: Lake, places: Mapping[str, BucketPlace], entry: FileEntry) -> dict[str, dataset.Fragment]:
    """One bucket's rows, split by the groups of each level."""
    rows = _named(dataset.read_bucket(lake, entry))
    made = {}
    for level, place in places.items():
        hashed, codes = keys.hash_columns(rows, (level,))
        made[level] = dataset.write_fragment(lake, place, rows, hashed, codes)
    return made


def _named(rows: pa.Table) -> pa.Table:
    """Rows whose partitions are plain text: dictionaries of several buckets don't go together."""
    place = rows.column_names.index(slices.PARTITION)
    return rows.set_column(place, slices.PARTITION, rows.column(slices.PARTITION).cast("string"))


def _fit_bucket(
    lake: Lake,
    places: Mapping[str, BucketPlace],
    plan: TrainingPlan,
    key_fields: tuple[pa.Field, ...],
    carrying: Carrying | None,
    task: tuple[str, int, _Sources],
) -> BucketResult:
    """Fit the groups of one level whose keys hash into one bucket."""
    import pyarrow as pa

    level, bucket, sources = task
    place, table = places[level], _in_order(_gathered(lake, level, sources))
    final, folds = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        groups = _groups(table, level)
        names = [learner.name for learner in plan.learners] if level == CANDIDATE else [group for group, _ in groups]
        earlier = {} if carrying is None else carrying.groups(lake, level, names, plan)
        for group, rows in groups:
            sampled = _sampled(rows)
            fingerprint = slices.fingerprint(slices.row_hashes(sampled))
            taken = earlier.get(fingerprint)
            trained, of_folds = (taken.rows, taken.folds) if taken else fit_group(plan, level, group, sampled)
            final += [{**row, "fingerprint": fingerprint} for row in trained]
            folds += of_folds
    packed = pa.Table.from_pylist(final, schema=pack.row_schema(key_fields, plan.metrics))
    token = secrets.token_hex(4)
    files = {
        "pack": pack.write_rows(lake, place.file(f"groups-{level}", bucket, token, "parquet"), packed),
        "folds": pack.write_rows(lake, place.file(f"folds-{level}", bucket, token, "parquet"), folds_table(folds)),
    }
    return finish(lake, place, BucketResult(bucket, files, {"digest": pack.content_digest(packed)}))


def _gathered(lake: Lake, level: str, sources: _Sources) -> pa.Table:
    """The rows of a bucket of groups; of a group's, no more is read when those that are fitted are there.

    Sources are in the order of their partitions' hashes, which is that in which `_sampled` takes them.
    """
    import pyarrow as pa

    tables: list[pa.Table] = []
    have: Counter[str] = Counter()
    for source in sources:
        if level in WHOLE and have[FLEET] >= MAX_ROWS:
            break
        rows = (
            dataset.read_part(lake, source)
            if isinstance(source, dataset.Part)
            else _named(dataset.read_bucket(lake, source))
        )
        names, codes = _coded(rows, level)
        lacking = np.array([have[name] < MAX_ROWS for name in names])[codes]
        have.update(dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True)))
        tables.append(rows if lacking.all() else rows.filter(pa.array(lacking)))
    return pa.concat_tables(tables)


def _in_order(table: pa.Table) -> pa.Table:
    """Partitions together, by the hash of their key, and in the order of time."""
    import pyarrow as pa

    names = table.column(slices.PARTITION).dictionary_encode().combine_chunks()
    listed = names.dictionary.to_pylist()
    order = sorted(range(len(listed)), key=lambda place: (keys.hash_of(listed[place]), listed[place]))
    rank = np.empty(len(listed), np.int32)
    rank[order] = np.arange(len(listed), dtype=np.int32)
    codes = rank[names.indices.to_numpy()]
    partition = pa.DictionaryArray.from_arrays(
        pa.array(codes), pa.array([listed[place] for place in order], pa.string())
    )
    table = table.set_column(table.column_names.index(slices.PARTITION), slices.PARTITION, partition)
    # Each partition lies whole in one bucket, whose order it keeps.
    return table.take(pa.array(np.argsort(codes, kind="stable"))).combine_chunks()


def _groups(table: pa.Table, level: str) -> list[tuple[str, pa.Table]]:
    import pyarrow as pa

    names, codes = _coded(table, level)
    if len(names) == 1:
        return [(names[0], table)]
    return sorted((name, table.filter(pa.array(codes == place))) for place, name in enumerate(names))


def _coded(rows: pa.Table, level: str) -> tuple[list[str], np.ndarray]:
    """The groups of a level that have rows here, and each row's place among them."""
    if level in WHOLE:
        return [FLEET], np.zeros(rows.num_rows, np.int64)
    return keys.encode_columns(rows, (level,))


def _sampled(rows: pa.Table) -> pa.Table:
    """At most about `MAX_ROWS`, by whole partitions: the first ones, in the order of their hashes."""
    if rows.num_rows <= MAX_ROWS:
        return rows
    ends = [end for _, _, end in slices.bounds(rows)]
    return rows.slice(0, max([end for end in ends if end <= MAX_ROWS], default=ends[0]))
