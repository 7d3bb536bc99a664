"""Models over many partitions: candidates of the whole fleet, and the coarser levels that partitions fall back on.

A partition whose best candidate is one of the whole fleet keeps a reference to it (`SharedModel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from modelfleet import keys, pack
from modelfleet.errors import CorruptionError
from modelfleet.forecast_model import ForecastModel
from modelfleet.shared_model import SharedModel

Row = Mapping[str, Any]
FLEET = "fleet"
"""The level of the whole fleet, and the name of its only group."""
CANDIDATE = "candidate"
"""The level of a candidate over the whole fleet that competes in the partitions; its group is its name."""


def group_of(level: str, values: Mapping[str, Any]) -> str:
    """The name of the group that a partition with these key values belongs to."""
    return FLEET if level == FLEET else keys.encode([level], [values[level]])


class GroupModels:
    """The models over many partitions of a pack, from its rows with a `level` and, as `partition`, the group.

    :param read: gives the rows, when the first of them is needed.
    """

    def __init__(self, read: Callable[[], Iterable[Row]] = tuple) -> None:
        self._read = read
        self._loaded: dict[str, Any] = {}
        self._held: dict[str, bytes] = {}

    @classmethod
    def of(cls, rows: Iterable[Row]) -> GroupModels:
        """From rows of a pack; those without a model are left out."""
        listed = tuple(rows)
        return cls(lambda: listed)

    @classmethod
    def opened(cls, opened: pack.Pack) -> GroupModels:
        """Those of a pack, of which nothing is read before it is needed, and no model that is not."""
        return cls(opened.group_rows)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows that have a model."""
        return tuple(row for row in self._read() if row["model_digest"] is not None)

    @cached_property
    def _by_group(self) -> dict[tuple[str, str], Row]:
        return {(row["level"], row["partition"]): row for row in reversed(self.rows)}

    @cached_property
    def _by_digest(self) -> dict[str, Row]:
        return {row["model_digest"]: row for row in reversed(self.rows)}

    def row(self, level: str, values: Mapping[str, Any]) -> Row | None:
        """The row of the group that a partition belongs to; None where it has no model."""
        return self._by_group.get((level, group_of(level, values)))

    def fetch(self, groups: Iterable[tuple[str, str]] = ()) -> None:
        """Read now the bytes of the models of some groups (level, group), and those of all candidates.

        :raises CorruptionError: when a file does not hold the recorded bytes.
        """
        wanted = set(groups)
        for row in self.rows:
            if row["level"] == CANDIDATE or (row["level"], row["partition"]) in wanted:
                self._held.setdefault(row["model_digest"], row[pack.MODEL])

    def load(self, row: Row) -> Any:
        """The model of a row, unpickled once.

        :raises CorruptionError: when its bytes are not those recorded.
        """
        digest = row["model_digest"]
        if digest not in self._loaded:
            data = self._held[digest] if digest in self._held else row[pack.MODEL]
            self._loaded[digest] = pack.load_model(data, digest)
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
