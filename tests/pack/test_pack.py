"""Packs: read as they were written, in any layout, and nothing unpickled that does not lead back to the header's digest."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modelfleet import keys, pack, slices
from modelfleet.errors import CorruptionError, DataError
from modelfleet.lake import Lake
from modelfleet.steps.packaging import pack_folder
from training_bench import KEY_FIELDS, part, plan, spec, train_in_lake

PARTS = {f"S{n}": part(20, seed=n) for n in range(12)} | {"short": part(2)}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def by_partition(rows: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["partition"]: row for row in rows.to_pylist()}


def test_models_read_back_by_hash_and_predict(lake: Lake) -> None:
    made = train_in_lake(lake, PARTS, name="one", buckets=3)
    rows = made.rows(0, 1 << 64)
    assert rows.num_rows == made.header.rows == len(PARTS)
    hashes = rows.column("_hash").to_pylist()
    assert hashes == sorted(hashes) == sorted(keys.hash_of(name) for name in rows.column("partition").to_pylist())
    for row in rows.to_pylist():
        assert (row["model"] is None) == (row["store"] == "short")
        if row["model"] is not None:
            assert pack.load_model(row["model"], row["model_digest"]).predict([[0.0, 0.0]]) == pytest.approx(3, abs=0.5)


def test_index_is_the_rows_without_models(lake: Lake) -> None:
    made = train_in_lake(lake, PARTS, name="one", buckets=3)
    index, rows = made.index(), made.rows(0, 1 << 64)
    assert index.equals(rows.drop_columns(["model"]))
    assert made.index(["store", "status"]).column_names == ["store", "status"]


@pytest.mark.parametrize("buckets", [1, 2, 5, 64])
def test_rows_of_any_layout_are_found_in_a_pack_of_another(lake: Lake, buckets: int) -> None:
    made = train_in_lake(lake, PARTS, name="one", buckets=3)
    found = [made.rows(*keys.bucket_range(bucket, buckets)) for bucket in range(buckets)]
    for bucket, rows in enumerate(found):
        assert {keys.bucket_of(value, buckets) for value in rows.column("_hash").to_pylist()} <= {bucket}
        assert rows.num_rows == 0 or "model" in rows.column_names
    assert [name for rows in found for name in rows.column("partition").to_pylist()] == made.index().column(
        "partition"
    ).to_pylist()


def test_pack_in_a_folder_reads_as_in_the_lake(lake: Lake, tmp_path: Path) -> None:
    made = train_in_lake(lake, PARTS, name="one", buckets=2)
    pack_folder(lake, made.header, tmp_path / "copy")
    copy = pack.Pack.in_folder(tmp_path / "copy")
    assert copy.header == made.header
    assert copy.rows(0, 1 << 64).equals(made.rows(0, 1 << 64))


def test_header_reads_back_as_it_was_written(lake: Lake) -> None:
    header = train_in_lake(lake, PARTS, name="one", buckets=2).header
    again = pack.PackHeader.from_json(header.to_json())
    assert again == header
    assert again.to_json() == header.to_json()
    assert (again.fleet, again.problem, again.key_types) == ("shops", "regression", (("store", "string"),))
    assert (again.features, again.target, again.time, again.rows) == (("a", "b"), "y", "day", len(PARTS))


@pytest.mark.parametrize("given", [pack.FORMAT + 1, pack.FORMAT - 1, None, "1"])
def test_pack_of_another_format_is_refused_by_name(lake: Lake, given: Any) -> None:
    header = json.loads(train_in_lake(lake, PARTS, name="one", buckets=1).header.to_json())
    # What a later format holds is not known: the format is looked at first.
    data = json.dumps({**header, "format": given, "new": 1}).encode()
    with pytest.raises(
        DataError, match=f"pack of format {given!r}; this version of Modelfleet reads format {pack.FORMAT}"
    ):
        pack.PackHeader.from_json(data)


def tampered(lake: Lake, made: pack.Pack, bomb: Path) -> bytes:
    """The bytes of the pack's file with a model that does something else, its digest in its row put right."""
    data = pickle.dumps(Bomb(bomb))
    rows = made.rows(0, 1 << 64).to_pylist()
    digest = pack.header_digest(data)
    changed = [{**row, "model": data, "model_digest": digest} for row in rows]
    table = pa.Table.from_pylist(changed, schema=pack.row_schema(KEY_FIELDS, plan().metrics))
    return lake.read(pack.write_rows(lake, "tampered", table).path)


