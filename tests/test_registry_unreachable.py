"""Registries that do not answer, or not as MLflow, and what they refuse: nothing is published or moved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import modelfleet.registry as r
from mlflow_servers import free_port
from modelfleet.errors import ConfigurationError, DataError, ModelfleetError, NotFoundError, UnavailableError
from registry_bench import a_release, publish, runs_of, train

pytest_plugins = ["fixtures_mlflow"]


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """An HTTP server that is not MLflow: it gives every request the same answer."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://gate:s3cret@127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "status, body, error",
    [
        (404, b"<html>not here</html>", UnavailableError),
        (404, b"{}", UnavailableError),
        (200, b"", UnavailableError),
        (200, b"{}", UnavailableError),
        (200, b"<html>log in</html>", UnavailableError),
        (503, b"", UnavailableError),
        (401, b"no", ConfigurationError),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', ConfigurationError),
    ],
)
def test_server_that_does_not_answer_as_mlflow_is_never_no_champion(
    connect: Callable[[str, str], None], status: int, body: bytes, error: type[ModelfleetError]
) -> None:
    with answering(status, body) as url:
        connect("mlflow_production", url)
        with pytest.raises(error, match=r"production registry at http://gate:.*@127\.0\.0\.1") as raised:
            r.champion("flights")
    assert "s3cret" not in str(raised.value)


@pytest.mark.timeout(60)  # MLflow's own limits would take many minutes
def test_silent_server_is_unavailable_soon(connect: Callable[[str, str], None]) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        connect("mlflow_production", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UnavailableError, match="production registry") as raised:
            r.champion("flights")
    assert raised.value.retryable


def test_refused_connection_publishes_and_moves_nothing(
    connect: Callable[[str, str], None], a_pack: Callable[..., r.PackModel]
) -> None:
    connect("mlflow_production", f"http://127.0.0.1:{free_port()}")
    for call in (
        lambda: r.ensure("production"),
        lambda: publish(a_release("down"), a_pack()),
        lambda: r.set_champion("down", 1, expected=None),
        lambda: r.rollback("down"),
        lambda: r.versions("down"),
        lambda: r.history("down"),
    ):
        with pytest.raises(UnavailableError, match="AIRFLOW_CONN_MLFLOW_PRODUCTION"):
            call()


@pytest.mark.timeout(60)  # MLflow alone would retry for most of an hour
def test_store_that_is_no_database_is_unavailable(connect: Callable[[str, str], None], tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database" * 100)
    connect("mlflow_production", f"sqlite:///{broken}")
    with pytest.raises(UnavailableError, match="not a database"):
        r.champion("flights")


@pytest.mark.parametrize(
    "staging, production, message",
    [
        ("http://mlflow:5000", "http://mlflow:5000", "same MLflow registry"),
        ("http://mlflow:5000", "postgresql://u:hidden@db:5432/mlflow", "type 'postgresql\\+psycopg'; allowed: http"),
        ("http://mlflow:5000", "ftp://mlflow", "type 'ftp'; allowed: http"),
    ],
    ids=["same", "postgresql", "ftp"],
)
def test_connections_that_can_not_be_two_registries_are_refused(
    connect: Callable[[str, str], None], staging: str, production: str, message: str
) -> None:
    connect("mlflow_staging", staging)
    connect("mlflow_production", production)
    with pytest.raises(ConfigurationError, match=message) as raised:
        r.champion("flights")
    assert "hidden" not in str(raised.value)


@pytest.mark.usefixtures("mlflow_embedded")
def test_name_mlflow_refuses_is_a_data_error(a_pack: Callable[..., r.PackModel]) -> None:
    with pytest.raises(DataError, match="refuses what it was given"):
        publish(a_release("a/b"), a_pack())


@pytest.mark.usefixtures("mlflow_embedded")
def test_pack_or_docs_that_are_not_there_are_named(a_pack: Callable[..., r.PackModel], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere has no pack\.json"):
        publish(a_release("absent"), replace(a_pack(), folder=tmp_path / "nowhere"))
    with pytest.raises(NotFoundError, match=r"data docs .*no-docs"):
        train(a_release("absent"), a_pack(), data_docs=tmp_path / "no-docs")
    assert runs_of("production", "absent") == runs_of("staging", "absent") == []
