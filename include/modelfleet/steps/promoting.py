"""The steps of promote: decide, publish, commit."""

from __future__ import annotations

import secrets
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelfleet import pack, promotion, registry, slices
from modelfleet.errors import ConflictError, CorruptionError, DataError
from modelfleet.group_models import CANDIDATE
from modelfleet.lake import FileEntry, StepManifest, runs
from modelfleet.lake.buckets import BucketPlace
from modelfleet.matrices import Inputs
from modelfleet.steps import preparing
from modelfleet.steps.packaging import pack_model
from modelfleet.steps.runner import Context, StepFunction, StepResult, record_done
from modelfleet.steps.training import HEADER, open_pack, release, write_header

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.lake.runs import Json
    from modelfleet.spec import Gate

DECISIONS = "decisions"


def decide(ctx: Context) -> StepResult:
    """One decision per partition, by the rules of the gate."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    challenger, champion = _challenger(ctx), _champion(ctx)
    if champion is not None and champion.header.key_types != challenger.header.key_types:
        raise DataError(
            f"fleet {ctx.spec.name!r}: the keys of {ctx.interval} are {_named(challenger.header.key_types)}, "
            f"the champion's {_named(champion.header.key_types)}; nothing is promoted",
            hint="cast the key column in `prepare` to what it was, or give the new keys a fleet of their own name",
        )
    result = _judge(
        ctx,
        ctx.spec.gate,
        challenger.index(),
        None if champion is None else champion.index(["partition", "serves"]),
    )
    own = result.decisions.append_column("level", pa.nulls(result.decisions.num_rows, pa.string()))
    decisions = pa.concat_tables([own, *_of_groups(ctx, challenger, champion, passed=result.passed)])
    path = ctx.attempt.path(f"decide/decisions-{secrets.token_hex(4)}.parquet")
    ctx.lake.make_folder_of(path)
    with ctx.lake.fs.open_output_stream(path) as sink:
        pq.write_table(decisions, sink, compression="zstd")
    facts = {
        **result.totals,
        "passed": result.passed,
        "failed_fleet_rule": result.failed_fleet_rule,
        "mode": ctx.spec.gate.mode,
        "reasons": _reasons(result.decisions),
    }
    digest = slices.digest_of_parts(
        (row["partition"], f"{row['decision']} {row['rule']}")
        for row in decisions.select(["partition", "decision", "rule"]).to_pylist()
    )
    return StepResult({DECISIONS: (ctx.lake.entry(path, decisions.num_rows),)}, digest, facts)


def _judge(ctx: Context, gate: Gate, challengers: pa.Table, champions: pa.Table | None) -> promotion.GateResult:
    pinned = ctx.attempt.inputs.get("champion") or {}
    return promotion.decide(
        gate,
        _as_compared(ctx, challengers),
        None if champions is None else _as_champions(champions),
        metrics=_metrics(ctx),
        key_columns=tuple(ctx.spec.partition_by),
        challenger_interval=ctx.interval,
        champion_version=pinned.get("version"),
        champion_interval=pinned.get("interval"),
    )


def _of_groups(ctx: Context, challenger: pack.Pack, champion: pack.Pack | None, *, passed: bool) -> list[pa.Table]:
    """The decisions about models of coarser levels, by the same rules for each; they follow the fleet's rules.

    They count in no total of the fleet, whose rows are its partitions.
    """
    import pyarrow.compute as pc

    ours, theirs = (None if given is None else given.groups(models=False) for given in (challenger, champion))
    fallbacks = None if ours is None else ours.filter(pc.not_equal(ours.column("level"), CANDIDATE))
    if not passed or fallbacks is None or fallbacks.num_rows == 0:
        return []
    served = None if theirs is None else theirs.filter(pc.not_equal(theirs.column("level"), CANDIDATE))
    if served is None and champion is not None:
        served = fallbacks.slice(0, 0)
    decided = _judge(ctx, ctx.spec.gate.model_copy(update={"fleet": ()}), fallbacks, served).decisions
    levels = pc.list_element(pc.split_pattern(decided.column("partition"), "="), 0)  # item=2 is of the level item
    return [decided.append_column("level", levels)]


def decide_fingerprint(ctx: Context) -> Json:
    """All that the step's result depends on."""
    return {
        "inputs": {name: used["digest"] for name, used in ctx.attempt.inputs.items()},
        "gate": ctx.spec.gate.model_dump(mode="json"),
        "forced": _forced(ctx),
        "champion": (ctx.attempt.inputs.get("champion") or {}).get("version"),
    }


