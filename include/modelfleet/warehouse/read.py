"""Queries of the command line, the summary and the steps. With no attempt named, the latest committed is read."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
from sqlalchemy import ColumnElement, Table, and_, func, select

from modelfleet.errors import NotFoundError, bounded
from modelfleet.warehouse.queries import Row, equal
from modelfleet.warehouse.read_predictions import PredictionReader
from modelfleet.warehouse.schema import BACKTESTS, DECISIONS, INCIDENTS, MODELS, RUNS

COMMITTED = ("committed", "empty")


class Reader(PredictionReader):
    """What can be asked of the warehouse. Times are aware and in UTC."""

    def runs(
        self, fleet: str | None = None, *, pipeline: str | None = None, interval: str | None = None, limit: int = 100
    ) -> list[Row]:
        """Runs, the latest first; `counts` and `step_seconds` are dicts."""
        wanted = equal(RUNS, fleet=fleet, pipeline=pipeline, interval=interval)
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
            .where(*equal(RUNS, fleet=fleet, pipeline=pipeline, interval=interval), RUNS.c.status.in_(statuses))
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
            .where(*equal(RUNS, fleet=fleet, pipeline="score"))
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
        query = select(MODELS).where(wanted, *equal(MODELS, partition=partition, status=status))
        return self._table(query.order_by(MODELS.c.partition))

    def decisions(
        self, fleet: str, interval: str | None = None, *, attempt: str | None = None, partition: str | None = None
    ) -> pa.Table:
        """Decisions of one promotion, by partition."""
        wanted = self._of_attempt(DECISIONS, "promote", fleet, interval, attempt)
        query = select(DECISIONS).where(wanted, *equal(DECISIONS, partition=partition))
        return self._table(query.order_by(DECISIONS.c.partition))

    def backtest(self, fleet: str, id: str | None = None, *, partition: str | None = None) -> pa.Table:
        """Rows of a backtest, or of the one made last, by fold and partition.

        :raises NotFoundError: when there is none.
        """
        made = select(BACKTESTS.c.backtest).where(BACKTESTS.c.fleet == fleet).group_by(BACKTESTS.c.backtest)
        latest_first = self._rows(made.order_by(func.max(BACKTESTS.c.made_at).desc(), BACKTESTS.c.backtest.desc()))
        known = [row["backtest"] for row in latest_first]
        if not known or id not in (None, *known):
            raise NotFoundError(
                f"fleet {fleet!r} has no backtest" + (" yet" if id is None else f" {id!r}"),
                hint=f"there are {bounded(known)}" if known else f"modelfleet backtest {fleet}",
            )
        wanted = equal(BACKTESTS, fleet=fleet, backtest=id or known[0], partition=partition)
        return self._table(select(BACKTESTS).where(*wanted).order_by(BACKTESTS.c.fold, BACKTESTS.c.partition))

    def model_counts(self, fleet: str, interval: str | None = None, *, attempt: str | None = None) -> list[Row]:
        """{status, reason, n} of one training, the most frequent first."""
        wanted = self._of_attempt(MODELS, "train", fleet, interval, attempt)
        return self._counted(MODELS, ("status", "reason"), wanted)

    def decision_counts(self, fleet: str, interval: str | None = None, *, attempt: str | None = None) -> list[Row]:
        """{decision, rule, reason, n} of one promotion's partitions, the most frequent first."""
        wanted = and_(self._of_attempt(DECISIONS, "promote", fleet, interval, attempt), DECISIONS.c.level.is_(None))
        return self._counted(DECISIONS, ("decision", "rule", "reason"), wanted)

    def run_counts(self, fleet: str | None = None) -> list[Row]:
        """{fleet, pipeline, status, n} over all runs."""
        groups = (RUNS.c.fleet, RUNS.c.pipeline, RUNS.c.status)
        query = select(*groups, func.count().label("n")).where(*equal(RUNS, fleet=fleet))
        return self._rows(query.group_by(*groups).order_by(*groups))

    def incidents(self, fleet: str | None = None, *, unresolved: bool = False, limit: int = 100) -> list[Row]:
        """Incidents, the latest first."""
        wanted = equal(INCIDENTS, fleet=fleet)
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
        return and_(*equal(table, fleet=fleet, interval=interval, attempt=attempt))

    def _written_by(self, table: Table, key: dict[str, str], attempt: str) -> str:
        """The attempt whose rows in `table` the run `attempt` has: itself, or the last before it that has any."""
        began = select(RUNS.c.started_at).where(*equal(RUNS, **key, attempt=attempt)).scalar_subquery()
        held = select(table.c.attempt).where(
            table.c.fleet == RUNS.c.fleet, table.c.interval == RUNS.c.interval, table.c.attempt == RUNS.c.attempt
        )
        query = (
            select(RUNS.c.attempt)
            .where(*equal(RUNS, **key), RUNS.c.started_at <= began, held.exists())
            .order_by((RUNS.c.attempt == attempt).desc(), RUNS.c.started_at.desc(), RUNS.c.attempt.desc())
            .limit(1)
        )
        found = self._rows(query)
        return str(found[0]["attempt"]) if found else attempt

    def _counted(self, table: Table, names: Sequence[str], wanted: ColumnElement[bool]) -> list[Row]:
        groups = [table.c[name] for name in names]
        count = func.count().label("n")
        return self._rows(select(*groups, count).where(wanted).group_by(*groups).order_by(count.desc(), *groups))
