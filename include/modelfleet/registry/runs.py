"""One MLflow run that ends as one version: the part both registries share, and what makes it repeatable.

The version is created last and carries all its tags from the start, so it is the commit: a killed attempt leaves a run
without a version, which the repeat deletes; a finished one is found by its tags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelfleet.errors import ConflictError, NotFoundError
from modelfleet.registry.client import Registry, answered_not_found, exclusive
from modelfleet.registry.model import PACK, model_folder
from modelfleet.registry.records import FleetVersion, PackModel, Release, TrainingVersion

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION = "champion"


def register(
    registry: Registry,
    release: Release,
    pack: PackModel,
    tags: Mapping[str, str],
    fill: Callable[[str], None],
) -> TrainingVersion:
    """The version of `release`: found by its tags, or made in a new run that `fill(run_id)` completes."""
    if not (pack.folder / "pack.json").is_file():
        raise NotFoundError(f"fleet {release.fleet!r}, interval {release.interval}: {pack.folder} has no pack.json")
    with exclusive(registry.role, release.fleet):
        found = _find(registry, release)
        if found is not None:
            return TrainingVersion(str(found.run_id), int(found.version))
        return _make(registry, release, pack, tags, fill)


def registered_model(registry: Registry, fleet: str) -> RegisteredModel | None:
    """The fleet's registered model; None only when the registry itself says that there is none."""
    from mlflow.exceptions import MlflowException

    try:
        model = registry.client.get_registered_model(fleet)
    except MlflowException as exc:
        if answered_not_found(exc, registry):
            return None
        raise
    if model.name != fleet:  # an empty answer of something that is not MLflow
        raise MlflowException(f"asked for registered model {fleet!r}, got {model.name!r}")
    return model


def all_versions(registry: Registry, fleet: str, filters: Mapping[str, str] | None = None) -> list[ModelVersion]:
    """All versions of a fleet, oldest first; `filters` are tags they must have."""
    tags = "".join(f" and tags.`{name}` = '{value}'" for name, value in (filters or {}).items())
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = registry.client.search_model_versions(f"name = '{fleet}'{tags}", max_results=1000, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def as_record(version: ModelVersion, *, champion: int | None = None) -> FleetVersion:
    """MLflow's version as Modelfleet's."""
    number = int(version.version)
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return FleetVersion(version.name, number, str(version.run_id), dict(version.tags), created, number == champion)


def one_version(registry: Registry, fleet: str, number: int) -> ModelVersion | None:
    """Version `number` of a fleet; None when the registry itself says that there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return registry.client.get_model_version(fleet, str(number))
    except MlflowException as exc:
        if answered_not_found(exc, registry):
            return None
        raise


def champion_alias(model: RegisteredModel | None) -> int | None:
    """The version the alias points to."""
    value = model.aliases.get(CHAMPION) if model is not None else None
    return None if value is None else int(value)


def _find(registry: Registry, release: Release) -> ModelVersion | None:
    identity = release.identity()
    # Only the digest is in the query: no value of the author's world enters MLflow's filter language.
    candidates = all_versions(registry, release.fleet, {"pack_digest": release.pack_digest})
    matches = [v for v in candidates if all(v.tags.get(name) == value for name, value in identity.items())]
    return matches[0] if matches else None


def _make(
    registry: Registry, release: Release, pack: PackModel, tags: Mapping[str, str], fill: Callable[[str], None]
) -> TrainingVersion:
    client = registry.client
    experiment = experiment_of(registry, release.fleet)
    _delete_unfinished(registry, experiment, release)
    name = f"{release.interval} {release.attempt}"
    run = client.create_run(experiment, run_name=name, tags={**tags, "mlflow.source.name": "modelfleet"})
    run_id = run.info.run_id
    try:
        fill(run_id)
        source, model_id = _log_pack(registry, experiment, run_id, release, pack)
        _create_registered_model(registry, release.fleet)
        client.set_terminated(run_id)
        version = client.create_model_version(
            release.fleet, source, run_id=run_id, tags=dict(tags), model_id=model_id, await_creation_for=0
        )
    except Exception:
        _fail_quietly(registry, run_id)
        raise
    return TrainingVersion(run_id, int(version.version))


def _log_pack(registry: Registry, experiment: str, run_id: str, release: Release, pack: PackModel) -> tuple[str, str]:
    """Upload the pack as a model of the run; the source a version is created from, and the logged model's id."""
    from mlflow.entities import LoggedModelOutput

    client = registry.client
    logged = client.create_logged_model(experiment, release.fleet, source_run_id=run_id, model_type="modelfleet")
    with model_folder(pack, logged) as folder:
        client.log_model_artifacts(logged.model_id, str(folder))
    client.log_model_artifacts(logged.model_id, str(pack.folder), f"data/{PACK}")
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    # An embedded store resolves models:/<id> through MLflow's global tracking URI; a server accepts nothing else.
    source = f"models:/{logged.model_id}" if registry.artifacts is None else logged.artifact_location
    return source, logged.model_id


def experiment_of(registry: Registry, fleet: str) -> str:
    """The id of a fleet's experiment, which is made where it is missing."""
    from mlflow.exceptions import MlflowException

    client = registry.client
    found = client.get_experiment_by_name(fleet)
    if found is None:
        location = None if registry.artifacts is None else (registry.artifacts / fleet).as_uri()
        try:
            return str(client.create_experiment(fleet, artifact_location=location))
        except MlflowException as exc:
            if exc.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(fleet)
            if found is None:
                raise ConflictError(f"experiment {fleet!r} appears and disappears in {registry.role}") from exc
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _create_registered_model(registry: Registry, fleet: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        registry.client.create_registered_model(fleet, tags={"modelfleet": registry.role})
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _delete_unfinished(registry: Registry, experiment: str, release: Release) -> None:
    """Delete what a killed try at this pack left; no version refers to it."""
    runs = registry.client.search_runs(
        [experiment], filter_string=f"tags.pack_digest = '{release.pack_digest}'", max_results=1000
    )
    identity = release.identity()
    for run in runs:
        if all(run.data.tags.get(name) == value for name, value in identity.items()):
            for output in run.outputs.model_outputs if run.outputs else []:
                registry.client.delete_logged_model(output.model_id)
            registry.client.delete_run(run.info.run_id)


def _fail_quietly(registry: Registry, run_id: str) -> None:
    """Mark the run failed where that is still possible; the first error is the one to report."""
    with suppress(Exception):
        registry.client.set_terminated(run_id, "FAILED")
