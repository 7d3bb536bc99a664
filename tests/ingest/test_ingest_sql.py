"""SQL tables into the lake: what holds on SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from ingest_bench import Bench, Source, fleet, span
from modelfleet import ingest
from modelfleet.errors import ConfigurationError, DataError, UnavailableError, is_retryable
from modelfleet.ingest import writing
from modelfleet.ingest.manifest import TableManifest
from modelfleet.spec import SqlTable

_ALL_TYPES = (
    "CREATE TABLE things (b BOOLEAN, i BIGINT, n NUMERIC(12, 0), m NUMERIC(10, 2), f DOUBLE PRECISION, t TEXT, d DATE, "
    "at TIMESTAMP, raw {bytes})"
)
_ROWS: list[tuple[Any, ...]] = [
    (True, 2**62, 7, 1.25, 0.1, "it's / = ü", date(2013, 1, 2), "2013-01-02 03:04:05.000006", b"\x00\xff"),
    (False, -1, -7, -0.5, -1e300, "", date(1969, 12, 31), "1969-12-31 23:59:59", b""),
    (None, None, None, None, None, None, None, None, None),
]


def _things(source: Source) -> None:
    source.run(_ALL_TYPES.format(bytes="BLOB" if source.kind == "sqlite" else "BYTEA"))
    rows = (
        [(*row[:6], str(row[6]) if row[6] else None, *row[7:]) for row in _ROWS] if source.kind == "sqlite" else _ROWS
    )
    source.insert("things", rows)


def test_every_type_arrives_as_it_is(source: Source, bench: Bench) -> None:
    _things(source)
    manifest = bench.ingest(SqlTable("shop", "things"))
    assert manifest.kind == "snapshot"
    assert manifest.rows == 3
    assert list(manifest.columns.values()) == [
        *("bool", "int64", "int64", "double", "double", "string", "date32[day]", "timestamp[us]", "binary"),
    ]
    found = bench.read(manifest).to_pylist()
    expected = [
        tuple(
            datetime.fromisoformat(v) if name == "at" and v else v
            for name, v in zip(manifest.columns, row, strict=True)
        )
        for row in _ROWS
    ]
    assert sorted(map(str, found)) == sorted(str(dict(zip(manifest.columns, row, strict=True))) for row in expected)


def test_same_rows_in_both_databases_have_one_digest(
    sqlite_source: Source, postgres_source: Source, bench: Bench, connect: Callable[[str, str], None]
) -> None:
    digests = set()
    for source in (sqlite_source, postgres_source):
        connect("shop", source.uri)
        _things(source)
        digests.add(bench.ingest(SqlTable("shop", "things")).digest)
    assert len(digests) == 1


def test_names_that_need_quotes_are_read(source: Source, bench: Bench) -> None:
    source.run('CREATE TABLE "Odd ""table" ("select" INTEGER, "a b" TEXT, "x""y" REAL)')
    source.run("""INSERT INTO "Odd ""table" VALUES (1, 'one', 0.5)""")
    manifest = bench.ingest(SqlTable("shop", 'Odd "table'))
    assert bench.read(manifest).to_pylist() == [{"select": 1, "a b": "one", 'x"y': 0.5}]


def test_a_view_is_read_like_a_table(source: Source, bench: Bench) -> None:
    source.run(
        "CREATE TABLE sales (id INTEGER, price REAL)",
        "INSERT INTO sales VALUES (1, 2.5), (2, 3.5)",
        "CREATE VIEW totals AS SELECT id, price * 2 AS double_price, 'x' AS label FROM sales",
    )
    manifest = bench.ingest(SqlTable("shop", "totals"))
    assert manifest.columns["double_price"] == "double"
    assert bench.read(manifest, ["id", "label"]).to_pylist() == [{"id": 1, "label": "x"}, {"id": 2, "label": "x"}]


def test_columns_choose_what_is_stored(source: Source, bench: Bench) -> None:
    _things(source)
    manifest = bench.ingest(SqlTable("shop", "things", columns=("t", "i")))
    assert dict(manifest.columns) == {"t": "string", "i": "int64"}


def test_an_interval_holds_its_rows_only_and_neighbours_share_none(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE events (id INTEGER, at TIMESTAMP)")
    source.insert("events", [(hour, f"2013-01-{1 + hour // 24:02d} {hour % 24:02d}:00:00") for hour in range(72)])
    table = SqlTable("shop", "events", time="at")
    days = [bench.ingest(table, span(f"2013-01-0{day}", f"2013-01-0{day + 1}")) for day in (1, 2, 3)]
    assert [day.rows for day in days] == [24, 24, 24]
    assert bench.read(days[1])["id"].to_pylist() == list(range(24, 48))  # in the order of time
    assert days[1].kind == "interval"


def test_a_day_is_the_fleets_day(source: Source, bench: Bench) -> None:
    """New York's day of 10 March 2013 has 23 hours; instants in UTC."""
    source.run("CREATE TABLE events (id INTEGER, at TIMESTAMP)")
    source.insert("events", [(hour, f"2013-03-{10 + hour // 24} {hour % 24:02d}:00:00") for hour in range(48)])
    day = span("2013-03-10", "2013-03-11", "America/New_York")
    manifest = bench.ingest(SqlTable("shop", "events", time="at", timezone="UTC"), day, timezone="America/New_York")
    assert manifest.columns["at"] == "timestamp[us, tz=UTC]"
    ids = bench.read(manifest)["id"].to_pylist()
    assert (ids[0], ids[-1], len(ids)) == (5, 27, 23)


