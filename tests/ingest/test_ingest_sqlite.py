"""What is SQLite's alone: values that are not of their column's type, times as texts, columns without a type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_bench import Bench, Source, span
from modelfleet.errors import DataError
from modelfleet.spec import SqlTable

_INT64 = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)


@pytest.mark.parametrize("position", [0, 50_000], ids=["among the first rows", "after many batches"])
@pytest.mark.parametrize(
    "declared, good, bad, message",
    [
        ("INTEGER", 1, "late", r"column 'x' is INTEGER but holds text \(1 row\), the first in row {row}"),
        ("INTEGER", 1, 2.5, r"column 'x' is INTEGER but holds real \(1 row\), the first in row {row}"),
        ("REAL", 1.5, "n/a", r"column 'x' is REAL but holds text \(1 row\), the first in row {row}"),
        ("BOOLEAN", 1, 2, r"column 'x' \(BOOLEAN\) holds '2' in row {row}; allowed is 0 or 1"),
        (
            "DATE",
            "2013-01-01",
            "01.02.2013",
            r"column 'x' \(DATE\) holds '01.02.2013' in row {row}; allowed is a text such",
        ),
        (
            "TIMESTAMP",
            "2013-01-01",
            "soon",
            r"column 'x' \(TIMESTAMP\) holds 'soon' in row {row}; allowed is an ISO text",
        ),
        ("TIMESTAMP", "2013-01-01", 1356998400, r"column 'x' .*row {row}"),
        ("TEXT", "a", b"\xff\xfe", r"column 'x' is TEXT but holds blob \(1 row\), the first in row {row}"),
    ],
    ids=[
        "text in int",
        "real in int",
        "text in real",
        "2 in bool",
        "German date",
        "word as time",
        "epoch",
        "bytes in text",
    ],
)
def test_a_value_of_another_type_names_its_row(
    declared: str, good: Any, bad: Any, message: str, position: int, sqlite_source: Source, bench: Bench
) -> None:
    sqlite_source.run(f"CREATE TABLE items (x {declared})")
    sqlite_source.insert("items", [(good,)] * position + [(bad,)] + [(good,)] * 3)
    with pytest.raises(DataError, match=r"connection 'shop', table 'items': " + message.format(row=position + 1)):
        bench.ingest(SqlTable("shop", "items"))


def test_a_sensitive_columns_value_is_not_shown(sqlite_source: Source, bench: Bench) -> None:
    sqlite_source.run("CREATE TABLE items (born DATE)", "INSERT INTO items VALUES ('4 May 1970')")
    with pytest.raises(DataError, match=r"a value not shown \(sensitive\) in row 1") as caught:
        bench.ingest(SqlTable("shop", "items"), sensitive=("born",))
    assert "1970" not in str(caught.value)


@pytest.mark.parametrize(
    "text, instant",
    [
        ("2013-06-01", datetime(2013, 5, 31, 22, tzinfo=UTC)),
        ("2013-06-01 10:00", datetime(2013, 6, 1, 8, tzinfo=UTC)),
        ("2013-06-01T10:00:00.5", datetime(2013, 6, 1, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2013-06-01T10:00:00Z", datetime(2013, 6, 1, 10, tzinfo=UTC)),
        ("2013-06-01 10:00:00.000001+05:30", datetime(2013, 6, 1, 4, 30, 0, 1, tzinfo=UTC)),
        ("2013-06-01 10:00:00-0800", datetime(2013, 6, 1, 18, tzinfo=UTC)),
    ],
)
def test_each_iso_form_is_the_instant_it_says(
    text: str, instant: datetime, sqlite_source: Source, bench: Bench
) -> None:
    sqlite_source.run("CREATE TABLE events (at TIMESTAMP)", f"INSERT INTO events VALUES ('{text}')")
    manifest = bench.ingest(SqlTable("shop", "events", time="at", timezone="Europe/Berlin"))
    assert bench.read(manifest)["at"].to_pylist() == [instant]


def test_mixed_iso_forms_are_cut_as_instants(sqlite_source: Source, bench: Bench) -> None:
    """As texts, 'T' sorts after ' ', and an offset moves a text to another day."""
    inside = ["2013-06-01T00:00:00Z", "2013-06-01 00:00:00", "2013-06-02 13:00:00+14:00", "2013-05-31T12:30:00-12:00"]
    outside = ["2013-06-02T00:00:00Z", "2013-06-02 00:00:00", "2013-05-31 23:59:59.999999", "2013-06-01T01:00:00+02:00"]
    sqlite_source.run("CREATE TABLE events (at TIMESTAMP, inside BOOLEAN)")
    sqlite_source.insert("events", [(t, 1) for t in inside] + [(t, 0) for t in outside])
    table = SqlTable("shop", "events", time="at", timezone="UTC")
    manifest = bench.ingest(table, span("2013-06-01", "2013-06-02"))
    assert bench.read(manifest)["inside"].to_pylist() == [True] * len(inside)


@pytest.mark.parametrize("value", ["30.9.2013", "Sep 30", "", 1356998400, 2456293.5, b"2013-01-01"], ids=repr)
def test_times_that_would_sort_outside_of_every_interval_are_an_error(
    value: Any, sqlite_source: Source, bench: Bench
) -> None:
    sqlite_source.run("CREATE TABLE events (at TIMESTAMP)")
    sqlite_source.insert("events", [("2013-06-01 00:00:00",), (value,)])
    with pytest.raises(DataError, match=r"connection 'shop', table 'events'.*'at'.* row 2"):
        bench.ingest(SqlTable("shop", "events", time="at"))


def test_an_offset_needs_the_tables_timezone(sqlite_source: Source, bench: Bench) -> None:
    sqlite_source.run("CREATE TABLE events (at TIMESTAMP)", "INSERT INTO events VALUES ('2013-06-01T00:00:00Z')")
    with pytest.raises(DataError, match=r"no offset\nHint: give the table a timezone"):
        bench.ingest(SqlTable("shop", "events", time="at"))


def test_a_time_column_declared_as_text_is_a_timestamp(sqlite_source: Source, bench: Bench) -> None:
    sqlite_source.run("CREATE TABLE events (at TEXT)", "INSERT INTO events VALUES ('2013-06-01 12:00:00')")
    assert dict(bench.ingest(SqlTable("shop", "events", time="at")).columns) == {"at": "timestamp[us]"}


@pytest.mark.parametrize(
    "declared, values, expected",
    [
        ("", [1, None, 3], "int64"),
        ("", [1, 2.5], "double"),
        ("STRING", ["abc", "x"], "string"),
        ("JSON", ["{}"], "string"),
        ("", [b"x"], "binary"),
        ("", [None], "null"),
    ],
)
def test_a_column_of_no_known_type_gets_it_from_all_its_values(
    declared: str, values: list[Any], expected: str, sqlite_source: Source, bench: Bench
) -> None:
    sqlite_source.run(f"CREATE TABLE items (x {declared})")
    sqlite_source.insert("items", [(value,) for value in values])
    manifest = bench.ingest(SqlTable("shop", "items"))
    assert dict(manifest.columns) == {"x": expected}
    assert bench.read(manifest)["x"].to_pylist() == values


def test_a_column_of_no_known_type_with_mixed_values_is_refused_unless_left_out(
    sqlite_source: Source, bench: Bench
) -> None:
    sqlite_source.run("CREATE TABLE items (x, y INTEGER)", "INSERT INTO items VALUES ('a', 1), (1, 2)")
    with pytest.raises(DataError, match="column 'x' has no declared type and holds integer and text"):
        bench.ingest(SqlTable("shop", "items"))
    assert bench.ingest(SqlTable("shop", "items", columns=("y",))).rows == 2


def test_a_missing_file_is_not_made(bench: Bench, sqlite_source: Source, tmp_path: Any, connect: Any) -> None:
    connect("shop", f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(Exception, match=r"no database file .*other\.db"):
        bench.ingest(SqlTable("shop", "items"))
    assert not (tmp_path / "other.db").exists()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.none() | _INT64,
            st.none() | st.floats(allow_nan=False),
            st.none() | _TEXT,
            st.none() | st.binary(max_size=300),
            st.none() | st.booleans(),
        ),
        max_size=40,
    )
)
def test_odd_values_survive(sqlite_source: Source, bench: Bench, rows: list[tuple[Any, ...]]) -> None:
    sqlite_source.run("DROP TABLE IF EXISTS odd", "CREATE TABLE odd (i BIGINT, f REAL, t TEXT, b BLOB, o BOOLEAN)")
    if rows:
        sqlite_source.insert("odd", rows)
    manifest = bench.ingest(SqlTable("shop", "odd"))
    assert [tuple(row.values()) for row in bench.read(manifest).to_pylist()] == rows
