"""The step `pin`: which attempts and which champion a run uses, checked and fixed before any data is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any

from modelfleet import interval as intervals
from modelfleet import modelcode, pack, registry
from modelfleet.errors import ConflictError, DataError, ModelCodeError, ModelfleetError, bounded
from modelfleet.ingest import TableManifest
from modelfleet.interval import Interval
from modelfleet.lake import Lake, RunManifest, runs
from modelfleet.lake.runs import Json
from modelfleet.prepare import Part, Source, sql_text
from modelfleet.steps import carrying, restating
from modelfleet.warehouse import Warehouse

if TYPE_CHECKING:
    from modelfleet.registry import FleetVersion
    from modelfleet.spec import FleetSpec


@dataclass(frozen=True)
class Pinned:
    """What a run uses: `inputs` by name, each with its attempt and digest; `facts` join the attempt's options."""

    interval: Interval
    inputs: Mapping[str, Json]
    facts: Json = field(default_factory=dict)


def for_ingest(lake: Lake, spec: FleetSpec, key: str, options: Mapping[str, Any]) -> Pinned:
    """The interval to ingest; its span is kept when it was ingested before.

    :raises DataError: when it overlaps another interval, or was ingested with another start.
    """
    standing = runs.committed(lake, spec.name, "ingest", key)
    start = options.get("start") or (standing.options.get("start") if standing else None)
    interval = intervals.of_key(key, timezone=spec.timezone, start=start, cron=spec.schedule.ingest_cron)
    if standing is not None and standing.interval.utc != interval.utc:
        raise DataError(
            f"fleet {spec.name!r}: interval {key} was ingested from {standing.interval.start}, now from {interval.start}",
            hint="an interval is ingested again over the same span",
        )
    others = [run.interval for run in runs.all_committed(lake, spec.name, "ingest") if run.interval.key != key]
    crossing = [other for other in others if other.overlaps(interval)]
    if crossing:
        raise DataError(
            f"fleet {spec.name!r}: interval {key} ({interval.start} to {interval.end}) overlaps "
            f"{bounded(f'{o.key} ({o.start} to {o.end})' for o in crossing)}, already ingested",
            hint="choose a start after the last ingested interval",
        )
    train_only = bool(options.get("train_only") or (standing and standing.options.get("train_only")))
    return Pinned(interval, {}, {"train_only": train_only, "start": start})


def for_train(lake: Lake, spec: FleetSpec, key: str, options: Mapping[str, Any]) -> Pinned:
    """The ingests in the training window, and the champion that the new models meet.

    With the option `retry`, the ingests are those of the interval's training, whose failures are tried again.

    :raises DataError: when nothing is ingested, or no row in the window; for a retry, when nothing was trained.
    :raises NothingToRetry: when no failure could turn out otherwise.
    :raises ModelCodeError: when the author's code can't be used; before any data is read.
    """
    check_code(spec)
    if options.get("retry"):
        standing = carrying.retried(lake, spec, key, code_version(spec))
        return _training(lake, spec, standing.interval, carrying.retry_input(lake, standing))
    interval = intervals.of_key(key, timezone=spec.timezone)
    ingests = _up_to(lake, spec, interval)
    rows = sum(_main(spec, run).rows for run in ingests)
    if rows == 0:
        there = [run.interval.key for run in runs.all_committed(lake, spec.name, "ingest")]
        raise DataError(
            f"fleet {spec.name!r}: no rows to train on: the ingests up to {key} hold none; "
            f"ingested are {bounded(there) or 'none'}",
            hint=f"ingest first: modelfleet run {spec.name} --step ingest --interval {key} --start <first day>",
        )
    inputs = _ingest_inputs(lake, spec, ingests) | carrying.earlier(lake, spec, interval, options)
    return _training(lake, spec, interval, inputs, force=bool(options.get("force")))


def _training(
    lake: Lake, spec: FleetSpec, interval: Interval, inputs: dict[str, Json], *, force: bool = False
) -> Pinned:
    """A training with these inputs, its lineage and the champion it meets.

    One that was retried, and whose inputs, spec and code are as they were, is that retry when it is run again.
    """
    code = code_version(spec)
    lineage = runs.digest_of([interval.key, spec.digest, code, restating.content(inputs)])
    champion = opponent(spec.name, lineage)
    if champion is not None:
        _check_same_problem(lake, spec, champion)
    standing = runs.committed(lake, spec.name, "train", interval.key)
    retry = standing.inputs.get(carrying.RETRIED) if standing is not None and not force else None
    if standing is not None and retry is not None and carrying.RETRIED not in inputs:
        same = standing.options["lineage"] == lineage and retry["code_version"] == code
        inputs = {**inputs, carrying.RETRIED: retry} if same else inputs
    return Pinned(interval, inputs | _champion_input(champion), {"lineage": lineage})


