"""A fleet's training at hand: its partitions, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelfleet import keys
from modelfleet.workbench.partition import Partition

if TYPE_CHECKING:
    import pandas as pd

    from modelfleet.keys import KeyValue
    from modelfleet.spec import FleetSpec
    from modelfleet.workbench.bench import Bench


class Fleet:
    """What `modelfleet.open` gives: one training, or an attempt at it, to look at and to try things on.

    :ivar notes: what has changed since it was trained.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.notes = bench.opened.notes

    @property
    def spec(self) -> FleetSpec:
        """What fits go by."""
        return self._bench.spec

    @property
    def interval(self) -> str:
        """The training's interval."""
        return self._bench.opened.attempt.interval.key

    def partitions(self) -> pd.DataFrame:
        """A row each: `partition`, the key columns, `status`, `reason`, `candidate`, metrics, `decision`.

        Before any training: the partitions of the prepared rows, and how many each has.
        """
        import pandas as pd

        types = self._bench.key_types
        if self._bench.trained is None:
            counted = self._bench.present()
            listed = [{"partition": key, **keys.decode(key, types), "n_rows": counted[key]} for key in sorted(counted)]
            return pd.DataFrame(listed).assign(status=None, reason=None)
        metrics = self._bench.plan.metrics
        named = ["partition", *types, "status", "reason", "message", "candidate", "n_rows", "n_train", "n_test"]
        named += [*metrics, *(f"{level}_{self._bench.plan.select_by}" for level in ("baseline", "champion"))]
        index = self._bench.trained.index()
        table = index.select([name for name in named if name in index.column_names]).to_pandas()
        decided = self._bench.decisions()
        if decided is not None:
            found = decided.select(["partition", "decision", "rule"]).to_pandas()
            table = table.merge(found, on="partition", how="left")
        return table.sort_values("partition", ignore_index=True)

    def failed(self) -> pd.DataFrame:
        """The partitions whose training failed, with the message; those that were skipped are not among them."""
        table = self.partitions()
        return table[table["status"] == "failed"].reset_index(drop=True)

    def partition(self, key: str | Mapping[str, KeyValue] | None = None, **values: KeyValue) -> Partition:
        """One partition, by its canonical key or by the values of the key columns: ``partition(store="1", item=2)``.

        :raises DataError: for a text that is no key of this fleet.
        :raises NotFoundError: when the prepared rows have none of it.
        """
        types = self._bench.key_types
        if isinstance(key, str):
            given: Mapping[str, KeyValue] = keys.decode(key, types)
        else:
            given = {**(key or {}), **values}
        if set(given) != set(types):
            keys.decode("/".join(f"{name}={value}" for name, value in given.items()), types)
        return Partition(self._bench, keys.encode(tuple(types), tuple(given[name] for name in types)))

    def __repr__(self) -> str:
        opened = self._bench.opened
        state = "in force" if opened.committed else "not committed" if opened.trained else "rows only, no models"
        head = f"<Fleet {self.spec.name}: training of {self.interval}, {state}, {self._bench.facts['partitions']} partitions>"
        return "\n".join([head, *(f"note: {note}" for note in self.notes)])
