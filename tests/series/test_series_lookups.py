"""Known-ahead tables: joined by step and shared keys, and what is said where they have no value."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_cases import BERLIN, NAIVE, UTC_US, bucket, plan, sold

from modelfleet.errors import DataError
from modelfleet.series import AHEAD, PROBLEM, Lookup, lookups, regularize
from modelfleet.spec import Clip, Fill


def day(number: int) -> date:
    return date(2013, 9, number)


def lookup(rows: Sequence[dict[str, Any]], *columns: str, keys: tuple[str, ...] = (), name: str = "calendar") -> Lookup:
    return Lookup(name, pa.Table.from_pylist(list(rows)), "at", keys, columns or ("promo",))


def days(first: int, last: int, **columns: Any) -> list[dict[str, Any]]:
    """A row per day; a callable column is of the day's number."""
    return [
        {"at": day(n), **{name: value(n) if callable(value) else value for name, value in columns.items()}}
        for n in range(first, last + 1)
    ]


def promos(rows: pa.Table | list[dict[str, Any]], *tables: Lookup, **changes: Any) -> list[Any]:
    table = rows if isinstance(rows, pa.Table) else bucket(rows)
    made = plan(**{"future": 2, "known_ahead": ("promo",), "lookups": tables, "missing": "zero", **changes})
    return regularize(table, made)[0].column("promo").to_pylist()


def test_calendar_fills_what_rows_do_not_have() -> None:
    own = {"store": "a", "promo": 99, "units": 1.0}
    rows = [{**own, "day": day(2)}, {**own, "day": day(3), "promo": None}, {**own, "day": day(6)}]
    assert promos(rows, lookup(days(1, 9, promo=lambda n: n))) == [99, 3, 4, 5, 99, 7]


def test_column_that_rows_do_not_have_comes_in_the_type_of_the_table() -> None:
    calendar = lookup(days(1, 9, promo=lambda n: f"week {n // 7}", holiday=True), "promo", "holiday")
    table, counts = regularize(
        bucket(sold("a", d04=1.0, d05=1.0)), plan(future=2, known_ahead=("promo", "holiday"), lookups=(calendar,))
    )
    assert table.column_names == ["store", "day", "units", "_partition", "promo", "holiday", PROBLEM]
    assert table.column("promo").to_pylist() == ["week 0", "week 0", "week 0", "week 1"]
    assert table.schema.field("holiday").type == pa.bool_()
    assert counts == {"future_rows": 2}


def test_column_that_is_not_asked_for_is_left_out() -> None:
    calendar = lookup(days(1, 9, promo=1, units=99.0, note="-"), "promo", "units", "note")
    table, _ = regularize(
        bucket(sold("a", d04=1.0)), plan(future=1, known_ahead=("promo",), lookups=(calendar,), missing="zero")
    )
    assert "note" not in table.column_names
    assert table.column("units").to_pylist() == [1.0, 0.0, None]  # a table never gives the target


def test_first_table_that_has_a_value_gives_it() -> None:
    regional = lookup(days(5, 6, promo=5, store="a"), keys=("store",), name="regional")
    assert promos(sold("a", d04=1.0), regional, lookup(days(4, 7, promo=1))) == [1, 5, 5, 1]
    assert promos(sold("a", d04=1.0), lookup(days(4, 7, promo=1)), regional) == [1, 1, 1, 1]


def test_shared_keys_pick_each_partitions_rows() -> None:
    prices = [*days(4, 7, store="a", promo=lambda n: n), *days(4, 7, store="b", promo=lambda n: 10 * n)]
    rows = [*sold("b", d05=1.0), *sold("c", d05=1.0), *sold("a", d05=1.0)]
    made = plan(future=2, known_ahead=("promo",), lookups=(lookup(prices, keys=("store",)),))
    table, counts = regularize(bucket(rows), made)
    assert table.column("promo").to_pylist() == [50, 60, 70, None, None, None, 5, 6, 7]
    assert [text is None for text in table.column(PROBLEM).to_pylist()] == [True] * 3 + [False] * 3 + [True] * 3
    assert counts == {"no promo ahead": 2, "future_rows": 6, "problems": 1}


@pytest.mark.parametrize(
    "kind, value, given_kind, given",
    [
        (pa.int64(), 1, pa.int32(), 1),
        (pa.int32(), 1, pa.int64(), 1),
        (pa.int8(), 1, pa.int64(), 1000),
        (pa.string(), "1", pa.int64(), 1),
        (pa.int64(), 1, pa.string(), "1"),
        (pa.string(), "é", pa.large_string(), "é"),
        (pa.bool_(), True, pa.bool_(), True),
        (pa.date32(), day(1), pa.date32(), day(1)),
        (pa.int64(), None, pa.int64(), None),
        (pa.string(), None, pa.string(), None),
    ],
)
def test_keys_of_other_types_agree_by_value(kind: pa.DataType, value: Any, given_kind: pa.DataType, given: Any) -> None:
    rows = bucket([{"store": value, "day": day(5), "units": 1.0}], store=kind)
    table = pa.table({"store": pa.array([given], given_kind), "at": [day(5)], "promo": [7]})
    found = promos(rows, Lookup("t", table, "at", ("store",), ("promo",)), future=0)
    assert found == [None if given == 1000 else 7]