def for_promote(lake: Lake, spec: FleetSpec, key: str, options: Mapping[str, Any]) -> Pinned:
    """The training's result, and the champion its models were compared with.

    :raises DataError: when nothing was trained for the interval.
    :raises ConflictError: when another champion serves by now, or one of a later interval; `force` goes on.
    :raises UnavailableError: when the production registry can't be reached: nothing is promoted.
    """
    interval = intervals.of_key(key, timezone=spec.timezone)
    trained = runs.committed(lake, spec.name, "train", key)
    if trained is None:
        raise DataError(f"fleet {spec.name!r}: nothing was trained for interval {key}", hint="train it first")
    meets = opponent(spec.name, trained.options["lineage"])
    compared = (trained.inputs.get("champion") or {}).get("version")
    force = bool(options.get("force"))
    if meets is not None and meets.interval > key and not force:
        raise ConflictError(
            f"fleet {spec.name!r}: champion version {meets.version} is of interval {meets.interval}, later than {key}; it stays",
            hint="promote an older interval only on purpose: force",
        )
    if (meets.version if meets else None) != compared and not force:
        raise ConflictError(
            f"fleet {spec.name!r}: the models of {key} were compared with {_version(compared)}, "
            f"but {_version(meets.version if meets else None)} serves now; nothing is promoted",
            hint="train the interval again, so that they meet the champion of now, or force the promotion",
        )
    inputs = {f"train/{key}": {"attempt": trained.attempt, "digest": trained.digest}}
    return Pinned(interval, inputs | _champion_input(meets), {"lineage": trained.options["lineage"]})


def for_score(lake: Lake, spec: FleetSpec, key: str, options: Mapping[str, Any]) -> Pinned:
    """The interval's ingest and the champion, one version for the whole run.

    :raises NoChampionYet: before the first promotion; recorded as waiting, and started again by it.
    :raises EmptyInterval: when the interval has no rows; recorded as empty.
    :raises TrainingOnly: when it was ingested for training only.
    :raises DataError: when it is not ingested.
    :raises ModelCodeError: when the champion's code or `prepare` can't be used; before any data is read.
    """
    from modelfleet.steps.runner import EmptyInterval, NoChampionYet, TrainingOnly, record_not_started

    ingested = runs.committed(lake, spec.name, "ingest", key)
    if ingested is None:
        raise DataError(f"fleet {spec.name!r}: interval {key} is not ingested", hint="ingest it first")
    if ingested.options.get("train_only"):
        raise TrainingOnly(f"fleet {spec.name!r}: interval {key} was ingested for training only; it is not scored")
    scored = runs.committed(lake, spec.name, "score", key)
    history = spec.problem.kind == "forecast" or bool(spec.declared.past)
    inputs = _ingest_inputs(lake, spec, [ingested] if not history else _up_to(lake, spec, ingested.interval))
    empty = _main(spec, ingested).rows == 0 and not restating.is_restated(inputs, key)
    if empty and scored is None and spec.problem.kind != "forecast":
        message = f"interval {key} has no rows in table {spec.data.main[0]!r}: no predictions are written"
        record_not_started(spec, "score", key, status="empty", message=message)
        raise EmptyInterval(f"fleet {spec.name!r}: {message}")
    # Recorded before the champion is looked up: a promotion in between then sees it waiting, and starts it again.
    as_of = bool(options.get("as_of"))
    message = f"no champion as of {key}" if as_of else "no champion yet: scored after the first promotion"
    record_not_started(spec, "score", key, status="waiting", message=message)
    try:
        champion = registry.champion_as_of(spec.name, key) if as_of else registry.champion(spec.name)
        if champion is None:
            raise NoChampionYet(f"fleet {spec.name!r}, interval {key}: {message}")
        _check_champions_code(spec, _header_of(lake, champion))
    except ModelfleetError as exc:
        if not isinstance(exc, NoChampionYet):
            record_not_started(spec, "score", key, status="failed", message=str(exc)[:2000])
        raise
    return Pinned(ingested.interval, inputs | _champion_input(champion))


