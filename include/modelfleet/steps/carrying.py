"""What a training takes from an earlier one: pinned when it is opened, and refused or left where it does not go together.

With ``train_mode="changed"`` the earlier training is the latest one committed before the interval; of a retry it is the
interval's own, whose ingests are used again as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelfleet import pack
from modelfleet.dataset import Columns
from modelfleet.errors import DataError
from modelfleet.lake import Lake, RunManifest, StepManifest, runs
from modelfleet.prediction import may_differ
from modelfleet.training.carrying import BY_CUTOFF, Carrying, way_of
from modelfleet.training.plan import TrainingPlan

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.interval import Interval
    from modelfleet.lake.runs import Json
    from modelfleet.spec import FleetSpec
    from modelfleet.steps.runner import Context

RETRIED = "retried"
"""The input under which a retry pins the training whose failures it tries again."""
HEADER = "pack"
"""The output under which a step keeps its pack's header."""
FOLDS = "folds"
"""The output under which `train` keeps the models over many partitions of every fold, which its buckets were given."""


def retried(lake: Lake, spec: FleetSpec, key: str, code: str) -> RunManifest:
    """The training of an interval whose failures are to be tried again.

    :param code: the version of the author's code now.
    :raises DataError: when nothing was trained, or models would be made in another way by now.
    :raises NothingToRetry: when no failure could turn out otherwise.
    """
    from modelfleet.steps.runner import NothingToRetry

    standing = runs.committed(lake, spec.name, "train", key)
    if standing is None:
        raise DataError(
            f"fleet {spec.name!r}: nothing was trained for interval {key}, so there is nothing to retry",
            hint=f"train it first: modelfleet run {spec.name} --step train --interval {key}",
        )
    trained = _trained(lake, standing)
    before = trained.facts.get("way") or {}
    now = _way(spec, standing.interval)
    if any(before.get(name) != now[name] for name in ("format", "plan", "measured")):
        raise _another_way(spec, key)
    if failures(lake, trained, same_code=before["code"] == code).num_rows == 0:
        counted = ", ".join(f"{reason} {count}" for reason, count in trained.facts["reasons"].items())
        raise NothingToRetry(
            f"fleet {spec.name!r}, training of {key}: no failure could turn out otherwise"
            + (f"; without a model: {counted}" if counted else "; every partition has its model")
        )
    return standing


def failures(lake: Lake, trained: StepManifest, *, same_code: bool) -> pa.Table:
    """The failures of a training that could turn out otherwise: partition (or the group's name), reason, message."""
    import pyarrow as pa
    import pyarrow.compute as pc

    opened = pack.Pack.in_lake(lake, trained.files[HEADER][0].path)
    names = ["partition", "reason", "message"]
    groups = opened.groups(models=False)
    rows = pa.concat_tables([opened.index(names), *([] if groups is None else [groups.select(names)])])
    again = pa.array(sorted(may_differ(same_code=same_code)), pa.string())
    return rows.filter(pc.is_in(rows.column("reason"), value_set=again))


def failures_of(spec: FleetSpec, key: str) -> pa.Table:
    """What a retry of an interval would fit again, as `failures` gives it; nothing is written.

    :raises DataError: when nothing was trained, or models would be made in another way by now.
    :raises NothingToRetry: when no failure could turn out otherwise.
    """
    from modelfleet.steps.inputs import code_version

    lake, code = Lake.open(), code_version(spec)
    trained = _trained(lake, retried(lake, spec, key, code))
    return failures(lake, trained, same_code=trained.facts["way"]["code"] == code)


def last_trained(spec: FleetSpec) -> str:
    """The interval of the last training in force.

    :raises DataError: when there is none.
    """
    trained = runs.all_committed(Lake.open(), spec.name, "train")
    if not trained:
        raise DataError(f"fleet {spec.name!r}: nothing was trained yet, so there is nothing to retry")
    return trained[-1].interval.key


def earlier(lake: Lake, spec: FleetSpec, interval: Interval, options: Mapping[str, Any]) -> dict[str, Json]:
    """The input of an incremental training: the latest one committed before its interval. None with `force`."""
    if spec.training.train_mode == "all" or options.get("force"):
        return {}
    trained = runs.all_committed(lake, spec.name, "train")
    before = [run for run in trained if run.interval.utc[1] < interval.utc[1]]
    return {f"train/{run.interval.key}": {"attempt": run.attempt, "digest": run.digest} for run in before[-1:]}


