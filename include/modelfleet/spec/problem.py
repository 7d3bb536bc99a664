"""What a fleet predicts: a number, a class, or the future of a series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from modelfleet.spec.base import Part
from modelfleet.spec.values import Text


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
    """Predict the coming values of a series. Not built yet."""

    kind: Literal["forecast"] = "forecast"
    """Tells problems apart in YAML."""
    target: Text
    """The column to forecast."""
    time: Text
    """The column that holds the series' dates."""
    freq: Text
    """The step of the series, such as "D"."""
    horizon: int
    """How many steps ahead."""
    quantiles: tuple[float, ...] = ()
    """Quantiles to forecast beside the expected value, between 0 and 1."""


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
