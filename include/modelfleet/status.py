"""What there is: the runs in force and the stale ones, models by key and tags, one model explained. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelfleet import keys, pack, registry
from modelfleet.errors import DataError, NotFoundError, bounded
from modelfleet.group_models import GroupModels
from modelfleet.lake import FileEntry, Lake, RunManifest, StepManifest, runs
from modelfleet.plan import PIPELINES
from modelfleet.steps import restating
from modelfleet.steps.restating import Ingested

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.registry import FleetVersion
    from modelfleet.spec import FleetSpec

Json = dict[str, Any]


@dataclass(frozen=True)
class RunState:
    """The run in force of one interval; `stale` says what it was made from that has changed since."""

    pipeline: str
    interval: str
    attempt: str
    status: str
    committed_at: str
    stale: tuple[str, ...]
    facts: Json


def run_states(lake: Lake, fleet: str) -> list[RunState]:
    """Every run in force of a fleet, by pipeline and interval."""
    in_force: dict[tuple[str, str], RunManifest] = {
        (p, run.interval.key): run for p in PIPELINES for run in runs.all_committed(lake, fleet, p)
    }
    ingested = {key: Ingested.of(run) for (pipeline, key), run in in_force.items() if pipeline == "ingest"}
    made_from = _Staleness(in_force, ingested)
    return [
        RunState(pipeline, key, run.attempt, run.status, run.committed_at, made_from.why(run), _plain(run.facts))
        for (pipeline, key), run in in_force.items()
    ]


def fleet_status(spec: FleetSpec) -> Json:
    """A fleet's champion, its runs in force, and where to look; plain values for people and ``--json``.

    A registry that can't be reached is said in `champion`, not raised: the rest is still worth reading.
    """
    lake = Lake.open()
    return {
        "fleet": spec.name,
        "owner": spec.owner,
        "champion": _champion(spec.name),
        "runs": [_state(state) for state in run_states(lake, spec.name)],
        "lake": lake.location(spec.name),
    }


def find(spec: FleetSpec, where: str | None, *, limit: int = 1000) -> pa.Table:
    """The models of the champion fleet (else of the last training) for which `where` is true.

    :param where: a SQL expression over the columns of a model row and ``tags``, a map: ``carrier = 'AA' AND mae > 10``,
        ``tags['domain'] = 'retail'``. It is evaluated by DuckDB without access to files or the network.
    :raises DataError: for an expression that is none.
    :raises NotFoundError: when nothing is trained yet.
    """
    import duckdb
    import pyarrow as pa

    opened = _serving_pack(spec) or _trained_pack(Lake.open(), spec)
    if opened is None:
        raise NotFoundError(
            f"fleet {spec.name!r} has no models yet", hint=f"modelfleet run {spec.name} --interval <day>"
        )
    index = opened.index()
    tags = pa.array([list(spec.tags.items())] * index.num_rows, pa.map_(pa.string(), pa.string()))
    index = index.drop_columns([pack.HASH]).append_column("tags", tags)
    with duckdb.connect(config={"enable_external_access": "false"}) as con:
        con.register("models", index)
        con.execute("SET lock_configuration = true")
        try:
            relation = con.table("models")
            # As an expression object, so that the text can be a condition and nothing else.
            found = relation if where is None else relation.filter(duckdb.SQLExpression(where))
            return found.order("partition").limit(limit).to_arrow_table()
        except duckdb.Error as exc:
            raise DataError(
                f"fleet {spec.name!r}: --where {where!r} is no condition: {str(exc).splitlines()[0]}",
                hint=f"columns are {bounded(index.column_names, limit=60)}",
            ) from exc


def explain(spec: FleetSpec, partition: str) -> Json:
    """Everything about one partition's model: data, candidates, metrics, the decision and its rule, what serves it.

    `look_closer` is the Python expression that fits its very rows again, where a debugger can follow.

    :raises DataError: for a text that is no key of this fleet.
    :raises NotFoundError: when no training or champion knows the partition.
    """
    lake = Lake.open()
    trained, serving = _trained_pack(lake, spec), _serving_pack(spec)
    known = serving or trained
    if known is None:
        raise NotFoundError(
            f"fleet {spec.name!r} has no models yet", hint=f"modelfleet run {spec.name} --interval <day>"
        )
    types = dict(known.header.key_types)
    key = keys.encode(tuple(types), tuple(keys.decode(keys.quoted(partition, tuple(types)), types).values()))
    row, served = (None if opened is None else opened.find(key) for opened in (trained, serving))
    if row is None and served is None:
        raise NotFoundError(
            f"fleet {spec.name!r} knows no partition {key!r}",
            hint=f'list them: modelfleet find {spec.name} --where "..."',
        )
    champion = _champion(spec.name)
    interval = (row or served or {})["trained_interval"]
    return {
        "fleet": spec.name,
        "partition": key,
        "keys": keys.decode(key, types),
        "training": row,
        "candidates": json.loads((row or {}).get("candidates") or "[]"),
        "decision": _decision(lake, spec.name, key, champion),
        "serving": served
        and {
            "source": _source(serving, served),
            "version": champion and champion.get("version"),
            "trained_interval": served["trained_interval"],
            "baseline_value": served["baseline_value"],
            "model_digest": served["model_digest"],
        },
        "last_score": _last_outcome(lake, spec.name, key),
        "look_closer": f"modelfleet.open({spec.name!r}, {interval!r}).partition({key!r}).fit(debug=True)",
    }


class _Staleness:
    """Why runs are stale; of a stale run everything made from it is stale too."""

    def __init__(self, in_force: Mapping[tuple[str, str], RunManifest], ingested: Mapping[str, Ingested]) -> None:
        self._in_force, self._ingested = in_force, ingested
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}

    def why(self, run: RunManifest) -> tuple[str, ...]:
        """What the run was made from that is in force no more, or was restated since."""
        place = run.pipeline, run.interval.key
        if place not in self._known:
            self._known[place] = (*self._inputs(run), *restating.reasons(run, self._ingested))
        return self._known[place]

    def _inputs(self, run: RunManifest) -> Iterator[str]:
        for name, used in run.inputs.items():
            pipeline, _, key = name.partition("/")
            if pipeline not in PIPELINES:
                continue
            now = self._in_force.get((pipeline, key))
            if now is None or now.digest != used["digest"]:
                yield f"{name} was made again" if now else f"{name} is gone"
            elif self.why(now):
                yield f"{name} is stale"


def _state(state: RunState) -> Json:
    return {**state.__dict__, "stale": list(state.stale)}


def _plain(facts: Json) -> Json:
    return {name: value for name, value in facts.items() if name not in ("tables", "bytes")}


def _champion(fleet: str) -> Json | None:
    from modelfleet.errors import ModelfleetError

    try:
        version = registry.champion(fleet)
    except ModelfleetError as exc:
        return {"version": None, "error": exc.message}
    return (
        None
        if version is None
        else {"version": version.version, "interval": version.interval, "tags": dict(version.tags)}
    )


def _serving_pack(spec: FleetSpec) -> pack.Pack | None:
    version: FleetVersion | None = registry.champion(spec.name)
    if version is None:
        return None
    return pack.Pack.in_lake(Lake.open(), version.pack_manifest, digest=version.header_digest)


def _trained_pack(lake: Lake, spec: FleetSpec) -> pack.Pack | None:
    trained = _last(lake, spec.name, "train", "train")
    return None if trained is None else pack.Pack.in_lake(lake, trained.files["pack"][0].path)


def _last(lake: Lake, fleet: str, pipeline: str, step: str) -> StepManifest | None:
    committed = runs.all_committed(lake, fleet, pipeline)
    if not committed:
        return None
    return runs.load_step(lake, fleet, pipeline, committed[-1].interval.key, committed[-1].attempt, step)


def _source(opened: pack.Pack | None, served: Json) -> str:
    """What serves a partition: its model, the first coarser level that has one, else what its row says."""
    if opened is None or served["serves"] == "model":
        return str(served["serves"])
    rows = opened.groups(models=False)
    held = GroupModels.of([] if rows is None else rows.to_pylist())
    found = (level for level in opened.header.fleet_spec.levels if held.row(level, served) is not None)
    return next(found, str(served["serves"]))


def _decision(lake: Lake, fleet: str, key: str, champion: Json | None) -> Json | None:
    """The decision behind what serves; of the last promotion while nothing does."""
    tags = (champion or {}).get("tags") or {}
    decided = (
        runs.load_step(lake, fleet, "promote", tags["interval"], tags["attempt"], "decide")
        if tags
        else _last(lake, fleet, "promote", "decide")
    )
    return None if decided is None else _lookup(lake, decided.files["decisions"], key)


def _last_outcome(lake: Lake, fleet: str, key: str) -> Json | None:
    committed = runs.all_committed(lake, fleet, "score")
    for run in reversed(committed):
        scored = runs.load_step(lake, fleet, "score", run.interval.key, run.attempt, "score")
        found = None if scored is None else _lookup(lake, [_of_bucket(scored.files["outcomes"], key)], key)
        if found is not None:
            return {"interval": run.interval.key, **found}
    return None


def _of_bucket(entries: Sequence[FileEntry], key: str) -> FileEntry:
    """The file of the bucket that a partition belongs to, of those of all buckets."""
    return entries[keys.bucket_of(keys.hash_of(key), len(entries))]


def _lookup(lake: Lake, entries: Sequence[FileEntry], key: str) -> Json | None:
    import pyarrow.parquet as pq

    for entry in entries:
        with lake.open_input(entry.path) as file:
            rows = pq.read_table(file, filters=[("partition", "=", key)]).to_pylist()
        if rows:
            return dict(rows[0])
    return None
