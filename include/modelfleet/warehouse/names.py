"""Names in the warehouse: a fleet's tables, and which columns an author may use. Imports no database driver."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from modelfleet.errors import DataError, bounded

MAX_IDENTIFIER = 63
"""PostgreSQL's limit, in bytes of UTF-8; kept on SQLite too, so that a fleet can move."""

PREDICTION_COLUMNS = (
    "step",
    "prediction",
    "probability",
    "source",
    "partition",
    "model_version",
    "interval",
    "issued_at",
    "attempt",
)
FORECAST_COLUMNS = ("actual", "loaded_at", "error", "covered", "_rank")
"""Columns beside those of the predictions in the table of actuals and in the views of forecasts."""
_QUANTILE = re.compile(r"q(\d{1,2})(?:_(\d{1,17}))?", re.ASCII)
_SYSTEM_COLUMNS = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")  # PostgreSQL refuses them


def reserved_columns(*, forecast: bool = False) -> frozenset[str]:
    """The names (in lower case; case does not matter) that no key, time or id column of a fleet may have.

    With `forecast`, also those of the actuals and the views of forecasts.
    """
    return frozenset(PREDICTION_COLUMNS + _SYSTEM_COLUMNS + (FORECAST_COLUMNS if forecast else ()))


def check_columns(fleet: str, columns: Iterable[str], *, forecast: bool = False) -> None:
    """Refuse key, time and id columns that a predictions table can't have beside its own.

    :param forecast: whether the fleet forecasts, or its actuals are loaded: more names are reserved then.
    :raises DataError: for a reserved name, two names that differ only in case (SQLite takes them for one), an empty
        name, one longer than 63 bytes or with a NUL character.
    """
    reserved = reserved_columns(forecast=forecast)
    seen: dict[str, str] = {}
    for column in columns:
        folded = fold(column)
        if folded in reserved:
            raise DataError(
                f"fleet {fleet!r}: column {column!r} clashes with a column of the predictions table",
                hint=f"rename it in `prepare`; reserved are {bounded(sorted(reserved), limit=20)}",
            )
        if seen.setdefault(folded, column) != column:
            raise DataError(
                f"fleet {fleet!r}: columns {seen[folded]!r} and {column!r} differ only in case",
                hint="rename one in `prepare`",
            )
        if not column or "\0" in column or len(column.encode()) > MAX_IDENTIFIER:
            raise DataError(
                f"fleet {fleet!r}: column {column[:80]!r} can't be a column of the warehouse",
                hint=f"a name has 1 to {MAX_IDENTIFIER} bytes of UTF-8 and no NUL character; rename it in `prepare`",
            )


def quantile_of(column: str) -> float | None:
    """The quantile, in percent, that a column of forecasts holds: 10 for ``q10``, 2.5 for ``q2_5``; else None."""
    match = _QUANTILE.fullmatch(column)
    return float(f"{match[1]}.{match[2] or 0}") if match else None


def fold(column: str) -> str:
    """`column` as SQLite compares it: ASCII letters in lower case."""
    return column.encode().lower().decode()


def predictions_table(fleet: str) -> str:
    """The table of all predictions ever issued for `fleet`."""
    return identifier(f"{fleet}_predictions")


def issue_table(fleet: str, interval: str, attempt: str) -> str:
    """The table of one large issue of predictions, a child of `predictions_table` on PostgreSQL."""
    return identifier(f"{fleet}_predictions_{interval}_{attempt}")


def latest_view(fleet: str) -> str:
    """The view of each interval's latest predictions of `fleet`."""
    return identifier(f"{fleet}_predictions_latest")


def actuals_table(fleet: str) -> str:
    """The table of what was observed in `fleet`."""
    name = f"{fleet}_actuals"
    # A fleet `a` has a view `a_forecast_actuals`, which a fleet `a_forecast` would want for its table.
    return _digested(name) if fleet.endswith("_forecast") else identifier(name)


def forecast_view(fleet: str) -> str:
    """The view of the latest forecast of each partition and target time of `fleet`."""
    return identifier(f"{fleet}_forecast")


def forecast_actuals_view(fleet: str) -> str:
    """The view of each interval's latest forecasts of `fleet` beside the actuals."""
    return identifier(f"{fleet}_forecast_actuals")


def identifier(name: str) -> str:
    """`name`, cut and told apart by a digest where it is longer than a database takes."""
    return name if len(name) <= MAX_IDENTIFIER else _digested(name)


def sql_name(name: str) -> str:
    """`name` as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _digested(name: str) -> str:
    return f"{name[: MAX_IDENTIFIER - 9]}_{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
