"""The production registry: versions the gate let through, the alias ``champion``, and the way back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelfleet.errors import ConflictError, CorruptionError, NotFoundError, bounded
from modelfleet.registry.client import Registry, connect, exclusive
from modelfleet.registry.records import PREVIOUS_CHAMPION, ChampionMove, FleetVersion, PackModel, Release
from modelfleet.registry.runs import (
    CHAMPION,
    all_versions,
    as_record,
    champion_alias,
    one_version,
    register,
    registered_model,
)
from modelfleet.settings import RegistryRole

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

ROLLED_BACK = "rolled back"
_TRAIL = "champion_trail"
_TRAIL_LENGTH = 40  # moves kept; a tag's value is bounded (5000 characters on older servers)


def publish(
    release: Release,
    pack: PackModel,
    *,
    pack_manifest: str,
    staging_version: int | None,
    metrics: Mapping[str, float] | None = None,
) -> int:
    """Log a pack in the production registry and give its version; nothing serves it until `set_champion`.

    The same pack of the same interval again gives the same version, whichever attempt asks.

    :param pack_manifest: the lake path of the pack's manifest, from which scoring reads.
    :param metrics: numbers of the promotion (promoted, kept, rejected ...), logged in the run.
    :raises UnavailableError: the production registry can't be reached; nothing was published.
    """
    tags = release.version_tags(pack_manifest=pack_manifest, staging_version=staging_version)
    with connect("production") as registry:

        def fill(run_id: str) -> None:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            registry.client.log_batch(run_id, metrics=[Metric(k, v, now, 0) for k, v in (metrics or {}).items()])

        return register(registry, release, pack, tags, fill).version


def champion(fleet: str) -> FleetVersion | None:
    """The version in production; None only when the registry answered that there is none.

    :raises UnavailableError: the registry can't be reached. The gate fails closed, so this is never None.
    :raises CorruptionError: the alias points to a version Modelfleet did not publish.
    """
    with connect("production") as registry:
        model = registered_model(registry, fleet)
        number = champion_alias(model)
        return None if number is None else replace(_published(registry, fleet, number), is_champion=True)


def champion_as_of(fleet: str, key: str) -> FleetVersion | None:
    """The newest version promoted for `key` or an earlier interval: the champion of that time, going by the data.

    When it was promoted does not matter, so that history can be trained and scored belatedly. A version that was rolled
    back does not count, unless it was promoted again. None where there is none.

    :raises UnavailableError: the registry can't be reached.
    :raises CorruptionError: a version that served is none Modelfleet published.
    """
    with connect("production") as registry:
        model = registered_model(registry, fleet)
        number = champion_alias(model)
        if model is None or number is None:
            return None
        records = {
            int(version.version): as_record(version, champion=number) for version in all_versions(registry, fleet)
        }
        for candidate in sorted(_served(records, _trail(model), number), reverse=True):
            if candidate in records:
                version = _published(registry, fleet, candidate)
                if _last_hour(version.interval) <= _last_hour(key):
                    return records[candidate]
        return None


def set_champion(fleet: str, version: int, *, expected: int | None, force: bool = False) -> None:
    """Move the alias ``champion`` to `version`; nothing happens where it is there already.

    :param expected: the champion the decision was made against (None: there was none).
    :param force: also when the current champion is of a newer interval.
    :raises ConflictError: another champion than `expected` serves, or one of a newer interval does.
    :raises NotFoundError: there is no such version.
    """
    with connect("production") as registry, exclusive("production", fleet):
        model = _existing(registry, fleet)
        current = champion_alias(model)
        if current == version:
            _note_unless_noted(registry, model, version)
            return
        if current != expected:
            raise ConflictError(
                f"fleet {fleet!r}: version {version} was decided against champion {_named(expected)}, "
                f"but {_named(current)} serves now; the champion stays",
                hint="run the promotion again: it compares with the champion of now",
            )
        target = _published(registry, fleet, version)
        if current is not None and not force:
            _refuse_older(target, _published(registry, fleet, current))
        _move(registry, model, target, "forced" if force else "promoted")


def rollback(fleet: str, to: int | None = None) -> tuple[int, int]:
    """Give production back to version `to`, or to the champion before this one; (from, to).

    Repeated, it walks back one champion at a time; a later promotion starts from whatever serves then.

    :raises NotFoundError: there is no champion, no version before it, or no version `to`.
    :raises ConflictError: version `to` is the champion already.
    """
    with connect("production") as registry, exclusive("production", fleet):
        model = _existing(registry, fleet)
        current = champion_alias(model)
        if current is None:
            raise NotFoundError(f"fleet {fleet!r} has no champion to roll back from")
        goal = to if to is not None else _published(registry, fleet, current).previous_champion
        if goal is None:
            others = [str(v.version) for v in all_versions(registry, fleet) if int(v.version) != current]
            raise NotFoundError(
                f"fleet {fleet!r}: no champion before version {current} is recorded",
                hint=f"name one with --to: {bounded(others)}" if others else "it is the only version",
            )
        if goal == current:
            raise ConflictError(f"fleet {fleet!r}: version {goal} is the champion already")
        _move(registry, model, _published(registry, fleet, goal), ROLLED_BACK)
        return current, goal


def history(fleet: str) -> list[ChampionMove]:
    """The last moves of the champion, oldest first: which version served from when.

    :raises UnavailableError: the production registry can't be reached.
    """
    with connect("production") as registry:
        return _trail(registered_model(registry, fleet))


def versions(fleet: str, role: RegistryRole = "production") -> list[FleetVersion]:
    """All versions of a fleet in a registry, oldest first; empty when it has none.

    :raises UnavailableError: the registry can't be reached.
    """
    with connect(role) as registry:
        model = registered_model(registry, fleet)
        if model is None:
            return []
        number = champion_alias(model)
        return [as_record(version, champion=number) for version in all_versions(registry, fleet)]


def _served(versions: Mapping[int, FleetVersion], trail: list[ChampionMove], champion: int) -> set[int]:
    """The versions that were ever the champion, but for those rolled back since. The trail alone is bounded."""
    before = {number: version.previous_champion for number, version in versions.items()}
    served = {champion, *(number for number, previous in before.items() if previous)}
    served |= {previous for previous in before.values() if previous}
    for move in trail:
        if move.why == ROLLED_BACK and move.from_version is not None and move.to_version < move.from_version:
            served.discard(move.from_version)
        served.add(move.to_version)
    return served


def _last_hour(key: str) -> str:
    """A key that sorts by the end of its interval among keys of days and of hours."""
    return key if "T" in key else f"{key}T~"


def _existing(registry: Registry, fleet: str) -> RegisteredModel:
    model = registered_model(registry, fleet)
    if model is None:
        raise NotFoundError(f"fleet {fleet!r} has no version in the production registry", hint="promote one first")
    return model


def _published(registry: Registry, fleet: str, number: int) -> FleetVersion:
    found = one_version(registry, fleet, number)
    if found is None:
        known = [str(version.version) for version in all_versions(registry, fleet)]
        raise NotFoundError(
            f"fleet {fleet!r} has no version {number} in the production registry; it has {bounded(known) or 'none'}"
        )
    version = as_record(found)
    missing = version.missing_tags()
    if missing:
        raise CorruptionError(
            f"fleet {fleet!r}: version {number} in the production registry lacks the tags {', '.join(missing)}",
            hint="it was not published by Modelfleet, or its tags were edited; `modelfleet rollback` to one that was",
        )
    return version


def _refuse_older(target: FleetVersion, current: FleetVersion) -> None:
    """An older interval never replaces a newer champion. Keys of one fleet sort by time."""
    if target.interval < current.interval:
        raise ConflictError(
            f"fleet {target.fleet!r}: version {target.version} is of interval {target.interval}, older than "
            f"{current.interval} of the champion, version {current.version}; the champion stays",
            hint="force the promotion if the older interval's models should really serve",
        )


def _move(registry: Registry, model: RegisteredModel, target: FleetVersion, why: str) -> None:
    """Move the alias and write down the move.

    The way back is noted before the move, and only when moving to a higher version: so it always leads to lower ones,
    and repeated rollbacks end instead of going in circles.
    """
    current = champion_alias(model)
    client = registry.client
    if current is not None and target.version > current:
        client.set_model_version_tag(target.fleet, str(target.version), PREVIOUS_CHAMPION, str(current))
    client.set_registered_model_alias(target.fleet, CHAMPION, str(target.version))
    _note(registry, model, ChampionMove(_now(), current, target.version, why))


def _note_unless_noted(registry: Registry, model: RegisteredModel, version: int) -> None:
    """A process killed just after it moved the alias did not write the move down; the repeat does."""
    trail = _trail(model)
    last = trail[-1].to_version if trail else None
    if last != version:
        _note(registry, model, ChampionMove(_now(), last, version, "promoted"))


def _note(registry: Registry, model: RegisteredModel, move: ChampionMove) -> None:
    kept = [*_trail(model), move][-_TRAIL_LENGTH:]
    lines = [[m.at.isoformat(), m.from_version, m.to_version, m.why] for m in kept]
    registry.client.set_registered_model_tag(model.name, _TRAIL, json.dumps(lines, separators=(",", ":")))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _trail(model: RegisteredModel | None) -> list[ChampionMove]:
    value = (model.tags if model is not None else {}).get(_TRAIL, "[]")
    return [
        ChampionMove(datetime.fromisoformat(at), before, after, why) for at, before, after, why in json.loads(value)
    ]


def _named(version: int | None) -> str:
    return "no champion" if version is None else f"version {version}"
