"""Tables that are files: referenced in place, cut when read, refused once changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest_bench import Bench, span
from modelfleet.errors import DataError
from modelfleet.spec import LakeTable


@pytest.fixture
def folder(bench: Bench) -> Path:
    """The folder ``calendar`` of the lake."""
    made = bench.lake.root / "calendar"
    made.mkdir(parents=True)
    return made


def _parquet(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_files_are_named_in_order_and_not_copied(bench: Bench, folder: Path) -> None:
    for name in ("b/2.parquet", "a.parquet", ".hidden.parquet", "_tmp/x.parquet", "note.txt"):
        _parquet(folder / name, name=[name])
    manifest = bench.ingest(LakeTable("calendar"))
    assert manifest.kind == "reference"
    assert [entry.path for entry in manifest.files] == [str(folder / "a.parquet"), str(folder / "b/2.parquet")]
    assert bench.read(manifest)["name"].to_pylist() == ["a.parquet", "b/2.parquet"]
    assert [p.name for p in bench.lake.root.iterdir()] == ["calendar"]


def test_a_single_file_and_an_absolute_path_are_read(bench: Bench, tmp_path: Path) -> None:
    path = _parquet(tmp_path / "elsewhere" / "x.parquet", n=[1])
    assert bench.read(bench.ingest(LakeTable(str(path)))).to_pylist() == [{"n": 1}]
    assert bench.ingest(LakeTable(str(path.parent))).rows == 1


def test_time_cuts_rows_and_leaves_out_files_without_any(bench: Bench, folder: Path) -> None:
    for day in (1, 2, 3):
        times = [datetime(2013, 6, day, hour, tzinfo=UTC) for hour in range(24)]
        _parquet(folder / f"{day}.parquet", at=times, n=list(range(24)))
    table = LakeTable("calendar", time="at")
    day = span("2013-06-02", "2013-06-03", "Europe/Berlin")
    manifest = bench.ingest(table, day, timezone="Europe/Berlin")
    assert manifest.rows == 24
    assert [Path(entry.path).name for entry in manifest.files] == ["1.parquet", "2.parquet"]
    assert [entry.rows for entry in manifest.files] == [24, 24]
    assert bench.read(manifest, ["n"])["n"].to_pylist() == [22, 23, *range(22)]


def test_wall_times_with_a_timezone_are_instants(bench: Bench, folder: Path) -> None:
    _parquet(folder / "a.parquet", at=[datetime(2013, 6, 1, 1), datetime(2013, 6, 1, 3)])
    table = LakeTable("calendar", time="at", timezone="Europe/Berlin")
    manifest = bench.ingest(table, span("2013-06-01", "2013-06-02"))
    assert bench.read(manifest)["at"].to_pylist() == [datetime(2013, 6, 1, 1, tzinfo=UTC)]


def test_csv_columns_get_the_type_of_all_their_values(bench: Bench, folder: Path) -> None:
    rows = [
        f"{n},{n / 2 if n == 3 else n},{'x' if n == 2 else ''},2013-06-0{n},2013-06-0{n} 12:00:00,true"
        for n in (1, 2, 3)
    ]
    (folder / "a.csv").write_text("\n".join(["id,price,label,day,at,open", *rows]))
    manifest = bench.ingest(LakeTable("calendar", format="csv", time="at"), span("2013-06-02", "2013-06-04"))
    assert list(manifest.columns.values()) == ["int64", "double", "string", "date32[day]", "timestamp[us]", "bool"]
    assert manifest.rows == 2
    read = bench.read(manifest, ["id", "price", "label"]).to_pylist()
    assert read == [{"id": 2, "price": 2.0, "label": "x"}, {"id": 3, "price": 1.5, "label": None}]


def test_csv_files_whose_types_differ_are_widened(bench: Bench, folder: Path) -> None:
    (folder / "a.csv").write_text("x,y\n1,\n")
    (folder / "b.csv").write_text("y,x\nno,1.5\n")
    manifest = bench.ingest(LakeTable("calendar", format="csv"))
    assert bench.read(manifest).to_pylist() == [{"x": 1.0, "y": None}, {"x": 1.5, "y": "no"}]


def test_files_whose_types_do_not_go_together_are_an_error(bench: Bench, folder: Path) -> None:
    _parquet(folder / "a.parquet", x=[1])
    _parquet(folder / "b.parquet", x=["one"])
    with pytest.raises(DataError, match=r"column 'x' is int64 in a\.parquet, string in b\.parquet"):
        bench.ingest(LakeTable("calendar"))


@pytest.mark.parametrize("change", ["longer", "same size", "gone"])
def test_a_file_changed_since_ingest_is_not_read(change: str, bench: Bench, folder: Path) -> None:
    path = folder / "a.csv"
    path.write_text("x\n1\n")
    manifest = bench.ingest(LakeTable("calendar", format="csv"))
    assert bench.read(manifest).num_rows == 1
    if change == "gone":
        path.unlink()
    else:
        path.write_text("x\n1\n2\n" if change == "longer" else "x\n2\n")
        os.utime(path, ns=(1, 1))
    with pytest.raises(
        DataError, match=rf"a\.csv {'is gone' if change == 'gone' else 'was changed'} since it was ingested"
    ):
        bench.read(manifest)


def test_the_digest_follows_the_content(bench: Bench, folder: Path) -> None:
    path = _parquet(folder / "a.parquet", x=[1])
    table = LakeTable("calendar")
    first = bench.ingest(table)
    assert bench.ingest(table).digest == first.digest
    _parquet(path, x=[2])
    assert bench.ingest(table).digest != first.digest


@pytest.mark.parametrize(
    "columns, table, message",
    [
        ({}, LakeTable("nowhere"), "'nowhere' is neither a file nor a folder"),
        ({}, LakeTable("calendar", format="csv"), r"holds no \*\.csv file"),
        ({"x": [1]}, LakeTable("calendar", time="at"), r"a\.parquet has no time column 'at'; there is 'x'"),
        ({"at": [1]}, LakeTable("calendar", time="at"), "time column 'at' is int64, not a date or timestamp"),
        ({"x": [[1]]}, LakeTable("calendar"), r"column 'x' \(list<.*\) of a\.parquet has a type that is not supported"),
    ],
    ids=["no folder", "no file", "no time column", "time is a number", "list"],
)
def test_a_wrong_folder_is_a_data_error(
    columns: dict[str, Any], table: LakeTable, message: str, bench: Bench, folder: Path
) -> None:
    _parquet(folder / "a.parquet", **(columns or {"x": [1]}))
    with pytest.raises(DataError, match=rf"fleet 'demand', table 'data': .*{message}"):
        bench.ingest(table)


def test_a_file_that_is_no_parquet_is_named(bench: Bench, folder: Path) -> None:
    (folder / "a.parquet").write_text("not parquet")
    with pytest.raises(DataError, match=r"a\.parquet can't be read"):
        bench.ingest(LakeTable("calendar"))


def test_an_interval_without_rows_has_no_files_but_columns(bench: Bench, folder: Path) -> None:
    _parquet(folder / "a.parquet", at=[datetime(2012, 1, 1)], n=[1])
    manifest = bench.ingest(LakeTable("calendar", time="at"))
    assert (manifest.rows, manifest.files) == (0, ())
    assert dict(manifest.columns) == {"at": "timestamp[us]", "n": "int64"}


def test_an_unknown_column_is_refused_when_read(bench: Bench, folder: Path) -> None:
    _parquet(folder / "a.parquet", price=[1])
    manifest = bench.ingest(LakeTable("calendar"))
    with pytest.raises(DataError, match="no column 'prize'; there is 'price'"):
        bench.read(manifest, ["prize"])
