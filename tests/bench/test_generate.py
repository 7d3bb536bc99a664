"""The generator: deterministic, as large and as skewed as asked, by day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from bench.generate import Sales

from bench import generate


def rows_of(sales: Sales, folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in generate.write(sales, folder))


def per_partition(rows: pa.Table) -> np.ndarray:
    counted = rows.group_by(["store", "item"]).aggregate([("day", "count")])
    return np.sort(counted.column("day_count").to_numpy())


def test_same_parameters_give_the_same_bytes_another_seed_others(tmp_path: Path) -> None:
    sales = Sales(5_000, 50)
    first, again = (generate.write(sales, tmp_path / name) for name in ("first", "again"))
    other = generate.write(Sales(5_000, 50, seed=1), tmp_path / "other")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert first[0].read_bytes() != other[0].read_bytes()


@pytest.mark.parametrize(
    "sales", [Sales(5_000, 50), Sales(1_000, 1_000), Sales(20_000, 2), Sales(4_001, 50), Sales(900, 9, features=40)]
)
def test_equal_partitions_have_as_many_rows_each(sales: Sales, tmp_path: Path) -> None:
    rows = rows_of(sales, tmp_path / "data")
    found = per_partition(rows)

    assert rows.num_rows == found.sum() == sales.rows
    assert len(found) == sales.partitions
    assert found.max() - found.min() <= 1
    assert pc.max(rows.column("day")).as_py() == sales.last_day


def test_zipf_gives_the_largest_a_tenth_of_all_rows(tmp_path: Path) -> None:
    sales = Sales(100_000, 500, skew="zipf")
    found = per_partition(rows_of(sales, tmp_path / "data"))[::-1]

    assert found.sum() == sales.rows
    assert found[0] == pytest.approx(generate.TOP_SHARE * sales.rows, rel=0.001)
    # By Zipf's law the product of a partition's size and a power of its rank is the same in all.
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(found[:100]), 1)[0]
    assert found[9] / found[0] == pytest.approx(10**slope, rel=0.05)


def test_files_are_by_day_and_days_are_not_by_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "CHUNK_BYTES", 100_000)
    paths = generate.write(Sales(20_000, 200), tmp_path / "data")
    tables = [pq.read_table(path) for path in paths]
    days = pa.concat_tables(tables).column("day").to_numpy()

    assert len(paths) > 2
    assert (days[:-1] <= days[1:]).all()
    stores = tables[0].column("store").to_numpy()[:200]
    assert not (stores[:-1] <= stores[1:]).all()


def test_number_of_a_partition_is_found_again_by_its_keys() -> None:
    sales, numbers = Sales(1_000, 37), np.arange(37)
    keys = generate.keys_of(sales, numbers)

    assert len(set(zip(*(column.tolist() for column in keys), strict=True))) == 37
    assert generate.numbers_of(sales, *keys).tolist() == numbers.tolist()


def test_next_day_has_rows_of_a_share_of_the_partitions(tmp_path: Path) -> None:
    sales = Sales(10_000, 100)
    before = rows_of(sales, tmp_path / "data")
    more = pq.read_table(generate.write_next_day(sales, tmp_path / "data", 0.05))

    assert more.num_rows == len(per_partition(more)) == 5
    assert more.schema == before.schema
    assert pc.min(more.column("day")).as_py() > sales.last_day


def test_classes_are_both_there(tmp_path: Path) -> None:
    rows = rows_of(Sales(2_000, 2, problem="classification"), tmp_path / "data")

    assert 0.3 < pc.mean(rows.column("sold_out").cast(pa.int8())).as_py() < 0.7
