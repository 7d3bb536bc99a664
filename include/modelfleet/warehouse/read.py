"""Queries of the command line, the summary and the steps. With no attempt named, the latest committed is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import ColumnElement, Select, Table, and_, func, select

from modelfleet.errors import NotFoundError
from modelfleet.warehouse.database import Database
from modelfleet.warehouse.kinds import SqlType
from modelfleet.warehouse.names import latest_view, predictions_table
from modelfleet.warehouse.schema import DECISIONS, INCIDENTS, ISSUES, MODELS, RUNS, make_table

Row = dict[str, Any]
COMMITTED = ("committed", "empty")
_BATCH_ROWS = 20_000


class Reader:
    """What can be asked of the warehouse. Times are aware and in UTC."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def runs(
        self, fleet: str | None = None, *, pipeline: str | None = None, interval: str | None = None, limit: int = 100
    ) -> list[Row]:
        """Runs, the latest first; `counts` and `step_seconds` are dicts."""
        wanted = _equal(RUNS, fleet=fleet, pipeline=pipeline, interval=interval)
        query = select(RUNS).where(*wanted).order_by(RUNS.c.started_at.desc(), RUNS.c.attempt.desc()).limit(limit)
        return [
            {**row, **{name: json.loads(row[name] or "{}") for name in ("counts", "step_seconds")}}
            for row in self._rows(query)
        ]

    def latest_attempt(
        self, fleet: str, pipeline: str, interval: str | None = None, *, statuses: Sequence[str] = COMMITTED
    ) -> tuple[str, str] | None:
        """(interval, attempt) of the run in one of `statuses` that started last; None when there is none."""
        query = (
            select(RUNS.c.interval, RUNS.c.attempt)
            .where(*_equal(RUNS, fleet=fleet, pipeline=pipeline, interval=interval), RUNS.c.status.in_(statuses))
            .order_by(RUNS.c.started_at.desc(), RUNS.c.attempt.desc())
            .limit(1)
        )
        found = self._rows(query)
        return (found[0]["interval"], found[0]["attempt"]) if found else None

    def waiting_intervals(self, fleet: str) -> list[str]:
        """The intervals, in order, whose latest scoring run waits (for a champion)."""
        rank = func.row_number().over(
            partition_by=RUNS.c.interval, order_by=(RUNS.c.started_at.desc(), RUNS.c.attempt.desc())
        )
        ranked = (
            select(RUNS.c.interval, RUNS.c.status, rank.label("n"))
            .where(*_equal(RUNS, fleet=fleet, pipeline="score"))
            .subquery()
        )
        query = select(ranked.c.interval).where(ranked.c.n == 1, ranked.c.status == "waiting")
        return [row["interval"] for row in self._rows(query.order_by(ranked.c.interval))]

    def models(
        self,
        fleet: str,
        interval: str | None = None,
        *,
        attempt: str | None = None,
        partition: str | None = None,
        status: str | None = None,
    ) -> pa.Table:
        """Model rows of one training, by partition."""
        wanted = self._of_attempt(MODELS, "train", fleet, interval, attempt)
        query = select(MODELS).where(wanted, *_equal(MODELS, partition=partition, status=status))
        return self._table(query.order_by(MODELS.c.partition))

    def decisions(
        self, fleet: str, interval: str | None = None, *, attempt: str | None = None, partition: str | None = None
    ) -> pa.Table:
        """Decisions of one promotion, by partition."""
        wanted = self._of_attempt(DECISIONS, "promote", fleet, interval, attempt)
        query = select(DECISIONS).where(wanted, *_equal(DECISIONS, partition=partition))
        return self._table(query.order_by(DECISIONS.c.partition))

    def predictions(
        self, fleet: str, interval: str | None = None, *, partition: str | None = None, latest: bool = True
    ) -> pa.Table:
        """Predictions of an interval, or of all; with `latest`, only those issued last for each interval.

        :raises NotFoundError: when nothing was ever scored.
        """
        with self.database.reading() as connection:
            columns = self.database.columns(connection, predictions_table(fleet))
        if not columns:
            raise NotFoundError(f"fleet {fleet!r} has no predictions yet", hint=f"modelfleet run {fleet} --step score")
        table = make_table(latest_view(fleet) if latest else predictions_table(fleet), columns)
        query = select(table).where(*_equal(table, interval=interval, partition=partition))
        return self._table(query.order_by(table.c.interval, table.c.issued_at, table.c.partition))

    def model_counts(self, fleet: str, interval: str | None = None, *, attempt: str | None = None) -> list[Row]:
        """{status, reason, n} of one training, the most frequent first."""
        wanted = self._of_attempt(MODELS, "train", fleet, interval, attempt)
        return self._counted(MODELS, ("status", "reason"), wanted)

    def decision_counts(self, fleet: str, interval: str | None = None, *, attempt: str | None = None) -> list[Row]:
        """{decision, rule, reason, n} of one promotion, the most frequent first."""
        wanted = self._of_attempt(DECISIONS, "promote", fleet, interval, attempt)
        return self._counted(DECISIONS, ("decision", "rule", "reason"), wanted)

    def prediction_counts(self, fleet: str) -> list[Row]:
        """{interval, attempt, issued_at, source, n} of each interval's latest issue; no `source` if it is empty."""
        rank = func.row_number().over(
            partition_by=ISSUES.c.interval, order_by=(ISSUES.c.issued_at.desc(), ISSUES.c.attempt.desc())
        )
        issued = select(ISSUES, rank.label("rank")).where(ISSUES.c.fleet == fleet).subquery()
        with self.database.reading() as connection:
            columns = self.database.columns(connection, predictions_table(fleet))
        if not columns:
            return []
        rows = make_table(predictions_table(fleet), columns)
        same = and_(rows.c.interval == issued.c.interval, rows.c.attempt == issued.c.attempt)
        groups = (issued.c.interval, issued.c.attempt, issued.c.issued_at, rows.c.source)
        query = (
            select(*groups, func.count(rows.c.partition).label("n"))
            .select_from(issued.outerjoin(rows, same))
            .where(issued.c.rank == 1)
            .group_by(*groups)
            .order_by(issued.c.interval, rows.c.source)
        )
        return self._rows(query)

    def run_counts(self, fleet: str | None = None) -> list[Row]:
        """{fleet, pipeline, status, n} over all runs."""
        groups = (RUNS.c.fleet, RUNS.c.pipeline, RUNS.c.status)
        query = select(*groups, func.count().label("n")).where(*_equal(RUNS, fleet=fleet))
        return self._rows(query.group_by(*groups).order_by(*groups))

    def incidents(self, fleet: str | None = None, *, unresolved: bool = False, limit: int = 100) -> list[Row]:
        """Incidents, the latest first."""
        wanted = _equal(INCIDENTS, fleet=fleet)
        if unresolved:
            wanted.append(INCIDENTS.c.resolved_at.is_(None))
        return self._rows(select(INCIDENTS).where(*wanted).order_by(INCIDENTS.c.occurred_at.desc()).limit(limit))

    def _of_attempt(
        self, table: Table, pipeline: str, fleet: str, interval: str | None, attempt: str | None
    ) -> ColumnElement[bool]:
        """The rows of one attempt: the one named, or the latest that is done.

        A run that took its steps over from an earlier attempt has the rows of that one.

        :raises NotFoundError: when none is done.
        """
        if attempt is None:
            found = self.latest_attempt(fleet, pipeline, interval, statuses=(*COMMITTED, "reused"))
            if found is None:
                named = f" of interval {interval}" if interval else ""
                raise NotFoundError(f"fleet {fleet!r} has no committed {pipeline} run{named}")
            interval, done = found
            attempt = self._written_by(table, {"fleet": fleet, "pipeline": pipeline, "interval": interval}, done)
        return and_(*_equal(table, fleet=fleet, interval=interval, attempt=attempt))

    def _written_by(self, table: Table, key: dict[str, str], attempt: str) -> str:
        """The attempt whose rows in `table` the run `attempt` has: itself, or the last before it that has any."""
        began = select(RUNS.c.started_at).where(*_equal(RUNS, **key, attempt=attempt)).scalar_subquery()
        held = select(table.c.attempt).where(
            table.c.fleet == RUNS.c.fleet, table.c.interval == RUNS.c.interval, table.c.attempt == RUNS.c.attempt
        )
        query = (
            select(RUNS.c.attempt)
            .where(*_equal(RUNS, **key), RUNS.c.started_at <= began, held.exists())
            .order_by((RUNS.c.attempt == attempt).desc(), RUNS.c.started_at.desc(), RUNS.c.attempt.desc())
            .limit(1)
        )
        found = self._rows(query)
        return str(found[0]["attempt"]) if found else attempt

    def _counted(self, table: Table, names: Sequence[str], wanted: ColumnElement[bool]) -> list[Row]:
        groups = [table.c[name] for name in names]
        count = func.count().label("n")
        return self._rows(select(*groups, count).where(wanted).group_by(*groups).order_by(count.desc(), *groups))

    def _rows(self, query: Select[Any]) -> list[Row]:
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _table(self, query: Select[Any]) -> pa.Table:
        """The rows as an Arrow table, built in chunks: as Python objects they would be many times its size."""
        columns = list(query.selected_columns)
        names = [column.name for column in columns]
        chunks = [pa.table([_array(column, ()) for column in columns], names)]
        with self.database.reading() as connection:
            for part in connection.execution_options(yield_per=_BATCH_ROWS).execute(query).partitions():
                values = zip(columns, zip(*part, strict=True), strict=True)
                chunks.append(pa.table([_array(column, items) for column, items in values], names))
        return pa.concat_tables(chunks, promote_options="permissive")


def _array(column: ColumnElement[Any], values: Sequence[object]) -> Any:
    assert isinstance(column.type, SqlType)
    return pa.array(values, column.type.kind.arrow)


def _equal(table: Table, **values: str | None) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in values.items() if value is not None]
