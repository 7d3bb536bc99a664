"""What models see: the matrices of the partitions of a bucket, made for all of them at once where features are declared.

The same `Inputs` make them at training, in batch scoring and in serving. A pack's header keeps them by their id, and each
model's row names its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import modelcode, slices
from modelfleet.features import Recipe
from modelfleet.spec import Features

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from modelfleet.modelcode import Matrix, ModelCode
    from modelfleet.spec import FleetSpec


@dataclass(frozen=True)
class Inputs:
    """How a model's matrix is made of rows: columns as they are, or the recipe of declared features."""

    columns: tuple[str, ...]
    recipe: Recipe | None = None

    @classmethod
    def of(cls, spec: FleetSpec, categories: Mapping[str, Sequence[str]], *, keys: bool = False) -> Inputs:
        """The inputs of a fleet's models.

        :param categories: the values that training saw, by categorical column; with `keys`, of the key columns too.
        :param keys: whether the key columns are features, for models of many partitions.
        """
        plain = not isinstance(spec.features, Features) and spec.problem.kind != "forecast" and not keys
        if plain:
            return cls(tuple(spec.declared.columns))
        # A key column of too many values to be a category is not known to the model: its values are all unseen.
        unknown: dict[str, Sequence[str]] = dict.fromkeys(spec.partition_by, ()) if keys else {}
        recipe = Recipe.of(spec, {**unknown, **categories}, keys=keys)
        return cls(tuple(recipe.needs), recipe)

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that rows must have."""
        return self.columns

    @property
    def visible(self) -> tuple[str, ...]:
        """The columns that an author's ``features(frame)`` sees: those whose values are known for the rows to predict."""
        if self.recipe is None:
            return self.columns
        return (*self.recipe.declared.known_ahead, *self.recipe.declared.static)

    def young(self, x: Matrix) -> int:
        """How many rows at the beginning lack a feature that looks back, because the past is too short there.

        The columns of an author's ``features(frame)`` are the author's: which of them look back is not known.
        """
        if self.recipe is None or not self.recipe.looks_back or not isinstance(x, np.ndarray):
            return 0
        past = self.recipe.past(1)
        if x.shape[1] != len(past):
            return 0
        whole = ~np.isnan(x[:, past]).any(axis=1)
        return int(whole.argmax()) if whole.any() else len(x)

    @cached_property
    def id(self) -> str:
        """Equal inputs have equal ids."""
        return hashlib.blake2b(json.dumps(self.to_json(), sort_keys=True).encode(), digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "recipe": None if self.recipe is None else self.recipe.to_json()}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Inputs:
        recipe = given["recipe"]
        return cls(tuple(given["columns"]), None if recipe is None else Recipe.from_json(recipe))


