"""Whose rows show when several ingests read the same time: the newest one's, taken from as few ingests as can be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.errors import DataError
from modelfleet.ingest.readings import Piece, Reading, Span, changed, merged, visible

FIRST = datetime(2024, 4, 1, tzinfo=UTC)
LABEL = "fleet 'demand', table 'sales'"


def day(number: int) -> datetime:
    return FIRST + timedelta(days=number)


def days(first: int, end: int) -> Span:
    return day(first), day(end)


def reading(
    number: int, contents: str, *, made: int | None = None, late: int = 0, ahead: int = 0, held: bool = True
) -> Reading:
    """The reading of day `number`, made at `made`, and of `late` days before and `ahead` after: a letter for each day."""
    span = range(number - late, number + 1 + ahead)
    assert len(contents) == len(span)
    return Reading(
        key=f"{day(number):%Y-%m-%d}",
        made=FIRST + timedelta(minutes=number if made is None else made),
        own=days(number, number + 1),
        span=days(span[0], span[-1] + 1),
        held_from=day(span[0] if held else number),
        cells={days(n, n + 1): content for n, content in zip(span, contents, strict=True)},
    )


def shown(pieces: Iterable[Piece]) -> dict[int, tuple[str, int]]:
    """The content of each day, and the day whose ingest it is taken from."""
    found: dict[int, tuple[str, int]] = {}
    for piece in pieces:
        number = (piece.span[0] - FIRST).days
        assert number not in found
        found[number] = piece.source.cells[piece.span], (piece.source.own[0] - FIRST).days
    return found


def test_readings_of_their_intervals_alone_show_as_they_are() -> None:
    own = [reading(0, "a"), reading(2, "c")]

    assert shown(visible(own, [reading(1, "b")], label=LABEL)) == {0: ("a", 0), 2: ("c", 2)}


@pytest.mark.parametrize(
    "own, others, expected",
    [
        pytest.param(
            [reading(0, "a"), reading(1, "Xb", late=1)], [], {0: ("X", 1), 1: ("b", 1)}, id="a restated tail replaces"
        ),
        pytest.param(
            [reading(0, "a"), reading(1, "ab", late=1)],
            [],
            {0: ("a", 0), 1: ("b", 1)},
            id="a tail that is the same leaves the interval's own ingest",
        ),
        pytest.param(
            [reading(0, "a")], [reading(1, "Xb", late=1)], {0: ("X", 1)}, id="a later ingest restates, and adds nothing"
        ),
        pytest.param(
            [reading(0, "A", made=9), reading(1, "Xb", late=1)],
            [],
            {0: ("A", 0), 1: ("b", 1)},
            id="an older interval ingested again is the newest reading",
        ),
        pytest.param(
            [reading(0, "a")],
            [reading(1, "Xb", late=1), reading(2, "abc", late=2)],
            {0: ("a", 0)},
            id="taken back by a third reading",
        ),
        pytest.param(
            [reading(0, "a"), reading(3, "xyzd", late=3)],
            [],
            {0: ("x", 3), 1: ("y", 3), 2: ("z", 3), 3: ("d", 3)},
            id="a gap shows what the tail has of it",
        ),
        pytest.param(
            [reading(0, "a"), reading(3, "xyzd", late=3)],
            [reading(1, "b"), reading(2, "c")],
            {0: ("x", 3), 3: ("d", 3)},
            id="intervals that the run does not use stay out, also from a tail",
        ),
        pytest.param(
            [reading(2, "xyc", late=2)], [], {0: ("x", 2), 1: ("y", 2), 2: ("c", 2)}, id="the first interval ever"
        ),
        pytest.param(
            [reading(0, "a12", ahead=2)], [reading(1, "b34", ahead=2)], {0: ("a", 0), 1: ("1", 0), 2: ("2", 0)},
            id="what is ahead is known from the run's own ingests alone",
        ),
        pytest.param(
            [reading(0, "a12", ahead=2), reading(1, "b34", ahead=2)],
            [],
            {0: ("a", 0), 1: ("b", 1), 2: ("3", 1), 3: ("4", 1)},
            id="of what is ahead the newest shows",
        ),
        pytest.param(
            [reading(0, "ab3", ahead=2, made=9), reading(1, "b34", ahead=2)],
            [],
            {0: ("a", 0), 1: ("b", 1), 2: ("3", 1), 3: ("4", 1)},
            id="the older interval read again, the same",
        ),
        pytest.param(
            [reading(0, "aX3", ahead=2, made=9), reading(1, "b34", ahead=2)],
            [],
            {0: ("a", 0), 1: ("X", 0), 2: ("3", 1), 3: ("4", 1)},
            id="the older interval read again, with other rows ahead",
        ),
    ],
)  # fmt: skip
def test_newest_reading_of_a_day_shows(
    own: list[Reading], others: list[Reading], expected: dict[int, tuple[str, int]]
) -> None:
    assert shown(visible(own, others, label=LABEL)) == expected
    assert shown(visible(own[::-1], others[::-1], label=LABEL)) == expected


def test_tail_that_was_not_kept_is_taken_from_whoever_has_the_same_rows() -> None:
    older, newer = reading(0, "a"), reading(1, "ab", late=1, held=False)

    (first, second) = visible([older, newer], [], label=LABEL)

    assert (first.source, first.newest) == (older, newer)
    assert second.source == newer


def test_rows_that_nobody_holds_are_an_error_that_names_whom_to_ingest_again() -> None:
    with pytest.raises(
        DataError, match=r"(?s)table 'sales': the rows from 2024-04-01 .* ingest interval 2024-04-02 again"
    ):
        visible([reading(0, "a"), reading(1, "Xb", late=1, held=False)], [], label=LABEL)


def test_cells_of_other_bounds_count_as_changed() -> None:
    bulk = replace(reading(2, "c"), own=days(0, 3), span=days(0, 3), held_from=day(0), cells={days(0, 3): "abc"})
    next_day = reading(3, "bcd", late=2)

    assert changed(next_day, [bulk]) == [(days(1, 2), bulk.key), (days(2, 3), bulk.key)]
    pieces = visible([bulk, next_day], [], label=LABEL)
    assert [(piece.span, piece.source.key) for piece in pieces] == [
        (days(0, 1), bulk.key),
        *((days(n, n + 1), next_day.key) for n in (1, 2, 3)),
    ]


@pytest.mark.parametrize(
    "new, others, expected",
    [
        pytest.param(reading(2, "abc", late=2), [reading(0, "a"), reading(1, "b")], [], id="as known"),
        pytest.param(reading(2, "aXc", late=2), [reading(0, "a"), reading(1, "b")], [(1, 1)], id="one day restated"),
        pytest.param(reading(2, "abc", late=2), [reading(0, "a")], [(1, None)], id="a gap"),
        pytest.param(reading(0, "a"), [], [], id="nothing but its interval"),
        pytest.param(
            reading(0, "aBc", ahead=2, made=9), [reading(1, "b"), reading(2, "c")], [(1, 1)], id="read again, ahead"
        ),
        pytest.param(
            reading(3, "aXcd", late=3, made=9),
            [reading(0, "a"), reading(1, "b"), reading(2, "aXc", late=2)],
            [],
            id="restated by another one before",
        ),
    ],
)
def test_changed_lists_the_days_with_other_rows(
    new: Reading, others: list[Reading], expected: list[tuple[int, int | None]]
) -> None:
    assert changed(new, others) == [
        (days(number, number + 1), None if owner is None else f"{day(owner):%Y-%m-%d}") for number, owner in expected
    ]


def test_spans_that_touch_are_merged() -> None:
    assert merged([days(3, 4), days(0, 1), days(1, 2), days(6, 8), days(7, 9)]) == [days(0, 2), days(3, 4), days(6, 9)]
    assert merged([]) == []


@dataclass
class Lake:
    """Ingests in force while the source changes: the rule of the newest reading, told day by day."""

    late: int
    ahead: int
    source: dict[int, str] = field(default_factory=dict)
    in_force: dict[int, Reading] = field(default_factory=dict)
    clock: int = 0

    def ingest(self, number: int) -> None:
        self.clock += 1
        contents = "".join(self.source.get(n, ".") for n in range(number - self.late, number + 1 + self.ahead))
        new = reading(number, contents, made=self.clock, late=self.late, ahead=self.ahead)
        others = [other for n, other in self.in_force.items() if n != number]
        known = not any(span[0] < new.own[0] for span, _ in changed(new, others))
        self.in_force[number] = replace(new, held_from=new.own[0]) if known else new

    def newest(self, number: int, pinned: Iterable[int]) -> str | None:
        covering = [r for n, r in self.in_force.items() if n in pinned and days(number, number + 1) in r.cells]
        return max(covering, key=lambda r: r.made).cells[days(number, number + 1)] if covering else None


changes = st.tuples(st.integers(0, 7), st.sampled_from("abc"))
events = st.lists(st.one_of(st.integers(0, 7), changes), min_size=1, max_size=30)


@given(st.integers(0, 3), st.integers(0, 3), events, st.sets(st.integers(0, 7)))
def test_what_shows_is_the_newest_reading_whatever_happened(
    late: int, ahead: int, happened: list[int | tuple[int, str]], used: set[int]
) -> None:
    lake = Lake(late, ahead)
    for event in happened:
        if isinstance(event, int):
            lake.ingest(event)
        else:
            lake.source[event[0]] = event[1]
    own = [lake.in_force[number] for number in sorted(used & set(lake.in_force))]
    others = [lake.in_force[number] for number in sorted(set(lake.in_force) - used)]

    pieces = visible(own, others, label=LABEL)

    found = shown(pieces)
    mine = {n for n in used if n in lake.in_force}
    until = max(mine, default=0) + 1
    for number in range(-3, 12):
        if number in mine:
            assert found[number][0] == lake.newest(number, lake.in_force)
        elif number in lake.in_force and number < until:
            assert number not in found
        else:
            assert found.get(number, (None,))[0] == lake.newest(number, mine)
    assert all(piece.source.held_from <= piece.span[0] for piece in pieces)
