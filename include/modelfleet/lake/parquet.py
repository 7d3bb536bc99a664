"""How Parquet files of rows are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE_ROWS = 1 << 14
_WORTH = 0.75
"""A column of measurements is compressed where that leaves no more than this share of it."""


def write_options(schema: pa.Schema, sample: pa.Table | None = None) -> dict[str, Any]:
    """Options of ``pyarrow.parquet`` for tables that are read again soon, whole columns at a time.

    Measurements hardly repeat: looking for a dictionary of floats, and zstd over what has none, took ten times longer to
    write and five times longer to read than this, for files of the same size. Nor does anybody search files by their least
    and greatest.

    :param sample: some of the rows, by which measurements that don't shrink are told: they are written as they are.
    """
    import pyarrow.types as t

    measured = [field.name for field in schema if t.is_floating(field.type) or t.is_decimal(field.type)]
    repeating = [name for name in schema.names if name not in measured]
    dense = [] if sample is None else [name for name in measured if not _shrinks(sample.column(name))]
    return {
        "compression": {name: "none" if name in dense else "lz4" for name in schema.names},
        "use_dictionary": repeating,
        "write_statistics": repeating,
    }


def _shrinks(column: pa.ChunkedArray) -> bool:
    """Whether the first values of a column take less room when compressed."""
    import pyarrow as pa

    data = column.slice(0, _SAMPLE_ROWS).combine_chunks().buffers()[1] if len(column) else None
    if data is None or data.size == 0:
        return True
    start = data.slice(0, min(data.size, _SAMPLE_ROWS * 8))
    return bool(pa.Codec("lz4").compress(start).size <= _WORTH * start.size)
