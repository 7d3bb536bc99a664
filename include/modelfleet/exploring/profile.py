"""A fleet's prepared data, looked at: all figures of the report in one record."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from modelfleet import engine
from modelfleet.errors import DataError
from modelfleet.exploring import columns as cols
from modelfleet.exploring import seasons
from modelfleet.exploring.clock import Clock, Holdout
from modelfleet.exploring.partitions import Measured, measure
from modelfleet.exploring.prepared import Prepared
from modelfleet.exploring.sampling import SeriesSample, sample_rows, sample_series
from modelfleet.spec.problem import Forecast

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 100_000


@dataclass(frozen=True)
class Profile:
    """What there is to say of the prepared rows of one interval.

    Counts of rows and partitions are exact; `sample`, `series` and what is made of them (`columns`, apart from `missing`;
    `outlying`, `autocorrelation`) are not, where the rows are many.
    """

    prepared: Prepared
    measured: Measured
    sample: pd.DataFrame
    series: SeriesSample
    columns: pd.DataFrame
    patterns: list[seasons.Pattern]
    autocorrelation: seasons.Autocorrelation | None
    outlying: pd.DataFrame
    outlying_share: float

    @property
    def rows(self) -> int:
        return self.prepared.rows

    @property
    def partitions(self) -> pd.DataFrame:
        """A line for each partition, see `Measured`."""
        return self.measured.partitions

    @property
    def is_forecast(self) -> bool:
        return isinstance(self.prepared.spec.problem, Forecast)

    @cached_property
    def clock(self) -> Clock:
        return Clock.of(self.prepared.spec)

    @cached_property
    def holdout(self) -> Holdout:
        return Holdout.of(self.prepared.spec, self.prepared.interval, self.measured.kind)

    @cached_property
    def short(self) -> pd.DataFrame:
        """Partitions with fewer rows with a target than a model needs."""
        return self.partitions[self.partitions["targets"] < self.prepared.spec.training.min_rows]

    @cached_property
    def new(self) -> pd.DataFrame:
        """Partitions whose first target lies in the holdout."""
        found = self.partitions[self.partitions["targets"] > 0]
        return found[self.holdout.holds(found["first_step"].to_numpy(), found["first"].to_numpy())]

    @cached_property
    def ended(self) -> pd.DataFrame:
        """Partitions without a target in the holdout."""
        found = self.partitions[self.partitions["targets"] > 0]
        return found[~self.holdout.holds(found["last_step"].to_numpy(), found["last"].to_numpy())]

    @cached_property
    def constant(self) -> pd.DataFrame:
        """Partitions with more than one target, all the same."""
        found = self.partitions
        return found[(found["low"] == found["high"]) & (found["targets"] > 1)]

    @cached_property
    def troubled(self) -> pd.DataFrame:
        """Partitions in whose series the dataset step saw a problem."""
        return self.partitions[self.partitions["problem"].notna()]

    @cached_property
    def treated(self) -> dict[str, int]:
        """What the dataset step did to the rows and found in the series, as its facts say: what, and how many."""
        found: dict[str, int] = {}
        for name in ("treated", "treatments", "series"):
            found |= {str(what): int(count) for what, count in (self.prepared.facts.get(name) or {}).items()}
        return found

    @cached_property
    def between(self) -> float:
        """The share of the target's variation that lies between partitions; NaN where it does not vary."""
        found = self.partitions[self.partitions["targets"] > 0]
        overall = (found["mean"] * found["targets"]).sum() / max(found["targets"].sum(), 1)
        between = (found["targets"] * (found["mean"] - overall) ** 2).sum()
        total = between + found["squares"].sum()
        return float(between / total) if total > 0 else float("nan")

    def count(self, column: str) -> int:
        """The sum over partitions of a count."""
        return int(self.partitions[column].sum())


def look(prepared: Prepared, *, wanted: int = SAMPLE_ROWS, progress: engine.Progress | None = None) -> Profile:
    """Measure all rows, draw the samples, and describe them.

    :raises DataError: where there are no rows.
    """
    if prepared.rows == 0:
        raise DataError(f"fleet {prepared.spec.name!r}, {prepared.interval.key}: there are no prepared rows to look at")
    measured = measure(prepared, progress=progress)
    sample = sample_rows(prepared, wanted, progress=progress)
    series = sample_series(prepared, measured.partitions, wanted)
    problem = prepared.spec.problem
    outlying, share = cols.outlying_targets(series)
    return Profile(
        prepared=prepared,
        measured=measured,
        sample=sample,
        series=series,
        columns=cols.describe(prepared, sample, series, prepared.facts["nulls"], prepared.rows),
        patterns=seasons.patterns(measured, series),
        autocorrelation=seasons.autocorrelation(series, problem.season_length if isinstance(problem, Forecast) else 7),
        outlying=outlying,
        outlying_share=share,
    )
