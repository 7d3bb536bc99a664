"""A reader of a few models reads and checks little more than theirs, however many the pack has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modelfleet import keys, pack
from modelfleet.errors import CorruptionError
from modelfleet.group_models import GroupModels
from modelfleet.lake import Lake
from modelfleet.pack import checked, rows
from modelfleet.pack.checked import CheckedFile, every
from training_bench import KEY_FIELDS, Row, key, plan, spec

COUNT = 1000
NAMES = sorted((key(f"S{n}") for n in range(COUNT)), key=keys.hash_of)


class Counting:
    """Opens a lake's files, and counts the bytes that are read of them."""

    def __init__(self, lake: Lake) -> None:
        self.lake, self.read = lake, Counter[str]()

    def __call__(self, path: str) -> Any:
        opened, read = self.lake.open_input(path), self.read

        class File:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                opened.close()

            def __getattr__(self, name: str) -> Any:
                return getattr(opened, name)

            closed = False

            def read(self, size: int = -1) -> bytes:
                data = opened.read() if size < 0 else opened.read(size)
                read[path] += len(data)
                return bytes(data)

        return File()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture(autouse=True)
def _small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_GROUP_BYTES", 1)
    monkeypatch.setattr(checked, "_KNOWN", {})


def row(number: int, name: str, **changes: Any) -> Row:
    data, digest = pack.dump_model(f"model of {name} " * 50)
    made: Row = {"_hash": keys.hash_of(name), "partition": name, "serves": "model", "n_rows": number}
    return {**made, "model": data, "model_digest": digest, **changes}


def written(lake: Lake, listed: list[Row], groups: list[Row] | None = None) -> tuple[pack.Pack, Counting]:
    """A pack of one file, in row groups of a hundred."""
    schema = pack.row_schema(KEY_FIELDS, plan().metrics)
    entry, other = (
        pack.write_rows(lake, name, pa.Table.from_pylist(given, schema=schema))
        for name, given in (("pack.parquet", listed), ("groups.parquet", groups or []))
    )
    header = pack.make_header(
        spec(),
        key_types={"store": "string"},
        time_type="timestamp[us, tz=UTC]",
        feature_types={},
        inputs={},
        code=(),
        files=[(entry, (0, 1 << 64))],
        groups=[other] if groups else [],
        digest="",
    )
    opened = Counting(lake)
    return pack.Pack(header, opened), opened


@pytest.fixture
def made(lake: Lake) -> tuple[pack.Pack, Counting]:
    return written(lake, [row(number, name) for number, name in enumerate(NAMES)])


@pytest.mark.parametrize("place", [0, 99, 100, 555, COUNT - 1])
def test_one_key_is_found_in_its_row_group(made: tuple[pack.Pack, Counting], place: int) -> None:
    found = made[0].find(NAMES[place])
    assert found is not None
    assert (found["partition"], found["n_rows"]) == (NAMES[place], place)
    assert not {"model", "_hash"} & set(found)
    assert made[1].read.total() < made[0].header.files[0].bytes / 3


def test_key_that_is_not_there_is_none(made: tuple[pack.Pack, Counting]) -> None:
    assert made[0].find(key("nobody")) is None


def test_second_reader_of_a_file_reads_the_row_groups_of_its_range_alone(made: tuple[pack.Pack, Counting]) -> None:
    opened, counting = made
    whole = opened.header.files[0].bytes
    low, high = keys.hash_of(NAMES[250]), keys.hash_of(NAMES[260])
    expected = NAMES[250:260]
    assert opened.rows(low, high).column("partition").to_pylist() == expected
    assert counting.read.total() == whole
    assert opened.rows(low, high).column("partition").to_pylist() == expected
    assert counting.read.total() - whole < whole / 5


@pytest.mark.parametrize("buckets", [1, 7, 64])
def test_every_row_is_in_one_bucket_with_its_model(made: tuple[pack.Pack, Counting], buckets: int) -> None:
    ranges = [keys.bucket_range(bucket, buckets) for bucket in range(buckets)]
    found = pa.concat_tables([made[0].rows(low, high) for low, high in ranges])
    assert found.column("partition").to_pylist() == NAMES
    for given in found.slice(0, 3).to_pylist():
        assert pack.load_model(given["model"], given["model_digest"]).startswith(f"model of {given['partition']}")


