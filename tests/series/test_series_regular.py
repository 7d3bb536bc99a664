"""Regular series, rule by rule: gaps, ties, the grid, the end of history, static columns, what is counted and said."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest
from series_cases import BERLIN, UTC_US, bucket, plan, sold

from modelfleet.errors import DataError
from modelfleet.series import PROBLEM, Lookup, SeriesPlan, check_static, regular, regularize
from modelfleet.slices import PARTITION
from modelfleet.spec import Clip, Data, Dedupe, Drop, Features, Fill, FleetSpec, Forecast, Regression, SqlTable

NAN = math.nan


def series(rows: list[dict[str, Any]], **changes: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """The columns of a regular bucket as lists, and its counts."""
    table, counts = regularize(bucket(rows), plan(**changes))
    return table.to_pydict(), counts


def day(number: int) -> date:
    return date(2013, 9, number)


@pytest.mark.parametrize(
    "missing, units, problem, counts",
    [
        pytest.param(
            "reject",
            [1.0, None, 3.0, None, None],
            "3 dates have no row or no target: 2013-09-02, 2013-09-04, 2013-09-05; allowed: every date, or missing='zero' "
            "/ 'previous' in Forecast",
            {"missing_dates": 3, "problems": 1},
            id="reject",
        ),
        pytest.param("zero", [1.0, 0.0, 3.0, 0.0, 0.0], None, {"filled_dates": 3}, id="zero"),
        pytest.param("previous", [1.0, 1.0, 3.0, 3.0, 3.0], None, {"filled_dates": 3}, id="previous"),
    ],
)
def test_dates_without_a_row_or_target_follow_the_policy(
    missing: str, units: list[Any], problem: str | None, counts: dict[str, int]
) -> None:
    found, counted = series(sold("a", d01=1.0, d03=3.0, d04=NAN), missing=missing)
    assert found["day"] == [day(n) for n in (1, 2, 3, 4, 5)]
    assert found["units"] == units
    assert set(found[PROBLEM]) == {problem}
    assert set(found["store"]) == {"a"}
    assert counted == counts


@pytest.mark.parametrize("missing", ["reject", "zero", "previous"])
def test_series_begins_with_its_first_target(missing: str) -> None:
    found, counts = series(sold("a", d01=None, d02=NAN, d04=4.0, d05=5.0), missing=missing)
    assert found["day"] == [day(4), day(5)]
    assert found[PROBLEM] == [None, None]
    assert counts == {"leading": 2}


@pytest.mark.parametrize(
    "kind, one, zero",
    [(pa.float64(), 1.5, 0.0), (pa.float32(), 1.5, 0.0), (pa.int64(), 1, 0), (pa.bool_(), True, False)],
)
def test_target_of_any_type_keeps_it(kind: pa.DataType, one: Any, zero: Any) -> None:
    rows = bucket([{"store": "a", "day": day(n), "units": one} for n in (1, 4)], units=kind)
    table, _ = regularize(rows, plan(missing="zero"))
    assert table.schema.field("units").type == kind
    assert table.column("units").to_pylist() == [one, zero, zero, one, zero]


def test_every_partition_ends_at_the_end_and_stays_in_order() -> None:
    rows = [*sold("b", d02=1.0, d04=2.0), *sold("a", d05=3.0), *sold("c", d04=4.0)]
    found, _ = series(rows, missing="zero")
    assert list(zip(found["store"], found["day"], strict=True)) == [
        *(("b", day(n)) for n in (2, 3, 4, 5)),
        ("a", day(5)),
        ("c", day(4)),
        ("c", day(5)),
    ]
    assert found[PARTITION] == [f"store={store}" for store in found["store"]]


def test_future_steps_are_appended_without_targets() -> None:
    found, counts = series(sold("a", d05=1.0, d07=9.0, d09=9.0), future=3)
    assert found["day"] == [day(n) for n in (5, 6, 7, 8)]
    assert found["units"] == [1.0, None, None, None]
    assert counts == {"future_rows": 3, "beyond_horizon": 1}


def test_training_sees_no_row_of_the_future() -> None:
    found, counts = series([*sold("a", d05=1.0, d06=9.0), *sold("b", d06=9.0)])
    assert found["day"] == [day(5)]
    assert counts == {"beyond_horizon": 2}


def test_bucket_of_future_rows_alone_trains_nothing() -> None:
    found, counts = series(sold("a", d06=9.0, d07=9.0), static=("units",))
    assert found["day"] == []
    assert counts == {"beyond_horizon": 2}


def test_partition_with_planned_rows_alone_has_its_future_steps() -> None:
    rows = [{"store": "a", "day": day(7), "promo": 1, "category": "x"}]
    found, counts = series([*sold("b", d05=1.0), *rows], future=3, static=("category",))
    assert found["store"] == ["b"] * 4 + ["a"] * 3
    assert found["day"][4:] == [day(6), day(7), day(8)]
    assert found["category"][4:] == ["x", "x", "x"]
    assert found[PROBLEM] == [None] * 7
    assert counts == {"future_rows": 6}


def test_planned_rows_keep_what_is_known_ahead_and_nothing_else() -> None:
    planned = {"store": "a", "category": "new", "promo": 1, "visitors": 99.0, "units": 99.0}
    rows = [
        {"store": "a", "day": day(5), "category": "old", "promo": 0, "visitors": 5.0, "units": 1.0},
        {**planned, "day": day(6)},
        {**planned, "day": day(7), "category": None},
    ]
    found, counts = series(rows, future=3, static=("category",), known_ahead=("promo",))
    assert found["promo"] == [0, 1, 1, None]
    assert found["category"] == ["old", "new", "old", "old"]
    assert found["visitors"] == [5.0, None, None, None]
    assert found["units"] == [1.0, None, None, None]
    assert counts["static category varies"] == 1


def test_columns_that_identify_rows_are_kept_ahead() -> None:
    rows = [
        {"store": "a", "day": day(5), "units": 1.0, "visitors": 1.0},
        {"store": "a", "day": day(6), "visitors": 2.0},
    ]
    found, _ = series(rows, future=2, ids=("visitors",))
    assert found["visitors"] == [1.0, 2.0, None]


def test_inserted_rows_have_the_static_values_before_them() -> None:
    rows = [
        {"store": "a", "day": day(1), "category": "x", "promo": 1, "visitors": 5.0, "units": 1.0},
        {"store": "a", "day": day(3), "category": "y", "promo": 2, "visitors": 6.0, "units": 2.0},
    ]
    found, counts = series(rows, future=1, static=("category",), known_ahead=("promo",))
    assert found["category"] == ["x", "x", "y", "y", "y", "y"]
    assert found["promo"] == [1, None, 2, None, None, None]
    assert found["visitors"] == [5.0, None, 6.0, None, None, None]
    assert counts["static category varies"] == 1


def test_rows_off_the_grid_are_left_out_and_told() -> None:
    hours = [datetime(2013, 9, 1), *(datetime(2013, 9, d, 10, 32) for d in (1, 2, 3, 4)), datetime(2013, 9, 2)]
    rows = bucket([{"store": "a", "day": h, "units": 1.0} for h in sorted(hours)], day=pa.timestamp("us"))
    table, counts = regularize(rows, plan(missing="zero", end=datetime(2013, 9, 3, tzinfo=BERLIN), future=1))
    assert table.column("day").to_pylist() == [datetime(2013, 9, d) for d in (1, 2, 3)]
    assert set(table.column(PROBLEM).to_pylist()) == {
        "3 rows are not on the grid of freq 'D': 2013-09-01 10:32:00, 2013-09-02 10:32:00, 2013-09-03 10:32:00; "
        "aggregate them in prepare, or correct freq"
    }
    assert counts == {"off_grid": 3, "future_rows": 1, "beyond_horizon": 1, "problems": 1}


def test_rows_without_a_time_are_told() -> None:
    rows = bucket([{"store": "a", "day": day(5), "units": 1.0}, {"store": "a", "day": None, "units": 2.0}])
    table, counts = regularize(rows, plan())
    assert table.column("units").to_pylist() == [1.0]
    assert table.column(PROBLEM)[0].as_py().startswith("1 row is not on the grid of freq 'D': no time; ")
    assert counts["off_grid"] == 1


def test_instants_are_told_by_the_wall_clock() -> None:
    rows = bucket([{"store": "a", "day": datetime(2013, 9, 5, 10, 30), "units": 1.0}], day=UTC_US)
    table, _ = regularize(rows, plan())
    assert "freq 'D': 2013-09-05 12:30:00+0200; " in table.column(PROBLEM)[0].as_py()


def test_several_rows_of_a_time_are_told_and_the_first_kept() -> None:
    rows = [*sold("a", d04=1.0), *sold("a", d04=2.0), *sold("a", d05=3.0), *sold("a", d05=4.0), *sold("a", d05=5.0)]
    found, counts = series(rows)
    assert found["units"] == [1.0, 3.0]
    assert found[PROBLEM][0] == (
        "2 dates have several rows: 2013-09-04, 2013-09-05; aggregate in prepare, or add Dedupe to treatments"
    )
    assert counts == {"duplicates": 3, "problems": 1}
    found, counts = series(rows, treatments=(Dedupe("sum"),))
    assert found["units"] == [3.0, 12.0]
    assert found[PROBLEM] == [None, None]
    assert counts == {"dedupe": 3}


def test_of_several_rows_the_first_alone_counts() -> None:
    """Its target, even if null, and its static values."""
    row = {"store": "a", "day": day(4), "category": "x", "units": None}
    rows = [row, {**row, "units": 1.0}, *({**row, "day": day(5), "category": c, "units": 2.0} for c in "yz")]
    found, counts = series(rows, static=("category",), missing="previous", future=1)
    assert found["day"] == [day(5), day(6)]
    assert found["units"] == [2.0, None]
    assert found["category"] == ["y", "y"]
    assert counts["leading"] == 1
    assert counts["duplicates"] == 2


@pytest.mark.parametrize("future", [0, 2])
def test_partition_without_any_target_is_not_lost(future: int) -> None:
    rows = [*sold("a", d01=None, d03=NAN), *sold("b", d05=1.0)]
    found, counts = series(rows, future=future, missing="zero")
    mine = [n for n, store in enumerate(found["store"]) if store == "a"]
    assert [found["day"][n] for n in mine] == ([day(6), day(7)] if future else [day(5)])
    assert [found["units"][n] for n in mine] == [None] * len(mine)
    assert {found[PROBLEM][n] for n in mine} == {None if future else "no row before 2013-09-06 has a target"}
    assert counts["leading"] == 2


def test_partition_of_rows_off_the_grid_alone_is_not_lost() -> None:
    rows = bucket([{"store": "a", "day": day(n), "category": "x", "units": 1.0} for n in (3, 4, 5)])
    table, counts = regularize(rows, plan(frequency="W-MON", static=("category",)))
    assert table.select(["store", "day", "category", "units"]).to_pylist() == [
        {"store": "a", "day": day(2), "category": "x", "units": None}
    ]
    assert table.column(PROBLEM).to_pylist() == [
        "3 rows are not on the grid of freq 'W-MON': 2013-09-03, 2013-09-04, 2013-09-05; aggregate them in prepare, or "
        "correct freq; no row before 2013-09-09 has a target"
    ]
    assert counts == {"off_grid": 3, "problems": 1}


def test_partition_whose_rows_are_all_dropped_is_gone() -> None:
    rows = [*sold("a", d04=-1.0), *sold("b", d05=1.0)]
    found, counts = series(rows, treatments=(Drop("units", below=0),), future=1)
    assert found["store"] == ["b", "b"]
    assert counts == {"drop units": 1, "future_rows": 1}


def test_problems_are_told_together_and_cut_at_500_characters() -> None:
    times = [datetime(2000 + n, 9, 1, 10, 32, 7, 5) for n in range(3)] + [datetime(2013, 9, 1)] * 2
    rows = bucket([{"store": "a", "day": t, "units": 1.0} for t in times], day=pa.timestamp("us"))
    known = ({"known_ahead": ("a_column_with_a_long_name",)}, pa.nulls(len(times), pa.float64()))
    rows = rows.append_column("a_column_with_a_long_name", known[1])
    table, _ = regularize(rows, plan(future=5, **known[0]))
    text = table.column(PROBLEM)[0].as_py()
    assert len(text) == 500
    assert text.endswith("...")
    assert text.startswith("known-ahead column 'a_column_with_a_long_name' has no value for 2013-09-06, 2013-09-07, ")
    assert "; 3 rows are not on the grid of freq 'D': 2000-09-01 10:32:07.000005, 2001" in text
    assert "; 1 date has several rows: 2013-09-01; " in text


def test_problem_is_told_of_its_partition_alone() -> None:
    found, counts = series([*sold("a", d04=1.0), *sold("b", d05=1.0), *sold("c", d03=1.0)])
    assert [bool(text) for text in found[PROBLEM]] == [True, True, False, True, True, True]
    assert found[PROBLEM][0].startswith("1 date has no row or no target: 2013-09-05; ")
    assert found[PROBLEM][-1].startswith("2 dates have no row or no target: 2013-09-04, 2013-09-05; ")
    assert counts == {"missing_dates": 3, "problems": 2}


def test_treatments_of_the_target_leave_planned_rows_alone() -> None:
    rows = [{"store": "a", "day": day(n), "promo": n, "units": None if n > 5 else -1.0} for n in (4, 5, 6, 7)]
    treatments = (Drop("units", null=True), Clip("units", lower=0), Fill("units", value=7), Clip("promo", 0, 6))
    found, counts = series(rows, future=2, known_ahead=("promo",), treatments=treatments)
    assert found["units"] == [0.0, 0.0, None, None]
    assert found["promo"] == [4, 5, 6, 6]
    assert counts == {"clip units": 2, "clip promo": 1, "future_rows": 2}


def test_previous_values_fill_planned_rows_and_inserted_ones() -> None:
    rows = [{"store": "a", "day": day(4), "promo": 3, "units": 1.0}, {"store": "a", "day": day(6), "promo": None}]
    treatments = (Fill("promo", previous=True), Clip("promo", upper=2))
    found, counts = series(rows, future=3, known_ahead=("promo",), treatments=treatments, missing="zero")
    assert found["promo"] == [2, 2, 2, 2, 2]
    assert found[PROBLEM] == [None] * 5
    assert counts["fill promo"] == 4


@pytest.mark.parametrize("missing", ["reject", "zero", "previous"])
@pytest.mark.parametrize("future", [0, 3])
def test_no_rows_make_no_series(missing: str, future: int) -> None:
    rows = bucket([{"store": "a", "day": day(1), "category": "x", "promo": 1, "units": 1.0}]).slice(0, 0)
    made = plan(
        missing=missing, future=future, static=("category",), known_ahead=("promo",), treatments=(Dedupe("sum"),)
    )
    table, counts = regularize(rows, made)
    assert table.num_rows == 0
    assert table.schema.remove(table.num_columns - 1) == rows.schema
    assert table.schema.field(PROBLEM).type == pa.dictionary(pa.int32(), pa.string())
    assert counts == {}


def test_weeks_months_and_ends_within_a_step() -> None:
    rows = bucket([{"store": "a", "day": date(2013, m, 1), "units": float(m)} for m in (5, 7, 8)])
    table, _ = regularize(rows, plan(frequency="MS", missing="zero", end=datetime(2013, 9, 6, tzinfo=BERLIN), future=2))
    assert table.column("day").to_pylist() == [date(2013, m, 1) for m in (5, 6, 7, 8, 9, 10, 11)]
    assert table.column("units").to_pylist() == [5, 0, 7, 8, 0, None, None]


def test_hours_of_a_day_of_25_hours_are_all_there() -> None:
    start, end = datetime(2013, 10, 26, 22), datetime(2013, 10, 28, tzinfo=BERLIN)
    rows = bucket([{"store": "a", "day": start, "units": 1.0}], day=UTC_US)
    table, counts = regularize(rows, plan(frequency="h", missing="zero", end=end))
    assert table.num_rows == 25
    assert counts == {"filled_dates": 24}
    table, _ = regularize(rows, plan(frequency="h", end=end))
    assert (
        table.column(PROBLEM)[0]
        .as_py()
        .startswith(
            "24 times have no row or no target: 2013-10-27 01:00:00+0200, 2013-10-27 02:00:00+0200, 2013-10-27 02:00:00+0100, ..."
        )
    )


@pytest.mark.parametrize(
    "values, expected",
    [
        pytest.param(["x", "x", "y", "y"], {}, id="one each"),
        pytest.param(["x", "y", "y", "y"], {"static category varies": 1}, id="one of two"),
        pytest.param(["x", "y", "x", "y"], {"static category varies": 2}, id="both"),
        pytest.param(["x", None, None, "y"], {}, id="nulls aside"),
    ],
)
def test_static_columns_that_vary_are_counted_by_partition(values: list[Any], expected: dict[str, int]) -> None:
    rows = bucket([{"store": s, "category": v, "day": day(1)} for s, v in zip("aabb", values, strict=True)])
    assert check_static(rows, plan(static=("category",))) == expected


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"target": "sales"}, "fleet 'demand': the prepared rows have no column 'sales'; they have store, day, units"),
        ({"static": ("category",), "known_ahead": ("promo",)}, "no column 'category', 'promo'"),
        ({"frequency": "h"}, "fleet 'demand', time column 'day': freq 'h' on a time of type date32"),
        ({"time": "store"}, "fleet 'demand', time column 'store': a time of type string"),
        ({"treatments": (Clip("price", 0, 1),)}, "fleet 'demand': treatments name column 'price'"),
    ],
)
def test_rows_that_do_not_suit_the_plan_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        regularize(bucket(sold("a", d01=1.0)), plan(**changes))


def test_series_of_absurd_length_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regular, "_MOST", 1000)
    rows = bucket([*sold("b", d01=1.0), {"store": "a", "day": date(1, 1, 1), "units": 1.0}])
    with pytest.raises(
        DataError,
        match=r"fleet 'demand': the series of one bucket .* of partition 'store=a', 73.... from 0001-01-01 on",
    ):
        regularize(rows, plan())


@pytest.mark.parametrize(
    "stores, days, message",
    [("aa", (2, 1), "not sorted by time"), ("aba", (1, 1, 2), "not together")],
)
def test_rows_in_another_order_are_refused(stores: str, days: tuple[int, ...], message: str) -> None:
    rows = bucket([{"store": s, "day": day(n), "units": 1.0} for s, n in zip(stores, days, strict=True)])
    with pytest.raises(ValueError, match=message):
        regularize(rows, plan())


def test_plan_of_a_spec_names_its_columns() -> None:
    spec = FleetSpec(
        name="demand",
        owner="team",
        timezone="Europe/Berlin",
        data=Data(SqlTable("pos", "sales", time="sold_on"), prepare="package.module:prepare"),
        partition_by=("store",),
        problem=Forecast(target="units", freq="D", horizon=7, missing="zero"),
        features=Features(known_ahead=("promo",), static=("category",)),
        treatments=(Dedupe("sum"),),
        model="package.module:build",
    )
    end = datetime(2013, 9, 6, tzinfo=BERLIN)
    lookup = Lookup("calendar", pa.table({"day": [day(1)], "promo": [1]}), "day", (), ("promo",))
    made = SeriesPlan.of(spec, end=end, future=7, lookups=[lookup])
    assert made == plan(
        time="sold_on",
        static=("category",),
        known_ahead=("promo",),
        missing="zero",
        future=7,
        treatments=(Dedupe("sum"),),
        lookups=(lookup,),
    )
    assert pickle.loads(pickle.dumps(made)) == made  # it goes to Spark's workers
    with pytest.raises(ValueError, match="'demand' is no forecast"):
        SeriesPlan.of(spec.model_copy(update={"problem": Regression(target="units")}), end=end, future=0)


def test_partition_without_history_gives_no_plan_a_problem() -> None:
    """New partitions are the business of fallbacks: planned rows, or rows without a target yet, are no problem."""
    rows = [{"store": "a", "day": day(n), "promo": 1, "units": None} for n in (4, 6)]
    found, _ = series(rows, future=1, known_ahead=("promo",))
    assert found["day"] == [day(6)]
    assert found[PROBLEM] == [None]


def test_result_depends_on_the_plan_alone() -> None:
    rows, made = bucket(sold("a", d01=1.0, d04=2.0)), plan(future=2)
    assert regularize(rows, made)[0].equals(regularize(rows, replace(made))[0])