@pytest.mark.parametrize("kind", [pa.date32(), NAIVE, UTC_US], ids=str)
@pytest.mark.parametrize("given_kind", [pa.date32(), NAIVE, UTC_US], ids=str)
def test_times_of_other_types_meet_on_the_grid(kind: pa.DataType, given_kind: pa.DataType) -> None:
    def column(of: pa.DataType, numbers: Sequence[int]) -> pa.Array:
        zone = BERLIN if of == UTC_US else None
        return pa.array([day(n) if of == pa.date32() else datetime(2013, 9, n, tzinfo=zone) for n in numbers], of)

    rows = bucket([{"store": "a", "units": 1.0}] * 2).append_column("day", column(kind, [4, 5]))
    table = pa.table({"at": column(given_kind, [4, 5, 6, 7]), "promo": [4, 5, 6, 7]})
    assert promos(rows, Lookup("t", table, "at", (), ("promo",))) == [4, 5, 6, 7]


def test_future_without_values_is_told_with_table_and_dates() -> None:
    calendar = lookup(days(1, 7, promo=1))
    made = plan(future=7, known_ahead=("promo",), lookups=(calendar,), missing="zero")
    table, counts = regularize(bucket([*sold("a", d03=1.0), *sold("b", d03=1.0)]), made)
    text = (
        f"{AHEAD} 'promo' of table 'calendar' has no value for 2013-09-08, 2013-09-09, 2013-09-10, ... "
        "(5 of 7 future dates); extend the table, or lower the horizon"
    )
    assert set(table.column(PROBLEM).to_pylist()) == {text}
    assert counts == {"filled_dates": 4, "future_rows": 14, "no promo ahead": 10, "problems": 2}


def test_history_without_values_is_no_problem() -> None:
    made = plan(future=1, known_ahead=("promo",), lookups=(lookup(days(6, 9, promo=1)),), missing="zero")
    table, counts = regularize(bucket(sold("a", d03=1.0)), made)
    assert table.column("promo").to_pylist() == [None, None, None, 1]
    assert set(table.column(PROBLEM).to_pylist()) == {None}
    assert "no promo ahead" not in counts


def test_future_without_a_table_says_where_values_come_from() -> None:
    rows = [{"store": "a", "day": day(5), "promo": 1, "units": 1.0}]
    table, _ = regularize(bucket(rows), plan(future=1, known_ahead=("promo",)))
    assert table.column(PROBLEM)[0].as_py() == (
        f"{AHEAD} 'promo' has no value for 2013-09-06 (1 of 1 future dates); give its rows in `prepare` or in a table "
        "with `ahead`, or lower the horizon"
    )


def test_rows_of_a_table_off_the_grid_are_told_where_they_are_missed() -> None:
    times = [datetime(2013, 9, n, 12) for n in (5, 6, 7)]
    calendar = Lookup("calendar", pa.table({"at": times, "promo": [1, 1, 1]}), "at", (), ("promo",))
    table, _ = regularize(bucket(sold("a", d05=1.0)), plan(future=1, known_ahead=("promo",), lookups=(calendar,)))
    text = table.column(PROBLEM)[0].as_py()
    assert "table 'calendar' (3 of its rows are not on the grid of freq 'D') has no value for 2013-09-06 (" in text


def test_values_of_tables_are_treated_as_those_of_rows() -> None:
    """Else a model would see other values at scoring, where rows come from tables, than at training."""
    rows = [{"store": "a", "day": day(4), "promo": 50, "units": 1.0}, {"store": "a", "day": day(6), "promo": 50}]
    calendar = lookup([{"at": day(5), "promo": 40}, {"at": day(7), "promo": 40}, {"at": day(8), "promo": None}])
    treatments = (Clip("promo", 0, 9), Fill("promo", value=3))
    assert promos(rows, calendar, future=3, treatments=treatments) == [9, 9, 9, 9, 3]


def test_treatment_of_a_column_that_only_a_table_has_is_known() -> None:
    calendar = lookup(days(4, 6, promo=40))
    assert promos(sold("a", d04=1.0), calendar, treatments=(Clip("promo", 0, 9), Fill("promo", value=3))) == [
        9,
        9,
        9,
        3,
    ]