def publish(ctx: Context) -> StepResult:
    """Make the promoted challengers and kept champions one pack, one production version, and the champion.

    When the gate let nothing through, or a fleet rule failed, the champion stays as it is.
    """
    decided = ctx.step("decide")
    if not decided.facts["passed"] or decided.facts["promoted"] == 0:
        return StepResult({}, decided.digest, {**decided.facts, "version": _pinned_version(ctx), "moved": False})
    header, header_file = _compose(ctx, decided)
    serving = registry.champion(ctx.spec.name)
    if serving is not None and (serving.pack_digest, serving.interval) == (header.digest, ctx.interval):
        # The promotion is repeated, or was killed after the alias had moved.
        return StepResult(
            {HEADER: (header_file,)}, header.digest, {**decided.facts, "version": serving.version, "moved": False}
        )
    version = _publish(ctx, decided, header, header_file)
    _refuse_to_undo_a_rollback(ctx, version)
    # Nothing can be taken back once the alias has moved, so an attempt that was overtaken stops here.
    runs.check_not_overtaken(ctx.lake, ctx.attempt)
    registry.set_champion(ctx.spec.name, version, expected=_expected(ctx, serving), force=_forced(ctx))
    return StepResult({HEADER: (header_file,)}, header.digest, {**decided.facts, "version": version, "moved": True})


def _expected(ctx: Context, serving: registry.FleetVersion | None) -> int | None:
    """The version that the alias may be moved away from: the one that was met, or an earlier promotion of this training."""
    met = _pinned_version(ctx)
    if serving is None or _forced(ctx):
        return serving.version if serving is not None else met
    same_training = serving.tags.get("lineage") == ctx.attempt.options["lineage"]
    return serving.version if same_training and serving.tags.get("met_champion") == (str(met) if met else None) else met


def _refuse_to_undo_a_rollback(ctx: Context, version: int) -> None:
    moves = registry.history(ctx.spec.name)
    if moves and moves[-1].why == "rolled back" and moves[-1].from_version == version and not _forced(ctx):
        raise ConflictError(
            f"fleet {ctx.spec.name!r}: version {version} was rolled back; the same models are not promoted again",
            hint="train again, or promote on purpose: force",
        )


def _forced(ctx: Context) -> bool:
    return bool(ctx.attempt.options.get("force"))


def _publish(ctx: Context, decided: StepManifest, header: pack.PackHeader, header_file: FileEntry) -> int:
    """The version of the pack in the production registry; nothing serves it yet."""
    with tempfile.TemporaryDirectory(prefix="modelfleet-pack-") as temporary:
        pack.copy_to_folder(ctx.lake, header, Path(temporary))
        return registry.publish(
            release(
                ctx,
                header,
                _trained(ctx).facts,
                lineage=ctx.attempt.options["lineage"],
                met_champion=_pinned_version(ctx),
                header_digest=pack.header_digest(header.to_json()),
            ),
            pack_model(ctx.spec, header, Path(temporary)),
            pack_manifest=header_file.path,
            staging_version=_staging_version(ctx),
            metrics={name: decided.facts[name] for name in ("promoted", "kept", "rejected")},
        )


def commit(ctx: Context) -> StepResult:
    """Put the promotion in force and its decisions in the warehouse."""
    decided = ctx.step("decide")
    # As published: whatever serves by now, such as after a rollback, is not what was decided here.
    version = ctx.step("publish").facts["version"]
    decisions = _read_decisions(ctx, decided)
    import pyarrow as pa

    facts = {**decided.facts, "version": version}
    manifest = runs.commit(ctx.lake, ctx.attempt, status="committed", steps=[decided], facts=facts)
    # After the commit, so that an attempt that was overtaken leaves no decisions.
    served = decisions.append_column("serves_version", pa.array([version] * decisions.num_rows, pa.int64()))
    ctx.warehouse.load_decisions(ctx.spec.name, ctx.interval, ctx.maker("decide").id, served)
    record_done(ctx, status="committed", rows=decisions.num_rows, counts=facts)
    return StepResult({}, manifest.digest, facts)


