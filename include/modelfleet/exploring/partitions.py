"""Exact counts of every partition, in one pass over the prepared rows: key, time and target only, a bucket at a time.

A bucket is sorted by partition and time, so each count is a sum over flags between two key changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelfleet import engine, slices
from modelfleet.dataset import read_bucket, schema_of_bucket
from modelfleet.exploring.clock import Clock
from modelfleet.exploring.prepared import Prepared
from modelfleet.series import PROBLEM

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from modelfleet.lake import FileEntry

CALENDAR = {"weekday": 7, "month": 12, "hour": 24}
_HOUR = 3_600_000_000


@dataclass
class Measured:
    """What the pass found.

    :ivar partitions: a row each, in the order of the keys' hash: `partition`, `bucket` and `start` (where its rows lie),
        `rows`, `null_targets`, `infinite_targets`, `zero_targets`, `duplicates` (rows with the time of the row before),
        `first`, `last` (wall time), `first_step`, `last_step`, `gaps` (steps between them without a row), `longest_gap`
        (steps), all five of the rows with a target (of all rows, where none has one); of the finite targets how many there
        are (`targets`), `mean`, `squares` (sum of squared deviations from it), `low`, `high`; and `problem`.
    :ivar days: by wall day since 1970: `rows`, `targets` (finite ones) and their `total`.
    :ivar calendar: by part of the date, arrays of finite targets and their total.
    :ivar identical: rows equal to another of the same partition and time in every column.
    :ivar kind: the type of the time column.
    """

    partitions: pd.DataFrame
    days: pd.DataFrame
    kind: pa.DataType
    calendar: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    identical: int = 0


@dataclass(frozen=True)
class _Bucket:
    """A bucket's arrays; `starts` are the first rows of its partitions."""

    keys: list[str]
    starts: np.ndarray
    kind: pa.DataType
    local: np.ndarray
    instants: np.ndarray
    steps: np.ndarray
    target: np.ndarray
    problems: list[str | None]

    @property
    def inner(self) -> np.ndarray:
        """Which rows have a row of their partition before them."""
        import numpy as np

        inner = np.ones(len(self.target), bool)
        inner[self.starts] = False
        return inner

    @property
    def lengths(self) -> np.ndarray:
        import numpy as np

        return np.diff(np.append(self.starts, len(self.target)))


def measure(prepared: Prepared, *, progress: engine.Progress | None = None) -> Measured:
    """Count over all rows; memory is bounded by a bucket, and by a line for each partition."""
    import numpy as np
    import pandas as pd

    clock = Clock.of(prepared.spec)
    calendar = {part: (np.zeros(size), np.zeros(size)) for part, size in CALENDAR.items()}
    parts, problems, days, identical = [], list[str | None](), pd.DataFrame(), 0
    for number, entry in enumerate(prepared.files):
        if entry.rows:
            bucket = _read(prepared, entry, clock)
            twin = bucket.inner & (bucket.instants == np.roll(bucket.instants, 1))
            parts.append(_count(bucket, twin).assign(bucket=number))
            problems += bucket.problems
            kind = bucket.kind
            days = _days(bucket).add(days, fill_value=0.0) if len(days) else _days(bucket)
            _add_calendar(bucket, calendar)
            identical += _identical(prepared, entry, np.flatnonzero(twin))
        if progress is not None:
            progress("count", number + 1, len(prepared.files))
    table = pd.concat(parts, ignore_index=True)
    table["problem"] = pd.Series(problems, dtype=object)  # here, for pandas is slow to join columns of None
    return Measured(table, days, kind, calendar, identical)


def read_columns(prepared: Prepared, entry: FileEntry, columns: list[str]) -> pa.Table:
    """Some columns of a bucket's rows."""
    return read_bucket(prepared.lake, entry, columns)