@dataclass
class Bucket:
    """A sorted bucket of rows and its partitions' matrices. `context`: key and time columns, which ``features`` sees.

    What Arrow holds is converted once for the whole bucket, since each call costs as much for one partition as for all;
    partitions are slices of it. Arrays over the bucket are not to be written to.
    """

    rows: pa.Table
    time: str
    context: tuple[str, ...]
    _made: dict[Hashable, Any] = field(default_factory=dict)

    @cached_property
    def bounds(self) -> list[tuple[str, int, int]]:
        """(canonical key, first row, row after the last) of each partition."""
        return slices.bounds(self.rows)

    @cached_property
    def columns(self) -> frozenset[str]:
        """The names of its columns."""
        return frozenset(self.rows.column_names)

    @cached_property
    def time_type(self) -> pa.DataType:
        """The Arrow type of the time column."""
        return self.rows.schema.field(self.time).type

    @cached_property
    def times(self) -> np.ndarray:
        """When its rows happened; datetime64[us], shape (rows,)."""
        return slices.wall_times(self.rows.column(self.time))

    def numbers(self, name: str) -> np.ndarray:
        """A numeric column; float64, shape (rows,), null as NaN."""
        made: np.ndarray = self._once(("numbers", name), lambda: modelcode.numbers(self.rows.column(name)))
        return made

    def leading(self, name: str) -> list[Any]:
        """The value of a column in the first row of each partition."""

        def made() -> list[Any]:
            column = self.rows.column(name)
            return [column[start].as_py() for _, start, _ in self.bounds]

        listed: list[Any] = self._once(("leading", name), made)
        return listed

    def missing(self, names: tuple[str, ...]) -> np.ndarray:
        """Where columns of any type are null or NaN; bool, shape (columns, rows)."""

        def made() -> np.ndarray:
            import pyarrow.compute as pc

            found = np.empty((len(names), self.rows.num_rows), dtype=bool)
            for place, name in enumerate(names):
                found[place] = pc.is_null(self.rows.column(name), nan_is_null=True).to_numpy()
            return found

        missing: np.ndarray = self._once(("missing", names), made)
        return missing

    def prepare(self, inputs: Iterable[Inputs], aheads: Iterable[int], *, arrays: bool = True) -> None:
        """Make what all partitions share, so that forked processes find it, and none has it on its own account.

        :param arrays: whether any model gets plain columns as an array, and not what ``features(frame)`` makes of them.
        """
        _ = self.bounds, self.times
        steps = tuple(aheads)
        for given in inputs:
            if not self.columns.issuperset(given.needs):
                continue
            for ahead in steps if given.recipe is not None else ():
                self._derived(given, ahead)
            largest = max((end - start for _, start, end in self.bounds), default=0)
            plain = arrays and given.recipe is None and self._all_numbers(given.columns)
            if plain and 2 * largest <= self.rows.num_rows:
                self._plain(given.columns)

    def part(self, position: int) -> pa.Table:
        """The rows of one partition."""
        _, start, end = self.bounds[position]
        return self.rows.slice(start, end - start)

    def matrix(self, position: int, inputs: Inputs, code: ModelCode, ahead: int = 1) -> Matrix:
        """What the estimator receives for all rows of one partition, in time order.

        :param ahead: how many steps before a row the values end that it may look back on.
        :raises ModelCodeError: when the author's ``features(frame)`` does not return one row for each.
        """
        _, start, end = self.bounds[position]
        derived = None if inputs.recipe is None else self._derived(inputs, ahead)[start:end]
        if code.features is None:
            return derived if derived is not None else self._as_they_are(inputs.columns, start, end)
        frame = self._frame((*self.context, *inputs.visible), start, end)
        if derived is not None:
            assert inputs.recipe is not None
            names = inputs.recipe.names(ahead)
            frame = frame.assign(**{name: derived[:, place] for place, name in enumerate(names)})
        return modelcode.authors_matrix(frame, code)

    def known(self, position: int, inputs: Inputs) -> np.ndarray | None:
        """The features whose future is known, for forecasters; shape (rows, features). None where there are none."""
        if inputs.recipe is None:
            return None
        known = inputs.recipe.known(1)
        if not known.any():
            return None
        _, start, end = self.bounds[position]
        return np.ascontiguousarray(self._derived(inputs, 1)[start:end, known])

    def _as_they_are(self, names: tuple[str, ...], start: int, end: int) -> Matrix:
        """Columns of some rows: an ndarray where all are numbers, else a DataFrame."""
        if not self._all_numbers(names):
            return self._frame(names, start, end)
        # A feature after the other: so they are copied, and so least squares reads them.
        x = np.empty((end - start, len(names)), order="F")
        if 2 * len(x) > self.rows.num_rows:
            # Most of the bucket is this one partition: its columns are not held as floats beside its matrix.
            for place, name in enumerate(names):
                x[:, place] = modelcode.numbers(self.rows.column(name)[start:end])
            return x
        for place, column in enumerate(self._plain(names)):
            x[:, place] = column[start:end]
        return x

    def _all_numbers(self, names: tuple[str, ...]) -> bool:
        return bool(self._once(("numeric", names), lambda: modelcode.all_numbers(self.rows.schema, names)))

    def _plain(self, names: tuple[str, ...]) -> list[np.ndarray]:
        made: list[np.ndarray] = self._once(("plain", names), lambda: [self.numbers(name) for name in names])
        return made

    def _frame(self, names: tuple[str, ...], start: int, end: int) -> pd.DataFrame:
        # Columns of a whole bucket can't become pandas' at once: their types would follow from other partitions' nulls.
        selected = self._once(("selected", names), lambda: self.rows.select(list(dict.fromkeys(names))))
        return modelcode.widened(selected.slice(start, end - start)).to_pandas()

    def _derived(self, inputs: Inputs, ahead: int) -> np.ndarray:
        recipe = inputs.recipe
        assert recipe is not None

        def made() -> np.ndarray:
            starts = np.array([start for _, start, _ in self.bounds], dtype=np.int64)
            return recipe.compute(self.rows, starts, time=self.time, ahead=ahead)

        derived: np.ndarray = self._once(("derived", inputs.id, ahead), made)
        return derived

    def _once(self, what: Hashable, make: Callable[[], Any]) -> Any:
        if what not in self._made:
            self._made[what] = make()
        return self._made[what]
