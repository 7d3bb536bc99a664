"""Checks that are wrong or raise, rows that are none, and a process that judges beside another."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from modelfleet.errors import DataError
from modelfleet.quality import Check, validate_against_gx
from quality_bench import FLIGHTS, expect, judged

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
