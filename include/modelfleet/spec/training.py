"""How the models of a fleet are fitted and measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from modelfleet.errors import Failure
from modelfleet.interval import duration
from modelfleet.spec.base import Findings, Part
from modelfleet.spec.data import Duration, check_code
from modelfleet.spec.values import Sorted, Text, Values, refuse, shown

_METRIC = re.compile(r"[a-z][a-z0-9_]{0,62}")


def _check_metrics(names: tuple[str, ...]) -> None:
    if not all(_METRIC.fullmatch(name) for name in names) or len(set(names)) < len(names):
        raise ValueError("names of lower-case letters, digits and '_', each once")


def _check_memory(text: str) -> None:
    if not re.fullmatch(r"[1-9]\d*[mg]", text):
        raise ValueError("megabytes or gigabytes, such as '512m' or '2g'")


class Candidate(Part):
    """An algorithm that competes inside each partition: ``Candidate("package.module:build")``. Not built yet."""

    positional: ClassVar[tuple[str, ...]] = ("model",)
    if TYPE_CHECKING:

        def __init__(
            self, model: str, *, params: dict[str, Any] | None = None, grid: dict[str, Any] | None = None
        ) -> None: ...

    model: Annotated[str, refuse(check_code)]
    """The dotted path of the callable that builds the estimator."""
    params: Values = Field(default_factory=dict)
    """Arguments of that callable."""
    grid: Sorted[tuple[Any, ...]] = Field(default_factory=dict)
    """Arguments to try, each a list of values."""


class Limits(Part):
    """What one model may use before it is stopped and recorded as failed. Not built yet."""

    seconds: Annotated[float, Field(gt=0)] | None = None
    """Time to fit, in seconds."""
    memory: Annotated[str | None, refuse(_check_memory)] = None
    """Memory, such as "2g"."""


class Training(Part):
    """Which rows models are fitted on and measured on."""

    window: Duration | None = None
    """How far back training rows go from the end of the interval, such as "730D"; default: all there are."""
    holdout: Duration = "28D"
    """The last part of the rows, by one cutoff in time for the whole fleet: models are measured on it, not fitted."""
    folds: Annotated[int, Field(ge=1)] = 1
    """How many holdouts, one before the other. More than one is not built yet."""
    weight: Text | None = None
    """The column of sample weights. Not built yet."""
    select_by: Text | None = None
    """The metric that picks a partition's candidate. Not built yet."""
    refit: bool = True
    """Whether a model is fitted again on all rows, the holdout included, after it was measured."""
    min_rows: Annotated[int, Field(ge=1)] = 30
    """Partitions with fewer rows with a target are skipped; the baseline then serves them."""
    fallback: tuple[Text, ...] = ("baseline",)
    """What serves a partition without a model. Key columns, for a model of a coarser level, are not built yet."""
    per_model: Limits | None = None
    """Limits of one model. Not built yet."""
    metrics: Annotated[tuple[str, ...], refuse(_check_metrics)] = ()
    """Names of the metrics that the author's ``metrics(y_true, y_pred, frame)`` returns, so that rules may use them."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.window is not None and duration(self.window) <= duration(self.holdout):
            raise Findings(
                [Failure("window", shown(self.window), f"allowed: longer than the holdout, {self.holdout!r}")]
            )
        return self
