"""Quality: the spec's checks judged by Great Expectations equal a plain computation, and show nothing sensitive."""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import time
import weakref
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet.errors import DataError, QualityError
from modelfleet.quality import Check, QualityResult, checks, judge, validate_against_gx
from modelfleet.spec import Expectation, Quality

FLIGHTS = pa.table(
    {
        "carrier": ["AA", "DL", None, "UA", "UA"],
        "distance": pa.array([100, 7000, None, 500, -1], pa.int64()),
        "delay": [1.0, None, math.nan, 4.0, 7.0],
        "late": [True, None, False, True, True],
        "day": pa.array([date(2013, 1, 1), date(2013, 1, 2), None, date(9999, 12, 31), date(2013, 1, 1)]),
        "at": pa.array([datetime(2013, 1, d, tzinfo=UTC) for d in range(1, 6)], pa.timestamp("us", "America/New_York")),
        "nothing": pa.nulls(5),
        "ratio": pa.array([0.1, 0.2, None, 0.4, 0.5], pa.float32()),
        "fare": [Decimal("1.10"), Decimal("2.20"), None, Decimal("1.10"), Decimal("9.90")],
        "huge": pa.array([2**60, 2**60 + 1, None, 1, 2], pa.int64()),
        "tail": pa.array(["N1", "N2", "N1", None, "N3"]).dictionary_encode(),
    }
)


def judged(rows: pa.Table | ds.Dataset = FLIGHTS, *, docs: Path | None = None, **quality: Any) -> QualityResult:
    return judge(Quality(**quality), rows, fleet="flights", interval="2013-09-30", docs_dir=docs)


def expect(name: str, severity: str = "error", **arguments: Any) -> Expectation:
    return Expectation(name=name, arguments=arguments, severity=severity)


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


WRONG = [
    pytest.param(
        "expect_column_values_to_be_btween", {"column": "a"}, "nearest: expect_column_values_to_be_between", id="typo"
    ),
    pytest.param("expect_z", {}, "'expect_z' is unknown; nearest: none", id="nothing-near"),
    pytest.param(
        "expect_column_values_to_match_regex", {"column": "a", "regexp": "x"}, "regexp: extra fields", id="argument"
    ),
    pytest.param(
        "expect_column_value_lengths_to_equal", {"column": "a"}, "value: field required", id="argument-missing"
    ),
    pytest.param(
        "expect_column_values_to_match_regex", {"column": "a", "regex": "(("}, "not a regular expression", id="regex"
    ),
    pytest.param(
        "expect_column_values_to_be_null", {"column": "a", "mostly": 2}, "mostly: ensure this value", id="value"
    ),
    pytest.param(
        "expect_column_values_to_be_null",
        {"column": "a", "result_format": "COMPLETE"},
        "Modelfleet sets",
        id="reserved",
    ),
    pytest.param(
        "expect_column_values_to_match_like_pattern", {"column": "a", "like_pattern": "x%"}, "no pandas form", id="sql"
    ),
]


@pytest.mark.parametrize("name, arguments, message", WRONG)
def test_expectation_gx_would_refuse_is_an_error_before_any_row_is_read(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match="1 of 2 quality checks are wrong") as caught:
        validate_against_gx((Check("fine", "expect_column_to_exist", {"column": "a"}), Check("wrong", name, arguments)))
    assert message in str(caught.value)
    with pytest.raises(DataError):
        judged(expectations=(expect(name, **arguments),))


def test_missing_column_is_a_failed_error_that_names_the_columns_there_are(tmp_path: Path) -> None:
    result = judged(
        not_null=("carier", "carrier"), unique=(("carrier", "gone"),), warn=("not_null.carier",), docs=tmp_path
    )
    typo, there, pair = result.checks
    assert (typo.severity, typo.success, there.unexpected_count) == ("error", False, 1)
    assert "no column 'carier' in the prepared rows; there are carrier, distance" in str(typo)
    assert "no column 'gone'" in str(pair)
    assert "no column 'carier' in the prepared rows" in (tmp_path / "index.html").read_text()


def test_check_that_raises_fails_alone_and_says_why() -> None:
    raised, fine = judged(between={"carrier": (0, 1), "distance": (-1, 7000)}, warn=("between.carrier",)).checks
    assert (raised.severity, raised.success, fine.success) == ("error", False, True)
    assert "must either be None or of the same type" in (raised.exception or "")


def test_same_expectation_given_twice_is_judged_twice() -> None:
    twice = expect("expect_column_values_to_not_be_null", column="carrier")
    result = judged(not_null=("carrier",), expectations=(twice, twice))
    assert [(check.id, check.unexpected_count) for check in result.checks] == [
        ("not_null.carrier", 1),
        ("expect_column_values_to_not_be_null.carrier", 1),
        ("expect_column_values_to_not_be_null.carrier#2", 1),
    ]


def test_rows_are_released_after_judging(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelfleet.quality import frame

    made = []
    build = frame.frame_of

    def watched(*args: Any, **options: Any) -> Any:
        built = build(*args, **options)
        made.append(weakref.ref(built))
        return built

    monkeypatch.setattr(frame, "frame_of", watched)
    judged(not_null=("carrier",))
    gc.collect()
    assert [reference() for reference in made] == [None]


def test_empty_table_passes_checks_of_rows_and_fails_those_of_the_whole() -> None:
    result = judged(
        FLIGHTS.slice(0, 0),
        not_null=("carrier",),
        between={"distance": (0, 1)},
        in_set={"late": (True,)},
        unique=("day",),
        row_count=(1, None),
        mean_between={"delay": (0, 1)},
    )
    assert result.rows == 0
    assert [check.id for check in result.failed_errors] == ["row_count", "mean_between.delay"]
    assert not [check.exception for check in result.checks if check.exception]


def test_dataset_of_files_is_judged_like_the_table(tmp_path: Path) -> None:
    plain = FLIGHTS.drop_columns(["nothing"])
    pq.write_table(plain.slice(0, 2), tmp_path / "bucket-000.parquet")
    pq.write_table(plain.slice(2), tmp_path / "bucket-001.parquet")
    quality = {"between": {"distance": (0, 6000)}, "unique": ("tail", "carrier"), "row_count": (1, 4)}
    assert judged(ds.dataset(sorted(map(str, tmp_path.iterdir()))), **quality) == judged(plain, **quality)


ALONE = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError(f"network: {args}")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from pathlib import Path
import pyarrow as pa
from modelfleet.spec import Quality
from modelfleet.quality import judge
def run(docs_dir=None, **quality):
    return judge(Quality(**quality), pa.table({"n": [1, None, 3]}), fleet="f", interval="i", docs_dir=docs_dir)
assert run().checks == ()
assert "great_expectations" not in sys.modules, "imported for nothing"
result = run(Path(sys.argv[1]), not_null=("n",), between={"n": (0, 2)}, mean_between={"n": (0, 9)})
assert [c.success for c in result.checks] == [False, False, True]
"""


@pytest.mark.slow
def test_another_process_at_once_is_silent_offline_and_leaves_only_the_docs(tmp_path: Path) -> None:
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    other = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(tmp_path / "docs")],
        env=environment,
        cwd=tmp_path / "work",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while other.poll() is None:
        assert judged(not_null=("at",)).checks[0].success
        time.sleep(0.5)
    assert (other.returncode, other.communicate()[0]) == (0, "")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["docs/index.html"]
