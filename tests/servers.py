"""Real servers for tests, started on a free loopback port and stopped after."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "50",
    "autovacuum": "off",
}


class PostgresMissingError(RuntimeError):
    """No PostgreSQL server binaries on this machine."""


@contextmanager
def postgres() -> Iterator[str]:
    """A throw-away PostgreSQL server; yields its base URL, such as ``postgresql://postgres@127.0.0.1:40123``.

    The superuser `postgres` needs no password (trust, loopback only). A database is named after a slash:
    `create_database`.

    :raises PostgresMissingError: when initdb is not installed.
    """
    binaries = _postgres_binaries()
    folder = Path(tempfile.mkdtemp(prefix="modelfleet-pg-"))
    data = folder / "data"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        _run([binaries / "initdb", "-D", data, *options], folder)
        port = _free_port()
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} " + " ".join(
            f"-c {name}={value}" for name, value in _SETTINGS.items()
        )
        _run([binaries / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-t", "60", "-o", settings, "start"], folder)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}"
        finally:
            _run([binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_database(server_url: str, name: str) -> str:
    """Make the empty database `name` (a leftover of that name is dropped) and give its URL."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(f"{server_url}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    return f"{server_url}/{name}"


def database_name(test_name: str) -> str:
    """A database name made from a test's name: at most 50 characters of ``[a-z0-9_]``, distinct per process."""
    return re.sub(r"[^a-z0-9_]+", "_", test_name.lower())[:40].strip("_") + f"_{os.getpid()}"


def empty_database(url: str) -> None:
    """Drop everything in a database, and whoever is still connected to it."""
    import psycopg
    from psycopg import sql

    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
    made = "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(others, (connection.info.backend_pid,))
        for (schema,) in connection.execute(made).fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        connection.execute("CREATE SCHEMA public")
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")


def _postgres_binaries() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    raise PostgresMissingError("initdb is neither in /usr/lib/postgresql/*/bin nor on PATH")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: list[str | Path], folder: Path) -> None:
    """Run, as user `postgres` when root: the server refuses root. Output to a file: pg_ctl's child keeps pipes."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["runuser", "-u", "postgres", "--", *words]
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        if done.returncode:
            output.seek(0)
            log = folder / "log"
            tail = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{' '.join(words)} failed: {output.read().decode(errors='replace')[-2000:]}\n{tail}")
