"""What is told of failed checks, in messages, JSON and Data Docs: bounded, and nothing sensitive."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from modelfleet.errors import QualityError
from modelfleet.quality import judge
from modelfleet.spec import Quality
from quality_bench import FLIGHTS, expect, judged


def test_failed_error_raises_and_names_rows_values_and_docs(tmp_path: Path) -> None:
    result = judged(between={"distance": (0, 6000)}, not_null=("carrier",), warn=("not_null.carrier",), docs=tmp_path)
    assert [check.id for check in result.failed_errors] == ["between.distance"]
    assert [check.id for check in result.failed_warnings] == ["not_null.carrier"]
    with pytest.raises(QualityError) as caught:
        result.raise_for_errors()
    message = str(caught.value)
    assert "fleet 'flights', interval 2013-09-30: 1 of 2 quality checks failed on 5 prepared rows" in message
    assert "expect_column_values_to_be_between on column 'distance' (min_value=0" in message
    assert "2 of 5 rows fail: row 1 (distance=7000), row 4 (distance=-1)" in message
    assert str(tmp_path / "index.html") in message
    assert "not_null" not in message
    with pytest.raises(QualityError, match="lake/flights/docs"):
        result.raise_for_errors(docs="lake/flights/docs")


def test_failed_warnings_alone_do_not_raise() -> None:
    result = judged(
        not_null=("carrier",),
        warn=("not_null.carrier",),
        expectations=(expect("expect_column_values_to_be_null", "warn", column="carrier"),),
    )
    assert len(result.failed_warnings) == 2
    assert result.failed_errors == ()
    result.raise_for_errors()


def test_message_is_bounded_with_many_failing_checks_and_rows() -> None:
    rows = pa.table({f"c{n}": ["x" * 500] * 1000 for n in range(30)})
    result = judged(rows, in_set={f"c{n}": ("y",) for n in range(30)})
    with pytest.raises(QualityError, match="and 20 more") as caught:
        result.raise_for_errors()
    assert "1000 of 1000 rows fail" in str(caught.value)
    assert len(str(caught.value)) < 6000


def test_result_as_json_holds_each_check_with_plain_values() -> None:
    found = json.loads(judged(in_set={"day": ("2013-01-02",)}, mean_between={"nothing": (0, 1)}).to_json())
    assert (found["fleet"], found["interval"], found["rows"], found["failed_errors"]) == ("flights", "2013-09-30", 5, 2)
    dated, mean = found["checks"]
    assert dated["examples"][0] == {"row": 0, "values": {"day": "2013-01-01"}}
    assert (dated["column"], dated["severity"], dated["unexpected_count"]) == ("day", "error", 3)
    assert (mean["success"], mean["observed"]) == (False, None)


def test_row_label_stands_beside_row_numbers() -> None:
    quality = Quality(between={"distance": (0, 6000)}, sensitive=("carrier",))
    result = judge(quality, FLIGHTS, fleet="flights", interval="i", row_label=("tail", "carrier", "absent"))
    assert [(e.row, e.values) for e in result.checks[0].examples] == [
        (1, {"tail": "N2", "distance": 7000}),
        (4, {"tail": "N3", "distance": -1}),
    ]


SECRETS = ["geheim-1", "geheim-2", "geheim-2", "geheim-3", None]


def test_values_of_sensitive_columns_appear_nowhere(tmp_path: Path) -> None:
    rows = pa.table({"who": SECRETS, "pay": [77123.25, 77123.25, 88456.5, 99789.75, None], "n": [1, 1, 2, 3, 4]})
    result = judged(
        rows,
        docs=tmp_path,
        not_null=("who", "pay"),
        between={"pay": (0, 10), "who": (0, 1)},  # the second raises, with a value in pandas' message
        in_set={"who": ("nobody",)},
        unique=("who", ("pay", "n")),
        mean_between={"pay": (0, 1), "who": (0, 1)},
        expectations=(
            expect("expect_column_max_to_be_between", column="pay", max_value=1),
            expect("expect_column_distinct_values_to_be_in_set", column="who", value_set=["nobody"]),
            expect("expect_column_most_common_value_to_be_in_set", column="who", value_set=["nobody"]),
            expect("expect_column_value_lengths_to_equal", column="who", value=1),
            expect("expect_column_pair_values_a_to_be_greater_than_b", column_A="n", column_B="pay"),
            expect("expect_multicolumn_sum_to_equal", column_list=["n", "pay"], sum_total=0),
            expect(
                "expect_column_quantile_values_to_be_between",
                column="pay",
                quantile_ranges={"quantiles": [0.5], "value_ranges": [[0, 1]]},
            ),
        ),
        sensitive=("who", "pay"),
    )
    assert len(result.failed_errors) == len(result.checks) == 16
    with pytest.raises(QualityError) as caught:
        result.raise_for_errors()
    pages = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert pages
    shown = [*map(str, result.checks), repr(result), str(caught.value), result.to_json(), *pages]
    for text in shown:
        assert "geheim" not in text
        assert not [pay for pay in ("77123", "88456", "99789") if pay in text.replace(",", "").replace(" ", "")]
    by_id = {check.id: check for check in result.checks}
    assert [e.row for e in by_id["in_set.who"].examples] == [0, 1, 2, 3]
    assert [e.values for e in by_id["unique.pay,n"].examples] == [{"n": 1}, {"n": 1}]
    assert "withheld" in (by_id["between.who"].exception or "")
    assert "withheld" in str(by_id["mean_between.pay"])


def test_docs_show_values_of_other_columns_as_text(tmp_path: Path) -> None:
    rows = pa.table({"tag": ["<script>alert(1)</script>", "$tag ${x}", "ok", "fine", "<script>alert(1)</script>"]})
    result = judged(
        rows,
        in_set={"tag": ("ok",)},
        not_null=("a<b",),
        expectations=(expect("expect_column_most_common_value_to_be_in_set", column="tag", value_set=["ok"]),),
        docs=tmp_path,
    )
    assert result.docs_index == tmp_path / "index.html"
    page = (tmp_path / "index.html").read_text()
    assert "<script>alert(1)" not in page
    assert "no column 'a&lt;b' in the prepared rows; there are tag" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "fine" in page
    assert "2013-09-30" in page
    assert "great-expectations-web-assets" not in page
    assert 'href="../' not in page
