"""Whether the implementations did the same modelling: their metrics, partition by partition, are the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.workloads import Workload
from modelfleet.metric_names import names

TOLERANCE = 1e-6
"""Sums in another order differ in the last digits, no more."""


def compare(found: Mapping[str, Path], workload: Workload) -> dict[str, Any]:
    """Compare every metric of every partition with those of the first implementation; what is kept of it.

    All must have models of the same partitions; the reference, a sample of them.

    :param found: the metrics of each implementation, a Parquet file with the key columns.
    :raises AssertionError: naming the implementations, the metric and both values.
    """
    measured = names(workload.sales.problem)
    tables = {name: _by_key(path, measured) for name, path in found.items()}
    first, base = next(iter(tables.items()))
    told: dict[str, Any] = {"models": {name: len(table[0]) for name, table in tables.items()}, "tolerance": TOLERANCE}
    told["median"] = {name: dict(zip(measured, _medians(values), strict=True)) for name, (_, values) in tables.items()}
    for name, (keys, values) in list(tables.items())[1:]:
        shared, ours, theirs = np.intersect1d(base[0], keys, assume_unique=True, return_indices=True)
        whole = len(shared) == len(keys) and (name == "reference" or first == "reference" or len(keys) == len(base[0]))
        assert whole, f"{first} has models of {len(base[0])} partitions, {name} of {len(keys)}, both of {len(shared)}"
        for place, metric in enumerate(measured):
            _same(metric, base[1][ours, place], values[theirs, place], first, name)
    return told


def _same(metric: str, ours: np.ndarray, theirs: np.ndarray, first: str, name: str) -> None:
    close = np.isclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    if not close.all():
        worst = int(np.argmin(close))
        raise AssertionError(
            f"{metric} of {int((~close).sum())} of {len(close)} partitions differs: "
            f"{first} {ours[worst]!r}, {name} {theirs[worst]!r}"
        )


def _by_key(path: Path, measured: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The partitions as numbers, shape (models,), and their metrics, shape (models, metrics)."""
    table = pq.read_table(path)
    keys = table.column("store").to_numpy().astype(np.int64) << 32 | table.column("item").to_numpy()
    return keys, np.column_stack([table.column(name).to_numpy() for name in measured]).astype(np.float64)


def _medians(values: np.ndarray) -> list[float]:
    return [float(value) for value in np.nanmedian(values, axis=0)]
