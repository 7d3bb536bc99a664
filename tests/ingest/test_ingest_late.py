"""What is read beyond the interval: the late tail, what is ahead, and how much of it is kept."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest_bench import Bench, Source, fleet, span
from modelfleet.errors import DataError
from modelfleet.ingest.coverage import Coverage
from modelfleet.ingest.manifest import TableManifest
from modelfleet.ingest.readings import changed
from modelfleet.spec import LakeTable, Schedule, SqlTable

SALES = SqlTable("shop", "sales", time="at", late="2D")


@pytest.fixture
def sales(source: Source) -> Source:
    """Two sales an hour of the first days of June, numbered."""
    source.run("CREATE TABLE sales (id INTEGER, at TIMESTAMP, units INTEGER)")
    hours = [(n, d, h) for n, (d, h) in enumerate((d, h) for d in range(1, 9) for h in range(24))]
    source.insert("sales", [(n, f"2013-06-0{d} {h:02}:{m}0:00", 1) for n, d, h in hours for m in (0, 3)])
    return source


def bounds(manifest: TableManifest) -> list[str]:
    return [start[:13] for start, _ in manifest.cells]


def ids(table: pa.Table) -> set[int]:
    return set(table["id"].to_pylist())


class TestSpan:
    @pytest.mark.parametrize(
        "interval, timezone, table, first, last, cells",
        [
            pytest.param(("2013-06-05", "2013-06-06"), "UTC", {"late": "3D"}, "06-02 00", "06-06 00", 4, id="three days"),
            pytest.param(
                ("2013-06-05", "2013-06-06"), "UTC", {"late": "36h"}, "06-03 00", "06-06 00", 3, id="rounded up to days"
            ),
            pytest.param(
                ("2013-06-05", "2013-06-06"), "UTC", {"ahead": "90min"}, "06-05 00", "06-07 00", 2, id="ahead, too"
            ),
            pytest.param(
                ("2013-06-05", "2013-06-06"), "UTC", {"late": "1D", "ahead": "7D"}, "06-04 00", "06-13 00", 9, id="both"
            ),
            pytest.param(
                ("2013-01-01", "2013-06-06"), "UTC", {"late": "2D"}, "12-30 00", "06-06 00", 2 + 1 + 31,
                id="of a long interval only the end is cut into days",
            ),
            pytest.param(
                ("2013-03-11", "2013-03-12"), "America/New_York", {"late": "2D"}, "03-09 05", "03-12 04", 3,
                id="over a day of 23 hours",
            ),
            pytest.param(
                ("2013-11-03", "2013-11-04"), "America/New_York", {"ahead": "1D"}, "11-03 04", "11-05 05", 2,
                id="ahead of a day of 25 hours",
            ),
            pytest.param(("2013-06-05", "2013-06-06"), "UTC", {}, "06-05 00", "06-06 00", 1, id="neither"),
        ],
    )  # fmt: skip
    def test_late_and_ahead_widen_it_by_whole_days(
        self, interval: tuple[str, str], timezone: str, table: dict[str, str], first: str, last: str, cells: int
    ) -> None:
        own = span(*interval, timezone)
        made = Coverage.of(
            fleet(SqlTable("shop", "sales", time="at", **table), timezone=timezone),
            SqlTable("shop", "sales", time="at", **table),
            own,
            None,
        )

        start, end = made.whole.utc
        assert (f"{start:%m-%d %H}", f"{end:%m-%d %H}", len(made.bounds) - 1) == (first, last, cells)
        assert all(before < after for before, after in pairwise(bound.astimezone(UTC) for bound in made.bounds))
        assert {own.start, own.end} <= set(made.bounds)
        assert made.is_wider == bool(table)

    @pytest.mark.parametrize(
        "hour, late, first, cells",
        [
            pytest.param("2013-11-03T06:00+00:00", "2h", "11-03 04", 3, id="hours"),
            pytest.param("2013-11-03T06:00+00:00", "90min", "11-03 04", 3, id="rounded up to hours"),
            pytest.param("2013-11-03T06:00+00:00", "1D", "11-02 05", 26, id="a day of 25 hours"),
        ],
    )
    def test_cells_are_hours_where_intervals_are(self, hour: str, late: str, first: str, cells: int) -> None:
        table = SqlTable("shop", "sales", time="at", late=late)
        spec = fleet(table, timezone="America/New_York").model_copy(update={"schedule": Schedule(ingest="@hourly")})
        own = span(hour, hour.replace("06:", "07:"), "America/New_York")

        made = Coverage.of(spec, table, own, None)

        assert f"{made.whole.utc[0]:%m-%d %H}" == first
        assert len(made.bounds) - 1 == cells

    def test_an_interval_ingested_again_reads_at_least_what_it_read_before(self, sales: Source, bench: Bench) -> None:
        day = span("2013-06-05", "2013-06-06")
        first = bench.ingest(SALES, day)
        bench.previous = {"data": first}

        again = bench.ingest(SqlTable("shop", "sales", time="at"), day)

        assert again.span == first.span == ("2013-06-03T00:00:00+00:00", "2013-06-06T00:00:00+00:00")
        assert again == first


class TestTail:
    def test_rows_of_the_interval_are_counted_and_shown_not_those_of_the_tail(
        self, sales: Source, bench: Bench
    ) -> None:
        plain = bench.ingest(SqlTable("shop", "sales", time="at"), span("2013-06-05", "2013-06-06"))
        shown = bench.read(plain)

        made = bench.ingest(SALES, span("2013-06-05", "2013-06-06"))

        assert (made.rows, sum(entry.rows for entry in made.files)) == (48, 144)
        assert bench.read(made) == shown
        assert bounds(made) == ["2013-06-03T00", "2013-06-04T00", "2013-06-05T00"]
        assert made.cells[-1][1] == plain.digest, "a day has the digest it would have alone"

    def test_nothing_known_keeps_the_tail_and_any_span_of_it_can_be_read(self, sales: Source, bench: Bench) -> None:
        made = bench.ingest(SALES, span("2013-06-05", "2013-06-06"))

        assert made.held_from == "2013-06-03T00:00:00+00:00"
        parts = [span("2013-06-03", "2013-06-04"), span("2013-06-05T06:00", "2013-06-05T07:00")]
        assert ids(bench.read(made, spans=parts)) == {*range(48, 72), 96 + 6}
        assert bench.read(made, ["units"], spans=parts).num_rows == 50

    def test_a_tail_that_is_known_is_not_kept(self, sales: Source, bench: Bench) -> None:
        for number in (3, 4):
            manifest = bench.ingest(SALES, span(f"2013-06-0{number}", f"2013-06-0{number + 1}"))
            bench.others.append(bench.reading(manifest))

        made = bench.ingest(SALES, span("2013-06-05", "2013-06-06"))

        assert sum(entry.rows for entry in made.files) == 48
        assert made.held_from == "2013-06-05T00:00:00+00:00"
        folder = (bench.lake.root / made.files[0].path).parent
        assert [path.name.rsplit("-", 1)[0] for path in folder.iterdir()] == ["data-0000"]

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE sales SET units = 2 WHERE id = 50",
            "DELETE FROM sales WHERE id = 50",
            "INSERT INTO sales VALUES (999, '2013-06-03 09:00:00', 1)",
            "UPDATE sales SET at = '2013-06-03 23:59:00' WHERE id = 80",
        ],
        ids=["changed", "deleted", "added", "moved to another day"],
    )
    def test_a_restated_day_is_found_whatever_happened_to_its_rows(
        self, change: str, sales: Source, bench: Bench
    ) -> None:
        for number in (3, 4):
            manifest = bench.ingest(SALES, span(f"2013-06-0{number}", f"2013-06-0{number + 1}"))
            bench.others.append(bench.reading(manifest))
        sales.run(change)

        made = bench.ingest(SALES, span("2013-06-05", "2013-06-06"))

        found = {key for _, key in changed(bench.reading(made), bench.others)}
        assert found == ({"2013-06-03", "2013-06-04"} if "id = 80" in change else {"2013-06-03"})
        assert made.held_from == "2013-06-03T00:00:00+00:00"
        assert made.rows == 48

    def test_the_digest_is_that_of_all_rows_read_whoever_knew_them(self, sales: Source, bench: Bench) -> None:
        first = bench.ingest(SALES, span("2013-06-05", "2013-06-06"))
        manifest = bench.ingest(SqlTable("shop", "sales", time="at"), span("2013-06-03", "2013-06-05"))
        whole = bench.ingest(SqlTable("shop", "sales", time="at"), span("2013-06-03", "2013-06-06"))
        bench.others.append(bench.reading(manifest))

        assert bench.ingest(SALES, span("2013-06-05", "2013-06-06")).digest == first.digest == whole.digest

    def test_an_unchanged_interval_keeps_the_earlier_files(self, sales: Source, bench: Bench) -> None:
        first = bench.ingest(SALES, span("2013-06-05", "2013-06-06"))
        bench.previous = {"data": first}

        assert bench.ingest(SALES, span("2013-06-05", "2013-06-06")) == first

    def test_a_manifest_with_cells_survives_json(self, sales: Source, bench: Bench) -> None:
        manifest = bench.ingest(SALES, span("2013-06-05", "2013-06-06"))

        assert TableManifest.from_json(manifest.to_json()) == manifest
        plain = manifest.to_json() | {"span": None, "held_from": None, "cells": []}
        written_before = {name: plain[name] for name in plain if name not in ("span", "held_from", "cells")}
        assert TableManifest.from_json(written_before) == TableManifest.from_json(plain)

    def test_a_row_that_does_not_fit_leaves_no_file_named(self, sqlite_source: Source, bench: Bench) -> None:
        sqlite_source.run("CREATE TABLE sales (id INTEGER, at TIMESTAMP, units INTEGER)")
        sqlite_source.insert("sales", [(1, "2013-06-04 00:00:00", 1), (2, "2013-06-05 00:00:00", "many")])
        with pytest.raises(DataError, match="column 'units' is INTEGER but holds text"):
            bench.ingest(SALES, span("2013-06-05", "2013-06-06"))

    def test_an_empty_interval_can_have_a_tail(self, source: Source, bench: Bench) -> None:
        source.run("CREATE TABLE sales (id INTEGER, at TIMESTAMP)")
        source.insert("sales", [(1, "2013-06-04 12:00:00")])

        made = bench.ingest(SALES, span("2013-06-05", "2013-06-06"))

        assert made.rows == 0
        assert bench.read(made).num_rows == 0
        assert ids(bench.read(made, spans=[span("2013-06-04", "2013-06-05")])) == {1}


def test_rows_ahead_are_read_up_to_their_end(sales: Source, bench: Bench) -> None:
    table = SqlTable("shop", "sales", time="at", ahead="2D")

    made = bench.ingest(table, span("2013-06-05", "2013-06-06"))

    assert made.rows == 48
    assert bounds(made) == ["2013-06-05T00", "2013-06-06T00", "2013-06-07T00"]
    assert ids(bench.read(made, spans=[span("2013-06-05", "2013-06-08")])) == set(range(96, 168))


def test_a_table_of_dates_is_late_by_days(source: Source, bench: Bench) -> None:
    source.run("CREATE TABLE days (id INTEGER, day DATE)")
    source.insert("days", [(n, f"2013-03-{n:02d}") for n in range(1, 32)])
    zone = "Pacific/Auckland"
    table = SqlTable("shop", "days", time="day", late="2D", ahead="1D")

    made = bench.ingest(table, span("2013-03-10", "2013-03-11", zone), timezone=zone)

    assert (made.rows, len({digest for _, digest in made.cells})) == (1, 4)
    assert ids(bench.read(made)) == {10}
    assert ids(bench.read(made, spans=[span("2013-03-08", "2013-03-12", zone)])) == {8, 9, 10, 11}


class TestFilesInPlace:
    AT = datetime(2013, 6, 5)

    def write(self, bench: Bench, name: str, **columns: Any) -> Path:
        path = bench.lake.root / "promo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        return path

    @pytest.mark.parametrize("form", ["parquet", "csv"])
    def test_rows_ahead_belong_to_the_reading_and_count_for_their_own_days(self, form: Any, bench: Bench) -> None:
        dates = [date(2013, 6, n) for n in range(1, 21)]
        path = self.write(bench, "june.parquet", day=dates, id=list(range(1, 21)))
        if form == "csv":
            path.with_suffix(".csv").write_text("\n".join(["day,id", *(f"{day},{day.day}" for day in dates)]))
        table = LakeTable("promo", time="day", ahead="3D", format=form)

        made = bench.ingest(table, span("2013-06-05", "2013-06-06"))

        assert (made.rows, made.span) == (1, ("2013-06-05T00:00:00+00:00", "2013-06-09T00:00:00+00:00"))
        assert len(made.cells) == 4
        assert ids(bench.read(made)) == {5}
        assert ids(bench.read(made, spans=[span("2013-06-05", "2013-06-09")])) == {5, 6, 7, 8}

    def test_a_file_that_only_has_rows_ahead_is_named(self, bench: Bench) -> None:
        self.write(bench, "near.parquet", day=[date(2013, 6, 7)], id=[7])
        self.write(bench, "far.parquet", day=[date(2013, 7, 7)], id=[37])

        made = bench.ingest(LakeTable("promo", time="day", ahead="3D"), span("2013-06-05", "2013-06-06"))

        assert [Path(entry.path).name for entry in made.files] == ["near.parquet"]
        assert made.rows == 0

    def test_a_day_has_one_digest_while_its_files_stay(self, bench: Bench) -> None:
        table = LakeTable("promo", time="day", ahead="3D")
        self.write(bench, "a.parquet", day=[date(2013, 6, n) for n in range(1, 8)], id=list(range(1, 8)))
        first = bench.reading(bench.ingest(table, span("2013-06-04", "2013-06-05")))
        self.write(bench, "b.parquet", day=[date(2013, 6, 7)], id=[70])

        second = bench.reading(bench.ingest(table, span("2013-06-05", "2013-06-06")))

        assert [key for _, key in changed(first, [second]) if key] == []
        same = {span: first.cells[span] == second.cells[span] for span in first.cells if span in second.cells}
        assert list(same.values()) == [True, True, False]

    def test_without_any_row_there_are_cells_all_the_same(self, bench: Bench) -> None:
        self.write(bench, "a.parquet", day=[date(2012, 6, 1)], id=[1])

        made = bench.ingest(LakeTable("promo", time="day", ahead="1D"), span("2013-06-05", "2013-06-06"))

        assert (made.files, len(made.cells)) == ((), 2)
