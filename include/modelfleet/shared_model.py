"""A reference to a model over many partitions: its bytes are in a pack once, whoever uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class SharedModel:
    """Names a model by the digest of its bytes; `model` itself is not pickled with it."""

    digest: str
    model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"digest": self.digest}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.digest, self.model = state["digest"], None


def unshared(model: Any) -> Any:
    """The model itself, where this is a reference to it that has been resolved."""
    return model.model if isinstance(model, SharedModel) else model
