"""What must hold of the rows before models see them; becomes a Great Expectations suite."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from modelfleet.errors import Failure, bounded
from modelfleet.spec.base import Findings, Part, nearest
from modelfleet.spec.values import Columns, Scalars, Sorted, Text, Values, refuse, shown

_EXPECTATION = re.compile(r"expect_[a-z0-9_]+")


def _check_range(value: tuple[float | None, float | None]) -> None:
    low, high = value
    if (low is None and high is None) or (low is not None and high is not None and low > high):
        raise ValueError("(low, high), low at most high; one of them may be None")


Range = Annotated[tuple[float | None, float | None], refuse(_check_range)]
Unique = Annotated[
    Annotated[Text, Tag("<column>")] | Annotated[Columns, Tag("<columns>")],
    Discriminator(lambda value: "<column>" if isinstance(value, str) else "<columns>"),
]


def _check_rows(value: tuple[int | None, int | None]) -> None:
    _check_range(value)
    if any(bound is not None and bound < 0 for bound in value):
        raise ValueError("(low, high), none below 0")


def _check_expectation(name: str) -> None:
    if not _EXPECTATION.fullmatch(name):
        raise ValueError("the name of a Great Expectations expectation, such as 'expect_column_values_to_match_regex'")


def _check_set(values: tuple[Any, ...]) -> None:
    if not values or any(isinstance(value, tuple | dict) for value in values):
        raise ValueError("at least one value; texts, numbers, booleans or dates")


class Expectation(Part):
    """An expectation of Great Expectations: ``Expectation("expect_column_values_to_match_regex", {...})``."""

    positional: ClassVar[tuple[str, ...]] = ("name", "arguments")
    if TYPE_CHECKING:

        def __init__(
            self, name: str, arguments: dict[str, Any] | None = None, *, severity: Literal["error", "warn"] = "error"
        ) -> None: ...

    name: Annotated[str, refuse(_check_expectation)]
    """Its name in snake case."""
    arguments: Values = Field(default_factory=dict)
    """Its arguments; lists arrive as tuples."""
    severity: Literal["error", "warn"] = "error"
    """Whether its failure stops the run, or is only recorded."""


class Quality(Part):
    """Checks of the prepared rows. All of them stop the run when they fail, except those named in `warn`."""

    not_null: Columns = ()
    """Columns without nulls."""
    between: Sorted[Range] = Field(default_factory=dict)
    """Column -> (low, high), both allowed themselves; None leaves a side open. Nulls pass."""
    in_set: Sorted[Annotated[Scalars, refuse(_check_set)]] = Field(default_factory=dict)
    """Column -> the values it may have. Nulls pass."""
    unique: tuple[Unique, ...] = ()
    """Columns, or tuples of columns, whose values occur once."""
    row_count: Annotated[tuple[int | None, int | None] | None, refuse(_check_rows)] = None
    """(low, high) of the number of rows."""
    mean_between: Sorted[Range] = Field(default_factory=dict)
    """Column -> (low, high) of its mean."""
    expectations: tuple[Expectation, ...] = ()
    """Expectations by name; each has its own severity."""
    warn: Columns = ()
    """Checks of the short forms that only warn: ``between.distance``, ``unique.day,flight``, ``row_count``."""
    sensitive: Columns = ()
    """Columns whose values never appear in messages or reports: row numbers stand for them."""

    @model_validator(mode="after")
    def _check_warn(self) -> Self:
        unknown = [name for name in self.warn if name not in self.checks]
        if unknown:
            allowed = bounded(self.checks) or "none, as there are no checks"
            hints = [hint for name in unknown if (hint := nearest(name, self.checks))]
            raise Findings(
                [Failure("warn", shown(name), f"no such check; allowed: {allowed}") for name in unknown], hints
            )
        return self

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of the checks of the short forms, as `warn` uses them."""
        unique = (columns if isinstance(columns, str) else ",".join(columns) for columns in self.unique)
        return (
            *(f"not_null.{column}" for column in self.not_null),
            *(f"between.{column}" for column in self.between),
            *(f"in_set.{column}" for column in self.in_set),
            *(f"unique.{columns}" for columns in unique),
            *(("row_count",) if self.row_count is not None else ()),
            *(f"mean_between.{column}" for column in self.mean_between),
        )
