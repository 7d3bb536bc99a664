"""The champion fleet's pack rows of a bucket, held as columns: of a row only what a comparison reads becomes Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelfleet import pack

if TYPE_CHECKING:
    import pyarrow as pa

READ = ("window_end", "features", "code", "n_test", "model_digest", pack.MODEL)
"""What a comparison reads beside the metrics."""


class Champions(Mapping[str, dict[str, Any]]):
    """The rows of partitions that have a model, by canonical key; each is made when it is asked for.

    :param rows: pack rows with models.
    :param metrics: the columns with the metrics of a model's own training; one that the pack lacks is left out.
    """

    def __init__(self, rows: pa.Table, metrics: Sequence[str]) -> None:
        import pyarrow.compute as pc

        served = rows.filter(pc.equal(rows.column("serves"), "model"))
        self._names = served.column("partition")
        self._columns = {name: served.column(name) for name in (*READ, *metrics) if name in served.column_names}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._names.to_pylist())}

    def __getitem__(self, key: str) -> dict[str, Any]:
        place = self._places[key]
        return {name: column[place].as_py() for name, column in self._columns.items()}

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
