"""What the design has and the platform has not yet: refused by name, so that no field is ever silently ignored.

A capability that gets built is removed here, and its field's docstring says so no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelfleet.errors import Failure
from modelfleet.spec.base import Part
from modelfleet.spec.values import shown

if TYPE_CHECKING:
    from modelfleet.spec.fleet import FleetSpec

WORDS = "is part of the design but not built yet"

_FIELDS: dict[str, dict[str, str]] = {
    "": {"outputs": "", "access": "", "compute": ""},
    "gate": {"approval": "only False"},
}


def findings(spec: FleetSpec) -> list[Failure]:
    """A failure for each field of a spec that asks for something not built."""
    return list(_of_fields(spec))


def _of_fields(spec: FleetSpec) -> Iterator[Failure]:
    for name, fields in _FIELDS.items():
        part: Part = getattr(spec, name) if name else spec
        for field, instead in fields.items():
            value = getattr(part, field)
            if value != type(part).model_fields[field].default:
                yield _failure(f"{name}.{field}" if name else field, value, instead)


def _failure(field: str, value: Any, instead: str = "") -> Failure:
    return Failure(field, shown(value), WORDS + (f"; allowed: {instead}" if instead else "; leave it out"))
