"""Daily sales of items in stores, as a till system gives them: by day, not by partition; seeded, in a few Parquet files.

Every partition (a store and an item) has a level and weights of its own, so that its model has something to find. The same
parameters give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FIRST_DAY = date(2010, 1, 1)
MOST_DAYS = 4000
"""Partitions with more rows than that have several a day, as several tills of a store give."""
CHUNK_BYTES = 192 << 20
"""What the values of one file take in memory; making them takes a small multiple of it."""
TOP_SHARE = 0.1
"""The share of all rows that the largest partition has under skew."""


@dataclass(frozen=True)
class Sales:
    """What is generated. `skew` says how many rows partitions have: ``equal``, or ``zipf`` with the largest holding a tenth."""

    rows: int
    partitions: int
    features: int = 6
    skew: Literal["equal", "zipf"] = "equal"
    problem: Literal["regression", "classification"] = "regression"
    seed: int = 0

    @property
    def days(self) -> int:
        """How many days there are."""
        return max(min(self.rows // self.partitions, MOST_DAYS), 1)

    @property
    def last_day(self) -> date:
        """The day of the last rows."""
        return FIRST_DAY + timedelta(days=self.days - 1)

    @property
    def holdout_days(self) -> int:
        """The days that models are measured on: four weeks, or a fifth of a short history."""
        return max(min(28, self.days // 5), 1)

    @property
    def cutoff(self) -> date:
        """The first day of the holdout."""
        return self.last_day - timedelta(days=self.holdout_days - 1)

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(f"f{number}" for number in range(self.features))

    @property
    def target(self) -> str:
        return "units" if self.problem == "regression" else "sold_out"


def counts(sales: Sales) -> np.ndarray:
    """The rows of each partition, shape (partitions,); they add up to `rows`."""
    ranks = np.arange(1, sales.partitions + 1, dtype=np.float64)
    shares = np.ones(sales.partitions) if sales.skew == "equal" else ranks ** -_exponent(ranks)
    edges = np.round(np.cumsum(shares / shares.sum()) * sales.rows).astype(np.int64)
    return np.diff(edges, prepend=0)


def _exponent(ranks: np.ndarray) -> float:
    """The exponent that gives the first partition its share; found by bisection, as the share grows with it."""
    low, high = 0.0, 4.0
    for _ in range(60):
        middle = (low + high) / 2
        if 1 / (ranks**-middle).sum() < TOP_SHARE:
            low = middle
        else:
            high = middle
    return high


def keys_of(sales: Sales, partitions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The store and the item of partitions, given by number; int32."""
    stores = max(round(sales.partitions**0.5), 1)
    return (partitions % stores + 1).astype(np.int32), (partitions // stores + 1).astype(np.int32)


def numbers_of(sales: Sales, store: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The numbers of partitions, given by store and item: what `keys_of` was given."""
    stores = max(round(sales.partitions**0.5), 1)
    return (item.astype(np.int64) - 1) * stores + store - 1


def write(sales: Sales, folder: Path) -> list[Path]:
    """Write the files into a new folder; their paths, in the order of the days."""
    folder.mkdir(parents=True)
    made = []
    for number, table in enumerate(tables(sales)):
        path = folder / f"sales-{number:03d}.parquet"
        pq.write_table(table, path, use_dictionary=["store", "item", "day"], row_group_size=1 << 20)
        made.append(path)
    return made


def tables(sales: Sales) -> Iterator[pa.Table]:
    """The rows, a table per file; bounded in bytes."""
    each, truth = counts(sales), _Truth.of(sales)
    limit = CHUNK_BYTES // (4 * (2 * sales.features + 8))
    ids: list[np.ndarray] = []
    days: list[np.ndarray] = []
    number = 0
    for day in range(sales.days):
        there = np.repeat(truth.order, _of_day(each, sales.days, day)[truth.order])
        ids.append(there)
        days.append(np.full(len(there), day, np.int32))
        if sum(map(len, ids)) >= limit or day == sales.days - 1:
            yield _table(sales, truth, number, np.concatenate(ids), np.concatenate(days))
            ids, days, number = [], [], number + 1


def _of_day(each: np.ndarray, days: int, day: int) -> np.ndarray:
    """How many rows each partition has on a day: spread evenly, the last on the last day."""
    return (day + 1) * each // days - day * each // days


def write_next_day(sales: Sales, folder: Path, share: float) -> Path:
    """Write one more file: the day after the last, with a row of a share of the partitions."""
    truth = _Truth.of(sales)
    ids = truth.order[: max(round(share * sales.partitions), 1)]
    path = folder / "sales-next.parquet"
    pq.write_table(_table(sales, truth, _NEXT, ids, np.full(len(ids), sales.days, np.int32)), path)
    return path


_NEXT = 1 << 20
"""A number that no file of the first days has."""


@dataclass(frozen=True)
class _Truth:
    """What partitions are like: their order in a day, the level and the weights of each."""

    order: np.ndarray
    level: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, sales: Sales) -> _Truth:
        draw = np.random.default_rng([sales.seed, sales.partitions])
        order = draw.permutation(sales.partitions).astype(np.int32)
        level = draw.uniform(5, 50, sales.partitions).astype(np.float32)
        return cls(order, level, draw.normal(size=(sales.partitions, sales.features)).astype(np.float32))


def _table(sales: Sales, truth: _Truth, number: int, ids: np.ndarray, days: np.ndarray) -> pa.Table:
    draw = np.random.default_rng([sales.seed, 1, number])
    x = draw.standard_normal((len(ids), sales.features), dtype=np.float32)
    signal = np.einsum("ij,ij->i", x, truth.weights[ids])
    noise = draw.standard_normal(len(ids), dtype=np.float32)
    week = np.sin(days * np.float32(2 * np.pi / 7))
    store, item = keys_of(sales, ids)
    epoch = FIRST_DAY.toordinal() - date(1970, 1, 1).toordinal()
    columns = {"store": store, "item": item, "day": pa.array(days + epoch, pa.int32()).cast(pa.date32())}
    if sales.problem == "regression":
        columns["units"] = (truth.level[ids] + signal + week + noise).astype(np.float64)
    else:
        columns["sold_out"] = signal + week + noise > 0
    return pa.table({**columns, **{name: x[:, place] for place, name in enumerate(sales.feature_names)}})
