"""Forecasts: the latest of each target time, and each beside what came true."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from warehouse_cases import ISSUED, day, forecast, issue, load, observe, observed, picked, rows, scored

from modelfleet.errors import DataError, NotFoundError
from modelfleet.warehouse import Warehouse

LATEST = ("store", "day", "prediction", "interval", "step")
MET = ("interval", "store", "day", "prediction", "actual", "error")


def test_forecast_is_stored_with_step_and_quantiles(warehouse: Warehouse) -> None:
    assert issue(warehouse, 1, forecast(2, [5.0], q10=[3.0], q97_5=[8.0])) == 1
    expected = {
        "store": 1,
        "day": day(2),
        "step": 1,
        "prediction": 5.0,
        "probability": None,
        "q10": 3.0,
        "q97_5": 8.0,
        "source": "model",
        "partition": "store=1",
        "model_version": 7,
        "interval": "2013-10-01",
        "issued_at": ISSUED,
        "attempt": "a1",
    }
    assert warehouse.predictions("demand").to_pylist() == [expected]
    assert warehouse.forecasts("demand").to_pylist() == [expected]
    assert list(warehouse.forecasts("demand").column_names) == list(expected)


def test_latest_forecast_of_a_day_is_the_newest_intervals_that_covers_it(warehouse: Warehouse) -> None:
    issue(warehouse, 2, forecast(3, [21.0, 22.0]))
    issue(warehouse, 1, forecast(2, [11.0, 12.0, 13.0, 14.0]), hour=9)  # issued later, but of an older interval
    assert picked(warehouse.forecasts("demand"), *LATEST) == [
        (1, 2, 11.0, "2013-10-01", 1),
        (1, 3, 21.0, "2013-10-02", 1),
        (1, 4, 22.0, "2013-10-02", 2),
        (1, 5, 14.0, "2013-10-01", 4),
    ]


def test_issue_that_is_replaced_is_kept_but_in_no_view(warehouse: Warehouse) -> None:
    issue(warehouse, 1, forecast(2, [1.0, 1.0]), attempt="b", hour=0)
    issue(warehouse, 1, forecast(2, [2.0, 2.0]), attempt="a", hour=1)
    issue(warehouse, 2, forecast(3, [3.0]), attempt="a", hour=2)
    observe(warehouse, 3, observed(2, [4.0, 4.0]))
    assert warehouse.predictions("demand", latest=False).num_rows == 5
    assert picked(warehouse.forecasts("demand"), "day", "prediction") == [(2, 2.0), (3, 3.0)]
    assert picked(warehouse.forecast_actuals("demand"), *MET) == [
        ("2013-10-01", 1, 2, 2.0, 4.0, -2.0),
        ("2013-10-01", 1, 3, 2.0, 4.0, -2.0),
        ("2013-10-02", 1, 3, 3.0, 4.0, -1.0),
    ]


def test_partition_that_the_last_issue_lacks_has_its_forecast_of_the_interval_before(warehouse: Warehouse) -> None:
    both = pa.concat_tables([forecast(3, [21.0]), forecast(3, [22.0], store=2)])
    issue(warehouse, 1, pa.concat_tables([forecast(3, [11.0]), forecast(3, [12.0], store=2)]))
    issue(warehouse, 2, both, attempt="a1")
    issue(warehouse, 2, forecast(3, [31.0]), attempt="a2", hour=1)
    assert picked(warehouse.forecasts("demand"), "store", "prediction") == [(1, 31.0), (2, 12.0)]
    issue(warehouse, 2, both.slice(0, 0), attempt="a3", hour=2)
    assert picked(warehouse.forecasts("demand"), "store", "prediction") == [(1, 11.0), (2, 12.0)]


def test_fleets_do_not_see_each_others_forecasts_or_actuals(warehouse: Warehouse) -> None:
    for fleet, value in (("demand", 1.0), ("returns", 2.0)):
        issue(warehouse, 1, forecast(2, [value]), fleet=fleet, attempt="z")
        observe(warehouse, 2, observed(2, [10 * value]), fleet=fleet)
    assert picked(warehouse.forecast_actuals("demand"), "prediction", "actual") == [(1.0, 10.0)]
    assert picked(warehouse.forecast_actuals("returns"), "prediction", "actual") == [(2.0, 20.0)]


def test_forecast_beside_a_restated_actual_has_its_new_error(warehouse: Warehouse) -> None:
    issue(warehouse, 1, forecast(2, [5.0, 6.0, 7.0]))
    assert picked(warehouse.forecast_actuals("demand"), *MET) == []
    observe(warehouse, 2, observed(2, [4.0]))
    observe(warehouse, 3, observed(3, [None]), hour=24)
    assert picked(warehouse.forecast_actuals("demand"), *MET) == [("2013-10-01", 1, 2, 5.0, 4.0, 1.0)]
    observe(warehouse, 4, observed(2, [4.5, 6.5]), hour=48)
    assert picked(warehouse.forecast_actuals("demand"), *MET) == [
        ("2013-10-01", 1, 2, 5.0, 4.5, 0.5),
        ("2013-10-01", 1, 3, 6.0, 6.5, -0.5),
    ]


@pytest.mark.parametrize(
    ("quantiles", "actual", "covered"),
    [
        pytest.param({"q10": 3.0, "q50": 5.0, "q90": 7.0}, 4.0, 1, id="inside"),
        pytest.param({"q10": 3.0, "q90": 7.0}, 3.0, 1, id="at the lower"),
        pytest.param({"q10": 3.0, "q90": 7.0}, 7.0, 1, id="at the upper"),
        pytest.param({"q10": 3.0, "q90": 7.0}, 2.9, 0, id="below"),
        pytest.param({"q90": 7.0, "q50": 5.0, "q10": 3.0}, 7.1, 0, id="above, columns in another order"),
        pytest.param({"q2_5": 1.0, "q10": 3.0, "q90": 7.0, "q97_5": 9.0}, 2.0, 1, id="the outermost count"),
        pytest.param({"q9_5": 3.0, "q10": 3.5, "q90": 7.0}, 3.2, 1, id="sorted by number, not as text"),
        pytest.param({"q50": 5.0, "q90": 7.0}, 4.0, 0, id="one-sided"),
        pytest.param({"q10": None, "q90": None}, 4.0, None, id="none given"),
        pytest.param({"q10": math.nan, "q90": 7.0}, 4.0, None, id="one is NaN"),
    ],
)
def test_actual_is_covered_by_the_outermost_quantiles(
    warehouse: Warehouse, quantiles: dict[str, float | None], actual: float, covered: int | None
) -> None:
    columns = {name: pa.array([value], pa.float64()) for name, value in quantiles.items()}
    issue(warehouse, 1, forecast(2, [5.0], **columns))
    observe(warehouse, 2, observed(2, [actual]))
    assert picked(warehouse.forecast_actuals("demand"), "covered") == [(covered,)]
    assert rows(warehouse, 'SELECT "covered" FROM "demand_forecast_actuals"') == [(covered,)]


@pytest.mark.parametrize("columns", [pytest.param({}, id="none"), pytest.param({"q50": [5.0]}, id="one")])
def test_forecasts_with_fewer_than_two_quantiles_have_no_coverage(
    warehouse: Warehouse, columns: dict[str, Any]
) -> None:
    issue(warehouse, 1, forecast(2, [5.0], **columns))
    observe(warehouse, 2, observed(2, [4.0]))
    assert "covered" not in warehouse.forecast_actuals("demand").column_names


def test_each_issue_is_covered_by_its_own_quantiles(warehouse: Warehouse) -> None:
    issue(warehouse, 1, forecast(2, [5.0, 5.0]))
    issue(warehouse, 2, forecast(3, [5.0, 5.0], q10=[3.0, 3.0], q90=[7.0, 7.0]))
    issue(warehouse, 3, forecast(4, [5.0, 5.0], q5=[1.0, 1.0], q95=[9.0, 9.0]))
    issue(warehouse, 4, forecast(5, [5.0], q50=[2.0]))
    observe(warehouse, 5, observed(2, [2.0] * 4))
    assert picked(warehouse.forecast_actuals("demand"), "interval", "day", "covered") == [
        ("2013-10-01", 2, None),
        ("2013-10-01", 3, None),
        ("2013-10-02", 3, 0),
        ("2013-10-02", 4, 0),
        ("2013-10-03", 4, 1),
        ("2013-10-03", 5, 1),
        ("2013-10-04", 5, None),
    ]


def test_forecast_without_a_number_is_null_with_neither_error_nor_coverage(warehouse: Warehouse) -> None:
    nothing = pa.array([math.nan, math.inf], pa.float64())
    issue(warehouse, 1, forecast(2, [math.nan, -math.inf], q10=nothing, q90=nothing))
    observe(warehouse, 3, observed(2, [1.0, 2.0]))
    assert picked(warehouse.forecasts("demand"), "prediction", "q10", "q90") == [(None, None, None)] * 2
    assert picked(warehouse.forecast_actuals("demand"), "prediction", "actual", "error", "covered") == [
        (None, 1.0, None, None),
        (None, 2.0, None, None),
    ]


# Time


def _at(moments: list[Any], values: list[float], kind: pa.DataType) -> pa.Table:
    return forecast(1, values).set_column(1, "day", pa.array(moments, kind))


@pytest.mark.parametrize(
    ("kind", "moments"),
    [
        pytest.param(pa.date32(), [date(2013, 10, 27), date(2013, 10, 28)], id="dates"),
        pytest.param(pa.timestamp("us"), [datetime(2013, 10, 27), datetime(2013, 10, 27, 0, 15)], id="wall clock"),
        pytest.param(
            pa.timestamp("us", "Europe/Berlin"),
            [
                datetime(2013, 3, 31, tzinfo=ZoneInfo("Europe/Berlin")),
                datetime(2013, 4, 1, tzinfo=ZoneInfo("Europe/Berlin")),
            ],
            id="days of 23 hours",
        ),
        pytest.param(
            pa.timestamp("us", "Europe/Berlin"),
            [datetime(2013, 10, 27, 0, tzinfo=UTC), datetime(2013, 10, 27, 1, tzinfo=UTC)],
            id="the hour that comes twice",
        ),
        pytest.param(pa.timestamp("ns", "UTC"), [ISSUED, ISSUED + timedelta(microseconds=1)], id="nanoseconds"),
    ],
)
def test_forecasts_meet_the_actuals_of_the_same_moment(
    warehouse: Warehouse, kind: pa.DataType, moments: list[Any]
) -> None:
    issue(warehouse, 1, _at(moments, [1.0, 2.0], kind))
    actuals = observed(1, [10.0, 20.0]).set_column(1, "day", pa.array(moments, kind))
    if pa.types.is_timestamp(kind) and kind.tz:
        actuals = actuals.set_column(1, "day", actuals["day"].cast(pa.timestamp("us", "America/New_York")))
    observe(warehouse, 2, actuals)
    found = warehouse.forecast_actuals("demand")
    assert picked(found, "prediction", "actual") == [(1.0, 10.0), (2.0, 20.0)]
    assert found["day"].to_pylist() == moments
    assert picked(warehouse.forecasts("demand", start=moments[1]), "prediction") == [(2.0,)]
    assert picked(warehouse.forecasts("demand", end=moments[1]), "prediction") == [(1.0,)]


@pytest.mark.parametrize("forecast_first", [True, False], ids=["forecast first", "actuals first"])
def test_actuals_whose_times_are_of_another_type_are_refused(warehouse: Warehouse, forecast_first: bool) -> None:
    of_days, of_moments = forecast(2, [1.0]), _at([ISSUED], [1.0], pa.timestamp("us", "UTC"))
    if forecast_first:
        issue(warehouse, 1, of_days)
        with pytest.raises(DataError, match="time column 'day' is instant, and date in the predictions"):
            observe(warehouse, 2, of_moments, target="prediction")
    else:
        observe(warehouse, 2, of_moments, target="prediction")
        with pytest.raises(DataError, match="'day' is instant in the warehouse, and now date"):
            issue(warehouse, 1, of_days)


# Reading


def test_forecasts_are_read_by_partition_interval_and_time(warehouse: Warehouse) -> None:
    for interval in (1, 2):
        values = [float(interval * 10 + n) for n in (1, 2, 3)]
        issue(warehouse, interval, pa.concat_tables([forecast(interval + 1, values, store=s) for s in (2, 1)]))
    observe(warehouse, 5, pa.concat_tables([observed(1, [0.0] * 5, store=s) for s in (1, 2)]))
    assert picked(warehouse.forecasts("demand", partition="store=2"), "day", "prediction") == [
        (2, 11.0), (3, 21.0), (4, 22.0), (5, 23.0)]  # fmt: skip
    assert picked(warehouse.forecasts("demand", start=day(4), end=day(5)), "store", "prediction") == [
        (1, 22.0), (2, 22.0)]  # fmt: skip
    found = warehouse.forecast_actuals("demand", interval="2013-10-01", partition="store=1", start=day(3))
    assert picked(found, "interval", "store", "day") == [("2013-10-01", 1, 3), ("2013-10-01", 1, 4)]
    assert picked(warehouse.actuals("demand", partition="store=2", end=day(3)), "store", "day") == [(2, 1), (2, 2)]


def test_fleet_without_forecasts_or_actuals_is_not_found(warehouse: Warehouse) -> None:
    load(warehouse, scored(1))
    for read in (warehouse.forecasts, warehouse.forecast_actuals):
        for fleet in ("delays", "demand"):
            with pytest.raises(NotFoundError, match=rf"'{fleet}' has no forecasts yet"):
                read(fleet)
    with pytest.raises(NotFoundError, match=r"'demand' has no actuals yet"):
        warehouse.actuals("demand")
