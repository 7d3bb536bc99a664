"""Samples that are the same each time, however many buckets there are: rows drawn evenly, and whole series."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from modelfleet import engine, slices
from modelfleet.dataset import batches_of, read_batches
from modelfleet.exploring.clock import Clock
from modelfleet.exploring.partitions import as_numbers, read_columns
from modelfleet.exploring.prepared import Prepared

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

SERIES = 200
"""At most so many whole series."""
_LEAST_SERIES = 20
"""However long they are, so many are drawn, if there are."""
_CELLS = 20_000_000
"""Rows times columns of a sample, so that wide tables fit into memory."""
_BATCHES = 256
"""At most so many record batches (131,072 rows each) are read for the sample of rows."""
_SEED = 2013


def sample_rows(prepared: Prepared, wanted: int, *, progress: engine.Progress | None = None) -> pd.DataFrame:
    """About `wanted` rows (all, if there are no more), drawn evenly; every column as it is, in the order of the schema."""
    import numpy as np
    import pyarrow as pa

    columns = list(prepared.columns)
    every = [(entry, *batch) for entry in prepared.files for batch in enumerate(batches_of(entry))]
    shuffled = np.random.default_rng(_SEED).permutation(len(every))
    groups = [every[number] for number in np.sort(shuffled[:_BATCHES])]
    ends = np.cumsum([rows for _, _, rows in groups])
    total = int(ends[-1])
    size = bounded_rows(wanted, len(columns), total)
    picked = np.sort(np.random.default_rng(_SEED).choice(total, size, replace=False, shuffle=False))
    of_group = np.split(picked, np.searchsorted(picked, ends[:-1]))
    parts: list[pa.Table] = []
    for entry, members in groupby(zip(groups, ends, of_group, strict=True), key=lambda member: member[0][0]):
        drawn = [(number, positions - (end - rows)) for (_, number, rows), end, positions in members if len(positions)]
        batches = read_batches(prepared.lake, entry, [number for number, _ in drawn], columns)
        for batch, (_, positions) in zip(batches, drawn, strict=True):
            parts.append(pa.Table.from_batches([batch]).take(positions))
        if progress is not None:
            progress("sample", sum(part.num_rows for part in parts), len(picked))
    return _frame(pa.concat_tables(parts))


def bounded_rows(wanted: int, columns: int, total: int) -> int:
    """The size of a sample: as wanted, but no more than there are, nor more than memory holds."""
    return min(wanted, total, max(_CELLS // columns, 1))


@dataclass(frozen=True)
class SeriesSample:
    """Whole series, one below the other.

    :ivar index: a line for each row: `partition`, `local` (wall time), `step`, and `target` as float64.
    :ivar rows: the columns as they are, in the same order.
    """

    index: pd.DataFrame
    rows: pd.DataFrame

    @property
    def partitions(self) -> int:
        return int(self.index["partition"].nunique())


def sample_series(prepared: Prepared, partitions: pd.DataFrame, wanted: int, *, least: int = 2) -> SeriesSample:
    """Whole series of up to `SERIES` partitions, about `wanted` rows; of long series the latest rows.

    The partitions with the smallest hashes, which is a fair draw, of those with at least `least` targets (of all, where
    none has).
    """
    import pandas as pd
    import pyarrow as pa

    wanted = bounded_rows(wanted, len(prepared.columns), prepared.rows)
    eligible = partitions[partitions["targets"] >= least]
    eligible = (eligible if len(eligible) else partitions).head(SERIES)
    most = max(wanted // min(len(eligible), _LEAST_SERIES), 1)
    running = eligible["rows"].clip(upper=most).cumsum()
    eligible = eligible[(running <= wanted) | (running == running.iloc[0])]
    indices, rows = [], []
    for bucket, members in eligible.groupby("bucket", sort=True):
        table = read_columns(prepared, prepared.files[int(str(bucket))], [slices.PARTITION, *prepared.columns])
        for start, length in zip(members["start"], members["rows"], strict=True):
            kept = min(length, most)
            part = table.slice(start + length - kept, kept)
            indices.append(_index(part, prepared))
            rows.append(part.select(list(prepared.columns)))
    return SeriesSample(pd.concat(indices, ignore_index=True), _frame(pa.concat_tables(rows)))


def _frame(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas(date_as_object=False)
    return frame


def _index(rows: pa.Table, prepared: Prepared) -> pd.DataFrame:
    import pandas as pd

    clock, time = Clock.of(prepared.spec), rows.column(prepared.spec.time_column)
    return pd.DataFrame(
        {
            "partition": rows.column(slices.PARTITION)[0].as_py(),
            "local": clock.local(time),
            "step": clock.steps(time),
            "target": as_numbers(rows.column(prepared.spec.problem.target)),
        }
    )


def as_float(column: pd.Series) -> np.ndarray | None:
    """Numbers and bools as float64, null as NaN; None for any other kind of column."""
    import numpy as np
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=float, na_value=np.nan)
    kinds = {type(value) for value in column.dropna().unique()[:50]} if column.dtype == object else set()
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=float) if kinds == {bool} else None