@pytest.mark.parametrize("rows", [[], sold("c", d05=1.0), sold("a", d05=1.0)], ids=["no rows", "others", "these"])
def test_table_with_several_rows_of_a_time_is_refused_in_every_bucket(rows: list[dict[str, Any]]) -> None:
    prices = [*days(4, 6, store="a", promo=1), *days(5, 5, store="a", promo=2), *days(4, 6, store="b", promo=1)]
    made = plan(future=1, known_ahead=("promo",), lookups=(lookup(prices, keys=("store",), name="prices"),))
    with pytest.raises(
        DataError,
        match=r"fleet 'demand', table 'prices': 1 times have several rows, such as store=a, at=2013-09-05 \(2 rows\); "
        "allowed is one per store, at",
    ):
        regularize(bucket([*rows, *sold("x", d05=1.0)]).slice(0, len(rows)), made)


@pytest.mark.parametrize(
    "table, keys, message",
    [
        ({"at": [day(1)]}, (), "no column 'promo'"),
        ({"day": [day(1)], "promo": [1]}, (), "no column 'at'"),
        ({"at": [day(1)], "promo": [1]}, ("store",), "no column 'store'"),
        ({"at": ["2013-09-01"], "promo": [1]}, (), "time column 'at': a time of type string"),
        ({"at": [day(5)], "promo": ["high"]}, (), "column 'promo' is of type string, in the rows int64"),
        ({"at": [day(5)], "promo": [1.5]}, (), "column 'promo' is of type double, in the rows int64"),
        ({"at": [day(5)], "promo": [1], "store": [b"\xff"]}, ("store",), "key column 'store' is of type binary"),
    ],
)
def test_table_that_does_not_suit_the_rows_is_refused(
    table: dict[str, list[Any]], keys: tuple[str, ...], message: str
) -> None:
    rows = [{"store": "a", "day": day(5), "promo": None, "units": 1.0}]
    with pytest.raises(DataError, match=f"fleet 'demand', table 't'[,:] {message}"):
        promos(bucket(rows, promo=pa.int64()), Lookup("t", pa.table(table), "at", keys, ("promo",)))


def test_empty_table_gives_nothing() -> None:
    empty = pa.table({"at": pa.array([], pa.date32()), "promo": pa.array([], pa.int64())})
    assert promos(sold("a", d05=1.0), Lookup("t", empty, "at", (), ("promo",))) == [None, None, None]


def test_column_of_nulls_alone_takes_the_type_of_the_table() -> None:
    rows = bucket(sold("a", d05=1.0)).append_column("promo", pa.nulls(1))
    assert promos(rows, lookup(days(5, 7, promo="x"))) == ["x", "x", "x"]


def test_hourly_calendar_meets_hours_through_a_clock_change() -> None:
    start = datetime(2013, 10, 27, tzinfo=BERLIN).astimezone(UTC)
    hours = [start + timedelta(hours=n) for n in range(30)]
    rows = bucket([{"store": "a", "day": h, "units": 1.0} for h in hours[:25]], day=UTC_US)
    calendar = Lookup("c", pa.table({"at": pa.array(hours, UTC_US), "promo": list(range(30))}), "at", (), ("promo",))
    found = promos(rows, calendar, frequency="h", end=datetime(2013, 10, 28, tzinfo=BERLIN), future=5)
    assert found == list(range(30))


PLACES = st.tuples(st.sampled_from("abc"), st.sampled_from([1, 2]), st.integers(1, 9))


@given(given=st.dictionaries(PLACES, st.integers(0, 99)), asked=st.sets(PLACES, min_size=1), dense=st.booleans())
def test_values_are_those_of_a_dictionary(given: dict[Any, int], asked: set[Any], dense: bool) -> None:
    rows = bucket(
        [{"store": s, "item": i, "day": day(d), "units": 1.0} for s, i, d in sorted(asked)],
        **{"store": pa.string(), "item": pa.int64()},
    )
    keys = [f"{s}/{i}" for s, i, _ in sorted(asked)]
    rows = rows.set_column(rows.column_names.index("_partition"), "_partition", pa.array(keys).dictionary_encode())
    columns = {"store": pa.string(), "item": pa.int32(), "at": pa.date32(), "promo": pa.int64()}
    lines = [{"store": s, "item": i, "at": day(d), "promo": p} for (s, i, d), p in given.items()]
    table = pa.Table.from_pylist(lines, schema=pa.schema(list(columns.items())))
    made = plan(
        keys=("store", "item"),
        known_ahead=("promo",),
        end=datetime(2013, 9, 10, tzinfo=BERLIN),
        lookups=(Lookup("t", table, "at", ("item", "store"), ("promo",)),),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookups, "_CELLS", 1 << 20 if dense else -(1 << 40))
        found = regularize(rows, made)[0]
    places = zip(*(found.column(c).to_pylist() for c in ("store", "item", "day")), strict=True)
    assert found.column("promo").to_pylist() == [given.get((s, i, d.day)) for s, i, d in places]
