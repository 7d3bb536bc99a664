"""The steps of promote: decide, publish, commit."""

from __future__ import annotations

import tempfile
from pathlib import Path

from modelfleet import pack, registry
from modelfleet.errors import ConflictError
from modelfleet.lake import FileEntry, StepManifest, runs
from modelfleet.steps import deciding
from modelfleet.steps.composing import compose
from modelfleet.steps.deciding import challenger, champion, forced, open_decisions, pinned_version, trained
from modelfleet.steps.packaging import pack_folder, pack_model
from modelfleet.steps.runner import Context, StepFunction, StepResult, record_done
from modelfleet.steps.training import HEADER, release


def publish(ctx: Context) -> StepResult:
    """Make the promoted challengers and kept champions one pack, one production version, and the champion.

    When the gate let nothing through, or a fleet rule failed, the champion stays as it is.
    """
    decided = ctx.step("decide")
    # A manifest of before counts no levels.
    promoted = decided.facts["promoted"] + decided.facts.get("promoted_levels", 0)
    if not decided.facts["passed"] or promoted == 0:
        return StepResult({}, decided.digest, {**decided.facts, "version": pinned_version(ctx), "moved": False})
    header, header_file = compose(ctx, decided, challenger(ctx), champion(ctx))
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
    registry.set_champion(ctx.spec.name, version, expected=_expected(ctx, serving), force=forced(ctx))
    return StepResult({HEADER: (header_file,)}, header.digest, {**decided.facts, "version": version, "moved": True})


def _expected(ctx: Context, serving: registry.FleetVersion | None) -> int | None:
    """The version that the alias may be moved away from: the one that was met, or an earlier promotion of this training."""
    met = pinned_version(ctx)
    if serving is None or forced(ctx):
        return serving.version if serving is not None else met
    same_training = serving.tags.get("lineage") == ctx.attempt.options["lineage"]
    return serving.version if same_training and serving.tags.get("met_champion") == (str(met) if met else None) else met


def _refuse_to_undo_a_rollback(ctx: Context, version: int) -> None:
    moves = registry.history(ctx.spec.name)
    if moves and moves[-1].why == "rolled back" and moves[-1].from_version == version and not forced(ctx):
        raise ConflictError(
            f"fleet {ctx.spec.name!r}: version {version} was rolled back; the same models are not promoted again",
            hint="train again, or promote on purpose: force",
        )


def _publish(ctx: Context, decided: StepManifest, header: pack.PackHeader, header_file: FileEntry) -> int:
    """The version of the pack in the production registry; nothing serves it yet."""
    with tempfile.TemporaryDirectory(prefix="modelfleet-pack-") as temporary:
        pack_folder(ctx.lake, header, Path(temporary))
        return registry.publish(
            release(
                ctx,
                header,
                trained(ctx).facts,
                lineage=ctx.attempt.options["lineage"],
                met_champion=pinned_version(ctx),
                header_digest=pack.header_digest(header.to_json()),
            ),
            pack_model(ctx.spec, header, Path(temporary)),
            pack_manifest=header_file.path,
            staging_version=_staging_version(ctx),
            metrics={name: decided.facts[name] for name in ("promoted", "kept", "rejected")},
        )


def _staging_version(ctx: Context) -> int | None:
    """The version of the training in the staging registry."""
    attempt = ctx.attempt.inputs[f"train/{ctx.interval}"]["attempt"]
    noted = runs.load_step(ctx.lake, ctx.spec.name, "train", ctx.interval, attempt, "register")
    return None if noted is None else int(noted.facts["version"])


def commit(ctx: Context) -> StepResult:
    """Put the promotion in force and its decisions in the warehouse."""
    decided = ctx.step("decide")
    # As published: whatever serves by now, such as after a rollback, is not what was decided here.
    import pyarrow as pa

    version = ctx.step("publish").facts["version"]
    facts = {**decided.facts, "version": version}
    manifest = runs.commit(ctx.lake, ctx.attempt, status="committed", steps=[decided], facts=facts)
    # After the commit, so that an attempt that was overtaken leaves no decisions.
    maker = ctx.maker("decide").id
    with open_decisions(ctx, decided) as decisions:
        reader = pa.RecordBatchReader.from_batches(decisions.schema_arrow, decisions.iter_batches())
        rows = ctx.warehouse.load_decisions(ctx.spec.name, ctx.interval, maker, reader, serves_version=version)
    record_done(ctx, status="committed", rows=rows, counts=facts)
    return StepResult({}, manifest.digest, facts)


STEPS = {
    "promote.decide": StepFunction(deciding.decide, deciding.decide_fingerprint),
    "promote.publish": StepFunction(publish),
    "promote.commit": StepFunction(commit),
}
