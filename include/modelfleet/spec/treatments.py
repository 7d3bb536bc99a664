"""What is done to rows before anything sees them: drop, clip, fill, dedupe. Applied alike at training, scoring and serving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Tag, model_validator

from modelfleet.errors import Failure
from modelfleet.spec.base import Findings, Part
from modelfleet.spec.values import Text, plain, shown


class Drop(Part):
    """Leave rows out: ``Drop("units", below=0)``; a row that meets any of the conditions goes."""

    positional: ClassVar[tuple[str, ...]] = ("column",)
    if TYPE_CHECKING:

        def __init__(
            self, column: str, *, null: bool = False, below: float | None = None, above: float | None = None
        ) -> None: ...

    kind: Literal["drop"] = "drop"
    """Tells treatments apart in YAML."""
    column: Text
    """The column that is looked at."""
    null: bool = False
    """Rows where it is null or NaN."""
    below: float | None = None
    """Rows where it is less."""
    above: float | None = None
    """Rows where it is more."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.null and self.below is None and self.above is None:
            raise Findings([Failure("column", shown(self.column), "give null, below or above: which rows go")])
        if self.below is not None and self.above is not None and self.below > self.above:
            raise Findings([Failure("above", shown(self.above), f"allowed: at least below, {self.below:g}")])
        return self


class Clip(Part):
    """Bound a column: ``Clip("units", 0, 500)``; values outside become the bound."""

    positional: ClassVar[tuple[str, ...]] = ("column", "lower", "upper")
    if TYPE_CHECKING:

        def __init__(self, column: str, lower: float | None = None, upper: float | None = None) -> None: ...

    kind: Literal["clip"] = "clip"
    """Tells treatments apart in YAML."""
    column: Text
    """The column."""
    lower: float | None = None
    """The least value."""
    upper: float | None = None
    """The greatest value."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.lower is None and self.upper is None:
            raise Findings([Failure("lower", "nothing", "give lower, upper or both")])
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise Findings([Failure("upper", shown(self.upper), f"allowed: at least lower, {self.lower:g}")])
        return self


def _scalar(value: Any) -> Any:
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        raise ValueError("a text, number or boolean")
    return plain(value)


class Fill(Part):
    """Fill nulls of a column: ``Fill("price", previous=True)`` or ``Fill("promo", value=0)``."""

    positional: ClassVar[tuple[str, ...]] = ("column",)
    if TYPE_CHECKING:

        def __init__(self, column: str, *, value: Any = None, previous: bool = False) -> None: ...

    kind: Literal["fill"] = "fill"
    """Tells treatments apart in YAML."""
    column: Text
    """The column."""
    value: Annotated[bool | int | float | str | None, BeforeValidator(_scalar)] = None
    """What nulls become."""
    previous: bool = False
    """Nulls become the value before, in the partition; the first ones then the `value`, if given."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.value is None and not self.previous:
            raise Findings([Failure("value", "nothing", "give a value, or previous=True")])
        return self


class Dedupe(Part):
    """Make one row of rows with the same key and time: ``Dedupe("sum")``. Without it they are refused for a Forecast."""

    positional: ClassVar[tuple[str, ...]] = ("keep",)
    if TYPE_CHECKING:

        def __init__(self, keep: Literal["first", "last", "sum", "mean", "max"]) -> None: ...

    kind: Literal["dedupe"] = "dedupe"
    """Tells treatments apart in YAML."""
    keep: Literal["first", "last", "sum", "mean", "max"]
    """Which row stays, in the order of all columns; or what the target becomes, other columns being the first row's."""


_KINDS = ("drop", "clip", "fill", "dedupe")


def _kind_of(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return f"<{kind}>" if kind in _KINDS else None


Treatment = Annotated[
    Annotated[Drop, Tag("<drop>")]
    | Annotated[Clip, Tag("<clip>")]
    | Annotated[Fill, Tag("<fill>")]
    | Annotated[Dedupe, Tag("<dedupe>")],
    Discriminator(
        _kind_of,
        custom_error_type="treatment",
        custom_error_message=f"allowed: a Drop, Clip, Fill or Dedupe; in YAML with kind: {', '.join(_KINDS)}",
    ),
]
