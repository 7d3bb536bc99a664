"""Real MLflow servers for tests: SQLite behind, artifacts served, on a free loopback port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_START_SECONDS = 150


@contextmanager
def mlflow_server(folder: Path, *, store: Path | None = None) -> Iterator[str]:
    """An MLflow server that keeps everything in `folder`; yields its URL once it answers.

    :param store: a fresh SQLite store to copy, which spares the server the seconds of making one.
    :raises RuntimeError: it does not answer; with the end of its log.
    """
    with started(folder, store) as (url, process):
        wait(url, process, folder)
        yield url


@contextmanager
def two_mlflow_servers(folder: Path, *, store: Path | None = None) -> Iterator[tuple[str, str]]:
    """Two servers apart in everything, started side by side."""
    staging, production = folder / "staging", folder / "production"
    with started(staging, store) as (first, one), started(production, store) as (second, two):
        wait(first, one, staging)
        wait(second, two, production)
        yield first, second


@contextmanager
def started(folder: Path, store: Path | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that may not answer yet (see `wait`); killed with its children at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    if store is not None:
        shutil.copy(store, folder / "mlflow.db")
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Return when the server answers."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/health", timeout=2):
            return
        time.sleep(0.1)
    tail = (folder / "server.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"mlflow server at {url} does not answer (exit code {process.poll()}):\n{tail}")


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
