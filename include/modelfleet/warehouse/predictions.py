"""Writing what a fleet predicts and what came true: tables and views are made as the rows come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Table

from modelfleet.errors import DataError
from modelfleet.warehouse import schema
from modelfleet.warehouse.kinds import Kind, kind_of
from modelfleet.warehouse.load import Load, replace
from modelfleet.warehouse.merge import merge
from modelfleet.warehouse.names import actuals_table, check_columns, issue_table, predictions_table, quantile_of
from modelfleet.warehouse.read import Reader
from modelfleet.warehouse.schema import ISSUED, OBSERVED
from modelfleet.warehouse.views import View, of_fleet

APART_ROWS = 500_000
"""From how many rows on an issue gets a table of its own: a query locks all of them, and a server has some thousand locks."""


class PredictionWriter(Reader):
    """Loads predictions and actuals, streamed."""

    def load_predictions(
        self,
        fleet: str,
        interval: str,
        attempt: str,
        issued_at: datetime,
        batches: pa.RecordBatchReader,
        *,
        key_columns: Sequence[str],
        time_column: str,
        id_columns: Sequence[str] = (),
        expected: int = 0,
    ) -> int:
        """Replace the predictions of an attempt by `batches`, streamed; gives their number (0 is an issue too).

        The batches hold the named columns, prediction, source, partition, model_version, and maybe probability; those
        with a column ``step`` are forecasts, and may hold quantiles (``q10``, ``q2_5``). Other columns are left out. A
        column new to the fleet is added to its table, null for earlier rows.

        :param expected: how many rows there will be, as far as that is known: many get a table of their own on PostgreSQL.
        :raises DataError: for a reserved or missing column, a changed type, a value a column can't hold.
        """
        _check_aware(issued_at=issued_at)
        given = set(batches.schema.names)
        forecast = "step" in given
        named = tuple(dict.fromkeys((*key_columns, time_column, *id_columns)))
        others = [name for name in batches.schema.names if forecast and name not in named]
        quantiles = [name for name in others if quantile_of(name) is not None]
        check_columns(fleet, (*named, *quantiles), forecast=forecast)
        columns = _kinds(fleet, named, batches.schema)
        made = partial(schema.predictions, columns=columns, quantiles=quantiles, time=time_column if forecast else None)
        tables = [made(predictions_table(fleet))]
        if forecast:
            wanted = {name: columns[name] for name in (*key_columns, time_column) if name in columns}
            tables.append(self._actuals(fleet, wanted, time_column))

        def views(connection: Connection) -> Iterable[View]:
            all_columns = self.database.columns(connection, predictions_table(fleet))
            return of_fleet(fleet, all_columns, self.database.dialect, time=time_column if forecast else None)

        self.database.ensure(*tables, views=views)
        with self.database.reading() as connection:
            existing = self.database.columns(connection, predictions_table(fleet))
        load = Load(
            fleet=fleet,
            table=predictions_table(fleet),
            kinds={name: existing[name] for name in (*columns, *ISSUED, *quantiles)},
            schema=batches.schema,
            batches=batches,
            key={"interval": interval, "attempt": attempt},
            fixed={
                **dict.fromkeys({"step", "probability"} - given),
                **{"interval": interval, "attempt": attempt, "issued_at": issued_at},
            },
            issue={"issued_at": issued_at, "time_column": time_column},
            apart=made(issue_table(fleet, interval, attempt)) if expected >= APART_ROWS else None,
        )
        count = replace(self.database, load)
        self.database.summarize(load.table)
        return count

    def load_actuals(
        self,
        fleet: str,
        interval: str,
        attempt: str,
        loaded_at: datetime,
        batches: pa.RecordBatchReader,
        *,
        key_columns: Sequence[str],
        time_column: str,
        target: str = "actual",
        partition: str = "partition",
    ) -> int:
        """Merge what was observed into the fleet's actuals, streamed; gives the number of rows.

        There is one row per partition and time: that of the attempt with the latest `loaded_at`, whatever the order
        attempts are loaded in.

        :param loaded_at: when the attempt read its data, so that loading it again later does not make it newer.
        :param target: the column of `batches` that holds the value; null where it is not known (any more).
        :param partition: the column of `batches` that holds the canonical key.
        :raises DataError: for a reserved or missing column, a changed type, a row without a time or partition, two rows of
            one partition and time.
        """
        _check_aware(loaded_at=loaded_at)
        named = tuple(dict.fromkeys((*key_columns, time_column)))
        check_columns(fleet, named, forecast=True)
        columns = _kinds(fleet, named, batches.schema)
        table = self._actuals(fleet, columns, time_column)
        with self.database.reading() as connection:
            predicted = self.database.columns(connection, predictions_table(fleet)).get(time_column)
        if predicted is not None and predicted != columns[time_column]:
            raise DataError(
                f"fleet {fleet!r}: time column {time_column!r} is {columns[time_column].name}, and {predicted.name} in the "
                "predictions",
                hint="cast it in `prepare` to the former type, or actuals meet no forecast",
            )
        self.database.ensure(table)
        with self.database.reading() as connection:
            existing = self.database.columns(connection, table.name)
        load = Load(
            fleet=fleet,
            table=table.name,
            kinds={name: existing[name] for name in (*columns, *OBSERVED)},
            schema=batches.schema,
            batches=batches,
            fixed={"interval": interval, "attempt": attempt, "loaded_at": loaded_at},
            renamed={"actual": target, "partition": partition},
            required=(time_column, "partition"),
        )
        newest = ("loaded_at", "interval", "attempt")
        return merge(self.database, load, identity=(time_column, "partition"), newest=newest)

    def _actuals(self, fleet: str, columns: Mapping[str, Kind], time: str) -> Table:
        """The table of actuals; the column of times must have a type, and the name it always had.

        :raises DataError: when it has not.
        """
        if time not in columns:
            raise DataError(f"fleet {fleet!r}: time column {time!r} has no type", hint="cast it in `prepare`")
        with self.database.reading() as connection:
            standing = list(self.database.columns(connection, actuals_table(fleet)))
        if standing and time not in standing:
            former = standing[standing.index("actual") - 1]
            raise DataError(
                f"fleet {fleet!r}: the time of table {actuals_table(fleet)!r} is {former!r}, and now {time!r}",
                hint=f'ALTER TABLE "{actuals_table(fleet)}" RENAME COLUMN "{former}" TO "{time}"',
            )
        keys = {name: kind for name, kind in columns.items() if name != time}
        return schema.actuals(fleet, keys, time, columns[time])


def _check_aware(**moments: datetime) -> None:
    for name, moment in moments.items():
        if moment.tzinfo is None:
            raise ValueError(f"{name} must be aware")


def _kinds(fleet: str, named: Iterable[str], given: Any) -> dict[str, Kind]:
    """The kinds of the author's columns. One of Arrow's null type tells none: it is left out for now."""
    kinds = {}
    for name in named:
        index = given.get_field_index(name)
        if index < 0:
            raise DataError(f"fleet {fleet!r}: the predictions lack column {name!r}")
        kind = kind_of(given.field(index).type, column=name, fleet=fleet)
        if kind is not None:
            kinds[name] = kind
    return kinds
