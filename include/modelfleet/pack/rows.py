"""The rows of a pack: their columns, the digest of what they say, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelfleet import slices
from modelfleet.lake.store import FileEntry, Lake

if TYPE_CHECKING:
    import pyarrow as pa

MODEL = "model"
HASH = "_hash"
_UNDIGESTED = (HASH, MODEL, "fit_seconds", "candidates", "trained_attempt", "message")
"""Columns that may differ between two runs with the same result."""
_DISTINCT = ("partition", "candidates", "message", "model_digest", "fingerprint")
"""Texts that hardly repeat."""
_GROUP_BYTES = 4 << 20
"""What a reader of one model reads; with smaller row groups the index, with its many columns, takes longer to read."""


def row_schema(key_fields: Sequence[pa.Field], metrics: Sequence[str]) -> pa.Schema:
    """The columns of a pack: one row per partition, the index plus `MODEL` and `HASH`."""
    import pyarrow as pa

    text, count, number, moment = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", "UTC")
    return pa.schema(
        [
            (HASH, pa.uint64()),
            ("partition", text),
            *key_fields,
            ("status", text),
            ("reason", text),
            ("message", text),
            ("serves", text),
            ("level", text),
            ("candidate", text),
            ("candidates", text),
            ("code", text),
            ("features", text),
            ("shared", text),
            ("n_folds", count),
            ("n_rows", count),
            ("n_null_target", count),
            ("n_train", count),
            ("n_test", count),
            ("window_start", moment),
            ("window_end", moment),
            ("fit_seconds", number),
            *((name, number) for name in metrics),
            ("baseline_status", text),
            *((f"baseline_{name}", number) for name in metrics),
            ("fallback_status", text),
            *((f"fallback_{name}", number) for name in metrics),
            ("champion_status", text),
            *((f"champion_{name}", number) for name in metrics),
            ("baseline_value", number),
            ("model_digest", text),
            ("fingerprint", text),
            ("trained_interval", text),
            ("trained_attempt", text),
            (MODEL, pa.binary()),
        ]
    )


def content_digest(rows: pa.Table) -> str:
    """The digest of the rows' content, whatever their order; rows of other buckets are added with `slices.combine`."""
    kept = rows.select([name for name in rows.column_names if name not in _UNDIGESTED])
    return slices.digest_of_hashes(slices.row_hashes(kept))


def write_rows(lake: Lake, path: str, rows: pa.Table) -> FileEntry:
    """Write one file of a pack, its row groups bounded so that a reader of a few models reads little."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    per_row = max(rows.nbytes // max(rows.num_rows, 1), 1)
    group = max(min(_GROUP_BYTES // per_row, 100_000), 100)
    repeating = [f.name for f in rows.schema if pa.types.is_string(f.type) and f.name not in _DISTINCT]
    with lake.open_output(path) as sink:
        pq.write_table(rows, sink, compression="zstd", row_group_size=group, use_dictionary=repeating)
    return lake.entry(path, rows.num_rows)