def _up_to(lake: Lake, spec: FleetSpec, interval: Interval) -> list[RunManifest]:
    """The ingests of the training window that ends with an interval."""
    span = training_span(spec, interval)
    return [run for run in runs.all_committed(lake, spec.name, "ingest") if _within(run.interval, span)]


def opponent(fleet: str, lineage: str) -> FleetVersion | None:
    """The champion that a training of this lineage (spec, code, data) meets.

    That is the one in production, unless it came from the very same training: then the one before it, so that a training
    or promotion that is repeated gives the same decisions again.
    """
    champion = registry.champion(fleet)
    if champion is None or champion.tags.get("lineage") != lineage:
        return champion
    known = {version.version: version for version in registry.versions(fleet)}
    met = champion.tags.get("met_champion")
    return known.get(int(met)) if met else None


def sources(lake: Lake, spec: FleetSpec, inputs: Mapping[str, Json]) -> list[Source]:
    """The tables of the pinned ingests, each with what shows of it; of those without a time, only the latest counts."""
    ingests = []
    for name, used in inputs.items():
        pipeline, _, key = name.partition("/")
        if pipeline == "ingest":
            manifest = runs.load_step(lake, spec.name, "ingest", key, used["attempt"], "extract")
            attempt = runs.load_attempt(lake, spec.name, "ingest", key, used["attempt"])
            assert manifest is not None
            ingests.append((attempt.interval, tables_of(manifest.facts), used))
    ingests.sort(key=lambda item: item[0].utc[1])
    return [_source(spec, name, ingests) for name in spec.data.tables]


def _source(spec: FleetSpec, name: str, ingests: list[tuple[Interval, dict[str, TableManifest], Json]]) -> Source:
    table = spec.data.tables[name]
    lacking = [interval.key for interval, tables, used in ingests if name not in tables and "restates" not in used]
    parts = [
        Part(interval, tables[name], restating.spans(used, name, interval))
        for interval, tables, used in ingests
        if name in tables
    ]
    parts = [part for part in parts if part.visible != ()]
    if lacking and (table.time or not parts):
        raise _lacks(spec, name, lacking)
    return Source(name, table, tuple(parts if table.time else parts[-1:]))


def tables_of(facts: Json) -> dict[str, TableManifest]:
    """The tables that an ingest's `extract` wrote."""
    return {name: TableManifest.from_json(table) for name, table in facts["tables"].items()}


def training_span(spec: FleetSpec, interval: Interval) -> Interval:
    """From the start of the training window to the interval's end; without a window, from the beginning of time."""
    window = spec.training.window
    if window is None:
        from datetime import datetime

        return Interval(interval.key, datetime(1900, 1, 1, tzinfo=interval.end.tzinfo), interval.end)
    end = interval.end.astimezone(UTC)
    return Interval(interval.key, (end - intervals.duration(window)).astimezone(interval.end.tzinfo), interval.end)


def data_ready(spec: FleetSpec, interval_key: str, table: str) -> tuple[bool, str]:
    """Whether the ingests of `table` cover the interval's end without a gap before it, and in words what there is."""
    interval = intervals.of_key(interval_key, timezone=spec.timezone)
    span = training_span(spec, interval)
    ingests = [
        run.interval
        for run in runs.all_committed(Lake.open(), spec.name, "ingest")
        if table in run.facts["rows"] and run.interval.overlaps(span)
    ]
    last = None
    for part in ingests:  # in the order of time; they never overlap
        if last is not None and part.utc[0] > last.utc[1]:
            return False, f"table {table!r} is not ingested from {last.end} to {part.start}"
        last = part
    ready = last is not None and last.utc[1] >= interval.utc[1]
    return ready, f"table {table!r} is ingested up to {last.end if last else 'nothing'}, {interval.end} is needed"


def waiting_intervals(spec: FleetSpec) -> list[str]:
    """The intervals whose scoring waits for a champion."""
    return Warehouse.open().waiting_intervals(spec.name)


def code_version(spec: FleetSpec) -> str:
    """The version of the author's code that the spec names."""
    paths = [*(learner.path for learner in spec.learners), *([spec.data.prepare] if spec.data.prepare else [])]
    return modelcode.code_version(*dict.fromkeys(paths))


