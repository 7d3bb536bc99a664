"""What one model may use, and what is said of one that used more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelfleet.prediction import Reason

if TYPE_CHECKING:
    from modelfleet import spec

OUTPUT = 16 << 20
"""So many bytes one item may print. Nobody reads them; they are taken so that a model that prints does not wait."""
LONGER, LARGER = 12, 4
"""So much more time and memory a model over many partitions may take than one of a partition."""


@dataclass(frozen=True)
class Limits:
    """What one item may use: `seconds` of wall time and `memory` in bytes, beyond what was there before; None is no limit."""

    seconds: float | None = None
    memory: int | None = None

    @classmethod
    def of(cls, per_model: spec.Limits | None, *, many: bool = False) -> Limits:
        """The limits that a spec sets.

        :param many: for a model over many partitions.
        """
        if per_model is None:
            return cls()
        longer, larger = (LONGER, LARGER) if many else (1, 1)
        seconds, memory = per_model.seconds, per_model.memory_bytes
        return cls(None if seconds is None else seconds * longer, None if memory is None else memory * larger)


@dataclass(frozen=True)
class Broken:
    """An item that has no result: `reason` is one of timeout, memory_exceeded, crashed and output_exceeded."""

    reason: Reason
    message: str


def too_slow(limits: Limits) -> Broken:
    """Of an item that ran beyond its time."""
    return Broken(
        Reason.TIMEOUT, f"still running after {limits.seconds:g} s; per_model allows seconds={limits.seconds:g}"
    )


def too_large(limits: Limits, detail: str = "") -> Broken:
    """Of an item that asked for more memory than it may, or was seen to hold it.

    :param detail: what is known beside, such as the allocation that was refused.
    """
    allowed = "there is" if limits.memory is None else f"the {size(limits.memory)} that per_model allows"
    return Broken(Reason.MEMORY_EXCEEDED, f"needed more memory than {allowed}" + (f": {detail}" if detail else ""))


def too_loud() -> Broken:
    """Of an item that printed without end."""
    return Broken(Reason.OUTPUT_EXCEEDED, f"printed more than the {size(OUTPUT)} that a model may")


def size(count: int) -> str:
    """Bytes as a message shows them."""
    return f"{count >> 30} GB" if count >= 1 << 30 and count % (1 << 30) == 0 else f"{count / (1 << 20):.4g} MB"
