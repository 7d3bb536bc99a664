"""What models see: column names, or features derived from the date and from a partition's own past."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from modelfleet.errors import Failure
from modelfleet.interval import duration
from modelfleet.spec.base import Findings, Part
from modelfleet.spec.values import Columns, Text, refuse, shown

Statistic = Literal["mean", "sum", "min", "max", "std", "median", "count"]
CALENDAR = ("year", "quarter", "month", "week", "day_of_year", "day", "weekday", "weekend", "hour", "minute")
CYCLES = {"quarter": 4, "month": 12, "week": 53, "day_of_year": 366, "day": 31, "weekday": 7, "hour": 24, "minute": 60}
"""The parts of a date that come round again, with how many values they have."""
HOLIDAY_NAMES = ("holiday", "days_to_holiday", "days_since_holiday")


def _check_steps(steps: tuple[int, ...]) -> None:
    if not steps or min(steps) < 1 or len(set(steps)) < len(steps):
        raise ValueError("whole numbers from 1, each once, such as Lag('units', 7, 14)")


def _check_window(window: Any) -> Any:
    try:
        if isinstance(window, str):
            duration(window)
        elif type(window) is not int or window < 1:
            raise ValueError
    except ValueError:
        raise ValueError("a number of rows from 1, or a duration: D (days), h (hours) or min, such as '28D'") from None
    return window


def _check_country(code: str) -> None:
    if not re.fullmatch(r"[A-Z]{2,3}", code):
        raise ValueError("an ISO 3166 code in capitals, such as 'DE'")


def _check_calendar(parts: tuple[str, ...]) -> None:
    if not set(parts) <= set(CALENDAR):
        raise ValueError(f"of {', '.join(CALENDAR)}")


def _check_cyclic(parts: tuple[str, ...]) -> None:
    if not set(parts) <= set(CYCLES):
        raise ValueError(f"of {', '.join(CYCLES)}")


class _Stepped(Part):
    """A derived feature of some numbers of steps, given by position."""

    positional: ClassVar[tuple[str, ...]] = ("column", "steps")

    column: Text
    """The column to look back on."""
    steps: Annotated[tuple[int, ...], refuse(_check_steps)]
    """How many steps (rows of the partition) back; one feature each."""

    @property
    def names(self) -> tuple[str, ...]:
        """The features it makes."""
        return tuple(f"{self.column}_{type(self).__name__.lower()}_{steps}" for steps in self.steps)

    @classmethod
    def _named(cls, args: tuple[Any, ...], fields: Mapping[str, Any]) -> dict[str, Any]:
        return super()._named((args[0], args[1:]) if len(args) > 1 else args, fields)


class Lag(_Stepped):
    """The value of a column some steps before the row: ``Lag("units", 28, 35)`` gives ``units_lag_28``, ``units_lag_35``."""

    if TYPE_CHECKING:

        def __init__(self, column: str, *steps: int) -> None: ...

    kind: Literal["lag"] = "lag"
    """Tells derived features apart in YAML."""


class Difference(_Stepped):
    """How much the last known value lies above the one some steps before it: ``Difference("units", 7)``."""

    if TYPE_CHECKING:

        def __init__(self, column: str, *steps: int) -> None: ...

    kind: Literal["difference"] = "difference"
    """Tells derived features apart in YAML."""


class Rolling(Part):
    """A statistic over a window that ends with the last known value: ``Rolling("units", "28D", "mean")``."""

    positional: ClassVar[tuple[str, ...]] = ("column", "window", "statistic")
    if TYPE_CHECKING:

        def __init__(self, column: str, window: str | int, statistic: Statistic, *, min_count: int = 1) -> None: ...

    kind: Literal["rolling"] = "rolling"
    """Tells derived features apart in YAML."""
    column: Text
    """The column to aggregate."""
    window: Annotated[int | str, BeforeValidator(_check_window)]
    """The window's length: a duration such as "28D", or a number of rows."""
    statistic: Statistic
    """What is computed of the values that are not null."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """With fewer values in the window the feature is null; a count is never null."""

    @property
    def names(self) -> tuple[str, ...]:
        """The feature it makes, such as ``units_mean_28D``."""
        return (f"{self.column}_{self.statistic}_{self.window}",)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.window, int) and self.min_count > self.window:
            raise Findings(
                [Failure("min_count", shown(self.min_count), f"allowed: at most the window's {self.window} rows")]
            )
        return self


class Expanding(Part):
    """A statistic over all values up to the last known one: ``Expanding("units", "mean")``."""

    positional: ClassVar[tuple[str, ...]] = ("column", "statistic")
    if TYPE_CHECKING:

        def __init__(self, column: str, statistic: Literal["mean", "sum", "min", "max", "std", "count"]) -> None: ...

    kind: Literal["expanding"] = "expanding"
    """Tells derived features apart in YAML."""
    column: Text
    """The column to aggregate."""
    statistic: Literal["mean", "sum", "min", "max", "std", "count"]
    """What is computed of the values that are not null."""

    @property
    def names(self) -> tuple[str, ...]:
        """The feature it makes, such as ``units_expanding_mean``."""
        return (f"{self.column}_expanding_{self.statistic}",)


_PAST = ("lag", "difference", "rolling", "expanding")


def _kind_of_past(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return f"<{kind}>" if kind in _PAST else None


Past = Annotated[
    Annotated[Lag, Tag("<lag>")]
    | Annotated[Difference, Tag("<difference>")]
    | Annotated[Rolling, Tag("<rolling>")]
    | Annotated[Expanding, Tag("<expanding>")],
    Discriminator(
        _kind_of_past,
        custom_error_type="past",
        custom_error_message=f"allowed: a Lag, Difference, Rolling or Expanding; in YAML with kind: {', '.join(_PAST)}",
    ),
]


class Holidays(Part):
    """Public holidays of a country: ``Holidays("DE", "BY")``. Gives ``holiday``, ``days_to_holiday``, ``days_since_holiday``."""

    positional: ClassVar[tuple[str, ...]] = ("country", "subdivision")
    if TYPE_CHECKING:

        def __init__(self, country: str, subdivision: str | None = None) -> None: ...

    country: Annotated[str, refuse(_check_country)]
    """Its ISO 3166 code, as the package `holidays` knows it."""
    subdivision: Text | None = None
    """A state, province or canton."""


def _as_holidays(value: Any) -> Any:
    return {"country": value} if isinstance(value, str) else value


class Features(Part):
    """Features by what is known of them and when; models see them in the order of the fields below.

    Computed alike at training, scoring and serving, for all partitions of a bucket at once.
    """

    known_ahead: Columns = ()
    """Columns as they are, whose values are known for the rows to predict."""
    static: Columns = ()
    """Columns that are constant in a partition."""
    past: tuple[Past, ...] = ()
    """Derived from a partition's own past: of the target, or of any column."""
    calendar: Annotated[Columns, refuse(_check_calendar)] = ()
    """Parts of the date in the fleet's timezone: year, quarter, month, week, day_of_year, day, weekday (Monday 0), weekend,
    hour, minute."""
    cyclic: Annotated[Columns, refuse(_check_cyclic)] = ()
    """Parts of the date that come round again, each as a sine and a cosine."""
    holidays: Annotated[Holidays, BeforeValidator(_as_holidays)] | None = None
    """Public holidays: a country's code, or a Holidays."""
    categorical: Columns = ()
    """Which of the known_ahead and static columns are categories. A value that training has not seen counts as unknown."""
    encoding: Literal["ordinal", "onehot"] = "ordinal"
    """How categories become numbers: their place in the sorted list of values (unknown and null: -1), or a column each."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that rows must have, the target aside."""
        return tuple(dict.fromkeys((*self.known_ahead, *self.static, *(part.column for part in self.past))))

    @property
    def dated(self) -> tuple[str, ...]:
        """The features made of the date."""
        cycles = (f"{part}_{function}" for part in self.cyclic for function in ("sin", "cos"))
        return (*self.calendar, *cycles, *(HOLIDAY_NAMES if self.holidays is not None else ()))

    @model_validator(mode="after")
    def _check(self) -> Self:
        failures = []
        both = [name for name in self.static if name in self.known_ahead]
        if both:
            failures.append(Failure("static", shown(both), "allowed: columns that are not in known_ahead"))
        for name in self.categorical:
            if name not in (*self.known_ahead, *self.static):
                failures.append(Failure("categorical", shown(name), "allowed: columns of known_ahead or static"))
        if failures:
            raise Findings(failures)
        return self


def _kind_of_features(value: Any) -> str:
    return "<parts>" if isinstance(value, Features | Mapping) else "<columns>"


def _names_only(value: Any) -> Any:
    if isinstance(value, Part) or (
        isinstance(value, list | tuple) and any(isinstance(item, Part | Mapping) for item in value)
    ):
        raise ValueError("column names, or Features(past=(Lag(...), ...), ...) which derives features")
    return value


AnyFeatures = Annotated[
    Annotated[Columns, BeforeValidator(_names_only), Tag("<columns>")] | Annotated[Features, Tag("<parts>")],
    Discriminator(_kind_of_features),
]
