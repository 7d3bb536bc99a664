"""What judging rows gives: one frozen record per check, as JSON and as a bounded message."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from modelfleet.errors import QualityError, bounded
from modelfleet.quality.checks import Severity

EXAMPLES = 5
_EXAMPLES_IN_MESSAGE = 3
_CHECKS_IN_MESSAGE = 10


@dataclass(frozen=True)
class Example:
    """A row that failed: its number, counted from 0 in the order of the rows judged, and values that may be shown."""

    row: int
    values: Mapping[str, Any]

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={_short(value)}" for name, value in self.values.items())
        return f"row {self.row} ({shown})" if shown else f"row {self.row}"


@dataclass(frozen=True)
class CheckResult:
    """How one check turned out.

    `element_count` and `unexpected_count` are rows, for expectations about single rows; `observed` is what the others
    measured (a mean, a count). `exception` says why it could not be evaluated. `described` is the check in words.
    Nothing here holds a value of a sensitive column.
    """

    id: str
    expectation: str
    column: str | None
    severity: Severity
    success: bool
    described: str
    unexpected_count: int | None = None
    element_count: int | None = None
    observed: Any = None
    examples: tuple[Example, ...] = ()
    exception: str | None = None
    sensitive: bool = False

    def __str__(self) -> str:
        parts = [self.described]
        if self.exception is not None:
            parts.append(f"could not be evaluated: {self.exception}")
        elif self.unexpected_count is not None:
            parts.append(f"{self.unexpected_count} of {self.element_count} rows fail")
        elif self.sensitive:
            parts.append("not met (observed value withheld: the column is sensitive)")
        else:
            parts.append(f"observed {_short(self.observed)}")
        if self.examples:
            named = self.examples[:_EXAMPLES_IN_MESSAGE]
            left = (self.unexpected_count or 0) - len(named)
            parts.append(", ".join(map(str, named)) + (f" and {left} more" if left > 0 else ""))
        return ": ".join(parts)


@dataclass(frozen=True)
class QualityResult:
    """The judgement of one run's rows; `docs_index` is the page of Great Expectations' Data Docs, when written."""

    fleet: str
    interval: str
    rows: int
    checks: tuple[CheckResult, ...] = ()
    docs_index: Path | None = None

    @property
    def failed_errors(self) -> tuple[CheckResult, ...]:
        return tuple(c for c in self.checks if not c.success and c.severity == "error")

    @property
    def failed_warnings(self) -> tuple[CheckResult, ...]:
        return tuple(c for c in self.checks if not c.success and c.severity == "warn")

    def as_dict(self) -> dict[str, Any]:
        """Plain values only: what `to_json` writes."""
        found: dict[str, Any] = plain(
            {
                "fleet": self.fleet,
                "interval": self.interval,
                "rows": self.rows,
                "failed_errors": len(self.failed_errors),
                "failed_warnings": len(self.failed_warnings),
                "checks": [dataclasses.asdict(c) for c in self.checks],
            }
        )
        return found

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), allow_nan=False, indent=1)

    def raise_for_errors(self, *, docs: str | None = None) -> None:
        """Stop a run whose rows fail a check of severity ``error``. `docs`: where the Data Docs can be read.

        :raises QualityError: naming the checks, how many rows failed, and examples.
        """
        failed = self.failed_errors
        if not failed:
            return
        where = docs or (str(self.docs_index) if self.docs_index else None)
        listed = bounded([f"- {c}" for c in failed], limit=_CHECKS_IN_MESSAGE, sep="\n")
        raise QualityError(
            f"fleet {self.fleet!r}, interval {self.interval}: {len(failed)} of {len(self.checks)} quality checks "
            f"failed on {self.rows} prepared rows:\n{listed}",
            hint=f"every check with its examples: {where}" if where else "fix the data, or only warn: quality.warn",
        )


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: NumPy and pandas scalars unwrapped, dates as ISO text, NaN and infinity as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if not isinstance(value, (str, bool, int, float)) and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, bool, int, float, type(None))) else str(value)


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value) if isinstance(value, str) else str(plain(value))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