def retry_input(lake: Lake, standing: RunManifest) -> dict[str, Json]:
    """The inputs of a retry of a training: the ingests and the earlier training it used, and itself.

    Its `code_version` is that of its models; None where several made them.
    """
    used = {name: given for name, given in standing.inputs.items() if name.startswith(("ingest/", "train/"))}
    itself = {"interval": standing.interval.key, "attempt": standing.attempt, "digest": standing.digest}
    return {**used, RETRIED: {**itself, "code_version": _trained(lake, standing).facts["way"]["code"]}}


def source(inputs: Mapping[str, Json]) -> tuple[str, str] | None:
    """The interval and attempt of the training that a run takes from, by its inputs."""
    if RETRIED in inputs:
        return inputs[RETRIED]["interval"], inputs[RETRIED]["attempt"]
    found = [(name.partition("/")[2], used["attempt"]) for name, used in inputs.items() if name.startswith("train/")]
    return found[0] if found else None


def content(inputs: Mapping[str, Json]) -> Json:
    """What of it a training's result depends on. A retry of a retry is another one, though the first changed nothing."""
    if RETRIED in inputs:
        return {"retried": [inputs[RETRIED]["attempt"], inputs[RETRIED]["digest"]]}
    return {name: used["digest"] for name, used in inputs.items() if name.startswith("train/")}


def carrying(ctx: Context, plan: TrainingPlan) -> tuple[Carrying | None, str | None]:
    """What this training carries over, or why it fits every model again; neither where it was not asked for.

    :raises DataError: for a retry whose models would be made in another way.
    :raises CorruptionError: when the earlier pack's header is not what its manifest records.
    """
    inputs = ctx.attempt.inputs
    taken = source(inputs)
    if taken is None:
        asked = ctx.spec.training.train_mode == "changed" and not ctx.attempt.options.get("force")
        return None, "there is no earlier training" if asked else None
    standing = _step(ctx.lake, ctx.spec.name, *taken)
    now, before = way_of(ctx.spec, plan), dict(standing.facts.get("way") or {})
    code = before.pop("code", None)
    same_code = code == ctx.attempt.code_version
    retries = RETRIED in inputs
    if before != now and retries:
        raise _another_way(ctx.spec, ctx.interval)
    if before != now:
        return None, "what models are made by has changed in the spec, or in the categories of the data"
    if not same_code and not retries:
        return None, "the model code has changed"
    again = may_differ(same_code=same_code) | (frozenset() if retries else BY_CUTOFF)
    header = standing.files[HEADER][0]
    ctx.lake.verify(header)
    met = runs.load_attempt(ctx.lake, ctx.spec.name, "train", *taken).inputs.get("champion") or {}
    same_champion = met.get("version") == (inputs.get("champion") or {}).get("version")
    return Carrying(pack.Pack.in_lake(ctx.lake, header.path), standing.files[FOLDS], again, same_champion), None


def way(ctx: Context, plan: TrainingPlan, *, carried: int) -> Json:
    """What a later training compares: how the models were made, and by which code; None if by several."""
    pinned = ctx.attempt.inputs.get(RETRIED)
    mixed = carried and pinned is not None and pinned["code_version"] != ctx.attempt.code_version
    return {**way_of(ctx.spec, plan), "code": None if mixed else ctx.attempt.code_version}


def _way(spec: FleetSpec, interval: Interval) -> Json:
    """`way_of` without the data: what it says of `inputs` is not known yet."""
    columns, unknown = Columns.of(spec, with_target=True), dict.fromkeys(spec.declared.categorical, ())
    plan = TrainingPlan.of(spec, columns, end=interval.end, interval=interval.key, attempt="", categories=unknown)
    return way_of(spec, plan)


def _trained(lake: Lake, run: RunManifest) -> StepManifest:
    return _step(lake, run.fleet, run.interval.key, run.attempt)


def _step(lake: Lake, fleet: str, interval: str, attempt: str) -> StepManifest:
    found = runs.load_step(lake, fleet, "train", interval, attempt, "train")
    if found is None:
        raise DataError(f"fleet {fleet!r}: the training of {interval}, attempt {attempt}, has lost its manifest")
    return found


def _another_way(spec: FleetSpec, key: str) -> DataError:
    return DataError(
        f"fleet {spec.name!r}: the spec has changed since {key} was trained, in what models depend on: "
        "models made in two ways can't be in one training",
        hint=f"train the interval again: modelfleet run {spec.name} --step train --interval {key}",
    )
