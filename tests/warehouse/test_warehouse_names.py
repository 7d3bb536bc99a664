"""Names: of tables and views, and of the columns a fleet may have."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from warehouse_cases import forecast, issue, load, observe, observed, picked, scored

from modelfleet.errors import DataError
from modelfleet.warehouse import Warehouse, check_columns, latest_view, predictions_table, reserved_columns
from modelfleet.warehouse.names import actuals_table, forecast_actuals_view, forecast_view, quantile_of

ODD = (
    'sel"ect "from" \'t\'',
    "order",
    "Größe 東京 🛫",
    "100% %s %(x)s",
    "a:b ::c",
    "semi;colon --",
    "(par) [en]",
    "d.o.t",
    "MixedCase",
    "$1 ?",
    "back\\slash",
    " ",
    "x" * 63,
)


def test_odd_identifiers_round_trip_and_evolve(warehouse: Warehouse) -> None:
    first, rest = ODD[0], ODD[1:]
    table = scored(1)
    for name in ODD:
        table = table.append_column(name, pa.array([name]))
    load(warehouse, table, key_columns=(first,), id_columns=())
    load(warehouse, table, key_columns=(first,), id_columns=rest)
    found = warehouse.predictions("delays").to_pylist()
    assert [{name: row[name] for name in ODD} for row in found] == [{name: name for name in ODD}]


def test_longest_fleet_names_have_tables_and_views_of_their_own(warehouse: Warehouse) -> None:
    fleets = ["f" * 62 + end for end in "ab"]
    for n, fleet in enumerate(fleets, start=1):
        load(warehouse, scored(n), fleet=fleet)
    assert [warehouse.predictions(fleet).num_rows for fleet in fleets] == [1, 2]
    names = {name(fleet) for fleet in fleets for name in (predictions_table, latest_view)}
    assert len(names) == 4
    assert max(map(len, names)) <= 63


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        *(pytest.param((name,), rf"column '{name}' clashes", id=name) for name in sorted(reserved_columns())),
        pytest.param(("Interval",), "'Interval' clashes", id="other case"),
        pytest.param(("dest", "Dest"), "'dest' and 'Dest' differ only in case", id="case"),
        pytest.param(("é" * 32,), "1 to 63 bytes", id="long"),
        pytest.param(("",), "1 to 63 bytes", id="empty"),
        pytest.param(("a\0",), "NUL", id="nul"),
    ],
)
def test_columns_a_table_cannot_have_are_refused_by_name(columns: tuple[str, ...], match: str) -> None:
    with pytest.raises(DataError, match=match):
        check_columns("delays", columns)


def test_odd_identifiers_of_forecasts_round_trip_and_evolve(warehouse: Warehouse) -> None:
    first, rest = ODD[1], ODD[2:]
    table, actuals = (t.rename_columns({"day": ODD[0]}) for t in (forecast(2, [1.0]), observed(2, [3.0])))
    for name in ODD[1:]:
        table, actuals = (t.append_column(name, pa.array([name])) for t in (table, actuals))
    issue(warehouse, 1, table, key_columns=(first,), time_column=ODD[0])
    for turn in (1, 2):
        issue(warehouse, turn, table, key_columns=(first, *rest), time_column=ODD[0], attempt="a2", hour=1)
        observe(warehouse, turn, actuals, key_columns=(first, *rest), time_column=ODD[0])
    found = warehouse.forecast_actuals("demand").to_pylist()
    assert [{name: row[name] for name in ODD[1:]} for row in found] == [{name: name for name in ODD[1:]}] * 2
    assert picked(warehouse.forecasts("demand"), ODD[0], ODD[7]) == [(2, ODD[7])]
    assert picked(warehouse.actuals("demand"), ODD[0], ODD[7], "actual") == [(2, ODD[7], 3.0)]


RELATIONS = (predictions_table, latest_view, actuals_table, forecast_view, forecast_actuals_view)
NEIGHBOURS = ["a", "a_forecast", "a_forecast_forecast", "a_actuals", "a_predictions", "a_forecast_actuals", "_forecast"]


@pytest.mark.parametrize("longest", [False, True], ids=["short", "63 characters"])
def test_no_two_fleets_share_a_table_or_view(longest: bool) -> None:
    fleets = [f"{name:f>63}" if longest else name for name in NEIGHBOURS]
    names = [name(fleet) for fleet, name in itertools.product(fleets, RELATIONS)]
    assert len({name.lower() for name in names}) == len(fleets) * len(RELATIONS)
    assert max(map(len, names)) <= 63
    assert actuals_table("demand") == "demand_actuals"


def test_fleet_named_as_anothers_view_has_actuals_of_its_own(warehouse: Warehouse) -> None:
    for fleet, value in (("demand", 1.0), ("demand_forecast", 2.0)):
        issue(warehouse, 1, forecast(2, [value]), fleet=fleet)
        observe(warehouse, 2, observed(2, [10 * value]), fleet=fleet)
    for fleet, value in (("demand", 1.0), ("demand_forecast", 2.0)):
        assert picked(warehouse.forecast_actuals(fleet), "prediction", "actual") == [(value, 10 * value)]


@pytest.mark.parametrize(
    ("column", "percent"),
    [("q10", 10.0), ("q2_5", 2.5), ("q99_99", 99.99), ("q0_01", 0.01), ("q", None), ("q100", None), ("Q10", None),
     ("q10_", None), ("q1a", None), ("quantity", None), ("q\u0661", None)],
)  # fmt: skip
def test_quantile_is_read_from_a_columns_name(column: str, percent: float | None) -> None:
    assert quantile_of(column) == percent


@pytest.mark.parametrize("name", sorted(reserved_columns(forecast=True) - reserved_columns()))
def test_columns_of_the_views_of_forecasts_are_reserved_for_those_alone(warehouse: Warehouse, name: str) -> None:
    table = scored(1).append_column(name, pa.array([1.0]))
    load(warehouse, table, id_columns=(name,))
    assert warehouse.predictions("delays")[name].to_pylist() == [1.0]
    with pytest.raises(DataError, match=f"column '{name}' clashes"):
        issue(warehouse, 1, forecast(2, [1.0]).append_column(name, pa.array([1])), key_columns=("store", name))


def test_key_column_named_like_a_quantile_is_no_quantile(warehouse: Warehouse) -> None:
    table = forecast(2, [1.0], q10=[0.0], q90=[2.0]).append_column("q1", pa.array([4]))
    issue(warehouse, 1, table, key_columns=("store", "q1"))
    observe(warehouse, 2, observed(2, [1.0]))
    assert picked(warehouse.forecast_actuals("demand"), "q1", "covered") == [(4, 1)]


def test_quantile_that_differs_from_a_column_in_case_only_is_refused(warehouse: Warehouse) -> None:
    table = forecast(2, [1.0], q10=[0.0]).append_column("Q10", pa.array(["x"]))
    with pytest.raises(DataError, match="columns 'Q10' and 'q10' differ only in case"):
        issue(warehouse, 1, table, key_columns=("store", "Q10"))
