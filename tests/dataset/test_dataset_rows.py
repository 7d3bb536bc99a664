"""The files of grouped rows: what is written is read back, whole, by columns or by batches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet import Clip, Data, Features, FleetSpec, Forecast, Lag, Regression, SqlTable, dataset, modelcode, slices
from modelfleet.dataset import grouping
from modelfleet.dataset import rows as files
from modelfleet.lake import Lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(tmp_path_factory.mktemp("lake"))


def bucket(counts: list[int], chunks: int = 1) -> pa.Table:
    """Rows of as many partitions as there are counts, as a dictionary per chunk would have them."""
    names = [f"store={place}" for place, count in enumerate(counts) for _ in range(count)]
    total = len(names)
    whole = pa.table(
        {
            "x": pa.array(np.arange(total, dtype=np.float32)),
            "y": pa.array([None if n % 3 == 0 else n * 0.1 for n in range(total)], pa.float64()),
            "text": pa.array([f"t{n % 4}" for n in range(total)], pa.string()),
            "day": pa.array(np.arange(total), pa.int32()).cast(pa.date32()),
        }
    )
    cuts = np.linspace(0, total, chunks + 1).astype(int).tolist()
    parts = [pa.array(names[low:high], pa.string()).dictionary_encode() for low, high in pairwise(cuts)]
    return whole.append_column(slices.PARTITION, pa.chunked_array(parts, pa.dictionary(pa.int32(), pa.string())))


def plain(rows: pa.Table) -> pa.Table:
    place = rows.column_names.index(slices.PARTITION)
    return rows.set_column(place, slices.PARTITION, rows.column(slices.PARTITION).cast(pa.string())).combine_chunks()


_number = iter(range(1_000_000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(counts=st.lists(st.integers(0, 9), max_size=6), chunks=st.integers(1, 4), batch=st.integers(1, 8))
def test_rows_are_read_back_as_they_were_written(lake: Lake, counts: list[int], chunks: int, batch: int) -> None:
    given_rows = bucket(counts, chunks)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "BATCH_ROWS", batch)
        entry = dataset.write_bucket(lake, f"a/{next(_number)}.arrow", given_rows)
        sizes = dataset.batches_of(entry)
    assert plain(dataset.read_bucket(lake, entry)).equals(plain(given_rows))
    some = dataset.read_bucket(lake, entry, ["day", "y"])
    assert some.equals(given_rows.select(["day", "y"]))
    assert dataset.schema_of_bucket(lake, entry).equals(given_rows.schema)
    read = list(dataset.read_batches(lake, entry, range(len(sizes)), ["y", "x"]))
    assert [part.num_rows for part in read] == sizes
    assert pa.Table.from_batches(read, given_rows.select(["y", "x"]).schema).equals(given_rows.select(["y", "x"]))
    assert slices.fingerprints(dataset.read_bucket(lake, entry)) == slices.fingerprints(given_rows)


def test_a_column_that_is_not_there_is_named(lake: Lake) -> None:
    entry = dataset.write_bucket(lake, "b/rows.arrow", bucket([2]))
    with pytest.raises(KeyError, match="no column 'z'"):
        dataset.read_bucket(lake, entry, ["x", "z"])


def test_buckets_are_scanned_one_after_the_other_with_floats_as_doubles(lake: Lake) -> None:
    parts = [bucket([3, 2]), bucket([]), bucket([4])]
    entries = [dataset.write_bucket(lake, f"c/{place}.arrow", part) for place, part in enumerate(parts)]
    scanned = dataset.scan(lake, entries)
    assert scanned.count_rows() == 9
    expected = modelcode.widened(pa.concat_tables(parts).select(["x", "y"]))
    assert expected.schema.field("x").type == pa.float64()
    assert scanned.to_table(columns=["x", "y"]).equals(expected)


def test_partitions_are_kept_with_their_fingerprints_in_order(lake: Lake) -> None:
    prints = slices.fingerprints(bucket([3, 1, 2]))
    entry = dataset.write_partitions(lake, "d/partitions.arrow", prints)
    found = dataset.read_partitions(lake, entry)
    assert list(found.items()) == list(prints.items())
    assert list(found) == ["store=0", "store=1", "store=2"]


def test_a_file_is_written_once(lake: Lake, tmp_path: Path) -> None:
    dataset.write_bucket(lake, "e/rows.arrow", bucket([1]))
    with pytest.raises(FileExistsError):
        dataset.write_bucket(lake, "e/rows.arrow", bucket([2]))


FLOATS = pa.schema([("store", pa.string()), ("day", pa.date32()), ("x", pa.float32()), ("y", pa.float32())])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({}, pa.float32(), id="as the files have them"),
        pytest.param({"treatments": (Clip("x", upper=1e39),)}, pa.float64(), id="what treatments compute with"),
        pytest.param(
            {"problem": Forecast(target="y", freq="D", horizon=2), "features": Features(past=(Lag("x", 2),))},
            pa.float64(),
            id="a series",
        ),
    ],
)
def test_measurements_of_single_precision_are_grouped(changes: dict[str, Any], kind: pa.DataType) -> None:
    spec = FleetSpec(
        **{
            "name": "shops",
            "owner": "tests",
            "data": Data(SqlTable("db", "sales", time="day")),
            "partition_by": ("store",),
            "problem": Regression(target="y"),
            "features": ("x",),
            "model": "sklearn.linear_model:Ridge",
            **changes,
        }
    )
    fields = grouping._selected(FLOATS, dataset.Columns.of(spec, with_target=True), spec)
    assert {field.name: field.type for field in fields if field.name in ("x", "y")} == {"x": kind, "y": kind}
