"""Airflow on this machine: its whole environment under one folder, started, watched and stopped as one session.

Used by the demo and the end-to-end tests; ``python -m modelfleet.airflow.standalone`` serves the UI in the foreground
(``make airflow``). Everything binds to the loopback address; keys and passwords are made once and kept in the folder.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from modelfleet import engine, settings
from modelfleet.airflow.rest import AirflowClient
from modelfleet.errors import ConfigurationError, UnavailableError

USER = "admin"
SPARK_POOL = "spark"
SPARK_LOCAL = {"conn_type": "spark", "host": "local[*]", "extra": {"deploy-mode": "client"}}
HOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1
QUIET = ("http.access", "airflow.serialization", "airflow.models.dag")


def environment(
    home: Path,
    *,
    dags: Path,
    plugins: Path,
    port: int,
    parallelism: int = 4,
    parse_seconds: int = 30,
) -> dict[str, str]:
    """The environment variables Airflow and its tasks run under, on top of this process's own.

    What is set already (a connection, a secrets backend, an executor) is left as it is, but for what makes a home:
    folders, keys and ports.
    """
    folder = home / "airflow"
    keys = _secrets(folder)
    url = f"http://{HOST}:{port}"
    defaults = {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": str(parse_seconds),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": str(parse_seconds),
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # A supervisor that misses its task's exit sleeps this long: with the default, one task in three took 5 s more.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "30",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__UVICORN_LOGGING_LEVEL": "WARNING",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": " ".join(f"{name}=WARNING" for name in QUIET),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(SPARK_LOCAL),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_CONF_DIR": str(_spark_conf(folder)),
        "NO_COLOR": "1",
        "PYTHONWARNINGS": "ignore",
    }
    own = {
        "MODELFLEET_HOME": str(home),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet"],
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file(home)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": keys["secret"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        # `airflow` and `spark-submit` are looked up there, by Airflow itself too
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return {**defaults, **os.environ, **own}


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def password_file(home: Path) -> Path:
    """Where Airflow keeps the generated password of `USER`."""
    return home / "airflow" / "passwords.json"


def password(home: Path) -> str:
    """The password of `USER`; Airflow reads it from the same file."""
    return str(json.loads(password_file(home).read_text())[USER])


class Standalone:
    """A running ``airflow standalone``: a context manager that starts it in a session of its own and stops that."""

    def __init__(
        self,
        home: Path,
        *,
        dags: Path,
        plugins: Path,
        port: int | None = None,
        spark_slots: int = 1,
        env: Mapping[str, str] | None = None,
        parse_seconds: int = 30,
    ) -> None:
        self.home = home.resolve()
        self.port = port or free_port()
        self.env = {
            **environment(
                self.home, dags=dags.resolve(), plugins=plugins.resolve(), port=self.port, parse_seconds=parse_seconds
            ),
            **(env or {}),
        }
        self.spark_slots = spark_slots
        self.log_file = self.home / "airflow" / "standalone.log"
        self.client = AirflowClient(f"http://{HOST}:{self.port}", USER, password(self.home))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Standalone:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start Airflow and wait until it is healthy.

        :raises UnavailableError: when it ends, or is not healthy within two minutes; `log_file` says more.
        """
        self.launch()
        try:
            self.wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start Airflow, without waiting for it."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread of ours runs yet
            )

    def wait_until_healthy(self, *, within: float = 120.0) -> None:
        """Wait for API server, scheduler and DAG processor, and make the pool of Spark jobs."""
        self._wait(self.client.healthy, within, "healthy")
        self.client.ensure_pool(SPARK_POOL, self.spark_slots, "Spark jobs that may run at once")

    def wait_for_dags(self, dag_ids: Collection[str], *, within: float = 120.0) -> None:
        """Wait until the DAGs are parsed.

        :raises ConfigurationError: when a DAG file that can't be imported keeps one of them out.
        """
        wanted = set(dag_ids)

        def parsed() -> bool:
            missing = wanted - self.client.dag_ids()
            broken = self.client.import_errors() if missing else {}
            if missing and broken:
                name, trace = next(iter(broken.items()))
                raise ConfigurationError(f"DAG file {name} can't be imported:\n{trace}")
            return not missing

        self._wait(parsed, within, f"done parsing {', '.join(sorted(wanted))}")

    def stop(self) -> None:
        """Stop Airflow and every process of its session: components, workers, tasks and their Spark."""
        self.client.close()
        process, self._process = self._process, None
        if process is None:
            return
        # Asked alone, the leader ends its components in order, in 6 s; when all are interrupted at once, some hang.
        _signal([process.pid], signal.SIGINT)
        for number, patience in ((None, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            if number is not None:
                _signal(_session(process.pid), number)
            deadline = time.monotonic() + patience
            while _session(process.pid) and time.monotonic() < deadline:
                process.poll()
                time.sleep(0.1)
        process.wait()

    def wait(self) -> int:
        """Wait until Airflow ends by itself; returns its exit code."""
        return self._process.wait() if self._process else 0

    def _wait(self, condition: Callable[[], bool], within: float, what: str) -> None:
        deadline = time.monotonic() + within
        while not condition():
            code = self._process.poll() if self._process else None
            if code is not None:
                raise UnavailableError(f"Airflow ended with code {code} while starting", hint=f"see {self.log_file}")
            if time.monotonic() > deadline:
                raise UnavailableError(f"Airflow is not {what} after {within:.0f} s", hint=f"see {self.log_file}")
            time.sleep(0.3)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _end_with_parent() -> None:
    """Runs in the child: Linux interrupts it when this process dies, however that happens.

    In the background of a shell interrupts are ignored, which a child would inherit.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _session(leader: int) -> list[int]:
    """The processes of a session that still live. Tasks have process groups of their own, but stay in the session."""
    import psutil  # type: ignore[import-untyped]

    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.Error):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def _secrets(folder: Path) -> dict[str, str]:
    """Airflow's keys, and the password of `USER`: made once, readable by the owner alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "secrets.json"
    if not path.exists():
        import base64

        fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        _write_private(path, {"fernet": fernet, "secret": secrets.token_hex(32), "jwt": secrets.token_hex(32)})
    passwords = folder / "passwords.json"
    if not passwords.exists():
        _write_private(passwords, {USER: secrets.token_urlsafe(12)})
    return {str(name): str(value) for name, value in json.loads(path.read_text()).items()}


def _spark_conf(folder: Path) -> Path:
    """The folder of ``spark-defaults.conf``: what spark-submit reads before the job's own settings."""
    place = folder / "spark"
    place.mkdir(exist_ok=True)
    lines = "".join(f"{name} {value}\n" for name, value in engine.EMBEDDED.items())
    (place / "spark-defaults.conf").write_text(lines)
    return place


def _write_private(path: Path, content: Mapping[str, str]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dict(content), file)


def main() -> int:
    """Serve the UI on the home of the settings until interrupted."""
    root = Path.cwd()
    port = int(os.environ.get("MODELFLEET_AIRFLOW_PORT", "8080"))
    airflow = Standalone(
        settings.home(), dags=settings.dags_folder(), plugins=root / "plugins", port=port, parse_seconds=10
    )
    print(f"Starting Airflow, its home is {airflow.home / 'airflow'} ...", flush=True)
    with airflow:
        print(f"Airflow: http://{HOST}:{port}  user: {USER}  password: in {password_file(airflow.home)}", flush=True)
        print(f"Log: {airflow.log_file}  (stop with Ctrl-C)", flush=True)
        try:
            return airflow.wait()
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
