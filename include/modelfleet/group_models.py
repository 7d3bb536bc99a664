"""Models over many partitions: candidates of the whole fleet, and the coarser levels that partitions fall back on.

A partition whose best candidate is one of the whole fleet keeps a reference to it (`SharedModel`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from modelfleet import keys, pack
from modelfleet.errors import CorruptionError
from modelfleet.forecast_model import ForecastModel
from modelfleet.shared_model import SharedModel

FLEET = "fleet"
"""The level of the whole fleet, and the name of its only group."""
CANDIDATE = "candidate"
"""The level of a candidate over the whole fleet that competes in the partitions; its group is its name."""


def group_of(level: str, values: Mapping[str, Any]) -> str:
    """The name of the group that a partition with these key values belongs to."""
    return FLEET if level == FLEET else keys.encode([level], [values[level]])


@dataclass
class GroupModels:
    """The models over many partitions of a pack, from its rows with a `level` and, as `partition`, the group."""

    rows: tuple[Mapping[str, Any], ...] = ()
    _loaded: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> GroupModels:
        """From rows of a pack; those without a model are left out."""
        return cls(tuple(row for row in rows if row["model_digest"] is not None))

    @cached_property
    def _by_group(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        return {(row["level"], row["partition"]): row for row in reversed(self.rows)}

    @cached_property
    def _by_digest(self) -> dict[str, Mapping[str, Any]]:
        return {row["model_digest"]: row for row in reversed(self.rows)}

    def row(self, level: str, values: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The row of the group that a partition belongs to; None where it has no model."""
        return self._by_group.get((level, group_of(level, values)))

    def load(self, row: Mapping[str, Any]) -> Any:
        """The model of a row, unpickled once.

        :raises CorruptionError: when its bytes are not those recorded.
        """
        digest = row["model_digest"]
        if digest not in self._loaded:
            self._loaded[digest] = pack.load_model(row[pack.MODEL], digest)
        return self._loaded[digest]

    def resolve(self, model: Any) -> Any:
        """The same model, its reference to one of these resolved, where it has one.

        :raises CorruptionError: when what it refers to is not there.
        """
        reference = model.fitted if isinstance(model, ForecastModel) else model
        if isinstance(reference, SharedModel):
            found = self._by_digest.get(reference.digest)
            if found is None:
                raise CorruptionError(f"the pack lacks the model over many partitions of digest {reference.digest}")
            reference.model = self.load(found)
        return model
