"""A lake in Azure's object store when things go wrong on the way: answers lost, bytes garbled, writers killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cloud_servers import ACCOUNT, KEY, Azurite, Proxy, connection_string, free_port
from modelfleet.errors import ConfigurationError, ConflictError, UnavailableError
from modelfleet.lake import Lake

pytest_plugins = ["fixtures_azurite"]
pytestmark = [pytest.mark.slow, pytest.mark.integration]

LARGE = bytes(range(256)) * 80_000  # 20 MB: three blocks and a commit


def stream(lake: Lake, path: str, data: bytes) -> None:
    with lake.open_output(path) as file:
        file.write(data)


WRITES: dict[str, Callable[[Lake], None]] = {
    "write_once": lambda lake: lake.write_once("a/file", b"data"),
    "swap": lambda lake: lake.swap("a/file", b"data", expected=None),
    "stream": lambda lake: stream(lake, "a/file", b"data"),
}


@pytest.mark.parametrize("fault", ["500", "lost", "unanswered"])
@pytest.mark.parametrize("write", WRITES)
def test_a_write_outlasts_a_fault_and_is_taken_for_ones_own(
    behind_proxy: tuple[Lake, Proxy], fault: str, write: str
) -> None:
    lake, proxy = behind_proxy
    lake.files.check()
    proxy.faults[:] = [fault]
    proxy.hits = lambda method, path: method == "PUT" and ("comp=blocklist" in path or write != "stream")
    WRITES[write](lake)
    assert proxy.spoilt == 1
    assert lake.read("a/file") == b"data"
    with pytest.raises(ConflictError if write == "swap" else FileExistsError):
        WRITES[write](lake)


def test_a_swap_whose_answer_was_lost_counts_as_done(behind_proxy: tuple[Lake, Proxy]) -> None:
    lake, proxy = behind_proxy
    lake.swap("manifest.json", b"one", expected=None)
    proxy.faults[:] = ["unanswered"]
    proxy.hits = lambda method, path: method == "PUT"
    lake.swap("manifest.json", b"two", expected=b"one")
    assert proxy.spoilt == 1
    assert lake.read("manifest.json") == b"two"


@pytest.mark.parametrize("fault", ["500", "lost", "unanswered"])
def test_deleting_outlasts_a_fault_and_asks_for_nothing_else(behind_proxy: tuple[Lake, Proxy], fault: str) -> None:
    """Whoever also marked the file's folder would wait seconds for others who do."""
    lake, proxy = behind_proxy
    lake.write_once("a/file", b"data")
    asked: list[str] = []

    def hits(method: str, path: str) -> bool:
        asked.append(method)
        return len(asked) == 1

    proxy.faults[:] = [fault] * 2  # the second is never taken
    proxy.hits = hits
    lake.delete("a/file")
    assert proxy.spoilt == 1
    assert asked == ["DELETE", "DELETE"]
    assert not lake.exists("a/file")


@pytest.mark.parametrize("fault", ["500", "lost"])
def test_reading_outlasts_a_fault(behind_proxy: tuple[Lake, Proxy], fault: str) -> None:
    lake, proxy = behind_proxy
    stream(lake, "a/file", LARGE)
    proxy.faults[:] = [fault] * 2
    proxy.hits = lambda method, path: method in ("GET", "HEAD")
    assert lake.read("a/file") == LARGE
    assert proxy.spoilt == 2


@pytest.mark.parametrize("write", [Lake.write_once, stream], ids=["write_once", "stream"])
def test_bytes_garbled_on_their_way_are_refused_and_leave_nothing(
    behind_proxy: tuple[Lake, Proxy], write: Callable[[Lake, str, bytes], None]
) -> None:
    lake, proxy = behind_proxy
    lake.files.check()
    proxy.faults[:] = ["garbled"]
    proxy.hits = lambda method, path: method == "PUT" and "blocklist" not in path
    with pytest.raises(UnavailableError, match=r"can't be reached: .*(MD5|md5|Md5)"):
        write(lake, "a/file", b"data")
    assert proxy.spoilt == 1
    assert not lake.exists("a/file")
    write(lake, "a/file", b"data")
    assert lake.read("a/file") == b"data"


