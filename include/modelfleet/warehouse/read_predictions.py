"""Queries of predictions, forecasts and actuals."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
from sqlalchemy import ColumnElement, Table, and_, func, select

from modelfleet.errors import NotFoundError
from modelfleet.warehouse.kinds import FLOAT, INTEGER, Kind
from modelfleet.warehouse.names import (
    actuals_table,
    forecast_actuals_view,
    forecast_view,
    latest_view,
    predictions_table,
)
from modelfleet.warehouse.queries import Queries, Row, equal
from modelfleet.warehouse.schema import ISSUES, make_table
from modelfleet.warehouse.views import quantiles

Moment = datetime | date


class PredictionReader(Queries):
    """What can be asked of a fleet's predictions and actuals."""

    def predictions(
        self, fleet: str, interval: str | None = None, *, partition: str | None = None, latest: bool = True
    ) -> pa.Table:
        """Predictions of an interval, or of all; with `latest`, only those issued last for each interval.

        :raises NotFoundError: when nothing was ever scored.
        """
        columns = self._columns(predictions_table(fleet))
        if not columns:
            raise NotFoundError(f"fleet {fleet!r} has no predictions yet", hint=f"modelfleet run {fleet} --step score")
        table = make_table(latest_view(fleet) if latest else predictions_table(fleet), columns)
        query = select(table).where(*equal(table, interval=interval, partition=partition))
        return self._table(query.order_by(table.c.interval, table.c.issued_at, table.c.partition))

    def forecasts(
        self, fleet: str, *, partition: str | None = None, start: Moment | None = None, end: Moment | None = None
    ) -> pa.Table:
        """The latest forecast of each partition and target time in ``[start, end)``, by partition and time.

        :raises NotFoundError: when the fleet has no forecasts.
        """
        time = self._forecast_time(fleet)
        table = make_table(forecast_view(fleet), self._columns(predictions_table(fleet)))
        query = select(table).where(*equal(table, partition=partition), *_within(table, time, start, end))
        return self._table(query.order_by(table.c.partition, table.c[time]))

    def forecast_actuals(
        self,
        fleet: str,
        *,
        interval: str | None = None,
        partition: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> pa.Table:
        """Forecasts in force beside the actuals, where these are known, by interval, partition and time.

        There are columns actual, error (prediction - actual) and, for a fleet with quantiles, covered (1 where the actual
        lies within the outermost).

        :raises NotFoundError: when the fleet has no forecasts.
        """
        time = self._forecast_time(fleet)
        columns: dict[str, Kind] = self._columns(predictions_table(fleet))
        covered = {"covered": INTEGER} if len(quantiles(columns)) > 1 else {}
        table = make_table(forecast_actuals_view(fleet), {**columns, "actual": FLOAT, "error": FLOAT, **covered})
        wanted = [*equal(table, interval=interval, partition=partition), *_within(table, time, start, end)]
        return self._table(select(table).where(*wanted).order_by(table.c.interval, table.c.partition, table.c[time]))

    def actuals(
        self, fleet: str, *, partition: str | None = None, start: Moment | None = None, end: Moment | None = None
    ) -> pa.Table:
        """What was observed in ``[start, end)``, by partition and time.

        :raises NotFoundError: when no actuals were ever loaded.
        """
        columns = self._columns(actuals_table(fleet))
        if not columns:
            raise NotFoundError(f"fleet {fleet!r} has no actuals yet", hint=f"modelfleet run {fleet} --step score")
        time = list(columns)[list(columns).index("actual") - 1]
        table = make_table(actuals_table(fleet), columns)
        query = select(table).where(*equal(table, partition=partition), *_within(table, time, start, end))
        return self._table(query.order_by(table.c.partition, table.c[time]))

    def prediction_counts(self, fleet: str) -> list[Row]:
        """{interval, attempt, issued_at, source, n} of each interval's latest issue; no `source` if it is empty."""
        rank = func.row_number().over(
            partition_by=ISSUES.c.interval, order_by=(ISSUES.c.issued_at.desc(), ISSUES.c.attempt.desc())
        )
        issued = select(ISSUES, rank.label("rank")).where(ISSUES.c.fleet == fleet).subquery()
        columns = self._columns(predictions_table(fleet))
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

    def _columns(self, table: str) -> dict[str, Kind]:
        with self.database.reading() as connection:
            return self.database.columns(connection, table)

    def _forecast_time(self, fleet: str) -> str:
        """The column of target times, as the last issue has it.

        :raises NotFoundError: when the fleet has no forecasts.
        """
        last = select(ISSUES.c.time_column).where(ISSUES.c.fleet == fleet, ISSUES.c.time_column.is_not(None))
        found = self._rows(last.order_by(ISSUES.c.issued_at.desc(), ISSUES.c.attempt.desc()).limit(1))
        if not found or not self.database.has(forecast_view(fleet)):
            raise NotFoundError(f"fleet {fleet!r} has no forecasts yet", hint=f"modelfleet run {fleet} --step score")
        return str(found[0]["time_column"])


def _within(table: Table, time: str, start: Moment | None, end: Moment | None) -> list[ColumnElement[bool]]:
    wanted = [] if start is None else [table.c[time] >= start]
    return wanted if end is None else [*wanted, table.c[time] < end]
