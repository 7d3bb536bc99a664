"""A cluster for tests and benches, all on loopback: Azure's storage emulator, a proxy before it that fails, Spark standalone."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

HOST = "127.0.0.1"
AZURITE = (
    Path(__file__).resolve().parents[1] / ".venv" / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob"
)
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Every Azurite's, published by Microsoft."""


class MissingError(RuntimeError):
    """A server's program is not installed."""


@dataclass(frozen=True)
class Azurite:
    """A running emulator."""

    port: int

    @property
    def connection_string(self) -> str:
        return connection_string(self.port)

    @property
    def client(self) -> Any:
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient.from_connection_string(self.connection_string)

    def environment(self, container: str, folder: str = "") -> dict[str, str]:
        """What makes a container, made here if need be, the lake of a process."""
        from azure.core.exceptions import ResourceExistsError

        with suppress(ResourceExistsError):
            self.client.create_container(container)
        return {
            "MODELFLEET_LAKE": f"abfs://{container}@{ACCOUNT}.dfs.core.windows.net/{folder}",
            "AZURE_STORAGE_CONNECTION_STRING": self.connection_string,
        }


def connection_string(port: int) -> str:
    """That of an emulator, or of a proxy before it."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"BlobEndpoint=http://{HOST}:{port}/{ACCOUNT};"
    )


@contextmanager
def azurite(folder: Path | None = None) -> Iterator[Azurite]:
    """A throw-away emulator of the blob service, its blobs in memory, or on disk in `folder`.

    :raises MissingError: when ``make azurite`` has not installed it.
    """
    program, node = AZURITE / "main.js", shutil.which("node")
    if not program.exists() or node is None:
        raise MissingError("Azurite is not installed: run make azurite, which needs npm")
    port = free_port()
    place = ["--inMemoryPersistence"] if folder is None else ["--location", str(folder)]
    options = ["--disableTelemetry", "--skipApiVersionCheck", "--silent", *place]
    command = [node, str(program), "--blobHost", HOST, "--blobPort", str(port), *options]
    with _running(command, lambda: _answers(port)):
        yield Azurite(port)


@dataclass
class Proxy:
    """Stands before an emulator. `faults` are taken by one after the other: each spoils the next request that `hits` names.

    ``500``: answers so without passing the request on; ``lost``: the same, without an answer; ``unanswered``: passes it on
    and gives no answer; ``garbled``: passes on other bytes than came.
    """

    port: int
    faults: list[str] = field(default_factory=list)
    hits: Callable[[str, str], bool] = lambda method, path: True
    spoilt: int = 0


@contextmanager
def proxy(server: Azurite) -> Iterator[Proxy]:
    """A proxy on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = made.faults.pop(0) if made.faults and made.hits(self.command, self.path) else None
            made.spoilt += fault is not None
            if fault in ("500", "lost"):
                self.answer(None if fault == "lost" else (500, {}, b""))
                return
            if fault == "garbled":
                body = bytes([body[0] ^ 1]) + body[1:]
            upstream = http.client.HTTPConnection(HOST, server.port, timeout=30)
            # The signature is over the headers, but for that of the host.
            upstream.request(self.command, self.path, body or None, dict(self.headers))
            given = upstream.getresponse()
            answer = given.status, dict(given.getheaders()), given.read()
            upstream.close()
            self.answer(None if fault == "unanswered" else answer)

        def answer(self, given: tuple[int, dict[str, str], bytes] | None) -> None:
            if given is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, headers, body = given
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "keep-alive"):
                    self.send_header(name, value)
            length = headers.get("content-length", str(len(body))) if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = pass_on

        def log_message(self, *_: object) -> None:
            """Nothing: tests say what they saw."""

    listener = ThreadingHTTPServer((HOST, 0), Handler)
    made = Proxy(listener.server_address[1])
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


@dataclass
class Standalone:
    """A running Spark standalone cluster: a master, and workers of one core each, each good for one executor."""

    url: str
    ui: int
    folder: Path
    workers: list[subprocess.Popen[bytes]]

    def executors(self) -> list[int]:
        """The process ids of the executors of its workers."""
        children = [child for worker in self.workers for child in psutil.Process(worker.pid).children()]
        return sorted(child.pid for child in children if _is_executor(child))


def _is_executor(child: psutil.Process) -> bool:
    """Whether a worker's child is one that runs; another is what its start script has left, ended but never waited for."""
    with suppress(psutil.NoSuchProcess):
        return bool(child.status() != psutil.STATUS_ZOMBIE)
    return False


@contextmanager
def standalone(workers: int, folder: Path, *, memory: str = "2g") -> Iterator[Standalone]:
    """A Spark standalone cluster on loopback, logs and work in `folder`; the version is that of the installed pyspark."""
    import pyspark

    home = Path(pyspark.__file__).parent
    port, ui = free_port(), free_port()
    own = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": HOST, "SPARK_LOCAL_DIRS": str(folder / "local")}
    environment = {**os.environ, **own, "SPARK_DAEMON_MEMORY": "256m"}
    java = [str(home / "bin" / "spark-class")]  # becomes the JVM it starts
    url = f"spark://{HOST}:{port}"
    listen = ["--host", HOST, "--port", str(port), "--webui-port", str(ui)]
    each = [
        "--host",
        HOST,
        "--webui-port",
        "0",
        "--cores",
        "1",
        "--memory",
        memory,
        "--work-dir",
        str(folder / "work"),
        url,
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with _running(
        [*java, "org.apache.spark.deploy.master.Master", *listen],
        lambda: _answers(ui),
        environment,
        folder / "master.log",
    ):
        made = Standalone(url, ui, folder, [])
        started = []
        try:
            for number in range(workers):
                log = (folder / f"worker-{number}.log").open("wb")
                command = [*java, "org.apache.spark.deploy.worker.Worker", *each]
                worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
                log.close()
                started.append(worker)
            made.workers.extend(started)
            _wait(lambda: _alive(ui) == workers, started)
            yield made
        finally:
            for worker in started:
                _end(worker)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(
    command: list[str], ready: Callable[[], bool], environment: dict[str, str] | None = None, log: Path | None = None
) -> Iterator[None]:
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        _wait(ready, [process])
        yield
    finally:
        _end(process)


def _wait(ready: Callable[[], bool], processes: list[subprocess.Popen[bytes]], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not ready():
        ended = [process for process in processes if process.poll() is not None]
        if ended or time.monotonic() > until:
            raise RuntimeError(f"{processes[0].args!r} did not start within {seconds} s; ended: {len(ended)}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _alive(ui: int) -> int:
    """How many workers have registered; none while the master's page is not there yet."""
    with suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{ui}/json/", timeout=10) as answer:
        return sum(worker["state"] == "ALIVE" for worker in json.load(answer)["workers"])
    return 0