def test_an_error_while_writing_leaves_nothing(behind_proxy: tuple[Lake, Proxy]) -> None:
    lake, _ = behind_proxy
    with suppress(ZeroDivisionError), lake.open_output("a/file") as file:
        file.write(LARGE)
        raise ZeroDivisionError
    assert not lake.exists("a/file")
    stream(lake, "a/file", b"data")
    assert lake.read("a/file") == b"data"


def test_a_stream_that_was_dropped_leaves_nothing(behind_proxy: tuple[Lake, Proxy]) -> None:
    lake, _ = behind_proxy
    lake.open_output("a/file").write(LARGE)
    assert not lake.exists("a/file")


KILLED_HALF_WAY = """
import os, signal
from modelfleet.lake import Lake
file = Lake.open().open_output("a/file")
file.write(bytes(20_000_000))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_nothing_visible(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in azurite.environment("killed").items():
        monkeypatch.setenv(name, value)
    killed = subprocess.run([sys.executable, "-c", KILLED_HALF_WAY], check=False)
    assert killed.returncode == -signal.SIGKILL
    lake = Lake.open()
    assert not lake.exists("a/file")
    stream(lake, "a/file", b"next")
    assert lake.read("a/file") == b"next"


def test_what_opens_no_lake_says_why(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in azurite.environment("lake").items():
        monkeypatch.setenv(name, value)
    assert Lake.open().exists("nothing") is False

    monkeypatch.setenv("MODELFLEET_LAKE", f"abfs://nowhere@{ACCOUNT}/folder")
    with pytest.raises(ConfigurationError, match="there is no container 'nowhere'"):
        Lake.open()

    monkeypatch.setenv("MODELFLEET_LAKE", f"abfss://lake@{ACCOUNT}.dfs.core.windows.net")
    wrong = connection_string(azurite.port).replace(KEY, "A" + KEY[1:])
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", wrong)
    with pytest.raises(ConfigurationError, match=r"refuses the credentials \(403\)") as caught:
        Lake.open()
    assert KEY[1:] not in str(caught.value)


def test_an_account_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setenv("MODELFLEET_LAKE", f"abfs://lake@{ACCOUNT}")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(free_port()))
    with pytest.raises(UnavailableError, match=f"lake 'abfs://lake@{ACCOUNT}' can't be reached") as caught:
        Lake.open()
    assert len(waited) == 3
    assert caught.value.retryable
    assert KEY not in str(caught.value)


def test_files_of_the_lake_are_ingested_in_place(azurite: Azurite, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    from ingest_bench import Bench, span
    from modelfleet.errors import DataError
    from modelfleet.spec import LakeTable

    container = azurite.client.create_container("inplace")
    for day in (1, 2, 3):
        times = [datetime(2013, 6, day, hour, tzinfo=UTC) for hour in range(24)]
        pq.write_table(pa.table({"at": times, "n": list(range(24))}), tmp_path / "rows")
        container.upload_blob(f"promo/{day}/rows.parquet", (tmp_path / "rows").read_bytes())
    container.upload_blob("promo/_old/rows.parquet", b"hidden")
    container.upload_blob("items.csv", b"id,price\n1,2.5\n2,\n")
    environment = azurite.environment("inplace")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        bench = Bench(Lake.open())

    made = bench.ingest(LakeTable("promo", time="at"), span("2013-06-02", "2013-06-03"))
    assert [entry.path for entry in made.files] == ["promo/2/rows.parquet"]
    assert bench.read(made)["n"].to_pylist() == list(range(24))
    items = bench.ingest(LakeTable("items.csv", format="csv"))
    assert bench.read(items).to_pylist() == [{"id": 1, "price": 2.5}, {"id": 2, "price": None}]

    container.upload_blob("promo/2/rows.parquet", (tmp_path / "rows").read_bytes(), overwrite=True)
    with pytest.raises(DataError, match=r"promo/2/rows\.parquet was changed since it was ingested"):
        bench.read(made)
    assert os.listdir(tmp_path) == ["rows"]
