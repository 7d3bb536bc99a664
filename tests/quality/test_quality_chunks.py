"""Quality judged chunk by chunk equals Great Expectations' judgement of all rows at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet.quality import Check, chunks, expectations, judge
from modelfleet.quality.frame import frame_of
from modelfleet.quality.result import plain
from modelfleet.spec import Quality

KINDS = {
    "i": (pa.int64(), [1, 2, 3, -3, 2**53 + 1, 2**60]),
    "small": (pa.int32(), [0, 1, 2, 2]),
    "u": (pa.uint64(), [0, 1, 2**63 + 1]),
    "f": (pa.float64(), [0.0, -0.0, 1.5, math.nan, math.inf, -math.inf]),
    "ratio": (pa.float32(), [0.1, 0.2, math.nan]),
    "s": (pa.string(), ["", "a", "b", "é", "a1", "2013-01-01", '{"a": 1}']),
    "tail": (pa.dictionary(pa.int32(), pa.string()), ["N1", "N2", "N3"]),
    "late": (pa.bool_(), [True, False]),
    "day": (pa.date32(), [date(2013, 1, 1), date(2013, 1, 2), date(9999, 12, 31)]),
    "at": (pa.timestamp("us", "America/New_York"), [datetime(2013, 1, day, tzinfo=UTC) for day in (1, 2, 3)]),
    "wall": (pa.timestamp("us"), [datetime(2013, 1, 1), datetime(2013, 6, 1), datetime(1500, 1, 1)]),
    "fare": (pa.decimal128(6, 2), [Decimal("1.10"), Decimal("2.20"), Decimal("-9.90")]),
    "nothing": (pa.null(), [None]),
}
NAMES = list(KINDS)


def every_check() -> Iterator[Check]:
    """One or more of every kind that Great Expectations judges with pandas."""
    of_columns: dict[str, list[dict[str, Any]]] = {
        "values_to_not_be_null": [{}, {"mostly": 0.5}],
        "values_to_be_null": [{}],
        "values_to_be_unique": [{}],
        "values_to_be_in_set": [{"value_set": [1, 1.5, "a", "N1", True]}],
        "values_to_not_be_in_set": [{"value_set": [2, "b", "N2", False]}],
        "values_to_be_between": [{"min_value": 0, "max_value": 2}, {"max_value": 1, "strict_max": True}],
        "values_to_match_regex": [{"regex": "^[a1]"}],
        "values_to_not_match_regex": [{"regex": "1"}],
        "values_to_match_regex_list": [{"regex_list": ["^a", "1$"], "match_on": "any"}],
        "values_to_not_match_regex_list": [{"regex_list": ["^a", "1$"]}],
        "value_lengths_to_equal": [{"value": 1}],
        "value_lengths_to_be_between": [{"min_value": 1, "max_value": 2}],
        "values_to_be_json_parseable": [{}],
        "values_to_match_json_schema": [{"json_schema": {"type": "object"}}],
        "values_to_be_dateutil_parseable": [{}],
        "values_to_match_strftime_format": [{"strftime_format": "%Y-%m-%d"}],
        "values_to_be_of_type": [{"type_": "int64"}],
        "values_to_be_in_type_list": [{"type_list": ["float64", "str"]}],
        "values_to_be_increasing": [{}],
        "value_z_scores_to_be_less_than": [{"threshold": 1, "double_sided": True}],
        "mean_to_be_between": [{"min_value": 0, "max_value": 2}],
        "median_to_be_between": [{"min_value": 0, "max_value": 2}],
        "stdev_to_be_between": [{"min_value": 0, "max_value": 2}],
        "sum_to_be_between": [{"min_value": 0, "max_value": 2}],
        "min_to_be_between": [{"min_value": 0, "max_value": 2}],
        "max_to_be_between": [{"min_value": 0, "max_value": 2}],
        "quantile_values_to_be_between": [{"quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]}}],
        "unique_value_count_to_be_between": [{"max_value": 2}],
        "proportion_of_unique_values_to_be_between": [{"max_value": 0.5}],
        "distinct_values_to_be_in_set": [{"value_set": [1, "a"]}],
        "distinct_values_to_contain_set": [{"value_set": [1]}],
        "most_common_value_to_be_in_set": [{"value_set": [1, "a", True]}],
        "to_exist": [{}],
    }
    for kind, given_arguments in of_columns.items():
        for number, arguments in enumerate(given_arguments):
            for column in NAMES:
                name = f"expect_column_{kind}"
                yield Check(f"{name}.{column}.{number}", name, {"column": column, **arguments})
    conditioned = {"column": "s", "row_condition": "small > 0", "condition_parser": "pandas"}
    pair, several = {"column_A": "small", "column_B": "f"}, {"column_list": ["small", "f"]}
    others: list[tuple[str, dict[str, Any]]] = [
        ("column_values_to_not_be_null", conditioned),
        ("column_values_to_be_unique", conditioned),
        ("column_mean_to_be_between", {**conditioned, "column": "f", "min_value": 0}),
        ("column_pair_values_a_to_be_greater_than_b", pair),
        ("column_pair_values_to_be_equal", pair),
        ("column_pair_values_to_be_in_set", {**pair, "value_pairs_set": [(1, 1.5), (0, 0)]}),
        ("multicolumn_sum_to_equal", {**several, "sum_total": 1}),
        ("multicolumn_values_to_be_equal", several),
        ("select_column_values_to_be_unique_within_record", several),
        ("compound_columns_to_be_unique", several),
        ("compound_columns_to_be_unique", {**several, "ignore_row_if": "any_value_is_missing"}),
        ("compound_columns_to_be_unique", {**several, "ignore_row_if": "never"}),
        ("compound_columns_to_be_unique", {"column_list": ["s", "late", "day", "nothing"]}),
        ("compound_columns_to_be_unique", {"column_list": ["i", "u", "tail", "at", "wall", "fare", "ratio"]}),
        ("column_values_to_not_be_null", {"column": "gone"}),
        ("compound_columns_to_be_unique", {"column_list": ["gone", "s"]}),
        ("table_row_count_to_be_between", {"min_value": 3, "max_value": 9}),
        ("table_row_count_to_equal", {"value": 5}),
        ("table_column_count_to_equal", {"value": len(NAMES)}),
        ("table_column_count_to_be_between", {"max_value": 3}),
        ("table_columns_to_match_ordered_list", {"column_list": NAMES}),
        ("table_columns_to_match_set", {"column_set": ["i", "gone"], "exact_match": False}),
    ]
    for number, (kind, arguments) in enumerate(others):
        yield Check(f"{kind}.{number}", f"expect_{kind}", arguments)


CHECKS = tuple(every_check())
EXACT = ("expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list")


def verdicts(results: dict[str, Any]) -> dict[str, tuple[bool, Any, bool]]:
    """Per check: success, what was found, and whether it raised."""
    found = {}
    for name, result in results.items():
        info = result.exception_info or {}
        parts = [info] if "raised_exception" in info else list(info.values())
        raised = any(part["raised_exception"] for part in parts)
        found[name] = (bool(result.success), plain(result.result or {}), raised)
    return found


def assert_alike(table: pa.Table, rows: pa.Table | ds.Dataset, wanted: list[Check], chunk_rows: int) -> None:
    asked = [(check, expectations.build(check)) for check in wanted]
    exact = {column for check in wanted if check.expectation in EXACT for column in check.columns}
    with expectations.quiet():
        whole = expectations.evaluate([built for _, built in asked], frame_of(table, NAMES, exact=exact))
        parts = chunks.evaluate(asked, rows, table.num_rows, exact=exact, chunk_rows=chunk_rows)
    assert verdicts(parts) == verdicts(whole)


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(KINDS)
    arrays = [pa.array(values, kind) for values, (kind, _) in zip(columns, KINDS.values(), strict=True)]
    return pa.table(arrays, names=NAMES)


one_row = st.tuples(*(st.one_of(st.none(), st.sampled_from(values)) for _, values in KINDS.values()))
full_row = st.tuples(*(st.sampled_from(values) for _, values in KINDS.values()))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.lists(one_row, max_size=14), st.lists(full_row, max_size=14)),
    st.lists(st.sampled_from(CHECKS), min_size=1, max_size=8, unique_by=lambda check: check.id),
    st.integers(1, 6),
    st.booleans(),
)
def test_chunks_are_judged_like_all_rows_at_once(
    rows: list[tuple[Any, ...]], wanted: list[Check], chunk_rows: int, filed: bool
) -> None:
    table = table_of(rows)
    assert_alike(table, ds.dataset(table) if filed else table, wanted, chunk_rows)


@pytest.mark.filterwarnings("ignore:.*row_condition:DeprecationWarning", "ignore:.*condition_parser:DeprecationWarning")
@pytest.mark.parametrize("expectation", sorted({check.expectation for check in CHECKS}))
def test_every_expectation_is_judged_alike_on_every_type(expectation: str) -> None:
    rows = [
        tuple(values[(row * 7 + place) % len(values)] for place, (_, values) in enumerate(KINDS.values()))
        for row in range(9)
    ]
    rows[4] = rows[7] = (None,) * len(KINDS)
    table = table_of([*rows, rows[1]])
    assert_alike(table, table, [check for check in CHECKS if check.expectation == expectation], 3)


@pytest.fixture
def few_rows_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 64)
    monkeypatch.setattr(chunks.evaluate, "__kwdefaults__", {**chunks.evaluate.__kwdefaults__, "chunk_rows": 64})


FILED = pa.table(
    {
        "store": [row // 100 for row in range(1000)],
        "item": [row % 100 if row != 950 else 7 for row in range(1000)],
        "day": pa.array([row % 9 or None for row in range(1000)], pa.int32()),
        "units": [float(row) for row in range(1000)],
    }
)
QUALITY = Quality(
    not_null=("day",),
    between={"units": (0, 989.5), "day": (1, 7)},
    in_set={"store": tuple(range(9))},
    unique=(("store", "item"), "units", "day"),
    row_count=(1, 999),
    mean_between={"units": (0, 499)},
    warn=("not_null.day",),
)


def test_files_with_several_row_groups_and_a_filter_are_judged_like_their_table(
    tmp_path: Path, few_rows_a_chunk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        part = FILED.slice(number * 250, 250)
        pq.write_table(part, tmp_path / f"{number}.parquet", row_group_size=70)
    filed = ds.dataset(sorted(map(str, tmp_path.iterdir())))
    early = pc.field("units") < 960
    of_files = judge(QUALITY, filed.filter(early), fleet="f", interval="i", row_label=("store",))
    monkeypatch.undo()
    assert of_files == judge(QUALITY, FILED.filter(early), fleet="f", interval="i", row_label=("store",))
    by_id = {check.id: check for check in of_files.checks}
    assert [example.row for example in by_id["unique.store,item"].examples] == [907, 950]
    assert [example.row for example in by_id["between.day"].examples] == [8, 17, 26, 35, 44]
    assert (
        by_id["unique.day"].unexpected_count
        == by_id["between.day"].element_count - by_id["not_null.day"].unexpected_count
    )  # type: ignore[operator]


def test_rows_of_equal_hash_come_in_one_frame_and_no_row_is_lost() -> None:
    table = pa.table({"a": [row % 40 if row < 200 else row for row in range(300)]})
    check = Check("u", "expect_column_values_to_be_unique", {"column": "a"})
    again = chunks._again(table, ["a"], 300, 16)
    assert len(again) == 200
    frames = list(chunks._of_duplicates(table, check, again, 16))
    assert sorted(number for frame in frames for number in frame.index) == list(range(300))
    repeated = [frame for frame in frames if frame["a"].duplicated().any()]
    assert all(frame["a"].value_counts().eq(5).all() and len(frame) <= 20 for frame in repeated)
    assert sum(map(len, repeated)) == 200


def test_a_check_that_passes_in_chunks_is_not_judged_again_on_all_rows(
    few_rows_a_chunk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    whole = expectations.evaluate

    def watched(built: Any, frame: Any) -> Any:
        judged.extend(each.meta["modelfleet_check"] for each in built)
        return whole(built, frame)

    monkeypatch.setattr(expectations, "evaluate", watched)
    judge(QUALITY, FILED, fleet="f", interval="i")
    assert judged == ["mean_between.units"]
