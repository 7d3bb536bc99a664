"""What every lake keeps to, wherever its files are: written once and whole, replaced on condition, checked by digest."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from modelfleet.errors import ConflictError, CorruptionError, NotFoundError
from modelfleet.lake import Lake, store
from modelfleet.lake.local import LocalFiles

pytest_plugins = ["fixtures_azurite"]
WRITERS = 8
NAMES = (
    "plain",
    "with space",
    "ünï 井",
    "a%2Fb %41",
    'it\'s "q"; DROP',
    "a=b&c+d~e",
    "..dots..",
    "#frag?query",
    "[x]{y}",
)


def together(write: Callable[[bytes], None]) -> list[type[Exception] | None]:
    """What each of some writers that start at once got: None for the one that wrote."""
    start = threading.Barrier(WRITERS)

    def attempt(number: int) -> type[Exception] | None:
        start.wait()
        try:
            write(str(number).encode() * 100_000)
        except Exception as exc:
            return type(exc)
        return None

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(attempt, range(WRITERS)))


def stream(lake: Lake, path: str, data: bytes) -> None:
    with lake.open_output(path) as file:
        file.write(data)


@pytest.mark.parametrize(
    "kind, refusal", [("write_once", FileExistsError), ("swap", ConflictError), ("stream", FileExistsError)]
)
def test_writers_at_once_leave_the_whole_file_of_one(lake: Lake, kind: str, refusal: type[Exception]) -> None:
    outcomes = together(
        lambda content: {
            "write_once": lambda: lake.write_once("a/file", content),
            "swap": lambda: lake.swap("a/file", content, expected=None),
            "stream": lambda: stream(lake, "a/file", content),
        }[kind]()
    )
    assert sorted(outcomes, key=str) == sorted([None] + [refusal] * (WRITERS - 1), key=str)
    assert lake.read("a/file") == str(outcomes.index(None)).encode() * 100_000


def test_of_swaps_at_once_over_a_known_state_one_wins(lake: Lake) -> None:
    lake.swap("a/file", b"old", expected=None)
    outcomes = together(lambda content: lake.swap("a/file", content, expected=b"old"))
    assert sorted(outcomes, key=str) == sorted([None] + [ConflictError] * (WRITERS - 1), key=str)
    assert lake.read("a/file") == str(outcomes.index(None)).encode() * 100_000


@pytest.mark.parametrize("write", [Lake.write_once, stream], ids=["write_once", "stream"])
def test_second_write_is_refused_and_leaves_the_first(lake: Lake, write: Callable[[Lake, str, bytes], None]) -> None:
    write(lake, "a/b/file", b"first")
    with pytest.raises(FileExistsError):
        write(lake, "a/b/file", b"second")
    assert lake.read("a/b/file") == b"first"


@pytest.mark.parametrize(
    "standing, expected",
    [
        pytest.param(b"other", b"old", id="changed"),
        pytest.param(b"other", None, id="made meanwhile"),
        pytest.param(None, b"old", id="gone"),
        pytest.param(b"", None, id="empty is not absent"),
    ],
)
def test_swap_of_something_else_than_expected_is_refused(
    lake: Lake, standing: bytes | None, expected: bytes | None
) -> None:
    if standing is not None:
        lake.write_once("manifest.json", standing)
    with pytest.raises(ConflictError, match=r"'manifest.json' was changed by another attempt"):
        lake.swap("manifest.json", b"new", expected=expected)
    assert (lake.read("manifest.json") if lake.exists("manifest.json") else None) == standing


def test_swap_of_what_is_expected_replaces_it(lake: Lake) -> None:
    lake.swap("manifest.json", b"one", expected=None)
    lake.swap("manifest.json", b"two", expected=b"one")
    assert lake.read("manifest.json") == b"two"


@pytest.mark.parametrize("damage", [b"changed!", b"data, longer", b"", None], ids=repr)
def test_file_other_than_its_entry_is_found_out(
    lake: Lake, damage: bytes | None, overwrite: Callable[[Lake, str, bytes | None], None]
) -> None:
    lake.write_once("file", b"the data")
    entry = lake.entry("file", rows=1)
    lake.verify(entry)
    overwrite(lake, "file", damage)
    assert not lake.holds(entry)
    with pytest.raises(CorruptionError, match="file 'file' does not match the digest"):
        lake.verify(entry)


def test_entry_says_size_and_digest(lake: Lake) -> None:
    lake.write_once("file", b"the data")
    entry = lake.entry("file", rows=3)
    assert (entry.path, entry.rows, entry.bytes) == ("file", 3, 8)
    assert entry.digest == "9474a99983b8c42b7e40fbbf2c051ac3"
    assert not lake.holds(replace(entry, digest="0" * 32))


def test_a_file_that_others_wrote_has_the_same_entry(
    lake: Lake, overwrite: Callable[[Lake, str, bytes | None], None]
) -> None:
    lake.write_once("ours", b"the data")
    overwrite(lake, "theirs", b"the data")
    assert replace(lake.entry("theirs", rows=1), path="ours") == lake.entry("ours", rows=1)
    assert lake.entry_in_place("theirs", 1) == lake.entry("theirs", 1)
    overwrite(lake, "theirs", b"THE DATA")
    assert lake.entry_in_place("theirs", 1).digest != lake.entry("ours", 1).digest


def test_a_large_table_comes_back_as_it_was(lake: Lake) -> None:
    rows = pa.table({"n": np.random.default_rng(0).normal(size=4_000_000)})  # 32 MB: several requests
    with lake.open_output("a/rows.parquet") as file:
        pq.write_table(rows, file, compression="none", use_dictionary=False)
        written = file.tell()
    entry = lake.entry("a/rows.parquet", rows.num_rows)
    assert entry.bytes == written > 32_000_000
    with lake.open_input(entry.path) as file:
        assert pq.read_table(file).equals(rows)
    assert ds.dataset([entry.path], filesystem=lake.fs, format="parquet").count_rows() == rows.num_rows


def test_arrow_files_are_read_batch_by_batch(lake: Lake) -> None:
    batches = [pa.record_batch({"n": np.arange(n)}) for n in (5, 0, 1000)]
    with lake.open_output("a/rows.arrow") as file, pa.ipc.new_file(file, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    with lake.open_input("a/rows.arrow") as file, pa.ipc.open_file(file) as reader:
        assert reader.get_batch(2).equals(batches[2])


def test_an_empty_file_is_a_file(lake: Lake) -> None:
    stream(lake, "a/empty", b"")
    lake.write_once("b/empty", b"")
    assert [lake.read(name) for name in ("a/empty", "b/empty")] == [b"", b""]
    assert lake.entry("a/empty", 0).bytes == 0


def test_names_of_any_characters_are_themselves(lake: Lake) -> None:
    for number, name in enumerate(NAMES):
        lake.write_once(f"odd/{name}/{name}.json", str(number).encode())
    assert lake.intervals("odd") == sorted(NAMES)
    assert [lake.read(f"odd/{name}/{name}.json") for name in NAMES] == [str(n).encode() for n in range(len(NAMES))]
    assert lake.files_below(lake.path_in_place("odd/plain")) == [lake.path_in_place("odd/plain/plain.json")]


def test_a_file_that_is_not_there_is_named(lake: Lake) -> None:
    with pytest.raises(NotFoundError, match="no file 'a/b' in the lake"):
        lake.read("a/b")
    with pytest.raises(NotFoundError, match="no file 'a/b' in the lake"):
        lake.entry("a/b", 0)
    with pytest.raises(FileNotFoundError):
        lake.open_input("a/b")
    with pytest.raises(NotFoundError):
        lake.entry_in_place(lake.path_in_place("a/b"), 0)
    assert lake.files_below(lake.path_in_place("a")) is None


def test_intervals_are_the_folders_in_order(lake: Lake) -> None:
    lake.write_once("fleet/train/2013-10-01/manifest.json", b"")
    lake.write_once("fleet/train/2013-09-30/manifest.json", b"")
    lake.write_once("fleet/train/2013-09-30/attempt/spec.json", b"")
    lake.write_once("fleet/training/2012-09-30/manifest.json", b"")
    lake.write_once("fleet/train/note", b"")
    assert lake.intervals("fleet/train") == ["2013-09-30", "2013-10-01"]
    assert lake.intervals("fleet/score") == []


def test_a_folder_is_no_file(lake: Lake) -> None:
    lake.write_once("a/b/file", b"x")
    assert not lake.exists("a/b")
    assert lake.exists("a/b/file")


def test_a_deleted_file_can_be_written_again(lake: Lake) -> None:
    lake.write_once("a/file", b"one")
    lake.delete("a/file")
    assert not lake.exists("a/file")
    lake.write_once("a/file", b"two")
    assert lake.read("a/file") == b"two"


def test_a_file_that_another_has_deleted_is_no_error(lake: Lake) -> None:
    lake.write_once("a/file", b"one")
    for path in ("a/file", "a/file", "a/other", "b/none"):
        lake.delete(path)
    assert not lake.exists("a/file")


def test_a_lake_reaches_another_process_as_it_is(lake: Lake) -> None:
    lake.write_once("a/file", b"data")
    assert lake.exists("a/file")  # its filesystem is made
    other = pickle.loads(pickle.dumps(lake))
    assert other.read("a/file") == b"data"
    with pytest.raises(FileExistsError):
        other.write_once("a/file", b"other")
    assert repr(other) == repr(lake)


def test_a_file_is_copied_out(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("out") / "copy"
    stream(lake, "a/file", b"data" * 1000)
    lake.copy_to("a/file", target)
    assert target.read_bytes() == b"data" * 1000


def test_a_file_of_the_machine_is_read_in_place(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("elsewhere") / "file"
    place.write_bytes(b"in place")
    with lake.open_input(str(place)) as file:
        assert file.read() == b"in place"
    entry = lake.entry_in_place(str(place), 1)
    assert lake.holds(entry)
    assert lake.files_below(str(place.parent)) == [str(place)]


def test_file_in_place_is_digested_once_for_all_processes_while_it_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, known, digested = tmp_path / "rows.bin", Lake(tmp_path / "lake"), list[str]()
    place.write_bytes(b"some rows")
    entry = known.entry_in_place(str(place), 1)
    elsewhere = pickle.loads(pickle.dumps(known.vouching([str(place), str(tmp_path / "nothing")])))
    monkeypatch.setattr(store, "_SEEN", {})  # as in another process
    real = LocalFiles.digested
    monkeypatch.setattr(LocalFiles, "digested", lambda self, path: digested.append(path) or real(self, path))

    assert elsewhere.entry_in_place(str(place), 1) == entry
    assert digested == []

    place.write_bytes(b"other rows")
    assert elsewhere.entry_in_place(str(place), 1).digest != entry.digest
    assert len(digested) == 1