def test_only_the_columns_that_are_asked_for_are_given(made: tuple[pack.Pack, Counting]) -> None:
    assert made[0].rows(0, 1 << 64, ["model", "partition"]).column_names == ["model", "partition"]
    known = pack.PackRows(made[0].rows(0, 1 << 64, ["partition", "n_rows"]))
    assert (len(known), list(known)) == (COUNT, NAMES)
    assert known[NAMES[3]] == {"partition": NAMES[3], "n_rows": 3}
    assert known.get(key("nobody")) is None


@pytest.mark.parametrize("place", [10, 600], ids=["of the range", "of another"])
def test_bytes_that_change_after_the_first_check_are_found_where_they_are_read(
    lake: Lake, made: tuple[pack.Pack, Counting], place: int
) -> None:
    opened, _ = made
    low, high = keys.hash_of(NAMES[0]), keys.hash_of(NAMES[50])
    before = opened.rows(low, high)
    path = lake.root / "pack.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) * place // COUNT] ^= 1
    path.write_bytes(data)
    if place == 10:
        with pytest.raises(CorruptionError, match=r"fleet 'shops': pack file 'pack.parquet' does not hold the bytes"):
            opened.rows(low, high)
    else:
        assert opened.rows(low, high).equals(before)
    with pytest.raises(CorruptionError, match="does not hold the bytes"):
        opened.rows(0, 1 << 64)


def test_truncated_file_is_refused(lake: Lake, made: tuple[pack.Pack, Counting]) -> None:
    opened, _ = made
    opened.rows(0, 1)
    path = lake.root / "pack.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptionError, match="does not hold the bytes"):
        opened.rows(0, 1 << 64)


def test_what_is_known_of_files_is_bounded(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "_KNOWN_LIMIT", 2)
    schema = pack.row_schema(KEY_FIELDS, plan().metrics)
    for number in range(4):
        table = pa.Table.from_pylist([row(number, NAMES[number])], schema=schema)
        entry = pack.write_rows(lake, f"{number}.parquet", table)
        assert CheckedFile(lake.open_input, entry, fleet="shops").read(every).num_rows == 1
    assert len(checked._KNOWN) == 2


class TestGroups:
    """Models over many partitions: of ten thousand items, a bucket needs those of its new ones."""

    @pytest.fixture
    def groups(self, lake: Lake) -> tuple[GroupModels, Counting]:
        listed = [row(n, f"item={n}", level="item") for n in range(500)]
        listed[7] |= {"model": None, "model_digest": None}
        opened, counting = written(lake, [row(0, NAMES[0])], listed)
        return GroupModels.opened(opened), counting

    def test_nothing_is_read_before_a_model_is_looked_for(self, groups: tuple[GroupModels, Counting]) -> None:
        assert groups[1].read.total() == 0

    @pytest.mark.parametrize("number", [0, 99, 100, 499])
    def test_model_is_read_when_it_is_loaded(self, groups: tuple[GroupModels, Counting], number: int) -> None:
        models, counting = groups
        found = models.row("item", {"item": str(number)})
        assert found is not None
        whole = counting.read.total()
        assert models.load(found) == f"model of item={number} " * 50
        assert counting.read.total() - whole < whole / 3
        read = counting.read.total()
        models.load(models.row("item", {"item": str(number - 1 if number % 100 else number + 1)}) or {})
        assert counting.read.total() == read

    def test_group_without_a_model_is_not_there(self, groups: tuple[GroupModels, Counting]) -> None:
        assert groups[0].row("item", {"item": "7"}) is None
        assert groups[0].row("item", {"item": "500"}) is None
        assert len(groups[0].rows) == 499

    def test_row_has_its_model_and_no_other_column(self, groups: tuple[GroupModels, Counting]) -> None:
        found = groups[0].row("item", {"item": "3"})
        assert found is not None
        assert pack.load_model(found["model"], found["model_digest"]) == "model of item=3 " * 50
        with pytest.raises(KeyError):
            found["mae"]

    def test_bytes_that_are_others_are_not_unpickled(self, lake: Lake, groups: tuple[GroupModels, Counting]) -> None:
        found = groups[0].row("item", {"item": "3"})
        assert found is not None
        path = lake.root / "groups.parquet"
        data = bytearray(path.read_bytes())
        data[len(data) // 10] ^= 1
        path.write_bytes(data)
        with pytest.raises(CorruptionError, match="does not hold the bytes"):
            groups[0].load(found)
