"""The dataset step: tables of the lake become rows grouped by partition, an Arrow file per bucket."""

from modelfleet.dataset.columns import Columns, Treated, looked_at
from modelfleet.dataset.fragments import Fragment, Part, in_span, read_part, write_fragment
from modelfleet.dataset.grouping import Dataset, build
from modelfleet.dataset.rows import (
    batches_of,
    read_batches,
    read_bucket,
    read_partitions,
    scan,
    schema_of_bucket,
    write_bucket,
    write_partitions,
)

FORMAT = 2
"""Raise it when the files of grouped rows change, so that those of earlier attempts are not taken for them."""

__all__ = [
    "FORMAT",
    "Columns",
    "Dataset",
    "Fragment",
    "Part",
    "Treated",
    "batches_of",
    "build",
    "in_span",
    "looked_at",
    "read_batches",
    "read_bucket",
    "read_part",
    "read_partitions",
    "scan",
    "schema_of_bucket",
    "write_bucket",
    "write_fragment",
    "write_partitions",
]
