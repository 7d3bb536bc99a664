"""Names in the warehouse: a fleet's tables, and which columns an author may use. Imports no database driver."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from modelfleet.errors import DataError, bounded

MAX_IDENTIFIER = 63
"""PostgreSQL's limit, in bytes of UTF-8; kept on SQLite too, so that a fleet can move."""

PREDICTION_COLUMNS = (
    "prediction",
    "probability",
    "source",
    "partition",
    "model_version",
    "interval",
    "issued_at",
    "attempt",
)
_SYSTEM_COLUMNS = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")  # PostgreSQL refuses them


def reserved_columns() -> frozenset[str]:
    """The names (in lower case; case does not matter) that no key, time or id column of a fleet may have."""
    return frozenset(PREDICTION_COLUMNS + _SYSTEM_COLUMNS)


def check_columns(fleet: str, columns: Iterable[str]) -> None:
    """Refuse key, time and id columns that a predictions table can't have beside its own.

    :raises DataError: for a reserved name, two names that differ only in case (SQLite takes them for one), an empty
        name, one longer than 63 bytes or with a NUL character.
    """
    seen: dict[str, str] = {}
    for column in columns:
        folded = fold(column)
        if folded in reserved_columns():
            raise DataError(
                f"fleet {fleet!r}: column {column!r} clashes with a column of the predictions table",
                hint=f"rename it in `prepare`; reserved are {bounded(sorted(reserved_columns()), limit=20)}",
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


def fold(column: str) -> str:
    """`column` as SQLite compares it: ASCII letters in lower case."""
    return column.encode().lower().decode()


def predictions_table(fleet: str) -> str:
    """The table of all predictions ever issued for `fleet`."""
    return identifier(f"{fleet}_predictions")


def latest_view(fleet: str) -> str:
    """The view of each interval's latest predictions of `fleet`."""
    return identifier(f"{fleet}_predictions_latest")


def identifier(name: str) -> str:
    """`name`, cut and told apart by a digest where it is longer than a database takes."""
    if len(name) <= MAX_IDENTIFIER:
        return name
    return f"{name[: MAX_IDENTIFIER - 9]}_{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
