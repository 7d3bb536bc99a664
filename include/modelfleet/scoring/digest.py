"""The digest of predictions: equal for equal predictions, however partitions are spread over buckets."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from modelfleet import keys, slices

if TYPE_CHECKING:
    import pyarrow as pa

DIGEST = 3
"""Raise it when `predictions_digest` gives another value for the same predictions."""


def predictions_digest(predictions: pa.Table, key_columns: Collection[str] = ()) -> str:
    """The digest of a bucket's predictions; those of other buckets are added with `slices.combine`.

    It sees every value, the order of the rows of a partition and how often they come. The rows of a partition lie together.

    :param key_columns: left out, as the partition's name says what they hold.
    """
    import pyarrow as pa

    partitions, names = _decoded(predictions.column("partition"))
    sources, served_by = _decoded(predictions.column("source"))
    starts = np.flatnonzero(np.diff(partitions, prepend=-1))
    counts = np.diff(starts, append=len(partitions))
    # Rows may be equal in every column, so their position within the partition goes in too.
    position = np.arange(len(partitions)) - np.repeat(starts, counts)
    columns = [
        *predictions.drop_columns(["partition", "source", *key_columns]).columns,
        *map(pa.array, (keys.hashes(served_by)[sources], keys.hashes(names)[partitions], position)),
    ]
    hashed = pa.table(columns, names=[str(place) for place in range(len(columns))])
    return slices.digest_of_hashes(slices.row_hashes(hashed))


def _decoded(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A dictionary-encoded column as codes and the values they mean."""
    whole = column.unify_dictionaries().combine_chunks()
    return whole.indices.to_numpy(), whole.dictionary.to_pylist()
