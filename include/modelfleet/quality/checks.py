"""From a spec's quality to a flat list of checks: pure, and without Great Expectations.

What the short forms do with missing values (null, and NaN in float columns, which counts as null):

- ``not_null`` fails them; ``row_count`` counts their rows;
- ``between``, ``in_set`` and ``unique`` on one column ignore them, so a column of nothing but nulls passes;
- ``unique`` over several columns ignores rows where all of them are null; otherwise null equals null;
- ``mean_between`` takes the mean of the values that are there, and fails where there are none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from modelfleet.errors import bounded

if TYPE_CHECKING:
    from modelfleet.spec import Quality

Severity = Literal["error", "warn"]

# Arguments of expectations that name columns, in the order a message lists them.
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
# Expectations about the table's shape: what they observe is counts and column names, never a value.
_TABLE_PREFIX = "expect_table_"


@dataclass(frozen=True)
class Check:
    """One expectation of a fleet: `id` as the spec's ``warn`` names it, such as ``between.distance``."""

    id: str
    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "error"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns its arguments name; empty for expectations about the whole table."""
        found: list[str] = []
        for name in _COLUMN_ARGUMENTS:
            value = self.arguments.get(name, ())
            found.extend([value] if isinstance(value, str) else value)
        return tuple(dict.fromkeys(found))

    @property
    def about_shape(self) -> bool:
        """Whether it looks only at the number of rows or the names of the columns."""
        return self.expectation.startswith(_TABLE_PREFIX)

    def reads(self, names: Collection[str]) -> list[str]:
        """Which of the columns `names` it may read: those its arguments mention, be it in a condition.

        All of them when it has no columns, unless it counts rows.
        """
        if not self.columns and not self.expectation.startswith("expect_table_row_count_"):
            return list(names)
        return [name for name in names if any(_mentions(value, name) for value in self.arguments.values())]

    def touches(self, sensitive: Collection[str]) -> bool:
        """Whether what it observes could show a value of one of the `sensitive` columns. In doubt it could."""
        if not sensitive or self.about_shape:
            return False
        if not self.columns:
            return True
        return any(_mentions(value, name) for value in self.arguments.values() for name in sensitive)

    def __str__(self) -> str:
        shown = {k: v for k, v in self.arguments.items() if k not in _COLUMN_ARGUMENTS and v is not None}
        where = " on " + ("column " if len(self.columns) == 1 else "columns ") + bounded(map(repr, self.columns))
        details = ", ".join(f"{k}={_shortened(v)}" for k, v in shown.items())
        return f"{self.id}: {self.expectation}{where if self.columns else ''}{f' ({details})' if details else ''}"


def checks(quality: Quality) -> tuple[Check, ...]:
    """The checks of `quality` in spec order: short forms first, then expectations by name."""
    found = [*_short_forms(quality), *_by_name(quality)]
    warned = set(quality.warn)
    return tuple(
        Check(check.id, check.expectation, check.arguments, "warn") if check.id in warned else check for check in found
    )


def _short_forms(quality: Quality) -> Iterator[Check]:
    for column in quality.not_null:
        yield Check(f"not_null.{column}", "expect_column_values_to_not_be_null", {"column": column})
    for column, bounds in quality.between.items():
        arguments = {"column": column, **_range(bounds)}
        yield Check(f"between.{column}", "expect_column_values_to_be_between", arguments)
    for column, values in quality.in_set.items():
        arguments = {"column": column, "value_set": list(values)}
        yield Check(f"in_set.{column}", "expect_column_values_to_be_in_set", arguments)
    for columns in quality.unique:
        names = (columns,) if isinstance(columns, str) else tuple(columns)
        if len(names) == 1:
            yield Check(f"unique.{names[0]}", "expect_column_values_to_be_unique", {"column": names[0]})
        else:
            arguments = {"column_list": list(names)}
            yield Check(f"unique.{','.join(names)}", "expect_compound_columns_to_be_unique", arguments)
    if quality.row_count is not None:
        yield Check("row_count", "expect_table_row_count_to_be_between", _range(quality.row_count))
    for column, bounds in quality.mean_between.items():
        arguments = {"column": column, **_range(bounds)}
        yield Check(f"mean_between.{column}", "expect_column_mean_to_be_between", arguments)


def _by_name(quality: Quality) -> Iterator[Check]:
    seen: dict[str, int] = {}
    for expectation in quality.expectations:
        check = Check("", expectation.name, _lists(expectation.arguments), expectation.severity)
        base = ".".join(filter(None, (expectation.name, ",".join(check.columns))))
        seen[base] = seen.get(base, 0) + 1
        unique = base if seen[base] == 1 else f"{base}#{seen[base]}"
        yield Check(unique, check.expectation, check.arguments, check.severity)


def _range(bounds: tuple[Any, Any]) -> dict[str, Any]:
    low, high = bounds
    return {"min_value": low, "max_value": high}


def _lists(value: Any) -> Any:
    """Nested `value` with the spec's tuples as lists, which is what Great Expectations takes."""
    if isinstance(value, Mapping):
        return {name: _lists(part) for name, part in value.items()}
    return [_lists(part) for part in value] if isinstance(value, (list, tuple)) else value


def _mentions(value: Any, name: str) -> bool:
    """Whether `value` (nested lists and mappings too) is or contains the column name `name` as a word."""
    if isinstance(value, str):
        return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", value) is not None
    if isinstance(value, Mapping):
        return any(_mentions(part, name) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(_mentions(part, name) for part in value)
    return False


def _shortened(value: Any, limit: int = 80) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{bounded(map(repr, value), limit=5)}]"
    text = repr(int(value) if isinstance(value, float) and value.is_integer() else value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
