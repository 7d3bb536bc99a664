"""The exact counts of every partition: as a plain pandas computation gives them, whatever the buckets."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import Forecast, Training
from modelfleet.exploring.partitions import Measured, measure
from modelfleet.exploring.profile import look
from prepared_bench import prepared, readings, shops

FIRST = np.datetime64("2024-01-01")
ROW = st.tuples(
    st.sampled_from(["a", "b", "ü/ä", None]),
    st.integers(0, 40),
    st.sampled_from([0.0, 1.5, 2.0, None, float("inf")]),
    st.sampled_from([1.0, None]),
)


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    shop, day, units, price = zip(*rows, strict=True)
    return pa.table(
        {
            "shop": pa.array(shop, pa.string()),
            "day": pa.array(FIRST + np.array(day, "m8[D]")),
            "units": pa.array(units, pa.float64()),
            "price": pa.array(price, pa.float64()),
        }
    )


def by_hand(rows: pa.Table) -> pd.DataFrame:
    """One partition after the other, in the words of the docstring."""
    frame = rows.to_pandas(date_as_object=False)
    found = []
    for shop, one in frame.groupby("shop", dropna=False):
        known = one[np.isfinite(one["units"])]
        shown = known if len(known) else one
        days = sorted(set(shown["day"]))
        pauses = [(b - a).days - 1 for a, b in pairwise(days)]
        found.append(
            {
                "shop": shop if isinstance(shop, str) else None,
                "rows": len(one),
                "targets": len(known),
                "null_targets": int(one["units"].isna().sum()),
                "infinite_targets": int(np.isinf(one["units"]).sum()),
                "zero_targets": int((one["units"] == 0).sum()),
                "duplicates": len(one) - one["day"].nunique(),
                "first": days[0],
                "last": days[-1],
                "gaps": sum(pauses),
                "longest_gap": max(pauses, default=0),
                "mean": known["units"].mean(),
                "squares": ((known["units"] - known["units"].mean()) ** 2).sum(),
                "low": known["units"].min(),
                "high": known["units"].max(),
            }
        )
    return pd.DataFrame(found).sort_values("rows", kind="stable")


def measured(rows: pa.Table, *, buckets: int = 3) -> Measured:
    return measure(prepared(rows, shops(), buckets=buckets))


@given(rows=st.lists(ROW, min_size=1, max_size=60))
def test_counts_of_partitions_equal_a_computation_one_by_one(rows: list[tuple[Any, ...]]) -> None:
    given_rows = table(rows)
    found = measured(given_rows)

    expected = by_hand(given_rows)
    names = {"a": "shop=a", "b": "shop=b", "ü/ä": "shop=%C3%BC%2F%C3%A4", None: "shop=!null"}
    expected.index = pd.Index([names[shop] for shop in expected["shop"]])
    columns = [name for name in expected.columns if name != "shop"]
    actual = found.partitions.set_index("partition").loc[expected.index, columns]
    pd.testing.assert_frame_equal(actual, expected[columns], check_dtype=False, check_index_type=False, rtol=1e-12)
    frame = given_rows.to_pandas()
    assert found.identical == int(frame.duplicated().sum())
    assert int(found.days["rows"].sum()) == len(rows)


def test_counts_do_not_depend_on_the_number_of_buckets() -> None:
    rng = np.random.default_rng(5)
    rows = table([(f"shop {n}", day, float(rng.normal()), None) for n in range(40) for day in range(30)])
    one, many = (measured(rows, buckets=count) for count in (1, 7))

    places = ["bucket", "start"]
    pd.testing.assert_frame_equal(one.partitions.drop(columns=places), many.partitions.drop(columns=places))
    pd.testing.assert_frame_equal(one.days, many.days)
    for part, (known, total) in one.calendar.items():
        assert known.tolist() == many.calendar[part][0].tolist()
        assert total == pytest.approx(many.calendar[part][1])


@pytest.mark.parametrize(
    "freq, zone, times, gaps",
    [
        pytest.param("D", "UTC", ["2024-03-01", "2024-03-02", "2024-03-05"], 2, id="days"),
        pytest.param("W-SUN", "UTC", ["2024-03-03", "2024-03-10", "2024-03-31"], 2, id="weeks"),
        pytest.param("MS", "UTC", ["2023-11-01", "2023-12-01", "2024-03-01"], 2, id="months"),
        pytest.param("h", "Europe/Berlin", ["2024-03-31T00:00Z", "2024-03-31T01:00Z"], 0, id="clocks go forward"),
        pytest.param("h", "Europe/Berlin", ["2023-10-29T00:00Z", "2023-10-29T02:00Z"], 1, id="clocks go back"),
        pytest.param("15min", "UTC", ["2024-03-01T00:00Z", "2024-03-01T01:00Z"], 3, id="quarters of an hour"),
    ],
)
def test_gaps_are_steps_of_the_series_without_a_target(freq: str, zone: str, times: list[str], gaps: int) -> None:
    moments = pa.array(times).cast(pa.timestamp("us", "UTC") if times[0].endswith("Z") else pa.date32())
    rows = pa.table({"shop": ["a"] * len(times), "day": moments, "units": [1.0] * len(times)})
    spec = shops(problem=Forecast(target="units", freq=freq, horizon=1), timezone=zone, features=())

    found = measure(prepared(rows, spec)).partitions

    assert found["gaps"].tolist() == [gaps]
    assert found["longest_gap"].tolist() == [gaps]


def days(shop: str, first: str, last: str, *, units: float | None = 1.0) -> list[tuple[Any, ...]]:
    span = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    return [(shop, int((day - FIRST).astype(int)), units, 1.0) for day in span]


LIVES = [
    *days("old", "2024-01-01", "2024-03-31"),
    *days("just in time", "2024-03-17", "2024-03-31"),
    *days("new", "2024-03-18", "2024-03-31"),
    *days("over", "2024-01-01", "2024-03-17"),
    *days("untold", "2024-01-01", "2024-03-31", units=None),
]


@pytest.mark.parametrize("kind", ["forecast", "regression"])
def test_short_new_and_ended_partitions_are_seen_from_the_holdout(kind: str) -> None:
    training = Training(min_rows=15) if kind == "forecast" else Training(min_rows=15, holdout="14D")
    rows = table(LIVES)
    if kind == "regression":
        rows = rows.rename_columns(["shop", "at", "units", "price"]).set_column(
            1, "at", rows.column("day").cast(pa.timestamp("us"))
        )
    spec = shops(training=training) if kind == "forecast" else readings(training=training)

    found = look(prepared(rows, spec))

    assert set(found.short["partition"]) == {"shop=new", "shop=untold"}
    assert set(found.new["partition"]) == {"shop=new"}
    assert set(found.ended["partition"]) == {"shop=over"}


def test_holdout_of_instants_is_cut_on_the_fleets_clock() -> None:
    last = pa.array(["2024-03-18T03:30Z", "2024-03-18T04:30Z"]).cast(pa.timestamp("us", "UTC"))
    rows = pa.table({"shop": ["before", "inside"], "at": last, "units": [1.0, 2.0], "price": [1.0, 2.0]})

    found = look(prepared(rows, readings(timezone="America/New_York")))  # midnight is 04:00 in UTC

    assert found.new["partition"].tolist() == ["shop=inside"]
    assert sorted(found.partitions["first"].astype(str)) == ["2024-03-17 23:30:00", "2024-03-18 00:30:00"]


def test_series_made_regular_keep_what_is_wrong_with_them() -> None:
    rows = [*days("whole", "2024-01-01", "2024-03-31"), *days("holed", "2024-01-01", "2024-02-01")]
    rows += [*days("holed", "2024-02-04", "2024-03-31"), *days("twice", "2024-01-01", "2024-03-31")]
    rows += days("twice", "2024-03-01", "2024-03-01", units=3.0)

    found = look(prepared(table(rows), shops(), regular=True))

    assert found.rows == 3 * 91, "gapless"
    assert found.partitions.set_index("partition")["gaps"].to_dict() == {
        "shop=whole": 0,
        "shop=holed": 2,
        "shop=twice": 0,
    }
    assert set(found.troubled["partition"]) == {"shop=holed", "shop=twice"}
    assert found.treated["missing_dates"] == 2
    assert "2024-02-02" in str(found.troubled.set_index("partition").loc["shop=holed", "problem"])