def test_bomb_goes_off_when_it_is_unpickled(tmp_path: Path) -> None:
    data, digest = pack.dump_model(Bomb(tmp_path / "bomb"))
    pack.load_model(data, digest)
    assert (tmp_path / "bomb").exists()


def test_tampered_file_is_refused_before_unpickling(lake: Lake, tmp_path: Path) -> None:
    made = train_in_lake(lake, PARTS, name="one", buckets=1)
    file = made.header.files[0].path
    pack_folder(lake, made.header, tmp_path / "copy")
    data = tampered(lake, made, tmp_path / "bomb")
    (lake.root / file).write_bytes(data)
    (tmp_path / "copy" / Path(file).name).write_bytes(data)
    for opened in (made, pack.Pack.in_folder(tmp_path / "copy")):
        with pytest.raises(
            CorruptionError, match=r"fleet 'shops': pack file .* does not hold the bytes its header records"
        ):
            opened.rows(0, 1 << 64)
    assert not (tmp_path / "bomb").exists()


def test_tampered_header_is_refused_before_its_files_are_read(lake: Lake, tmp_path: Path) -> None:
    made = train_in_lake(lake, PARTS, name="one", buckets=1)
    known = pack.header_digest(made.header.to_json())
    file = made.header.files[0].path
    (lake.root / file).write_bytes(tampered(lake, made, tmp_path / "bomb"))
    forged = replace(made.header, files=(lake.entry(file, made.header.rows),))
    lake.write_once("forged.json", forged.to_json())
    with pytest.raises(CorruptionError, match=r"pack 'forged\.json' does not match the digest in the registry"):
        pack.Pack.in_lake(lake, "forged.json", digest=known)
    assert not (tmp_path / "bomb").exists()


def test_tampered_model_is_refused_before_unpickling(tmp_path: Path) -> None:
    _, digest = pack.dump_model("a model")
    with pytest.raises(CorruptionError, match="it is not unpickled"):
        pack.load_model(pickle.dumps(Bomb(tmp_path / "bomb")), digest)
    assert not (tmp_path / "bomb").exists()


def rows_of(lake: Lake) -> pa.Table:
    return train_in_lake(lake, PARTS, name="one", buckets=1).rows(0, 1 << 64)


@pytest.mark.parametrize(
    "column, value, seen",
    [
        ("fit_seconds", 99.0, False),
        ("trained_attempt", "another", False),
        ("mae", 99.0, True),
        ("baseline_value", None, True),
        ("message", "text", False),
        ("model_digest", "0", True),
        ("fingerprint", "0", True),
        ("n_rows", 1, True),
    ],
)
def test_content_digest_sees_what_a_result_is_and_not_how_it_came_about(
    lake: Lake, column: str, value: Any, seen: bool
) -> None:
    rows = rows_of(lake)
    listed = rows.to_pylist()
    next(row for row in listed if row["store"] == "S1")[column] = value
    changed = pa.Table.from_pylist(listed, schema=rows.schema)
    assert (pack.content_digest(changed) != pack.content_digest(rows)) == seen


def test_content_digest_does_not_depend_on_the_layout(lake: Lake) -> None:
    rows = rows_of(lake)
    parts = [pack.content_digest(rows.slice(at, 4)) for at in range(0, rows.num_rows, 4)]
    assert slices.combine(parts) == pack.content_digest(rows)
    assert pack.content_digest(rows.slice(0, 0)) == slices.combine([])


def test_written_rows_read_back(lake: Lake) -> None:
    rows = rows_of(lake)
    entry = pack.write_rows(lake, "again/pack.parquet", rows)
    lake.verify(entry)
    header = pack.make_header(
        spec(),
        key_types={"store": "string"},
        time_type="timestamp[us, tz=UTC]",
        feature_types={"a": "double", "b": "double"},
        inputs={},
        code=["author_models:build"],
        files=[(entry, (0, 1 << 64))],
        digest=pack.content_digest(rows),
    )
    again = pack.Pack(header, lake.open_input)
    assert by_partition(again.rows(0, 1 << 64)) == by_partition(rows)
