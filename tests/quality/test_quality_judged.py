"""Quality: the spec's checks judged by Great Expectations equal a plain computation."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet.quality import checks
from modelfleet.spec import Expectation, Quality
from quality_bench import FLIGHTS, expect, judged

# short forms: quality, rows that fail, or None for checks about the whole table with what they observed
SHORT_FORMS = [
    pytest.param({"not_null": ("carrier",)}, [2], id="not-null"),
    pytest.param({"not_null": ("delay",)}, [1, 2], id="not-null-takes-nan-as-null"),
    pytest.param({"not_null": ("nothing",)}, [0, 1, 2, 3, 4], id="not-null-all-null"),
    pytest.param({"not_null": ("at",)}, [], id="not-null-passes"),
    pytest.param({"between": {"distance": (0, 6000)}}, [1, 4], id="between-integers-with-null"),
    pytest.param({"between": {"distance": (None, 500)}}, [1], id="between-open-below"),
    pytest.param({"between": {"distance": (-1, None)}}, [], id="between-open-above-passes"),
    pytest.param({"between": {"delay": (1, 4)}}, [4], id="between-floats-with-nan"),
    pytest.param({"between": {"nothing": (0, 1)}}, [], id="between-all-null-passes"),
    pytest.param({"between": {"ratio": (0.1, 0.4)}}, [4], id="between-float32-at-its-bounds"),
    pytest.param({"between": {"fare": (0, 2.2)}}, [4], id="between-decimals"),
    pytest.param({"between": {"huge": (0, 10)}}, [0, 1], id="between-integers-beyond-float"),
    pytest.param({"in_set": {"carrier": ("AA", "UA")}}, [1], id="in-set-strings"),
    pytest.param({"in_set": {"distance": (100, 500, -1)}}, [1], id="in-set-integers-with-null"),
    pytest.param({"in_set": {"huge": (2**60, 1, 2)}}, [1], id="in-set-integers-beyond-float"),
    pytest.param({"in_set": {"late": (True,)}}, [2], id="in-set-bools-with-null"),
    pytest.param({"in_set": {"day": ("2013-01-01", "9999-12-31")}}, [1], id="in-set-dates-as-text"),
    pytest.param({"in_set": {"day": (date(2013, 1, 1), date(2013, 1, 2))}}, [3], id="in-set-dates"),
    pytest.param({"in_set": {"at": ("2013-01-01", "2013-01-02T00:00:00Z")}}, [2, 3, 4], id="in-set-timestamps"),
    pytest.param({"in_set": {"fare": (1.1, 2.2)}}, [4], id="in-set-decimals"),
    pytest.param({"in_set": {"ratio": (0.1, 0.2)}}, [3, 4], id="in-set-float32"),
    pytest.param({"in_set": {"tail": ("N1", "N2")}}, [4], id="in-set-dictionary"),
    pytest.param({"unique": ("carrier",)}, [3, 4], id="unique"),
    pytest.param({"unique": ("tail",)}, [0, 2], id="unique-dictionary"),
    pytest.param({"unique": ("huge",)}, [], id="unique-integers-beyond-float-pass"),
    pytest.param({"unique": (("carrier", "late"),)}, [3, 4], id="unique-together"),
    pytest.param({"unique": (("carrier", "distance"),)}, [], id="unique-together-passes"),
]


@pytest.mark.parametrize("quality, failing", SHORT_FORMS)
def test_short_form_names_the_rows_that_fail(quality: dict[str, Any], failing: list[int]) -> None:
    (check,) = judged(**quality).checks
    assert check.exception is None
    assert check.success == (not failing)
    assert (check.unexpected_count, check.element_count) == (len(failing), 5)
    assert [example.row for example in check.examples] == failing
    for example in check.examples:
        assert str(example.values) == str(
            {c: FLIGHTS[c][example.row].as_py() for c in checks(Quality(**quality))[0].columns}
        )


@pytest.mark.parametrize(
    "quality, success, observed",
    [
        pytest.param({"row_count": (1, 5)}, True, 5, id="row-count-passes"),
        pytest.param({"row_count": (6, None)}, False, 5, id="row-count-fails"),
        pytest.param({"mean_between": {"delay": (3, 5)}}, True, 4.0, id="mean-ignores-null-and-nan"),
        pytest.param({"mean_between": {"late": (0, 0.5)}}, False, 0.75, id="mean-of-bools-is-their-share"),
        pytest.param({"mean_between": {"distance": (None, 1899.75)}}, True, 1899.75, id="mean-of-integers-with-null"),
        pytest.param({"mean_between": {"nothing": (0, 1)}}, False, None, id="mean-of-nothing-fails"),
    ],
)
def test_check_of_the_whole_table_gives_what_it_observed(
    quality: dict[str, Any], success: bool, observed: float | None
) -> None:
    (check,) = judged(**quality).checks
    assert (check.success, check.observed, check.unexpected_count) == (success, observed, None)


def test_checks_have_the_ids_that_warn_names() -> None:
    quality = Quality(
        not_null=("a",),
        between={"a": (0, 1)},
        in_set={"b": ("x",)},
        unique=("a", ("a", "b")),
        row_count=(1, None),
        mean_between={"a": (0, None)},
        expectations=(
            expect("expect_column_values_to_be_null", column="c"),
            expect("expect_column_values_to_be_null", column="c", mostly=0.5),
            expect("expect_table_column_count_to_equal", "warn", value=3),
        ),
        warn=("between.a", "row_count"),
    )
    found = checks(quality)
    assert [(check.id, check.severity) for check in found] == [
        ("not_null.a", "error"),
        ("between.a", "warn"),
        ("in_set.b", "error"),
        ("unique.a", "error"),
        ("unique.a,b", "error"),
        ("row_count", "warn"),
        ("mean_between.a", "error"),
        ("expect_column_values_to_be_null.c", "error"),
        ("expect_column_values_to_be_null.c#2", "error"),
        ("expect_table_column_count_to_equal", "warn"),
    ]
    assert found[1].expectation == "expect_column_values_to_be_between"
    assert found[1].arguments == {"column": "a", "min_value": 0, "max_value": 1}


values = st.one_of(st.none(), st.integers(-3, 3))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            values,
            st.one_of(st.none(), st.just(math.nan), st.floats(-2, 2, width=32)),
            st.one_of(st.none(), st.sampled_from(["", "a", "b", "é"])),
        ),
        max_size=12,
    )
)
def test_counts_and_rows_equal_a_plain_computation(rows: list[tuple[int | None, float | None, str | None]]) -> None:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(
        [pa.array(columns[0], pa.int32()), pa.array(columns[1], pa.float64()), pa.array(columns[2], pa.string())],
        names=["i", "f", "s"],
    )
    result = judged(
        table,
        not_null=("i", "f", "s"),
        between={"i": (-1, 2), "f": (-1, 0.5)},
        in_set={"i": (0, 1), "s": ("a", "")},
        unique=("i", "s", ("i", "s")),
    )
    floats = [None if f is None or math.isnan(f) else f for f in columns[1]]
    plain = {
        "not_null.i": [i is None for i in columns[0]],
        "not_null.f": [f is None for f in floats],
        "not_null.s": [s is None for s in columns[2]],
        "between.i": [i is not None and not -1 <= i <= 2 for i in columns[0]],
        "between.f": [f is not None and not -1 <= f <= 0.5 for f in floats],
        "in_set.i": [i is not None and i not in (0, 1) for i in columns[0]],
        "in_set.s": [s is not None and s not in ("a", "") for s in columns[2]],
        "unique.i": [i is not None and Counter(columns[0])[i] > 1 for i in columns[0]],
        "unique.s": [s is not None and Counter(columns[2])[s] > 1 for s in columns[2]],
        "unique.i,s": [
            (i, s) != (None, None) and Counter(zip(columns[0], columns[2], strict=True))[(i, s)] > 1
            for i, s in zip(columns[0], columns[2], strict=True)
        ],
    }
    assert {check.id for check in result.checks} == set(plain)
    for check in result.checks:
        failing = [number for number, failed in enumerate(plain[check.id]) if failed]
        assert (check.success, check.unexpected_count) == (not failing, len(failing)), check
        assert [example.row for example in check.examples] == failing[:5]


@pytest.mark.parametrize(
    "expectation, success, observed",
    [
        pytest.param(
            expect("expect_column_values_to_match_regex", column="carrier", regex="^[AU]"), False, None, id="regex"
        ),
        pytest.param(
            expect("expect_column_values_to_be_of_type", column="distance", type_="int64"), True, "int64", id="type"
        ),
        pytest.param(
            expect("expect_column_max_to_be_between", column="at", max_value="2013-01-05"),
            True,
            "2013-01-05T00:00:00+00:00",
            id="latest-moment",
        ),
        pytest.param(expect("expect_table_column_count_to_equal", value=11), True, 11, id="shape-of-all-columns"),
        pytest.param(
            expect(
                "expect_column_values_to_not_be_null",
                column="distance",
                row_condition='carrier=="UA"',
                condition_parser="pandas",
            ),
            True,
            None,
            id="condition-on-another-column",
        ),
        pytest.param(
            expect("expect_column_values_to_not_be_null", column="carrier", mostly=0.8), True, None, id="mostly"
        ),
    ],
)
def test_any_expectation_by_name_is_judged(expectation: Expectation, success: bool, observed: Any) -> None:
    (check,) = judged(expectations=(expectation,)).checks
    assert check.exception is None
    assert (check.success, check.observed) == (success, observed)
