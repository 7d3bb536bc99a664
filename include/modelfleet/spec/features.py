"""What models see: column names, or features derived from a partition's own past."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Tag

from modelfleet.spec.base import Part
from modelfleet.spec.data import Duration
from modelfleet.spec.values import Columns, Text


class Lag(Part):
    """The value of a column some steps ago: ``Lag("units", 28, 35)``. Not built yet."""

    positional: ClassVar[tuple[str, ...]] = ("column",)
    if TYPE_CHECKING:

        def __init__(self, column: str, *steps: int) -> None: ...

    kind: Literal["lag"] = "lag"
    """Tells derived features apart in YAML."""
    column: Text
    """The column to look back on."""
    steps: tuple[int, ...]
    """How many steps back; one feature each."""

    @classmethod
    def _named(cls, args: tuple[Any, ...], fields: Mapping[str, Any]) -> dict[str, Any]:
        return super()._named(args[:1], {**fields, "steps": args[1:]} if len(args) > 1 else fields)


class Rolling(Part):
    """A statistic over a window that ends before the row: ``Rolling("units", "28D", "mean")``. Not built yet."""

    positional: ClassVar[tuple[str, ...]] = ("column", "window", "statistic")
    if TYPE_CHECKING:

        def __init__(
            self, column: str, window: str, statistic: Literal["mean", "sum", "min", "max", "std", "median", "count"]
        ) -> None: ...

    kind: Literal["rolling"] = "rolling"
    """Tells derived features apart in YAML."""
    column: Text
    """The column to aggregate."""
    window: Duration
    """The window's length, such as "28D"."""
    statistic: Literal["mean", "sum", "min", "max", "std", "median", "count"]
    """What is computed of it."""


def _kind_of_past(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return f"<{kind}>" if kind in ("lag", "rolling") else None


Past = Annotated[
    Annotated[Lag, Tag("<lag>")] | Annotated[Rolling, Tag("<rolling>")],
    Discriminator(
        _kind_of_past,
        custom_error_type="past",
        custom_error_message="allowed: a Lag or a Rolling; in YAML with kind: lag or rolling",
    ),
]


class Features(Part):
    """Features by what is known of them and when. Not built yet: give the names of columns."""

    past: tuple[Past, ...] = ()
    """Derived from a partition's own past."""
    known_ahead: Columns = ()
    """Columns whose future values are known."""
    static: Columns = ()
    """Columns that are constant in a partition."""
    categorical: Columns = ()
    """Which of them are categories."""
    calendar: Columns = ()
    """Derived from the date, such as weekday and month."""


def _kind_of_features(value: Any) -> str:
    return "<parts>" if isinstance(value, Features | Mapping) else "<columns>"


AnyFeatures = Annotated[
    Annotated[Columns, Tag("<columns>")] | Annotated[Features, Tag("<parts>")], Discriminator(_kind_of_features)
]
