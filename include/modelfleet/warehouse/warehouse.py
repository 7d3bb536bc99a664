"""`Warehouse`: what runs leave in SQL. Writing the same twice leaves the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pyarrow as pa
from sqlalchemy.dialects import postgresql, sqlite

from modelfleet import settings
from modelfleet.warehouse.database import Database
from modelfleet.warehouse.load import Load, replace
from modelfleet.warehouse.predictions import PredictionWriter
from modelfleet.warehouse.schema import BACKTESTS, DECISIONS, INCIDENTS, MODELS, RUNS

Rows: TypeAlias = pa.Table | pa.RecordBatchReader
OWN_METRICS = "own_metrics"
COMPARED = ("baseline", "fallback", "champion")
"""What a model is measured beside."""
RUN_STATUSES = ("running", "committed", "empty", "waiting", "failed", "reused")


class Warehouse(PredictionWriter):
    """The SQL warehouse; nothing is opened or made until first used."""

    @classmethod
    def open(cls) -> Warehouse:
        """The warehouse of `settings.warehouse`.

        :raises ConfigurationError: when that is neither SQLite nor PostgreSQL.
        """
        return cls(Database(settings.warehouse()))

    def record_run(
        self,
        fleet: str,
        pipeline: str,
        interval: str,
        attempt: str,
        *,
        status: str,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        rows: int | None = None,
        counts: Mapping[str, object] | None = None,
        step_seconds: Mapping[str, float] | None = None,
        message: str | None = None,
        spec_digest: str | None = None,
        code_version: str | None = None,
    ) -> None:
        """Write the row of a run, or update it: what is None stays as it was (`started_at` is now at first).

        A run that is `running` (again) has no end; one that is not failed or waiting has no message but the one given.
        """
        if status not in RUN_STATUSES:
            raise ValueError(f"run status {status!r}; allowed are {', '.join(RUN_STATUSES)}")
        given: dict[str, Any] = {
            "status": status,
            "started_at": started_at,
            "ended_at": ended_at,
            "rows": rows,
            "counts": _json(counts),
            "step_seconds": _json(step_seconds),
            "message": message,
            "spec_digest": spec_digest,
            "code_version": code_version,
        }
        changed = {name: value for name, value in given.items() if value is not None}
        if status == "running":
            changed["ended_at"] = ended_at
        if status in ("running", "committed", "empty", "reused"):  # what an earlier try failed of is over
            changed["message"] = message
        key = {"fleet": fleet, "pipeline": pipeline, "interval": interval, "attempt": attempt}
        with self.database.writing() as connection:
            statement = self._insert(RUNS).values(**key, **{**given, "started_at": started_at or datetime.now(UTC)})
            connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed))

    def forget_run(self, fleet: str, pipeline: str, interval: str, attempt: str) -> None:
        """Remove the row of a run, such as one that had waited; nothing happens where there is none."""
        key = {"fleet": fleet, "pipeline": pipeline, "interval": interval, "attempt": attempt}
        with self.database.writing() as connection:
            connection.execute(RUNS.delete().where(*(RUNS.c[name] == value for name, value in key.items())))

    def record_incident(
        self,
        *,
        id: str,
        fleet: str,
        kind: str,
        severity: str,
        title: str,
        occurred_at: datetime,
        pipeline: str | None = None,
        interval: str | None = None,
        attempt: str | None = None,
        step: str | None = None,
        message: str | None = None,
        source_url: str | None = None,
    ) -> bool:
        """Write an incident unless one of this `id` is there; tells whether it was new."""
        values = {name: value for name, value in locals().items() if name in INCIDENTS.c}
        with self.database.writing() as connection:
            statement = self._insert(INCIDENTS).values(**values).on_conflict_do_nothing()
            return connection.execute(statement.returning(INCIDENTS.c.id)).first() is not None

    def load_models(
        self,
        fleet: str,
        interval: str,
        attempt: str,
        table: Rows,
        *,
        version: int | None = None,
        own_metrics: Sequence[str] = (),
    ) -> int:
        """Replace the model rows of an attempt by `table` (one row per partition); gives their number.

        Columns `table` lacks are null, those the warehouse lacks are left out. `version` is the fleet's in the staging
        registry; the author's `own_metrics` (and their ``baseline_``, ``fallback_``, ``champion_`` forms) are kept as JSON.

        :raises DataError: for a partition that comes twice, or a column of another type.
        """
        key = {"fleet": fleet, "interval": interval, "attempt": attempt}
        return self._load_fixed_table(MODELS, key, table, {"model_version": version}, own_metrics)

    def load_decisions(
        self, fleet: str, interval: str, attempt: str, table: Rows, *, serves_version: int | None = None
    ) -> int:
        """Replace the decisions of an attempt by `table` (one row per partition); gives their number.

        :param serves_version: the version in production that serves by these decisions, where `table` does not say it.
        :raises DataError: for a partition that comes twice, or a column of another type.
        """
        key = {"fleet": fleet, "interval": interval, "attempt": attempt}
        fixed = {} if serves_version is None else {"serves_version": serves_version}
        return self._load_fixed_table(DECISIONS, key, table, fixed)

    def load_backtest(
        self,
        fleet: str,
        backtest: str,
        table: Rows,
        *,
        made_at: datetime,
        own_metrics: Sequence[str] = (),
    ) -> int:
        """Replace the rows of a backtest by `table` (one row per fold and partition); gives their number.

        Columns `table` lacks are null, those the warehouse lacks are left out; `own_metrics` as in `load_models`.

        :raises DataError: for a partition that comes twice in a fold, or a column of another type.
        """
        if made_at.tzinfo is None:
            raise ValueError("made_at must be aware")
        key = {"fleet": fleet, "backtest": backtest}
        return self._load_fixed_table(BACKTESTS, key, table, {"made_at": made_at}, own_metrics)

    def _load_fixed_table(
        self, target: Any, key: Mapping[str, str], table: Rows, fixed: Mapping[str, object], own: Sequence[str] = ()
    ) -> int:
        kinds = {column.name: column.type.kind for column in target.columns}
        names = table.schema.names
        batches = table.to_batches() if isinstance(table, pa.Table) else table
        schema = table.schema
        if own:
            batches = (_with_own_metrics(batch, own) for batch in batches)
            kept = [schema.field(name) for name in names if name != OWN_METRICS]
            schema = pa.schema([*kept, (OWN_METRICS, pa.string())])
        lacking = (name for name in kinds if name not in schema.names)
        fixed = {**dict.fromkeys(lacking), **key, **fixed}
        load = Load(
            key["fleet"],
            target.name,
            kinds,
            schema,
            batches,
            key=key,
            fixed=fixed,
            lenient=("reason", "message", "rule"),
        )
        return replace(self.database, load)

    def _insert(self, table: Any) -> Any:
        return (sqlite if self.database.dialect == "sqlite" else postgresql).insert(table)


def _json(value: Mapping[str, object] | None) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=str)


def _with_own_metrics(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """`batch` with column own_metrics: a JSON object of the author's metrics, NaN and infinity as null."""
    there = set(batch.schema.names)
    columns = [c for n in names for c in (n, *(f"{prefix}_{n}" for prefix in COMPARED)) if c in there]
    rows = batch.select(columns).to_pylist()
    finite = ({k: v if v is not None and abs(v) < float("inf") else None for k, v in row.items()} for row in rows)
    texts = pa.array([json.dumps(row) for row in finite], pa.string())
    kept = batch.drop_columns([OWN_METRICS]) if OWN_METRICS in there else batch
    return kept.append_column(OWN_METRICS, texts)
