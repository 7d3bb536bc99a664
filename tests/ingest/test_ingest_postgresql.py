"""What is PostgreSQL's alone: its own types, instants, schemas, privileges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from ingest_bench import Bench, Source, span
from modelfleet.errors import DataError, UnavailableError
from modelfleet.spec import SqlTable


def test_its_own_types_become_the_lakes(postgres_source: Source, bench: Bench) -> None:
    postgres_source.run(
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "CREATE TABLE t (s SMALLINT, r REAL, c CHAR(3), v VARCHAR(9), u UUID, m mood, n NUMERIC, k NUMERIC(25, 0))",
        "INSERT INTO t VALUES (7, 0.5, 'ab', 'abc', '6f0e0000-0000-4000-8000-00000000000a', 'sad', 1.5, 12)",
    )
    manifest = bench.ingest(SqlTable("shop", "t"))
    assert list(manifest.columns.values()) == ["int64", "double", *["string"] * 4, "double", "double"]
    row = tuple(bench.read(manifest).to_pylist()[0].values())
    assert row == (7, 0.5, "ab", "abc", "6f0e0000-0000-4000-8000-00000000000a", "sad", 1.5, 12.0)


@pytest.mark.parametrize("declared", ["JSONB", "INTEGER[]", "INTERVAL", "TIME", "POINT", "MONEY"])
def test_an_unsupported_type_is_refused_unless_left_out(declared: str, postgres_source: Source, bench: Bench) -> None:
    postgres_source.run(f"CREATE TABLE t (id INTEGER, odd {declared})", "INSERT INTO t VALUES (1, NULL)")
    with pytest.raises(DataError, match=r"column 'odd' .* not supported\nHint: list the columns"):
        bench.ingest(SqlTable("shop", "t"))
    assert bench.ingest(SqlTable("shop", "t", columns=("id",))).rows == 1


def test_timestamptz_is_cut_and_kept_as_instants(postgres_source: Source, bench: Bench) -> None:
    postgres_source.run(
        "CREATE TABLE t (at TIMESTAMPTZ)",
        "INSERT INTO t VALUES ('2013-03-10 04:59:59.999999+00'), ('2013-03-10 00:00-05'), ('2013-03-10 23:59-04'), "
        "('2013-03-11 00:00-04'), ('infinity'), ('-infinity')",
    )
    zone = "America/New_York"
    manifest = bench.ingest(SqlTable("shop", "t", time="at"), span("2013-03-10", "2013-03-11", zone), timezone=zone)
    assert bench.read(manifest)["at"].to_pylist() == [
        datetime(2013, 3, 10, 5, tzinfo=UTC),
        datetime(2013, 3, 11, 3, 59, tzinfo=UTC),
    ]


def test_a_table_of_another_schema_is_found_by_it(postgres_source: Source, bench: Bench) -> None:
    postgres_source.run('CREATE SCHEMA "My Data"', 'CREATE TABLE "My Data".t (id INTEGER)')
    manifest = bench.ingest(SqlTable("shop", "t", schema="My Data"))
    assert manifest.source == "shop: My Data.t"
    with pytest.raises(DataError, match="no such table; there is none"):
        bench.ingest(SqlTable("shop", "t"))


def test_a_table_without_privilege_is_the_authors_to_solve(
    postgres_source: Source, bench: Bench, connect: Callable[[str, str], None]
) -> None:
    postgres_source.run("CREATE TABLE t (id INTEGER)", "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN")
    connect("shop", postgres_source.uri.replace("postgres@", "reader:s3cret@"))
    with pytest.raises(DataError, match="permission denied") as caught:
        bench.ingest(SqlTable("shop", "t"))
    assert "s3cret" not in str(caught.value)


def test_a_value_its_type_does_not_take_is_a_data_error(postgres_source: Source, bench: Bench) -> None:
    postgres_source.run("CREATE TABLE t (k NUMERIC(12, 0))", "INSERT INTO t VALUES ('NaN')")
    with pytest.raises(DataError, match="connection 'shop', table 't'"):
        bench.ingest(SqlTable("shop", "t"))


def test_a_database_that_is_not_there_is_worth_a_retry(
    postgres_source: Source, bench: Bench, connect: Callable[[str, str], None]
) -> None:
    connect("shop", postgres_source.uri + "_gone")
    with pytest.raises(UnavailableError, match=r"connection 'shop'.*does not exist"):
        bench.ingest(SqlTable("shop", "t"))


def test_a_server_that_goes_away_half_way_is_worth_a_retry(postgres_source: Source, bench: Bench) -> None:
    postgres_source.run("CREATE TABLE t (id INTEGER)", "INSERT INTO t SELECT generate_series(1, 10)")
    postgres_source.run(
        "CREATE FUNCTION die(i INTEGER) RETURNS INTEGER LANGUAGE plpgsql AS $$ BEGIN "
        "IF i = 5 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN i; END $$",
        "CREATE VIEW dying AS SELECT die(id) AS id FROM t",
    )
    with pytest.raises(UnavailableError, match="connection 'shop', table 'dying'"):
        bench.ingest(SqlTable("shop", "dying"))
