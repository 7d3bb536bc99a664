"""Exact counts of every partition, in one pass over the prepared rows: key, time and target only, a bucket at a time.

A bucket is sorted by partition and time, so each count is a sum over flags between two key changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelfleet import engine, slices
from modelfleet.exploring.clock import Clock
from modelfleet.exploring.prepared import Prepared

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from modelfleet.lake import FileEntry

PROBLEM = "_problem"
"""Where the dataset step says what is wrong with a partition's series, if it does."""
CALENDAR = {"weekday": 7, "month": 12, "hour": 24}
_HOUR = 3_600_000_000


@dataclass
class Measured:
    """What the pass found.

    :ivar partitions: a row each, in the order of the keys' hash: `partition`, `bucket` and `start` (where its rows lie),
        `rows`, `null_targets`, `infinite_targets`, `zero_targets`, `first`, `last` (wall time), `first_step`,
        `last_step`, `gaps` (steps without a row between first and last), `longest_gap` (steps), `duplicates` (rows with
        the time of the row before), `mean`, `squares` (sum of squared deviations from it), `low`, `high` of the finite
        targets, and `problem`.
    :ivar days: by wall day since 1970: `rows`, `targets` (finite ones) and their `total`.
    :ivar calendar: by part of the date, arrays of finite targets and their total.
    :ivar identical: rows equal to another of the same partition and time in every column.
    """

    partitions: pd.DataFrame
    days: pd.DataFrame
    calendar: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    identical: int = 0


@dataclass(frozen=True)
class _Bucket:
    """A bucket's arrays; `starts` are the first rows of its partitions."""

    keys: list[str]
    starts: np.ndarray
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
    parts, days, identical = [], pd.DataFrame(), 0
    for number, entry in enumerate(prepared.files):
        if entry.rows:
            bucket = _read(prepared, entry, clock)
            twin = bucket.inner & (np.diff(bucket.instants, prepend=bucket.instants[:1]) == 0)
            parts.append(_count(bucket, twin).assign(bucket=number))
            days = _days(bucket).add(days, fill_value=0.0) if len(days) else _days(bucket)
            _add_calendar(bucket, calendar)
            identical += _identical(prepared, entry, np.flatnonzero(twin))
        if progress is not None:
            progress("count", number + 1, len(prepared.files))
    return Measured(pd.concat(parts, ignore_index=True), days, calendar, identical)


def read_columns(prepared: Prepared, entry: FileEntry, columns: list[str]) -> pa.Table:
    """Some columns of a bucket's rows."""
    import pyarrow.parquet as pq

    with prepared.lake.open_input(entry.path) as file:
        return pq.read_table(file, columns=columns, read_dictionary=[slices.PARTITION])


def as_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers and bools as float64, null as NaN."""
    import pyarrow as pa

    return column.cast(pa.float64()).to_numpy()


def _read(prepared: Prepared, entry: FileEntry, clock: Clock) -> _Bucket:
    import numpy as np

    time, target = prepared.spec.time_column, prepared.spec.problem.target
    names = list(dict.fromkeys((slices.PARTITION, time, target)))
    rows = read_columns(prepared, entry, names + ([PROBLEM] if PROBLEM in prepared.facts["schema"] else []))
    bounds = slices.bounds(rows)
    starts = np.array([start for _, start, _ in bounds], np.int64)
    local, instants = clock.local(rows.column(time)), clock.instants(rows.column(time))
    problems = rows.column(PROBLEM).take(starts).to_pylist() if PROBLEM in rows.column_names else [None] * len(bounds)
    return _Bucket(
        keys=[key for key, _, _ in bounds],
        starts=starts,
        local=local,
        instants=instants,
        steps=clock.steps(local, instants),
        target=as_numbers(rows.column(target)),
        problems=problems,
    )


def _count(b: _Bucket, twin: np.ndarray) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    def total(flags: np.ndarray) -> np.ndarray:
        return np.add.reduceat(flags.astype(np.int64), b.starts)

    last = b.starts + b.lengths - 1
    stride = np.where(b.inner, np.diff(b.steps, prepend=b.steps[:1]), 0)
    expected = b.steps[last] - b.steps[b.starts]  # steps after the first
    return pd.DataFrame(
        {
            "partition": b.keys,
            "start": b.starts,
            "rows": b.lengths,
            "null_targets": total(np.isnan(b.target)),
            "infinite_targets": total(np.isinf(b.target)),
            "zero_targets": total(b.target == 0),
            "first": b.local[b.starts],
            "last": b.local[last],
            "first_step": b.steps[b.starts],
            "last_step": b.steps[last],
            "gaps": np.maximum(expected - total(stride > 0), 0),
            "longest_gap": np.maximum(np.maximum.reduceat(stride, b.starts) - 1, 0),
            "duplicates": total(twin),
            **_moments(b),
            "problem": pd.Series(b.problems, dtype=object),
        }
    )


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
    for part, (known, total) in calendar.items():
        code = calendar_part(b.local, part)
        known += np.bincount(code, finite, len(known))
        total += np.bincount(code, value, len(total))


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
