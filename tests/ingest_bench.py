"""Source databases of both kinds, and one call that ingests a table and reads it back."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pyarrow as pa

from modelfleet import ingest
from modelfleet.ingest import TableManifest
from modelfleet.interval import Interval
from modelfleet.lake import Attempt, Lake
from modelfleet.spec import Data, FleetSpec, LakeTable, Quality, Regression, SqlTable

_ATTEMPTS = itertools.count()


def fleet(
    table: SqlTable | LakeTable, *, timezone: str = "UTC", sensitive: Sequence[str] = (), name: str = "data"
) -> FleetSpec:
    """A fleet around one table; a table without time stands beside a main table that is never read."""
    tables = {name: table} if table.time else {"clock": SqlTable("unused", "unused", time="at"), name: table}
    return FleetSpec(
        name="demand",
        owner="tests",
        data=Data(**tables, prepare=None if table.time and not table.ahead else "demand.prepare:join"),
        partition_by=("key",),
        problem=Regression(target="target"),
        features=("feature",),
        model="demand.model:build",
        quality=Quality(sensitive=tuple(sensitive)),
        timezone=timezone,
    )


def span(start: str, end: str, timezone: str = "UTC") -> Interval:
    zone = ZoneInfo(timezone)
    first, last = (datetime.fromisoformat(text) for text in (start, end))
    return Interval(start, *(t.astimezone(zone) if t.tzinfo else t.replace(tzinfo=zone) for t in (first, last)))


@dataclass
class Source:
    """An empty source database under connection id ``shop``."""

    kind: str
    uri: str

    def run(self, *statements: str) -> None:
        with self._connected() as connection:
            for statement in statements:
                connection.execute(statement)

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        mark = "?" if self.kind == "sqlite" else "%s"
        with self._connected() as connection:
            connection.cursor().executemany(f"INSERT INTO {table} VALUES ({', '.join([mark] * len(rows[0]))})", rows)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A connection that commits at the end; PostgreSQL's session is in UTC."""
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.uri.removeprefix("sqlite:///"))) as connection, connection:
                yield connection
        else:
            with psycopg.connect(self.uri, options="-c timezone=UTC") as connection_:
                yield connection_


@dataclass
class Bench:
    """Ingests one table as fleet ``demand`` does, into the lake of the test."""

    lake: Lake
    table: Any = None
    interval: Interval | None = None
    previous: dict[str, TableManifest] = field(default_factory=dict)
    others: list[ingest.Reading] = field(default_factory=list)
    """Readings of the table by ingests of other intervals."""

    def ingest(
        self,
        table: SqlTable | LakeTable,
        interval: Interval | None = None,
        *,
        timezone: str = "UTC",
        sensitive: Sequence[str] = (),
    ) -> TableManifest:
        self.table, self.interval = table, interval or span("2013-01-01", "2014-01-01", timezone)
        spec = fleet(table, timezone=timezone, sensitive=sensitive)
        if table.time is None:  # only the snapshot is read, not the main table
            spec = spec.model_copy(update={"data": spec.data.model_copy(update={"tables": {"data": table}})})
        made = ingest.extract(
            spec, self.interval, self.attempt(), self.lake, previous=self.previous, others={"data": self.others}
        )
        return made["data"]

    def attempt(self) -> Attempt:
        assert self.interval is not None
        number = next(_ATTEMPTS)
        created = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        return Attempt("demand", "ingest", self.interval, f"a{number}", "s", "c", created.isoformat(), {}, {})

    def reading(self, manifest: TableManifest) -> ingest.Reading:
        """What was just ingested, as a reading that later ones are compared with."""
        assert self.interval is not None
        created = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=next(_ATTEMPTS))
        return ingest.Reading.of(self.interval, created.isoformat(), manifest)

    def read(
        self,
        manifest: TableManifest,
        columns: Sequence[str] | None = None,
        spans: Sequence[Interval] | None = None,
    ) -> pa.Table:
        """All rows that show, as the steps after ingest read them."""
        batches = [
            batch
            for entry in manifest.files
            for batch in ingest.read_batches(
                manifest, entry, self.lake, table=self.table, interval=self.interval, columns=columns, spans=spans
            )
        ]
        schema = ingest.schema_of(manifest.columns)
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns if name in schema.names])
        return pa.Table.from_batches(batches, schema)
