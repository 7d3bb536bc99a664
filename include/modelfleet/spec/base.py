"""`Part`, the frozen base of every part of a spec, and how what is wrong with one becomes a `SpecError`.

Whatever an author gets wrong is reported as failures (field, got, allowed), all of one spec together, with the file
that wrote it. pydantic checks the types; its own errors never leave this module.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from modelfleet.errors import Failure, SpecError, bounded
from modelfleet.spec.values import ordered, shown

_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_written_in: ContextVar[str | None] = ContextVar("_written_in", default=None)
_ABSENT = "nothing"

Found = tuple[Failure, str | None]
"""What a check of a whole spec found, with a hint where there is one."""


class Findings(ValueError):
    """Several failures a validator found at once; their fields are relative to the part."""

    def __init__(self, failures: Sequence[Failure], hints: Sequence[str] = ()) -> None:
        super().__init__(f"{len(failures)} findings")
        self.failures, self.hints = tuple(failures), tuple(hints)


class Part(BaseModel):
    """A frozen part of a spec: forbids unknown fields, compares and hashes by content.

    :raises SpecError: on construction, with every failure found.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    positional: ClassVar[tuple[str, ...]] = ()
    """Fields that may be given by position, in order."""
    unnamed: ClassVar[str | None] = None
    """A field whose name authors do not write, so that errors leave it out."""

    __iter__: ClassVar[None] = None  # type: ignore[assignment]  # one part is no list of parts

    def __init__(self, *args: Any, **fields: Any) -> None:
        given = self._named(args, fields)
        try:
            super().__init__(**{name: ordered(value) for name, value in given.items()})
        except ValidationError as exc:
            raise _spec_error(type(self), exc, given) from None

    @classmethod
    def _named(cls, args: tuple[Any, ...], fields: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments by field name."""
        if len(args) > len(cls.positional):
            by_position = ", ".join(cls.positional) or "none"
            rest = args[len(cls.positional) :]
            raise _refused(
                cls, [Failure("", bounded([shown(a) for a in rest]), f"fields given by position: {by_position}")]
            )
        given = dict(zip(cls.positional, args, strict=False))
        twice = [name for name in given if name in fields]
        if twice:
            raise _refused(cls, [Failure(name, shown(fields[name]), "given twice") for name in twice])
        return {**given, **fields}

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """An instance from a mapping of its fields."""
        if isinstance(obj, cls):
            return obj
        if not isinstance(obj, Mapping) or not all(isinstance(key, str) for key in obj):
            raise _refused(cls, [Failure("", shown(obj), "a mapping of field names to values")])
        return cls(**obj)

    def content(self) -> dict[str, Any]:
        """The part as JSON values, every field written out; `model_validate` takes it back."""
        return self.model_dump(mode="json", by_alias=True)

    def canonical(self) -> str:
        """One text for one content: fields in their order, mappings in the order they were checked into."""
        return json.dumps(self.content(), separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text, hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and type(self) is type(other) and self.canonical() == other.canonical()

    def __hash__(self) -> int:
        return hash((type(self), self.canonical()))


def nearest(name: str, allowed: Sequence[str]) -> str | None:
    """A hint with the allowed name that is most like `name`, if one is."""
    lowered = {known.lower(): known for known in allowed}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1)
    return f"did you mean {lowered[near[0]]!r}?" if near else None


@contextmanager
def written_in(source: str | None) -> Iterator[None]:
    """Errors and specs made inside name `source` as the file that wrote them."""
    token = _written_in.set(source)
    try:
        yield
    finally:
        _written_in.reset(token)


def writer() -> str | None:
    """The file that is writing a spec: the YAML file, or that of the caller's frame outside this package."""
    declared = _written_in.get()
    if declared is not None:
        return declared
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE) and not frame.f_globals.get("__name__", "").startswith("pydantic."):
            return None if file.startswith("<") else file
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


def _refused(
    part: type[Part], failures: Sequence[Failure], hints: Sequence[str] = (), fleet: object = None
) -> SpecError:
    """The error of a part: fields are shown under the part's name, except for those of the whole spec."""
    prefix = "" if part.__name__ == "FleetSpec" else part.__name__
    named = [Failure(_join(prefix, _written(part, f.field)) or part.__name__, f.got, f.allowed) for f in failures]
    hint = bounded(list(dict.fromkeys(hints)), limit=3, sep="; ") or None
    return SpecError(named, fleet=fleet if isinstance(fleet, str) else None, source=writer(), hint=hint)


def _written(part: type[Part], field: str) -> str:
    """A field's path as the author wrote it."""
    return field.removeprefix(f"{part.unnamed}.") if part.unnamed else field


def _spec_error(part: type[Part], error: ValidationError, given: Mapping[str, Any]) -> SpecError:
    failures: list[Failure] = []
    hints: list[str] = []
    for finding in error.errors(include_url=False):
        field = _dotted(finding["loc"])
        for failure, hint in _failures(part, field, finding):
            failures.append(failure)
            hints += [hint] if hint else []
    return _refused(part, failures, hints, fleet=given.get("name"))


def _failures(part: type[Part], field: str, finding: Mapping[str, Any]) -> Iterator[tuple[Failure, str | None]]:
    """What one finding of pydantic says, with a hint where there is one; findings of nested parts are taken apart."""
    kind, got = finding["type"], shown(finding["input"])
    cause = finding.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):
        for failure in cause.failures:
            inner = failure.field[len(failure.field.split(".")[0].split("[")[0]) :].lstrip(".")
            yield Failure(_join(field, inner), failure.got, failure.allowed), cause.hint
    elif isinstance(cause, Findings):
        for failure in cause.failures:
            yield Failure(_join(field, failure.field), failure.got, failure.allowed), "; ".join(cause.hints)
    elif kind == "extra_forbidden":
        fields = [info.alias or name for name, info in part.model_fields.items()]
        hint = nearest(field.split(".")[-1], fields)
        yield Failure(field, got, f"no such field; allowed: {bounded(fields, limit=25)}"), hint
    elif kind == "missing":
        yield Failure(field, _ABSENT, "is required"), None
    else:
        hint = getattr(cause, "hint", None)
        yield Failure(field, got, _allowed(kind, finding, cause)), hint if isinstance(hint, str) else None


def _allowed(kind: str, finding: Mapping[str, Any], cause: object) -> str:
    if isinstance(cause, ValueError):
        return f"allowed: {cause}" if not hasattr(cause, "reason") else str(cause.reason)
    if kind == "literal_error":
        return f"allowed: {finding['ctx']['expected']}"
    if kind == "tuple_type":
        single = f", such as [{finding['input']!r}] for one" if isinstance(finding["input"], str | int) else ""
        single = f", such as [{type(finding['input']).__name__}(...)]" if isinstance(finding["input"], Part) else single
        return f"allowed: a list or tuple{single}"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"allowed: a mapping of fields or a {finding.get('ctx', {}).get('class_name', 'dict')}"
    return str(finding["msg"]).removeprefix("Input ").removeprefix("Value error, ")


def _dotted(location: Sequence[str | int]) -> str:
    """``between.distance[0]``; tags of unions, in angle brackets, are left out."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not step.startswith("<") and step != "[key]":
            text = _join(text, step)
    return text


def _join(before: str, after: str) -> str:
    if not before or not after or after.startswith("["):
        return before + after
    return f"{before}.{after}"
