"""Values on their way in and out of the warehouse."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warehouse_cases import ISSUED, T0, load, rows, scored

from modelfleet.warehouse import Warehouse


def test_nan_and_infinity_become_null(warehouse: Warehouse) -> None:
    given = [1.0, math.nan, math.inf, -math.inf, None]
    table = scored(5, probability=pa.array(given)).set_column(4, "prediction", pa.array(given))
    load(warehouse, table)
    found = warehouse.predictions("delays").sort_by("flight")
    assert found["prediction"].to_pylist() == found["probability"].to_pylist() == [1.0, None, None, None, None]
    assert rows(warehouse, 'SELECT count(*) FROM "delays_predictions" WHERE "prediction" IS NULL') == [(4,)]


def test_values_are_stored_as_documented(warehouse: Warehouse) -> None:
    day = pa.array([date(2013, 10, 1)])
    flag = pa.array([True])
    table = scored(1, day=day, flag=flag, price=pa.array([Decimal("10.50")]))
    load(warehouse, table, id_columns=("day", "flag", "price"))
    found = rows(warehouse, 'SELECT "departed_at", "issued_at", "day", "flag", "price" FROM "delays_predictions"')
    if warehouse.database.dialect == "sqlite":
        assert found == [("2013-10-01 00:00:00.000000", "2013-10-02 05:00:00.000000", "2013-10-01", 1, "10.50")]
    else:
        assert found == [(T0, ISSUED, date(2013, 10, 1), True, Decimal("10.50"))]


_INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_INTS = st.integers(-(2**63), 2**63 - 1)
_TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (pa.int64(), _INTS),
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint64(), st.integers(0, 2**63 - 1)),
    (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    (pa.float32(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    (pa.string(), _TEXTS),
    (pa.large_string(), _TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), _TEXTS),
    (pa.bool_(), st.booleans()),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), _INSTANTS),
    (pa.timestamp("us", "UTC"), _INSTANTS.map(lambda t: t.replace(tzinfo=UTC))),
    (pa.timestamp("us", "America/New_York"), _INSTANTS.map(lambda t: t.replace(tzinfo=UTC))),
    (pa.decimal128(20, 4), st.decimals(-(10**15), 10**15, places=4)),
    (pa.binary(), st.binary(max_size=20)),
]


@st.composite
def _columns(draw: st.DrawFn) -> tuple[list[Any], list[list[Any]]]:
    """Types of some columns, and rows of values for them."""
    chosen = draw(st.lists(st.sampled_from(_TYPED), min_size=1, max_size=5))
    values = st.tuples(*(st.none() | strategy for _, strategy in chosen))
    return [type_ for type_, _ in chosen], [list(row) for row in draw(st.lists(values, max_size=8))]


_fleets = (f"h{n}" for n in count())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_columns())
def test_predictions_of_any_types_round_trip(warehouse: Warehouse, drawn: tuple[list[Any], list[list[Any]]]) -> None:
    types, values = drawn
    fleet, names = next(_fleets), [f"c{i}" for i in range(len(types))]
    table = scored(len(values))
    for i, (name, type_) in enumerate(zip(names, types, strict=True)):
        table = table.append_column(name, pa.array([row[i] for row in values], type_))
    load(warehouse, table, fleet=fleet, key_columns=names)
    found = warehouse.predictions(fleet).sort_by("flight").to_pylist()
    assert [[row[name] for name in names] for row in found] == values
