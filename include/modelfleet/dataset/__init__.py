"""The dataset step: tables of the lake become rows grouped by partition, a Parquet file per bucket."""

from modelfleet.dataset.columns import Columns, Treated, looked_at
from modelfleet.dataset.fragments import (
    Fragment,
    Part,
    in_span,
    read_bucket,
    read_part,
    read_partitions,
    write_fragment,
    write_partitions,
)
from modelfleet.dataset.grouping import Dataset, build

FORMAT = 2
"""Raise it when the files of grouped rows change, so that those of earlier attempts are not taken for them."""

__all__ = [
    "FORMAT",
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
    "read_partitions",
    "write_fragment",
    "write_partitions",
]
