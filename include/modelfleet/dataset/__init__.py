"""The dataset step: tables of the lake become rows grouped by partition, a Parquet file per bucket."""

from modelfleet.dataset.columns import Columns, Treated, looked_at
from modelfleet.dataset.fragments import Fragment, Part, in_span, read_bucket, read_part, write_fragment
from modelfleet.dataset.grouping import Dataset, build

__all__ = [
    "Columns",
    "Dataset",
    "Fragment",
    "Part",
    "Treated",
    "build",
    "in_span",
    "looked_at",
    "read_bucket",
    "read_part",
    "write_fragment",
]
