"""The step decide of promote, and what the steps after it read: the training, the champion, the decisions."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelfleet import pack, promotion, slices
from modelfleet.errors import CorruptionError, DataError
from modelfleet.group_models import CANDIDATE
from modelfleet.lake import StepManifest, runs
from modelfleet.steps import preparing
from modelfleet.steps.runner import Context, StepResult
from modelfleet.steps.training import HEADER, open_pack

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from modelfleet.lake.runs import Json
    from modelfleet.spec import Gate

DECISIONS = "decisions"
_BATCH = 65_536
"""Rows read or written at once."""


def decide(ctx: Context) -> StepResult:
    """One decision per partition, by the rules of the gate."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ours, theirs = challenger(ctx), champion(ctx)
    if theirs is not None and theirs.header.key_types != ours.header.key_types:
        raise DataError(
            f"fleet {ctx.spec.name!r}: the keys of {ctx.interval} are {_named(ours.header.key_types)}, "
            f"the champion's {_named(theirs.header.key_types)}; nothing is promoted",
            hint="cast the key column in `prepare` to what it was, or give the new keys a fleet of their own name",
        )
    result = _judge(
        ctx, ctx.spec.gate, _index(ctx, ours), None if theirs is None else theirs.index(["partition", "serves"])
    )
    own = result.decisions.append_column("level", pa.nulls(result.decisions.num_rows, pa.string()))
    decisions = pa.concat_tables([own, *_of_groups(ctx, ours, theirs, passed=result.passed)])
    path = ctx.attempt.path(f"decide/decisions-{secrets.token_hex(4)}.parquet")
    with ctx.lake.open_output(path) as sink:
        pq.write_table(decisions, sink, compression="zstd", row_group_size=_BATCH)
    levels = decisions.slice(own.num_rows).column("decision")
    facts = {
        **result.totals,
        "promoted_levels": pc.sum(pc.equal(levels, "promoted"), min_count=0).as_py(),
        "passed": result.passed,
        "failed_fleet_rule": result.failed_fleet_rule,
        "mode": ctx.spec.gate.mode,
        "reasons": _reasons(result.decisions),
    }
    return StepResult({DECISIONS: (ctx.lake.entry(path, decisions.num_rows),)}, _digest(decisions), facts)


def _digest(decisions: pa.Table) -> str:
    columns = decisions.select(["partition", "decision", "rule"])
    return slices.combine(
        slices.digest_of_parts(
            (partition, f"{decision} {rule}")
            for partition, decision, rule in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
        for batch in columns.to_batches(max_chunksize=_BATCH)
    )


def _index(ctx: Context, ours: pack.Pack) -> Iterator[pa.Table]:
    """The columns of the challenger's index that the gate reads, a file at a time."""
    return ours.index_parts(promotion.columns_read(ctx.spec.gate, _metrics(ctx), ctx.spec.partition_by))


def _judge(
    ctx: Context, gate: Gate, challengers: Iterable[pa.Table], champions: pa.Table | None
) -> promotion.GateResult:
    pinned = ctx.attempt.inputs.get("champion") or {}
    return promotion.decide(
        gate,
        (_as_compared(ctx, part) for part in challengers),
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
    decided = _judge(ctx, ctx.spec.gate.model_copy(update={"fleet": ()}), [fallbacks], served).decisions
    levels = pc.list_element(pc.split_pattern(decided.column("partition"), "="), 0)  # item=2 is of the level item
    return [decided.append_column("level", levels)]


def decide_fingerprint(ctx: Context) -> Json:
    """All that the step's result depends on."""
    return {
        "inputs": {name: used["digest"] for name, used in ctx.attempt.inputs.items()},
        "gate": ctx.spec.gate.model_dump(mode="json"),
        "forced": forced(ctx),
        "champion": (ctx.attempt.inputs.get("champion") or {}).get("version"),
    }


def challenger(ctx: Context) -> pack.Pack:
    """The pack of the training that is decided on."""
    return open_pack(ctx.lake, trained(ctx).files[HEADER][0])


def champion(ctx: Context) -> pack.Pack | None:
    """The pack of the pinned champion."""
    return preparing.champion_pack(ctx) if "champion" in ctx.attempt.inputs else None


def trained(ctx: Context) -> StepManifest:
    """What the training's step train wrote.

    :raises CorruptionError: when that is lost.
    """
    pinned = ctx.attempt.inputs[f"train/{ctx.interval}"]
    found = runs.load_step(ctx.lake, ctx.spec.name, "train", ctx.interval, pinned["attempt"], "train")
    if found is None:
        raise CorruptionError(
            f"fleet {ctx.spec.name!r}: the committed training of {ctx.interval} has lost its manifest"
        )
    return found


def pinned_version(ctx: Context) -> int | None:
    """The production version of the pinned champion."""
    return (ctx.attempt.inputs.get("champion") or {}).get("version")


def forced(ctx: Context) -> bool:
    """Whether the promotion is forced."""
    return bool(ctx.attempt.options.get("force"))


@contextmanager
def open_decisions(ctx: Context, decided: StepManifest) -> Iterator[pq.ParquetFile]:
    """What `decide` wrote: the decisions in the order of the challenger's rows, then the rest.

    :raises DataError: when the file holds other bytes.
    """
    import pyarrow.parquet as pq

    entry = decided.files[DECISIONS][0]
    if not ctx.lake.holds(entry):
        raise DataError(f"{entry.path!r} is not what the step decide wrote")
    with ctx.lake.open_input(entry.path) as file:
        yield pq.ParquetFile(file)


def _named(key_types: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in key_types)


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

    if not forced(ctx):
        return challengers
    statuses = challengers.column("champion_status")
    trained = runs.committed(ctx.lake, ctx.spec.name, "train", ctx.interval)
    met = ((trained.inputs.get("champion") if trained else None) or {}).get("version")
    other = pa.scalar(met != pinned_version(ctx))
    void = pc.and_(pc.not_equal(statuses, "none"), pc.or_(other, pc.equal(statuses, "failed")))
    position = challengers.column_names.index("champion_status")
    return challengers.set_column(position, "champion_status", pc.if_else(void, "not_comparable", statuses))


def _as_champions(index: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    has_model = pc.fill_null(pc.equal(index.column("serves"), "model"), False)
    return pa.table({"partition": index.column("partition"), "status": pc.if_else(has_model, "trained", "skipped")})


def _reasons(decisions: pa.Table) -> dict[str, dict[str, int]]:
    """The rules (or the lack of a model) behind what was not promoted, most frequent first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    held = decisions.filter(pc.not_equal(decisions.column("decision"), "promoted"))
    said = pc.list_element(pc.split_pattern(held.column("reason"), ":", max_splits=1), 0)
    counted = (
        pa.table({"decision": held.column("decision"), "why": pc.coalesce(held.column("rule"), said)})
        .group_by(["decision", "why"], use_threads=False)  # in the order of the rows, also among equals
        .aggregate([([], "count_all")])
    )
    grouped: dict[str, Counter[str]] = {}
    for row in counted.to_pylist():
        grouped.setdefault(row["decision"], Counter())[row["why"]] = row["count_all"]
    return {decision: dict(counter.most_common(5)) for decision, counter in grouped.items()}