def as_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers and bools as float64, null as NaN."""
    import pyarrow as pa

    return column.cast(pa.float64()).to_numpy()


def _read(prepared: Prepared, entry: FileEntry, clock: Clock) -> _Bucket:
    import numpy as np

    time, target = prepared.spec.time_column, prepared.spec.problem.target
    judged = PROBLEM in schema_of_bucket(prepared.lake, entry).names
    rows = read_columns(prepared, entry, [slices.PARTITION, time, target, *([PROBLEM] if judged else [])])
    bounds = slices.bounds(rows)
    starts = np.array([start for _, start, _ in bounds], np.int64)
    return _Bucket(
        keys=[key for key, _, _ in bounds],
        starts=starts,
        kind=rows.column(time).type,
        local=clock.local(rows.column(time)),
        instants=slices.wall_times(rows.column(time)),
        steps=clock.steps(rows.column(time)),
        target=as_numbers(rows.column(target)),
        problems=rows.column(PROBLEM).take(starts).to_pylist() if judged else [None] * len(bounds),
    )


def _count(b: _Bucket, twin: np.ndarray) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    def total(flags: np.ndarray) -> np.ndarray:
        return np.add.reduceat(flags.astype(np.int64), b.starts)

    return pd.DataFrame(
        {
            "partition": b.keys,
            "start": b.starts,
            "rows": b.lengths,
            "null_targets": total(np.isnan(b.target)),
            "infinite_targets": total(np.isinf(b.target)),
            "zero_targets": total(b.target == 0),
            "duplicates": total(twin),
            **_times(b),
            **_moments(b),
        }
    )


def _times(b: _Bucket) -> dict[str, np.ndarray]:
    """When a partition's rows with a target lie, and how many steps between the first and the last have none."""
    import numpy as np

    finite = np.isfinite(b.target)
    silent = np.add.reduceat(finite.astype(np.int64), b.starts) == 0
    shown = finite | np.repeat(silent, b.lengths)
    lengths = np.add.reduceat(shown.astype(np.int64), b.starts)
    ends = np.cumsum(lengths)
    first, last = ends - lengths, ends - 1
    steps, local = b.steps[shown], b.local[shown]
    stride = np.diff(steps, prepend=steps[:1])
    stride[first] = 0
    seen = np.add.reduceat((stride > 0).astype(np.int64), first)
    return {
        "first": local[first],
        "last": local[last],
        "first_step": steps[first],
        "last_step": steps[last],
        "gaps": np.maximum(steps[last] - steps[first] - seen, 0),
        "longest_gap": np.maximum(np.maximum.reduceat(stride, first) - 1, 0),
    }


def _moments(b: _Bucket) -> dict[str, np.ndarray]:
    """Of the finite targets; NaN where a partition has none."""
    import numpy as np

    finite = np.isfinite(b.target)
    known = np.add.reduceat(finite.astype(np.int64), b.starts)
    some = known > 0
    value = np.where(finite, b.target, 0.0)
    mean = np.full(len(known), np.nan)
    np.divide(np.add.reduceat(value, b.starts), known, out=mean, where=some)
    deviation = np.where(finite, value - np.repeat(np.where(some, mean, 0.0), b.lengths), 0.0)
    low = np.minimum.reduceat(np.where(finite, b.target, np.inf), b.starts)
    high = np.maximum.reduceat(np.where(finite, b.target, -np.inf), b.starts)
    return {
        "targets": known,
        "mean": mean,
        "squares": np.add.reduceat(deviation**2, b.starts),
        "low": np.where(some, low, np.nan),
        "high": np.where(some, high, np.nan),
    }


def _days(b: _Bucket) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    days = b.local.astype("M8[D]").astype(np.int64)
    first, finite = int(days.min()), np.isfinite(b.target)
    found = pd.DataFrame(
        {
            "rows": np.bincount(days - first),
            "targets": np.bincount(days - first, finite),
            "total": np.bincount(days - first, np.where(finite, b.target, 0.0)),
        }
    )
    found.index += first
    return found[found["rows"] > 0].astype(float)


def _add_calendar(b: _Bucket, calendar: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    import numpy as np

    finite = np.isfinite(b.target)
    value = np.where(finite, b.target, 0.0)
    for part, sums in calendar.items():
        code = calendar_part(b.local, part)
        for total, weights in zip(sums, (finite, value), strict=True):
            np.add(total, np.bincount(code, weights, len(total)), out=total)


def calendar_part(local: np.ndarray, part: str) -> np.ndarray:
    """The weekday (Monday 0), month (January 0) or hour of wall times."""
    import numpy as np

    if part == "weekday":
        return (local.astype("M8[D]").astype(np.int64) + 3) % 7
    if part == "month":
        return local.astype("M8[M]").astype(np.int64) % 12
    return local.astype(np.int64) // _HOUR % 24


def _identical(prepared: Prepared, entry: FileEntry, rows: np.ndarray) -> int:
    """How many of `rows` equal the row before them; ties in time are sorted by the other columns, so equals are neighbours."""
    import numpy as np
    import pyarrow.compute as pc

    if len(rows) == 0:
        return 0
    table = read_columns(prepared, entry, list(prepared.columns))
    same = np.ones(len(rows), bool)
    for name in prepared.columns:
        here, before = table.column(name).take(rows), table.column(name).take(rows - 1)
        equal = pc.or_kleene(pc.equal(here, before), pc.and_(_missing(here), _missing(before)))
        same &= pc.fill_null(equal, False).to_numpy()
    return int(same.sum())


def _missing(column: Any) -> Any:
    import pyarrow.compute as pc

    return pc.is_null(column, nan_is_null=True)
