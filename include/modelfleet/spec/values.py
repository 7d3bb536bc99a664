"""The kinds of values fields hold, and the one form each is kept in, so that equal specs have equal digests."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator

from modelfleet.errors import bounded

_MAX_SHOWN = 100


def shown(value: object) -> str:
    """What came, as an error shows it: bounded, on one line."""
    limited = reprlib.Repr()
    limited.maxstring = limited.maxother = _MAX_SHOWN
    text = limited.repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def refuse(check: Callable[[Any], object]) -> AfterValidator:
    """A validator from a check that raises ValueError saying what is allowed; None always passes."""

    def validate(value: Any) -> Any:
        if value is not None:
            check(value)
        return value

    return AfterValidator(validate)


def plain(value: Any) -> Any:
    """A value in the form a spec keeps: JSON types, mappings sorted by key, lists and sets as tuples, dates as text.

    :raises ValueError: for a value JSON has no form for.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a finite number")
        return float(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("mappings have text keys")
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, set | frozenset):
        return tuple(sorted((plain(item) for item in value), key=_sort_key))
    raise ValueError(f"texts, numbers, booleans, null, and lists and mappings of them; not a {type(value).__name__}")


def in_key_order(value: dict[str, Any]) -> dict[str, Any]:
    """The same mapping, sorted by key, so that its order tells nothing."""
    return {key: value[key] for key in sorted(value)}


def _not_empty(value: Any) -> None:
    if not value.strip():
        raise ValueError("a text that is not empty")


def _no_duplicates(value: tuple[Any, ...]) -> None:
    twice = sorted({shown(item) for item in value if value.count(item) > 1})
    if twice:
        raise ValueError(f"each may be named once; more than once: {bounded(twice)}")


T = TypeVar("T")
Text = Annotated[str, refuse(_not_empty)]
Columns = Annotated[tuple[Text, ...], refuse(_no_duplicates)]
Sorted = Annotated[dict[str, T], AfterValidator(in_key_order)]
Values = Annotated[dict[str, Any], BeforeValidator(lambda value: plain(value) if isinstance(value, Mapping) else value)]
Scalars = Annotated[
    tuple[Any, ...], BeforeValidator(lambda value: plain(value) if not isinstance(value, str) else value)
]


def ordered(value: Any) -> Any:
    """The same value with sets put in order, so that no digest depends on the order of a set."""
    if isinstance(value, set | frozenset):
        return tuple(sorted(value, key=_sort_key))
    if type(value) is dict:
        return {key: ordered(item) for key, item in value.items()}
    return value


def _sort_key(value: object) -> tuple[str, str]:
    return type(value).__name__, str(value)