def test_wall_times_of_an_hour_that_comes_twice_are_in_one_interval(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE events (id INTEGER, at TIMESTAMP)")
    source.insert(
        "events", [(minute, f"2013-11-03 {minute // 60:02d}:{minute % 60:02d}:00") for minute in range(0, 240, 15)]
    )
    zone = "America/New_York"
    seen: list[int] = []
    for hour in range(4, 10):
        interval = span(f"2013-11-03T{hour:02d}:00+00:00", f"2013-11-03T{hour + 1:02d}:00+00:00", zone)
        manifest = bench.ingest(SqlTable("shop", "events", time="at"), interval, timezone=zone)
        assert manifest.columns["at"] == "timestamp[us]"  # stored as it was: the table names no zone
        seen += bench.read(manifest)["id"].to_pylist()
    assert seen == list(range(0, 240, 15))


def test_wall_times_become_instants_where_the_table_names_its_zone(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE events (at TIMESTAMP, made TIMESTAMP)")
    source.insert("events", [("2013-07-01 12:00:00", "2013-01-01 12:00:00"), ("2013-07-02 12:00:00", None)])
    manifest = bench.ingest(
        SqlTable("shop", "events", time="at", timezone="Europe/Berlin"), span("2013-07-01", "2013-07-02")
    )
    assert bench.read(manifest).to_pylist() == [
        {"at": datetime(2013, 7, 1, 10, tzinfo=UTC), "made": datetime(2013, 1, 1, 11, tzinfo=UTC)}
    ]


def test_dates_are_cut_as_dates_whatever_the_zone(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE days (day DATE)")
    source.insert("days", [(f"2013-03-{n:02d}",) for n in range(1, 32)])
    zone = "Pacific/Auckland"
    manifest = bench.ingest(SqlTable("shop", "days", time="day"), span("2013-03-10", "2013-03-12", zone), timezone=zone)
    assert bench.read(manifest)["day"].to_pylist() == [date(2013, 3, 10), date(2013, 3, 11)]


def test_rows_without_a_time_are_in_no_interval(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE events (id INTEGER, at TIMESTAMP)")
    source.insert("events", [(1, "2013-05-05 00:00:00"), (2, None)])
    assert bench.ingest(SqlTable("shop", "events", time="at")).rows == 1


def test_an_empty_interval_has_no_files_but_its_columns(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE events (id INTEGER, name TEXT, at TIMESTAMP)")
    manifest = bench.ingest(SqlTable("shop", "events", time="at"))
    assert (manifest.rows, manifest.files) == (0, ())
    assert dict(manifest.columns) == {"id": "int64", "name": "string", "at": "timestamp[us]"}
    assert bench.read(manifest).num_rows == 0


def test_files_are_bounded_and_digest_does_not_depend_on_it(
    source: Source, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.run("CREATE TABLE events (id INTEGER, name TEXT)")
    source.insert("events", [(n, f"name {n}" if n % 3 else None) for n in range(1000)])
    whole = bench.ingest(SqlTable("shop", "events"))
    monkeypatch.setattr(writing, "FILE_ROWS", 100)
    monkeypatch.setattr(writing, "_GROUP_ROWS", 50)
    monkeypatch.setattr("modelfleet.ingest.sqlite._BATCH_ROWS", 32)
    monkeypatch.setattr("modelfleet.ingest.postgresql._BATCH_BYTES", 512)
    parts = bench.ingest(SqlTable("shop", "events"))
    assert len(whole.files) == 1
    assert len(parts.files) >= 8
    assert sum(entry.rows for entry in parts.files) == 1000
    assert parts.digest == whole.digest
    assert sorted(bench.read(parts)["id"].to_pylist()) == list(range(1000))


def test_an_unchanged_snapshot_keeps_the_earlier_files(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE items (id INTEGER)", "INSERT INTO items VALUES (1), (2)")
    first = bench.ingest(SqlTable("shop", "items"))
    bench.previous = {"data": first}
    assert bench.ingest(SqlTable("shop", "items")) == first
    source.run("INSERT INTO items VALUES (2)")
    changed = bench.ingest(SqlTable("shop", "items"))
    assert changed.digest != first.digest
    assert changed.files[0].path != first.files[0].path


def test_a_manifest_survives_json(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE items (id INTEGER)", "INSERT INTO items VALUES (1)")
    manifest = bench.ingest(SqlTable("shop", "items"))
    assert TableManifest.from_json(manifest.to_json()) == manifest


def test_a_missing_table_names_what_there_is(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE flights (id INTEGER)", "CREATE TABLE other (id INTEGER)")
    with pytest.raises(DataError, match=r"connection 'shop', table 'flihgts'.*there is 'flights', 'other'"):
        bench.ingest(SqlTable("shop", "flihgts"))


def test_a_missing_column_names_what_there_is(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE flights (distance INTEGER, carrier TEXT)")
    with pytest.raises(
        DataError, match=r"connection 'shop', table 'flights'.*no column 'distnace'.*there is 'distance'"
    ):
        bench.ingest(SqlTable("shop", "flights", columns=("distnace",)))


def test_a_time_column_that_holds_no_time_is_refused(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE flights (at INTEGER)")
    with pytest.raises(DataError, match=r"time column 'at' is .*, not a date or timestamp"):
        bench.ingest(SqlTable("shop", "flights", time="at"))


def test_a_file_of_the_lake_that_was_changed_is_not_read(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE items (id INTEGER)", "INSERT INTO items VALUES (1)")
    manifest = bench.ingest(SqlTable("shop", "items"))
    (bench.lake.root / manifest.files[0].path).write_bytes(b"other")
    with pytest.raises(Exception, match="does not match the digest"):
        bench.read(manifest)


@pytest.mark.parametrize(
    "uri",
    ["sqlite:////nowhere/shop.db", "postgresql://ann:s3cret@127.0.0.1:1/shop"],
    ids=["file that is not there", "server that is down"],
)
def test_a_database_that_is_down_is_worth_a_retry(uri: str, bench: Bench, connect: Callable[[str, str], None]) -> None:
    connect("shop", uri)
    with pytest.raises(
        UnavailableError, match="connection 'shop', table 'items': the database can't be read"
    ) as caught:
        bench.ingest(SqlTable("shop", "items"))
    assert is_retryable(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_kind_of_database_that_is_not_built_is_said(bench: Bench, connect: Callable[[str, str], None]) -> None:
    connect("shop", "mssql://ann:s3cret@db/shop")
    with pytest.raises(ConfigurationError, match="connections of type 'mssql' are not built yet"):
        bench.ingest(SqlTable("shop", "items"))


def test_progress_counts_rows(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE events (at TIMESTAMP)", "INSERT INTO events VALUES ('2013-01-01 00:00:00')")
    seen: list[tuple[str, int]] = []
    table = SqlTable("shop", "events", time="at")
    bench.ingest(table)
    assert bench.interval is not None
    ingest.extract(
        fleet(table), bench.interval, bench.attempt(), bench.lake, previous=None, progress=lambda *a: seen.append(a)
    )
    assert seen[-1] == ("data", 1)


def test_a_batch_reaches_the_lake_with_the_declared_schema(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE events (id INTEGER, note TEXT)")
    source.insert("events", [(n, None) for n in range(5)])
    assert bench.read(bench.ingest(SqlTable("shop", "events"))).schema == pa.schema(
        [("id", pa.int64()), ("note", pa.string())]
    )
