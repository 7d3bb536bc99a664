"""Every error Modelfleet raises on purpose: one base class, one family per concern.

A message says what failed (fleet, partition, step), what came and what is allowed, then a ``Hint:``. Whoever catches
an error decides by its class whether trying again can help: `is_retryable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


class ModelfleetError(Exception):
    """Base of all errors; `hint` says what the reader can do about it."""

    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message if hint is None else f"{message}\nHint: {hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross from Spark's workers to the driver; the subclasses' constructors differ.
        return _restore, (type(self), str(self), self.__dict__)


def _restore(cls: type[ModelfleetError], text: str, state: dict[str, Any]) -> ModelfleetError:
    error = cls.__new__(cls)
    Exception.__init__(error, text)
    error.__dict__.update(state)
    return error


class ConfigurationError(ModelfleetError):
    """A setting or connection is missing or malformed."""


@dataclass(frozen=True)
class Failure:
    """One thing wrong with a spec: the field (dotted), what came, what is allowed."""

    field: str
    got: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.field}: got {self.got}; {self.allowed}"


class SpecError(ModelfleetError, ValueError):
    """A fleet's spec is wrong. `failures` holds every finding, `source` the file that wrote the spec."""

    def __init__(
        self, failures: Sequence[Failure], *, fleet: str | None, source: str | None, hint: str | None = None
    ) -> None:
        self.failures = tuple(failures)
        self.fleet = fleet
        self.source = source
        where = f" in {source}" if source else ""
        named = f"fleet {fleet!r}" if fleet else "fleet spec"
        super().__init__(f"{named}{where}: {bounded([str(f) for f in failures], sep='; ')}", hint=hint)


class DataError(ModelfleetError):
    """The data, or what the author says of it, is wrong; trying again gives the same."""


class QualityError(DataError):
    """Expectations of severity ``error`` failed."""


class ModelCodeError(DataError):
    """The author's model code can't be imported or breaks its contract, for the fleet as a whole."""


class NotFoundError(ModelfleetError, LookupError):
    """A fleet, partition, run or version that is asked for does not exist."""


class ConflictError(ModelfleetError):
    """Another attempt or a newer run got there first; nothing of this one was committed."""


class UnavailableError(ModelfleetError):
    """A database, registry or object store can't be reached; trying again may help."""

    retryable = True


class CorruptionError(ModelfleetError):
    """Stored bytes do not match their recorded digest; they are not read."""


def is_retryable(error: BaseException) -> bool:
    """Whether a retry of the same step could turn out otherwise: data, spec and code errors can't, all others may."""
    return error.retryable if isinstance(error, ModelfleetError) else True


def bounded(items: Iterable[str], *, limit: int = 10, sep: str = ", ") -> str:
    """Join `items`, at most `limit` of them, and say how many were left out."""
    listed = list(items)
    text = sep.join(listed[:limit])
    return text if len(listed) <= limit else f"{text}{sep}and {len(listed) - limit} more"
