"""How Parquet files are written: measurements that don't shrink as they are, the rest compressed; read back the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelfleet.lake.parquet import write_options

DRAW = np.random.default_rng(5)
ROWS = pa.table(
    {
        "noise": DRAW.normal(size=5000),
        "whole": pa.array(np.repeat(np.arange(50.0), 100)),
        "nothing": pa.nulls(5000, pa.float64()),
        "store": pa.array([f"s{n % 7}" for n in range(5000)]),
        "day": pa.array(np.arange(5000), pa.int32()).cast(pa.date32()),
    }
)


@pytest.mark.parametrize("rows", [ROWS, ROWS.slice(0, 0), ROWS.slice(4990)], ids=["many", "none", "few"])
@pytest.mark.parametrize("sampled", [True, False])
def test_rows_are_read_back_as_they_were(rows: pa.Table, sampled: bool, tmp_path: Path) -> None:
    pq.write_table(rows, tmp_path / "rows", **write_options(rows.schema, rows if sampled else None))
    assert pq.read_table(tmp_path / "rows").equals(rows)


def test_measurements_that_do_not_shrink_are_written_as_they_are() -> None:
    chosen = write_options(ROWS.schema, ROWS)["compression"]
    assert chosen == {"noise": "none", "whole": "lz4", "nothing": "lz4", "store": "lz4", "day": "lz4"}


def test_only_what_repeats_has_dictionaries_and_statistics(tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "rows", **write_options(ROWS.schema))
    group = pq.ParquetFile(tmp_path / "rows").metadata.row_group(0)
    known = {group.column(n).path_in_schema: group.column(n).statistics is not None for n in range(5)}
    assert known == {"noise": False, "whole": False, "nothing": False, "store": True, "day": True}
