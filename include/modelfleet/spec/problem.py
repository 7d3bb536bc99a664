"""What a fleet predicts: a number, a class, or the future of a series."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from modelfleet.errors import Failure
from modelfleet.frequency import Frequency
from modelfleet.frequency import parse as parse_frequency
from modelfleet.spec.base import Findings, Part
from modelfleet.spec.values import Text, refuse, shown


def _check_quantiles(values: tuple[float, ...]) -> None:
    inside = all(0 < value < 1 and round(value, 4) == value for value in values)
    if not inside or list(values) != sorted(set(values)):
        raise ValueError("numbers between 0 and 1 of at most 4 decimals, rising, such as (0.1, 0.5, 0.9)")


def quantile_name(quantile: float) -> str:
    """The column of a quantile in predictions: 0.1 -> ``q10``, 0.025 -> ``q2_5``."""
    percent = Decimal(repr(float(quantile))) * 100
    return "q" + format(percent.normalize(), "f").replace(".", "_")


class Regression(Part):
    """Predict a number: ``Regression(target="arr_delay")``."""

    kind: Literal["regression"] = "regression"
    """Tells problems apart in YAML."""
    target: Text
    """The column to predict; rows where it is null are not trained on."""
    known_at: str | None = None
    """When the features are known, in words; documentation only."""
    baseline: Literal["mean", "last"] = "mean"
    """The naive prediction each model is measured beside: the mean, or the last value, of its training rows."""


class Classification(Part):
    """Predict one of two classes: ``Classification(target="is_late")``."""

    kind: Literal["classification"] = "classification"
    """Tells problems apart in YAML."""
    target: Text
    """The column to predict: booleans, or 0 and 1. A prediction is the class and the probability of class 1."""
    known_at: str | None = None
    """When the features are known, in words; documentation only."""
    baseline: Literal["majority", "last"] = "majority"
    """The naive prediction each model is measured beside: the commoner class, or the last one, of its training rows."""


class Forecast(Part):
    """Predict the coming values of each series: ``Forecast(target="units", freq="D", horizon=28)``.

    A forecast issued for an interval is of the `horizon` steps after its end.
    """

    kind: Literal["forecast"] = "forecast"
    """Tells problems apart in YAML."""
    target: Text
    """The column to forecast."""
    freq: Annotated[str, refuse(parse_frequency)]
    """The step of the series: 15min, h, 6h, D, W-MON to W-SUN, MS, QS or YS. Days and longer are dates in the fleet's
    timezone."""
    horizon: Annotated[int, Field(ge=1, le=10_000)]
    """How many steps ahead."""
    time: Text | None = None
    """The column of the prepared rows that holds the series' dates; default: the main table's time."""
    quantiles: Annotated[tuple[float, ...], refuse(_check_quantiles)] = ()
    """Quantiles to forecast beside the expected value, between 0 and 1, rising; columns such as ``q10`` hold them."""
    intervals: Literal["model", "residuals"] = "model"
    """Where quantiles come from: the model's own, where it gives them; else, and with residuals, the errors it made in the
    folds."""
    strategy: Literal["direct", "recursive"] = "direct"
    """How an estimator forecasts many steps: direct, from what is known when the forecast is issued; or recursive, one step
    at a time, its own predictions taking the place of what is not known yet."""
    steps_per_model: Annotated[int, Field(ge=1)] | None = None
    """Direct: how many consecutive steps share one estimator, whose past features end that many steps before the row;
    default: the horizon, so one estimator. With 1, each step has its own."""
    missing: Literal["reject", "zero", "previous"] = "reject"
    """What becomes of dates without a row or without a target, up to the interval's end: the partition gets no model (reject),
    or the target is 0, or the one before."""
    season: Annotated[int, Field(ge=1)] | None = None
    """The steps of a season, for the seasonal naive baseline and `mase`; default: by `freq`, such as 7 for days."""
    baseline: Literal["seasonal_naive", "last", "mean", "drift"] = "seasonal_naive"
    """The naive forecast each model is measured beside: the last season again, the last value, the mean, or the line
    through the first and last value. Series shorter than a season get the last value."""

    @property
    def frequency(self) -> Frequency:
        """The step."""
        return parse_frequency(self.freq)

    @property
    def season_length(self) -> int:
        """The steps of a season."""
        return self.season if self.season is not None else self.frequency.season

    @property
    def aheads(self) -> tuple[int, ...]:
        """How far ahead the matrices look that its estimators see; see `modelfleet.matrices`."""
        return tuple(last for _, last in self.blocks)

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """The first and last step of each direct estimator, from 1; a recursive one knows all but its own step."""
        if self.strategy == "recursive":
            return ((1, 1),)
        size = self.steps_per_model or self.horizon
        return tuple((first, min(first + size - 1, self.horizon)) for first in range(1, self.horizon + 1, size))

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = self.steps_per_model
        if size is not None and self.strategy == "recursive":
            raise Findings([Failure("steps_per_model", shown(size), "allowed: with strategy 'direct' only")])
        if size is not None and size > self.horizon:
            raise Findings(
                [Failure("steps_per_model", shown(size), f"allowed: at most the horizon, {self.horizon} steps")]
            )
        return self


KINDS = ("regression", "classification", "forecast")


def _kind_of_problem(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return f"<{kind}>" if kind in KINDS else None


Problem = Annotated[
    Annotated[Regression, Tag("<regression>")]
    | Annotated[Classification, Tag("<classification>")]
    | Annotated[Forecast, Tag("<forecast>")],
    Discriminator(
        _kind_of_problem,
        custom_error_type="problem",
        custom_error_message=f"allowed: a Regression, Classification or Forecast; in YAML kind: {', '.join(KINDS)}",
    ),
]
