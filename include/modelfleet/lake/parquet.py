"""How Parquet files of rows are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """Options of ``pyarrow.parquet`` for tables that are read again soon, whole columns at a time.

    Measurements hardly repeat: looking for a dictionary of floats, and zstd over what has none, took ten times longer to
    write and five times longer to read than this, for files of the same size.
    """
    import pyarrow.types as t

    repeating = [field.name for field in schema if not (t.is_floating(field.type) or t.is_decimal(field.type))]
    return {"compression": "lz4", "use_dictionary": repeating}
