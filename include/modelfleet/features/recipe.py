"""`Recipe`: how a model's matrix is made of the columns of rows, the same at training, scoring and serving."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet.errors import Failure, SpecError
from modelfleet.features import categories as cats
from modelfleet.features.columns import numbers
from modelfleet.features.dates import HOLIDAY_NAMES, Dates, check_holidays, microseconds, times_of
from modelfleet.features.following import Following
from modelfleet.features.past import fill
from modelfleet.features.terms import Term, terms_of
from modelfleet.frequency import parse as parse_frequency
from modelfleet.spec.base import Findings
from modelfleet.spec.features import Features
from modelfleet.spec.problem import Forecast
from modelfleet.spec.values import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.spec.fleet import FleetSpec

MAX_ONE_HOT = 256
"""So many columns of 0 and 1 a matrix may have, since all rows of a bucket are made at once."""


@dataclass(frozen=True)
class Recipe:
    """How a model's inputs are made of the columns of rows; JSON in the pack's header, named by its digest.

    :ivar declared: the features; the key columns are among them where models see those.
    :ivar target: given where past features look back on it.
    :ivar frequency: the step of a Forecast's regular series; None where rows are irregular.
    :ivar categories: the sorted values, as text, that training saw in each categorical column.
    """

    declared: Features
    target: str | None
    frequency: str | None
    timezone: str
    categories: Mapping[str, tuple[str, ...]]
    fleet: str = ""

    @classmethod
    def of(cls, spec: FleetSpec, categories: Mapping[str, Sequence[str]], *, keys: bool = False) -> Recipe:
        """The recipe of a fleet's models.

        :param keys: whether the key columns join as categorical static columns.
        :raises SpecError: for features that can't be made: windows that are no whole number of steps, unknown holidays,
            two features of one name, too many one-hot columns.
        """
        declared = spec.declared
        if keys:
            joined = {name: (*getattr(declared, name), *spec.partition_by) for name in ("static", "categorical")}
            declared = declared.model_copy(update=joined)
        target = spec.problem.target
        recipe = cls(
            declared=declared,
            target=target if any(part.column == target for part in declared.past) else None,
            frequency=spec.problem.freq if isinstance(spec.problem, Forecast) else None,
            timezone=spec.timezone,
            categories={name: tuple(categories[name]) for name in declared.categorical},
            fleet=spec.name,
        )
        try:
            recipe._check()
        except Findings as found:
            hint = "; ".join(found.hints) or None
            raise SpecError(found.failures, fleet=spec.name, source=spec.source, hint=hint) from None
        return recipe

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON values."""
        return {
            "declared": self.declared.content(),
            "target": self.target,
            "frequency": self.frequency,
            "timezone": self.timezone,
            "categories": {name: list(values) for name, values in self.categories.items()},
            "fleet": self.fleet,
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Recipe:
        """What `to_json` gave."""
        categories = {name: tuple(values) for name, values in given["categories"].items()}
        return cls(**{**given, "declared": Features.model_validate(given["declared"]), "categories": categories})

    @cached_property
    def digest(self) -> str:
        """Equal recipes have equal digests."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of rows that are read, the target among them where past features read it; time aside."""
        return self.declared.columns

    @property
    def categorical(self) -> tuple[str, ...]:
        """The columns whose values are categories."""
        return self.declared.categorical

    @property
    def looks_back(self) -> bool:
        """Whether any feature reads rows before its own."""
        return bool(self.declared.past)

    @cached_property
    def lookback(self) -> int | None:
        """How many rows before a row are read at most, one step ahead; None: all of the partition.

        Windows of a duration over irregular rows are not counted; see `lookback_time`.
        """
        reaches = [term.reach for term in self._terms if not isinstance(term.reach, timedelta)]
        return None if None in reaches else max((reach for reach in reaches if reach is not None), default=0)

    @cached_property
    def lookback_time(self) -> timedelta:
        """How long before a row the longest window of a duration begins; zero where there is none."""
        return max((term.reach for term in self._terms if isinstance(term.reach, timedelta)), default=timedelta(0))

    def names(self, ahead: int = 1) -> tuple[str, ...]:
        """The columns of the matrix, in order."""
        return tuple(name for name, _ in self._layout(ahead))

    def known(self, ahead: int = 1) -> np.ndarray:
        """Which columns of the matrix depend on nothing that is unknown when a forecast is issued; bool."""
        return np.array([known for _, known in self._layout(ahead)], dtype=bool)

    def past(self, ahead: int = 1) -> np.ndarray:
        """Which columns of the matrix look back, those of known_ahead columns too; bool."""
        first = self._plain_width
        looking = np.zeros(len(self._layout(ahead)), dtype=bool)
        looking[first : first + sum(term.exists(ahead) for term in self._terms)] = True
        return looking

    def recursed(self) -> np.ndarray:
        """The places in ``names(1)`` of the features that `past_row` gives."""
        return np.array(
            [self._plain_width + place for place, term in enumerate(self._terms) if term.column == self.target],
            dtype=np.int64,
        )

    def past_row(self, history: Mapping[str, np.ndarray]) -> np.ndarray:
        """The features of the target's past, one step ahead, of the row right after `history`; bit for bit as `compute`.

        :param history: the target's values in time order, NaN for null, by its name; from `lookback` rows on.
        """
        return self._following.of(history)

    def compute(self, rows: pa.Table, starts: np.ndarray, *, time: str, ahead: int = 1) -> np.ndarray:
        """The matrix of rows sorted by partition, then time: float64, null is NaN, shape (rows, names), rows contiguous.

        Features of the past read values up to `ahead` rows before the row, those of known_ahead columns up to one before.
        A partition's features depend on nothing but its own rows, to the bit.

        :param starts: the first row of each partition; int64.
        :param time: the column of times.
        :raises DataError: for columns that are missing or of a type that features can't be made of.
        """
        matrix = np.empty((rows.num_rows, len(self._layout(ahead))))
        terms = [term for term in self._terms if term.exists(ahead)]
        place = 0
        for values in self._plain(rows):
            matrix[:, place] = values
            place += 1
        if terms:
            past = {name: self._numbers(rows, name) for name in dict.fromkeys(term.column for term in terms)}
            times = microseconds(times_of(rows, time, self.fleet)) if self.lookback_time else None
            fill(matrix[:, place : place + len(terms)], terms, past, starts, ahead=ahead, times=times)
            place += len(terms)
        for values in self._dated(rows, time):
            matrix[:, place] = values
            place += 1
        return matrix

    def unseen(self, rows: pa.Table) -> dict[str, int]:
        """How many rows have a value that training has not seen, by categorical column that has such rows."""
        counts = {
            name: cats.count_unseen(rows, name, self.categories[name], self.fleet) for name in self.declared.categorical
        }
        return {name: count for name, count in counts.items() if count}

    def _check(self) -> None:
        if self.declared.holidays is not None:
            check_holidays(self.declared.holidays)
        names = self.names()
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Findings([Failure("features", shown(twice), "allowed: features of different names")])
        hot = sum(len(self.categories[name]) for name in self.declared.categorical)
        if self.declared.encoding == "onehot" and hot > MAX_ONE_HOT:
            raise Findings(
                [Failure("features.encoding", f"'onehot' of {hot} values", f"allowed: at most {MAX_ONE_HOT} in all")],
                ["encoding='ordinal' takes one column for each categorical one"],
            )

    @cached_property
    def _terms(self) -> tuple[Term, ...]:
        return terms_of(self.declared, parse_frequency(self.frequency) if self.frequency else None)

    @cached_property
    def _following(self) -> Following:
        return Following([term for term in self._terms if term.column == self.target])

    @property
    def _plain_width(self) -> int:
        return len(list(self._plain_names()))

    def _layout(self, ahead: int) -> tuple[tuple[str, bool], ...]:
        """Name of each column of the matrix, and whether it is known ahead."""
        if ahead < 1 or (ahead > 1 and self.frequency is None):
            raise ValueError(f"ahead={ahead}: 1 for irregular rows, at least 1 for regular series")
        plain = [(name, True) for name in self._plain_names()]
        past = [(term.name, term.known) for term in self._terms if term.exists(ahead)]
        return (*plain, *past, *((name, True) for name in self._dated_names()))

    def _plain_names(self) -> Iterator[str]:
        declared = self.declared
        for column in (*declared.known_ahead, *declared.static):
            if column in declared.categorical and declared.encoding == "onehot":
                yield from (f"{column}={value}" for value in self.categories[column])
            else:
                yield column

    def _plain(self, rows: pa.Table) -> Iterator[np.ndarray]:
        """The columns that are not derived."""
        declared = self.declared
        for column in (*declared.known_ahead, *declared.static):
            if column not in declared.categorical:
                yield self._numbers(rows, column)
            elif declared.encoding == "onehot":
                yield from cats.one_hot(rows, column, self.categories[column], self.fleet)
            else:
                yield cats.encode(rows, column, self.categories[column], self.fleet)

    def _numbers(self, rows: pa.Table, column: str) -> np.ndarray:
        hint = "list {column!r} in `categorical`, or cast it in prepare"
        if column not in (*self.declared.known_ahead, *self.declared.static):
            hint = "features of the past are made of numbers; cast {column!r} in prepare"
        return numbers(rows, column, self.fleet, hint=hint)

    def _dated_names(self) -> Iterator[str]:
        declared = self.declared
        yield from declared.calendar
        yield from (f"{part}_{function}" for part in declared.cyclic for function in ("sin", "cos"))
        yield from HOLIDAY_NAMES if declared.holidays is not None else ()

    def _dated(self, rows: pa.Table, time: str) -> Iterator[np.ndarray]:
        declared = self.declared
        if not (declared.calendar or declared.cyclic or declared.holidays):
            return
        dates = Dates(times_of(rows, time, self.fleet), self.timezone)
        yield from (dates.part(name) for name in declared.calendar)
        for name in declared.cyclic:
            yield from dates.cycle(name)
        if declared.holidays is not None:
            yield from dates.holidays(declared.holidays)
