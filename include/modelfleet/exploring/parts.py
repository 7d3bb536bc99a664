"""What the report's page is made of: sections, and tables of text that are bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelfleet.exploring.findings import moment

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 20
"""No table has more rows."""


@dataclass(frozen=True)
class Table:
    """At most `LIMIT` rows of text; `more` were left out."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    more: int = 0
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page: prose, tables, and HTML made by plotly and skrub."""

    id: str
    title: str
    prose: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[str, ...] = ()


def top_rows(found: pd.DataFrame) -> list[Any]:
    """The first rows, each with the columns as attributes."""
    return list(found.head(LIMIT).itertuples())


def pairs(lines: Mapping[str, str]) -> Table:
    """A table of two columns."""
    return Table(("what", "how many"), list(lines.items()))


def cell(value: Any) -> str:
    """A cell: counts with separators, numbers short, wall times, nothing for what is missing."""
    import pandas as pd

    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, pd.Timestamp):
        return moment(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def number(correlation: float) -> str:
    """A correlation to two digits; nothing where there is none."""
    return "" if correlation != correlation else f"{correlation:.2f}".replace("-0.00", "0.00")
