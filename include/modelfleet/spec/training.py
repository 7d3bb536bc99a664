"""How the models of a fleet are fitted and measured."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from modelfleet.errors import Failure
from modelfleet.spec.base import Findings, Part
from modelfleet.spec.data import Duration, check_code
from modelfleet.spec.values import Scalars, Sorted, Text, Values, refuse, shown

MAX_GRID = 256
"""A grid of more combinations is refused."""
_GRID_HINT = "each combination is fitted in every partition and fold: try fewer values"
HOLDOUT = "28D"
"""The default holdout of a Regression or Classification; a Forecast's is its horizon."""
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,62}")


def _check_metrics(names: tuple[str, ...]) -> None:
    if not all(_METRIC.fullmatch(name) for name in names) or len(set(names)) < len(names):
        raise ValueError("names of lower-case letters, digits and '_', each once")


def _check_memory(text: str) -> None:
    if not re.fullmatch(r"[1-9]\d*[mg]", text):
        raise ValueError("megabytes or gigabytes, such as '512m' or '2g'")


class Candidate(Part):
    """An algorithm that competes inside each partition: ``Candidate("package.module:build", params={"alpha": 1.0})``.

    It is a callable that returns a scikit-learn compatible estimator; for a Forecast also a forecaster, with ``fit(y, X)``
    and ``predict(h, X)``, such as those of statsforecast: ``Candidate("statsforecast.models:AutoETS", ...)``.
    """

    positional: ClassVar[tuple[str, ...]] = ("model",)
    if TYPE_CHECKING:

        def __init__(
            self,
            model: str,
            *,
            params: dict[str, Any] | None = None,
            grid: dict[str, Any] | None = None,
            scope: Literal["partition", "fleet"] = "partition",
            name: str | None = None,
        ) -> None: ...

    model: Annotated[str, refuse(check_code)]
    """The dotted path of the callable that builds the estimator or forecaster."""
    params: Values = Field(default_factory=dict)
    """Arguments of that callable."""
    grid: Sorted[Scalars] = Field(default_factory=dict)
    """Arguments to try, each a list of values; every combination is a candidate of its own."""
    scope: Literal["partition", "fleet"] = "partition"
    """What it is fitted on: the rows of each partition, or of all together with the key columns as categorical features."""
    name: Text | None = None
    """What it is called in tables and reports; default: the callable's name."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        failures = []
        for name, values in self.grid.items():
            if not values:
                failures.append(Failure(f"grid.{name}", "no values", "at least one value to try"))
            elif len({str(value) for value in values}) < len(values):
                failures.append(Failure(f"grid.{name}", shown(values), "allowed: values that differ, each once"))
            if name in self.params:
                failures.append(Failure(f"grid.{name}", shown(values), "allowed: arguments that are not in params too"))
        if failures:
            raise Findings(failures)
        size = math.prod(len(values) for values in self.grid.values())
        if size > MAX_GRID:
            raise Findings([Failure("grid", f"{size} combinations", f"at most {MAX_GRID}")], [_GRID_HINT])
        return self

    @property
    def learners(self) -> tuple[Learner, ...]:
        """Every combination of the grid, in its order."""
        label = self.name or self.model.partition(":")[2]
        names = sorted(self.grid)
        made = []
        for values in itertools.product(*(self.grid[name] for name in names)):
            chosen = dict(zip(names, values, strict=True))
            shown_values = ", ".join(f"{name}={value}" for name, value in chosen.items())
            made.append(
                Learner(
                    name=f"{label}({shown_values})" if chosen else label,
                    path=self.model,
                    params={**self.params, **chosen},
                    scope=self.scope,
                )
            )
        return tuple(made)


@dataclass(frozen=True)
class Learner:
    """One candidate with all its arguments settled."""

    name: str
    path: str
    params: Mapping[str, Any]
    scope: Literal["partition", "fleet"] = "partition"


class Limits(Part):
    """What one model may use before it is stopped and recorded as failed: ``Limits(seconds=60, memory="512m")``.

    The limits hold for all that is done for one partition: its features, all candidates and folds, the metrics; and for
    its prediction when scoring. A model over many partitions may take 12 times as long and 4 times as much memory.
    """

    seconds: Annotated[float, Field(gt=0)] | None = 300.0
    """Wall time, in seconds; None: no limit."""
    memory: Annotated[str | None, refuse(_check_memory)] = "2g"
    """Memory beyond what the process had before, such as "512m" or "2g"; address space counts, even where it is only
    reserved. None: no limit, as for libraries that reserve more than they need."""

    @property
    def memory_bytes(self) -> int | None:
        """The memory in bytes."""
        return None if self.memory is None else int(self.memory[:-1]) << {"m": 20, "g": 30}[self.memory[-1]]


class Training(Part):
    """Which rows models are fitted on and measured on."""

    window: Duration | None = None
    """How far back training rows go from the end of the interval, such as "730D"; default: all there are."""
    holdout: Duration | None = None
    """The last part of the rows, by one cutoff in time for the whole fleet: models are measured on it, not fitted. Default:
    "28D"; a Forecast's is its horizon."""
    folds: Annotated[int, Field(ge=1, le=100)] = 1
    """How many holdouts, one before the other, each with the rows before it to fit on: candidates are selected by their mean
    error over all. What is reported of a model is measured on the last one."""
    gap: Duration | None = None
    """How much before a holdout is left out of the rows to fit on, as when the latest rows come in late; default: nothing."""
    weight: Text | None = None
    """The column of sample weights; estimators get it as ``sample_weight``. It is at least 0 and not null;
    of a Forecast null counts as 0, as on dates that were filled."""
    select_by: Text | None = None
    """The metric that picks a partition's candidate; default: mae, log_loss, or wape for a Forecast. Of equals, the one that
    is listed first is taken, so list the simplest first. Of the author's own metrics, less is better."""
    halving: bool = False
    """Whether the worse half of the candidates is left out after each fold (successive halving), the latest fold first."""
    refit: bool = True
    """Whether a model is fitted again on all rows, the holdout included, after it was measured."""
    min_rows: Annotated[int, Field(ge=1)] = 30
    """Partitions with fewer rows with a target are skipped; the fallback then serves them."""
    fallback: tuple[Text, ...] = ("baseline",)
    """What serves a partition without a model of its own, the first that exists: a model of all partitions with the same
    value of a key column, named by the column; of the whole fleet (``fleet``); and last the ``baseline``."""
    train_mode: Literal["all", "changed"] = "all"
    """Which models a training fits: all, or only those whose rows, spec or code have changed since the latest training before
    the interval; the others are carried over from that with their metrics. A window leaves out old rows each time, and
    so changes what has such rows."""
    per_model: Limits | None = Limits()
    """What one model may use before it is stopped and recorded as failed; None: no limits. A crash costs its own partition
    alone in any case."""
    metrics: Annotated[tuple[str, ...], refuse(_check_metrics)] = ()
    """Names of the metrics that the author's ``metrics(y_true, y_pred, frame)`` returns, so that rules may use them."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        failures = []
        if (
            self.fallback[-1:] != ("baseline",)
            or self.fallback.count("baseline") > 1
            or len(set(self.fallback)) < len(self.fallback)
        ):
            failures.append(
                Failure(
                    "fallback",
                    shown(self.fallback),
                    "allowed: key columns, then 'fleet', and 'baseline' last, each once",
                )
            )
        if self.halving and self.folds < 2:
            failures.append(Failure("halving", "True", "allowed: with at least 2 folds"))
        if failures:
            raise Findings(failures)
        return self