def check_code(spec: FleetSpec) -> None:
    """Import what the spec names and build every candidate once.

    :raises ModelCodeError: naming the dotted path.
    """
    loaded = _load_learners(spec)
    if spec.training.metrics and loaded[0].metrics is None:
        raise ModelCodeError(
            f"fleet {spec.name!r}: training.metrics names {bounded(spec.training.metrics)}, "
            f"but the module of {loaded[0].path} has no metrics(y_true, y_pred, frame)"
        )
    for learner, code in zip(spec.learners, loaded, strict=True):
        grouped = learner.scope == "fleet"
        if spec.problem.kind == "forecast" and grouped and modelcode.is_forecaster(code.build(**learner.params)):
            raise ModelCodeError(
                f"fleet {spec.name!r}: candidate {learner.name!r} forecasts one series, so it can't have scope 'fleet'",
                hint="leave scope out, or give an estimator",
            )
    _check_prepare(spec)


def _load_learners(spec: FleetSpec) -> list[modelcode.ModelCode]:
    return [
        modelcode.load(learner.path, learner.params, fleet=spec.name, problem=spec.problem.kind)
        for learner in spec.learners
    ]


def _check_prepare(spec: FleetSpec) -> None:
    if spec.data.prepare is None:
        return
    if spec.data.prepare.endswith(".sql"):
        sql_text(spec.data.prepare, fleet=spec.name)
    else:
        modelcode.resolve(spec.data.prepare, fleet=spec.name)


def _main(spec: FleetSpec, run: RunManifest) -> TableManifest:
    name = spec.data.main[0]
    if name not in run.facts["tables"]:
        raise _lacks(spec, name, [run.interval.key])
    return TableManifest.from_json(run.facts["tables"][name])


def _lacks(spec: FleetSpec, table: str, intervals_lacking: list[str]) -> DataError:
    return DataError(
        f"fleet {spec.name!r}: table {table!r} was not ingested in {bounded(intervals_lacking)}",
        hint="it was added or renamed in the spec since: ingest these intervals again",
    )


def _within(part: Interval, span: Interval) -> bool:
    return part.utc[1] <= span.utc[1] and part.utc[1] > span.utc[0]


def _ingest_inputs(lake: Lake, spec: FleetSpec, ingests: list[RunManifest]) -> dict[str, Json]:
    """These ingests, and those that restated rows of their intervals since."""
    return restating.pin(spec.name, ingests, runs.all_committed(lake, spec.name, "ingest"))


def _champion_input(version: FleetVersion | None) -> dict[str, Json]:
    if version is None:
        return {}
    return {
        "champion": {
            "version": version.version,
            "interval": version.interval,
            "digest": version.pack_digest,
            "pack": version.pack_manifest,
            "header_digest": version.header_digest,
            "code_version": version.tags.get("code_version"),
        }
    }


def _check_same_problem(lake: Lake, spec: FleetSpec, champion: FleetVersion) -> None:
    """Models of another problem or of other partitions can neither be compared nor kept beside new ones."""
    header = _header_of(lake, champion)
    served = header.problem, tuple(name for name, _ in header.key_types)
    wanted = spec.problem.kind, tuple(spec.partition_by)
    if served != wanted:
        raise DataError(
            f"fleet {spec.name!r}: champion version {champion.version} is a {served[0]} by {', '.join(served[1])}; "
            f"the spec is a {wanted[0]} by {', '.join(wanted[1])}",
            hint="a fleet is one problem with one kind of partition: give the new one a fleet of its own name",
        )


def _check_champions_code(spec: FleetSpec, header: pack.PackHeader) -> None:
    """What scoring imports: the champion's model code, which the spec may have left behind, and `prepare` of now."""
    _load_learners(header.fleet_spec)
    _check_prepare(spec)


def _header_of(lake: Lake, version: FleetVersion) -> pack.PackHeader:
    return pack.Pack.in_lake(lake, version.pack_manifest, digest=version.header_digest).header


def _version(number: int | None) -> str:
    return "no champion" if number is None else f"champion version {number}"


def manifest_json(tables: Mapping[str, TableManifest]) -> Json:
    """What `tables_of` reads again."""
    return {name: asdict(table) for name, table in tables.items()}
