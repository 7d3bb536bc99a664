"""Categorical columns: the values that training saw, and their places in that list or a column of 0 and 1 for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from modelfleet.errors import DataError, bounded
from modelfleet.features.columns import Coded, named, pick

MAX_CATEGORIES = 1000
"""A categorical column of more values is refused."""
UNKNOWN = -1.0
"""The place of null and of values that training has not seen."""


def categories_of(
    rows: pa.Table, columns: Sequence[str], *, fleet: str = "", limit: int = MAX_CATEGORIES
) -> dict[str, set[str]]:
    """The distinct values, as text, of categorical columns; null is none of them.

    :param limit: of more values than this, the first `limit` + 1 in order are given, which `settle` refuses.
    :raises DataError: for columns that are no string, int, bool or date.
    """
    found = {column: set(texts(Coded.of(_checked(rows, column, fleet)).values)) for column in columns}
    return {
        column: values if len(values) <= limit else set(sorted(values)[: limit + 1]) for column, values in found.items()
    }


def settle(
    sets: Iterable[Mapping[str, set[str]]], fleet: str, *, limit: int = MAX_CATEGORIES
) -> dict[str, tuple[str, ...]]:
    """The sorted categories of each column, from what `categories_of` found in each bucket; integers sort as numbers.

    :raises DataError: for a column of more values than the limit.
    """
    united: dict[str, set[str]] = {}
    for found in sets:
        for column, values in found.items():
            united.setdefault(column, set()).update(values)
    for column, values in united.items():
        if len(values) > limit:
            raise DataError(
                f"{named(fleet)}categorical column {column!r} has at least {len(values):,} different values, such as "
                f"{bounded(sorted(values), limit=3)}; allowed are {limit:,}",
                hint="group rare values in prepare, or leave the column out of `categorical`",
            )
    return {column: _sorted(values) for column, values in united.items()}


def encode(rows: pa.Table, column: str, known: Sequence[str], fleet: str) -> np.ndarray:
    """The place of each row's value among the known ones, or `UNKNOWN`; float64, shape (rows,)."""
    coded = Coded.of(_checked(rows, column, fleet))
    return coded.spread(_places(coded, known), UNKNOWN)


def one_hot(rows: pa.Table, column: str, known: Sequence[str], fleet: str) -> Iterator[np.ndarray]:
    """A column of 0 and 1 for each known value."""
    places = encode(rows, column, known, fleet)
    return (places == place for place in range(len(known)))


def count_unseen(rows: pa.Table, column: str, known: Sequence[str], fleet: str) -> int:
    """How many rows have a value, other than null, that is not known."""
    coded = Coded.of(_checked(rows, column, fleet))
    return int((coded.spread(_places(coded, known), 0.0) == UNKNOWN).sum())


def texts(values: pa.Array) -> list[str]:
    """Values as text: ``true`` and ``false``, dates as ``2013-09-30``; nulls are left out."""
    if pa.types.is_boolean(values.type):
        return ["true" if value else "false" for value in values.to_pylist() if value is not None]
    return [str(value) for value in values.to_pylist() if value is not None]


def _places(coded: Coded, known: Sequence[str]) -> np.ndarray:
    place = {text: float(number) for number, text in enumerate(known)}
    return np.array([place.get(text, UNKNOWN) for text in texts(coded.values)], dtype=np.float64)


def _sorted(values: set[str]) -> tuple[str, ...]:
    try:
        return tuple(sorted(values, key=_integer))
    except ValueError:
        return tuple(sorted(values))


def _integer(text: str) -> int:
    number = int(text)
    if str(number) != text:
        raise ValueError(text)
    return number


def _checked(rows: pa.Table, column: str, fleet: str) -> pa.ChunkedArray:
    values = pick(rows, column, fleet)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    t = pa.types
    text = t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind)
    if text or t.is_integer(kind) or t.is_boolean(kind) or t.is_date(kind) or t.is_null(kind):
        return values
    raise DataError(
        f"{named(fleet)}categorical column {column!r} is of type {kind}; allowed are string, int, bool and date",
        hint=f"cast {column!r} in prepare, or leave it out of `categorical`",
    )