def _compose(ctx: Context, decided: StepManifest) -> tuple[pack.PackHeader, FileEntry]:
    """The pack of the fleet to come, bucket by bucket: promoted challengers, kept champions, baselines for the rest."""
    import pyarrow.compute as pc

    place = BucketPlace.of(ctx.attempt, "publish", fingerprint="", buckets=0)
    challenger, champion = _challenger(ctx), _champion(ctx)
    decisions = {row["partition"]: row["decision"] for row in _read_decisions(ctx, decided).to_pylist()}
    files, digests, serving = [], [], []
    for position, (low, high) in enumerate(challenger.header.ranges):
        rows = _chosen(
            challenger.rows(low, high),
            None if champion is None else champion.rows(low, high),
            decisions,
            forecasts=challenger.header.problem == "forecast",
        )
        path = place.file("pack", position, secrets.token_hex(4), "parquet")
        files.append((pack.write_rows(ctx.lake, path, rows), (low, high)))
        digests.append(pack.content_digest(rows))
        serving += (
            rows.filter(pc.equal(rows.column("serves"), "model")).select(["code", "features", "shared"]).to_pylist()
        )
    groups = _groups(challenger, champion, decisions, {row["shared"] for row in serving if row["shared"]})
    group_files = []
    if groups is not None:
        path = place.file("groups", 0, secrets.token_hex(4), "parquet")
        group_files.append(pack.write_rows(ctx.lake, path, groups))
        digests.append(pack.content_digest(groups))
        serving += groups.select(["code", "features", "shared"]).to_pylist()
    inputs = _inputs(challenger.header, None if champion is None else champion.header, {r["features"] for r in serving})
    header = pack.make_header(
        ctx.spec,
        key_types=dict(challenger.header.key_types),
        time_type=challenger.header.time_type,
        feature_types=_feature_types(challenger.header, None if champion is None else champion.header, inputs),
        inputs=inputs,
        code=[*challenger.header.code, *sorted({row["code"] for row in serving if row["code"]})],
        files=files,
        groups=group_files,
        digest=slices.combine(digests),
    )
    # Every try writes a header of its own: the names of the files differ, their content does not.
    path = ctx.attempt.path(f"publish/pack-{secrets.token_hex(4)}.json")
    return header, write_header(ctx.lake, path, header)


def _inputs(challenger: pack.PackHeader, champion: pack.PackHeader | None, used: set[str | None]) -> dict[str, Any]:
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


def _groups(
    challenger: pack.Pack, champion: pack.Pack | None, decisions: dict[str, str], shared: set[str]
) -> pa.Table | None:
    """The models over many partitions to come: promoted or kept like others, and all that a serving model refers to."""
    import pyarrow as pa

    ours, theirs = challenger.groups(), None if champion is None else champion.groups()
    listed: dict[tuple[str, str, str], dict[str, Any]] = {}
    for table, wanted in ((ours, "promoted"), (theirs, "kept")):
        for row in [] if table is None else table.to_pylist():
            decision = decisions.get(row["partition"], "kept" if table is theirs else "rejected")
            # The same bytes may be a level's model too, which serves only where the gate let it.
            serves = row["model_digest"] in shared if row["level"] == CANDIDATE else decision == wanted
            if row["model_digest"] is not None and serves:
                name = row["model_digest"] if row["level"] == CANDIDATE else ""
                listed.setdefault((row["level"], row["partition"], name), row)
    if not listed:
        return None
    schema = (ours if ours is not None else theirs).schema  # type: ignore[union-attr]
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in schema.names} for _, row in sorted(listed.items())], schema=schema
    )


def _chosen(
    challengers: pa.Table, champions: pa.Table | None, decisions: dict[str, str], *, forecasts: bool
) -> pa.Table:
    """The rows that serve from now on, in the order of the keys' hashes."""
    import pyarrow as pa

    schema = challengers.schema
    chosen = [_serving(row, decisions[row["partition"]], forecasts) for row in challengers.to_pylist()]
    if champions is not None:
        held = {row["partition"] for row in chosen if row["serves"] == "model"}
        keep = [
            row
            for row in champions.to_pylist()
            if decisions.get(row["partition"]) == "kept" and row["partition"] not in held
        ]
        kept = {row["partition"] for row in keep}
        chosen = [row for row in chosen if row["partition"] not in kept] + keep
        # A partition that left the data and has no model keeps its baseline.
        known = {row["partition"] for row in chosen}
        chosen += [row for row in champions.to_pylist() if row["partition"] not in known]
    chosen.sort(key=lambda row: (row[pack.HASH], row["partition"]))
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in chosen], schema=schema)


