"""A backtest's results: the table of all folds and partitions, and the numbers that sum it up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelfleet import metric_names
from modelfleet.backtesting.cutoffs import Cutoff
from modelfleet.backtesting.sums import Sums, added, ratio, whole
from modelfleet.lake import Attempt, Lake, StepManifest
from modelfleet.spec.problem import Forecast

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from modelfleet.spec import FleetSpec

USUAL = {"forecast": "wape", "regression": "mae", "classification": "log_loss"}
EQUAL = 1e-9
"""Errors that differ by no more than this share are the same."""


@dataclass(frozen=True)
class FoldSummary:
    """One fold; errors are medians over partitions, NaN where there are none."""

    fold: str
    trained: int
    skipped: int
    failed: int
    compared: int
    error: float
    baseline: float
    skill: float
    coverage: float


@dataclass(frozen=True)
class Summary:
    """All folds. `error` and `baseline`: medians of `metric` over partitions and folds; `better`, `equal`, `worse`: shares of
    them; `claimed`: what `coverage` should be."""

    metric: str
    to: str
    partitions: int
    compared: int
    error: float
    baseline: float
    skill: float
    better: float
    equal: float
    worse: float
    coverage: float
    baseline_coverage: float
    claimed: float
    folds: tuple[FoldSummary, ...]
    sources: Mapping[str, int]
    candidates: Mapping[str, int]

    @property
    def beats(self) -> bool:
        """Whether the fleet's median error is less than the baseline's."""
        return self.error < self.baseline

    def numbers(self) -> dict[str, float]:
        """What MLflow gets: finite numbers by name."""
        names = ("partitions", "compared", "skill", "better", "equal", "worse", "coverage", "baseline_coverage")
        found = {name: float(getattr(self, name)) for name in names}
        found |= {f"median_{self.metric}": self.error, f"median_baseline_{self.metric}": self.baseline}
        found |= {f"rows_by_{name}": float(count) for name, count in self.sources.items()}
        return {name: value for name, value in found.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Results:
    """What a backtest found. `table`: a row for each fold and partition, the fold named by its cutoff's key."""

    lake: Lake
    spec: FleetSpec
    attempt: Attempt
    folds: Sequence[StepManifest]
    table: pa.Table

    @classmethod
    def read(cls, lake: Lake, spec: FleetSpec, attempt: Attempt, folds: Sequence[StepManifest]) -> Results:
        """The results that the folds' manifests, oldest first, lead to."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = []
        for fold in folds:
            for entry in fold.files["partitions"]:
                with lake.open_input(entry.path) as file:
                    rows = pq.read_table(file)
                name = pa.repeat(pa.scalar(fold.facts["cutoff"]["key"], pa.string()), rows.num_rows)
                parts.append(rows.add_column(0, "fold", name))
        return cls(lake, spec, attempt, folds, pa.concat_tables(parts))

    @property
    def metric(self) -> str:
        """The error that is shown: what candidates are selected by, where less of it is better."""
        chosen = self.spec.select_by
        return chosen if metric_names.DIRECTIONS.get(chosen, "lower") == "lower" else USUAL[self.spec.problem.kind]

    @property
    def cutoffs(self) -> list[Cutoff]:
        """The folds' cutoffs, oldest first."""
        return [Cutoff.from_json(fold.facts["cutoff"], self.spec.timezone) for fold in self.folds]

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Those that are forecast."""
        return self.spec.problem.quantiles if isinstance(self.spec.problem, Forecast) else ()

    @cached_property
    def lines(self) -> pd.DataFrame:
        """The table with columns ``error`` and ``base``, of the shown metric, and ``skill``; infinite numbers are NaN."""
        import numpy as np

        frame = self.table.to_pandas()
        frame["error"], frame["base"] = frame[self.metric], frame[f"baseline_{self.metric}"]
        frame = frame.replace([np.inf, -np.inf], np.nan)
        with np.errstate(all="ignore"):
            skill = 1 - frame["error"] / frame["base"]
        # Where the baseline errs by nothing, a model can only be as good (0) or infinitely worse.
        skill = skill.where(frame["base"] != 0, np.where(frame["error"] == 0, 0.0, -np.inf))
        frame["skill"] = skill.where(frame["error"].notna() & frame["base"].notna())
        return frame

    @cached_property
    def paired(self) -> pd.DataFrame:
        """The lines in which both the fleet's error and the baseline's are known."""
        return self.lines[self.lines["error"].notna() & self.lines["base"].notna()]

    @cached_property
    def sums(self) -> Sums:
        """The sums of all folds."""
        return added(fold.facts["sums"] for fold in self.folds)

    @cached_property
    def total(self) -> dict[str, float]:
        """The sums of all rows."""
        return whole(self.sums["step"])

    @cached_property
    def by_partition(self) -> pd.DataFrame:
        """Mean error over folds by partition, its baseline's, and skill; the worst first."""
        found = self.paired.groupby("partition", sort=True)[["error", "base"]].mean()
        found["folds"] = self.paired.groupby("partition", sort=True).size()
        return found.sort_values("error", ascending=False, kind="stable")

    @cached_property
    def summary(self) -> Summary:
        paired, total = self.paired, self.total
        same = (paired["error"] - paired["base"]).abs() <= EQUAL * paired[["error", "base"]].max(axis=1)
        better = (paired["error"] < paired["base"]) & ~same
        error, base = _median(paired["error"]), _median(paired["base"])
        claimed = self.quantiles[-1] - self.quantiles[0] if len(self.quantiles) > 1 else math.nan
        count = max(len(paired), 1)
        return Summary(
            metric=self.metric,
            to=self.attempt.options["to"],
            partitions=int(self.lines["partition"].nunique()),
            compared=int(total["n"]),
            error=error,
            baseline=base,
            skill=_skill(error, base),
            better=float(better.sum() / count),
            equal=float(same.sum() / count),
            worse=float((~better & ~same).sum() / count),
            coverage=ratio(total, "inside", "banded"),
            baseline_coverage=ratio(total, "base_inside", "base_banded"),
            claimed=round(claimed, 4),
            folds=tuple(self._of_fold(fold) for fold in self.folds),
            sources=dict(sum((Counter(fold.facts["sources"]) for fold in self.folds), Counter()).most_common()),
            candidates=dict(sum((Counter(fold.facts["candidates"]) for fold in self.folds), Counter()).most_common()),
        )

    def _of_fold(self, fold: StepManifest) -> FoldSummary:
        key, facts = fold.facts["cutoff"]["key"], fold.facts
        own = self.paired[self.paired["fold"] == key]
        error, base = _median(own["error"]), _median(own["base"])
        counts = {name: facts[name] for name in ("trained", "skipped", "failed", "compared")}
        coverage = ratio(whole(facts["sums"]["step"]), "inside", "banded")
        return FoldSummary(fold=key, **counts, error=error, baseline=base, skill=_skill(error, base), coverage=coverage)

    @property
    def tags(self) -> dict[str, str]:
        """What the MLflow run says of itself."""
        return {
            "fleet": self.spec.name,
            "pipeline": self.attempt.pipeline,
            "interval": self.attempt.interval.key,
            "attempt": self.attempt.id,
            "to": self.attempt.options["to"],
            "folds": str(len(self.folds)),
            "spec_digest": self.attempt.spec_digest,
            "code_version": self.attempt.code_version,
            **{str(name): str(value) for name, value in self.spec.tags.items()},
        }

    def rows_of(self, partitions: Sequence[str]) -> dict[str, Any]:
        """The predicted rows of a few partitions over all folds, in the order of time, each as a data frame."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        found = []
        for fold in self.folds:
            for entry in fold.files["rows"]:
                with self.lake.open_input(entry.path) as file:
                    rows = pq.read_table(file, filters=pc.field("partition").isin(list(partitions)))
                if rows.num_rows:
                    found.append(rows.append_column("fold", pa.array([fold.facts["cutoff"]["key"]] * rows.num_rows)))
        frame = pa.concat_tables(found).to_pandas().sort_values([self.spec.time_column, "fold"], kind="stable")
        return {str(name): part for name, part in frame.groupby("partition")}


def _median(values: pd.Series) -> float:
    return float(values.median()) if len(values) else math.nan


def _skill(error: float, base: float) -> float:
    return 1 - error / base if base > 0 else math.nan
