"""One client per registry: connecting, the embedded stores, time limits, and MLflow's errors as Modelfleet's."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from modelfleet import settings
from modelfleet.errors import ConfigurationError, DataError, ModelfleetError, UnavailableError
from modelfleet.settings import RegistryRole

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

_SQLITE = "sqlite:///"
_REFUSED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}
_WRONG_INPUT = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}

# MLflow's own defaults (7 retries of 120 s) keep a gate waiting for many minutes on a server that is gone.
_PROBE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_PATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Registry:
    """A reachable registry. `artifacts` is where an embedded store keeps its files; None for a server."""

    role: RegistryRole
    uri: str
    client: MlflowClient
    artifacts: Path | None


@contextmanager
def connect(role: RegistryRole) -> Iterator[Registry]:
    """A registry that has just answered.

    :raises UnavailableError: within about 15 seconds when it does not answer, also when it fails later in the block.
    :raises ConfigurationError: it refuses the credentials, or both roles name one registry.
    """
    uri = _uri(role)
    # A platform doesn't report to third parties unasked; MLflow reads this when it is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with _translated(role, uri):
        artifacts = _ensure_store(role, uri)
        from mlflow.tracking import MlflowClient

        # It warns at each logged model where the environment has no pip, as uv's have not.
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        with _environment(_PROBE):
            client.search_experiments(max_results=1)
        with _environment({name: os.environ.get(name, value) for name, value in _PATIENT.items()}):
            yield Registry(role, uri, client, artifacts)


def ensure(role: RegistryRole) -> None:
    """Make the embedded store where it is missing; see that a server answers. Safe in many processes at once.

    :raises UnavailableError: the server does not answer, or the store can't be opened.
    """
    with connect(role):
        pass


@contextmanager
def exclusive(role: RegistryRole, fleet: str) -> Iterator[None]:
    """One writer of a fleet's versions at a time, among the processes that share this machine's home.

    MLflow has no conditional write; across machines the fleet's single active promote run keeps writers apart.
    """
    with _lock(settings.home() / "mlflow" / f"{role}-{fleet}.lock"):
        yield


def answered_not_found(exc: MlflowException, registry: Registry) -> bool:
    """Whether MLflow itself said that a resource does not exist.

    A 404 of something else in front of, or instead of, the server is no such answer: only a RestException carries
    MLflow's own error body.
    """
    from mlflow.exceptions import RestException

    if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
        return False
    return registry.artifacts is not None or isinstance(exc, RestException)


def _uri(role: RegistryRole) -> str:
    uri = settings.registry_uri(role)
    variable = settings.connection_variable(settings.REGISTRY_CONNECTIONS[role])
    if not uri.startswith((_SQLITE, "http://", "https://")):
        raise ConfigurationError(
            f"the {role} registry's connection has type {urlsplit(uri).scheme!r}; allowed: http, https, sqlite",
            hint=f"set {variable} to the URL of an MLflow server, which itself may use PostgreSQL",
        )
    other: RegistryRole = "production" if role == "staging" else "staging"
    if uri == settings.registry_uri(other):
        raise ConfigurationError(
            f"staging and production are the same MLflow registry, {_without_password(uri)}",
            hint=f"give {variable} a server or database of its own: versions of the two must not mix",
        )
    return uri


def _ensure_store(role: RegistryRole, uri: str) -> Path | None:
    """The artifact folder of an embedded store, which is made and checked; None for a server."""
    if not uri.startswith(_SQLITE):
        return None
    database = Path(uri.removeprefix(_SQLITE)).absolute()
    artifacts = database.parent / f"{role}-artifacts"
    database.parent.mkdir(parents=True, exist_ok=True)
    if not _holds_data(database):
        with _lock(database.with_suffix(".init.lock")):
            if not _holds_data(database):
                _create_store(database, artifacts)
    # MLflow retries for most of an hour what can't be opened, so it is tried here first.
    with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=5)) as connection:
        connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return artifacts


def _holds_data(database: Path) -> bool:
    return database.exists() and database.stat().st_size > 0


def _create_store(database: Path, artifacts: Path) -> None:
    """Migrate a new store under another name and rename it: a process killed half way leaves nothing half made."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    made = database.with_suffix(f".{os.getpid()}.new")
    made.unlink(missing_ok=True)
    SqlAlchemyStore(f"{_SQLITE}{made}", artifacts.as_uri()).engine.dispose()
    made.replace(database)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """MLflow takes its limits from the environment only; what was there before comes back."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _translated(role: RegistryRole, uri: str) -> Iterator[None]:
    """MLflow's, the database's and the network's failures as Modelfleet's errors, without passwords."""
    try:
        yield
    except ModelfleetError:
        raise
    except Exception as exc:
        error = _translate(exc, role, uri)
        if error is None:
            raise
        raise error from None


def _translate(exc: Exception, role: RegistryRole, uri: str) -> ModelfleetError | None:
    where = f"the {role} registry at {_without_password(uri)}"
    variable = settings.connection_variable(settings.REGISTRY_CONNECTIONS[role])
    text = str(exc).replace(uri, _without_password(uri)).strip()[:600]
    if not _is_failure_of_registry(exc):
        return None
    code = getattr(exc, "error_code", "")
    if code in _REFUSED:
        return ConfigurationError(f"{where} refuses access ({code}): {text}", hint=f"check the login in {variable}")
    if code in _WRONG_INPUT:
        return DataError(f"{where} refuses what it was given: {text}")
    return UnavailableError(f"{where} can't be reached or failed: {text}", hint=f"is it running? see {variable}")


def _is_failure_of_registry(exc: Exception) -> bool:
    import requests

    known: tuple[type[Exception], ...] = (sqlite3.Error, OSError, requests.RequestException)
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        return isinstance(exc, known)
    return isinstance(exc, (*known, MlflowException, SQLAlchemyError))


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if not parts.password:
        return uri
    return uri.replace(f":{parts.password}@", ":***@", 1)