def _serving(row: dict[str, Any], decision: str, forecasts: bool) -> dict[str, Any]:
    """The row as it serves: without its model where that is not promoted. A forecast's baseline needs no number."""
    if decision == "promoted":
        return row
    otherwise = "baseline" if forecasts or row["baseline_value"] is not None else "none"
    without = {**row, pack.MODEL: None, "model_digest": None}
    return {**without, "shared": None, "serves": otherwise if row["serves"] == "model" else row["serves"]}


def _named(key_types: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in key_types)


def _challenger(ctx: Context) -> pack.Pack:
    return open_pack(ctx.lake, _trained(ctx).files[HEADER][0])


def _trained(ctx: Context) -> StepManifest:
    pinned = ctx.attempt.inputs[f"train/{ctx.interval}"]
    found = runs.load_step(ctx.lake, ctx.spec.name, "train", ctx.interval, pinned["attempt"], "train")
    if found is None:
        raise CorruptionError(
            f"fleet {ctx.spec.name!r}: the committed training of {ctx.interval} has lost its manifest"
        )
    return found


def _staging_version(ctx: Context) -> int | None:
    """The version of the training in the staging registry."""
    attempt = ctx.attempt.inputs[f"train/{ctx.interval}"]["attempt"]
    noted = runs.load_step(ctx.lake, ctx.spec.name, "train", ctx.interval, attempt, "register")
    return None if noted is None else int(noted.facts["version"])


def _champion(ctx: Context) -> pack.Pack | None:
    return preparing.champion_pack(ctx) if "champion" in ctx.attempt.inputs else None


def _pinned_version(ctx: Context) -> int | None:
    return (ctx.attempt.inputs.get("champion") or {}).get("version")


def _metrics(ctx: Context) -> tuple[str, ...]:
    from modelfleet import metric_names

    return (*metric_names.names(ctx.spec.problem.kind), *ctx.spec.training.metrics)


def _as_compared(ctx: Context, challengers: pa.Table) -> pa.Table:
    """The challengers' rows as they met the pinned champion.

    A forced promotion may meet another champion than the training did, and may replace one that can't be evaluated any
    more: then there is no comparison, and the decisions say so.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _forced(ctx):
        return challengers
    statuses = challengers.column("champion_status")
    trained = runs.committed(ctx.lake, ctx.spec.name, "train", ctx.interval)
    met = ((trained.inputs.get("champion") if trained else None) or {}).get("version")
    other = pa.scalar(met != _pinned_version(ctx))
    void = pc.and_(pc.not_equal(statuses, "none"), pc.or_(other, pc.equal(statuses, "failed")))
    position = challengers.column_names.index("champion_status")
    return challengers.set_column(position, "champion_status", pc.if_else(void, "not_comparable", statuses))


def _as_champions(index: pa.Table) -> pa.Table:
    import pyarrow as pa

    statuses = ["trained" if serves == "model" else "skipped" for serves in index.column("serves").to_pylist()]
    return pa.table({"partition": index.column("partition"), "status": pa.array(statuses, pa.string())})


def _read_decisions(ctx: Context, decided: StepManifest) -> pa.Table:
    import pyarrow.parquet as pq

    entry = decided.files[DECISIONS][0]
    if not ctx.lake.holds(entry):
        raise DataError(f"{entry.path!r} is not what the step decide wrote")
    with ctx.lake.open_input(entry.path) as file:
        return pq.read_table(file)


def _reasons(decisions: pa.Table) -> dict[str, dict[str, int]]:
    """The rules (or the lack of a model) behind what was not promoted, most frequent first."""
    grouped: dict[str, Counter[str]] = {}
    for row in decisions.select(["decision", "rule", "reason"]).to_pylist():
        if row["decision"] != "promoted":
            grouped.setdefault(row["decision"], Counter())[row["rule"] or row["reason"].partition(":")[0]] += 1
    return {decision: dict(counter.most_common(5)) for decision, counter in grouped.items()}


STEPS = {
    "promote.decide": StepFunction(decide, decide_fingerprint),
    "promote.publish": StepFunction(publish),
    "promote.commit": StepFunction(commit),
}
