"""The warehouse's tables: the fixed ones, and each fleet's predictions and actuals, made on demand.

Nothing here talks to a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Column, Index, MetaData, Table, UniqueConstraint
from sqlalchemy.sql import quoted_name

from modelfleet.metric_names import CLASSIFICATION, FORECAST
from modelfleet.warehouse.kinds import FLOAT, INSTANT, INTEGER, TEXT, Kind, SqlType
from modelfleet.warehouse.names import actuals_table, identifier

SCHEMA_VERSION = 2
"""Raised with every change of a fixed table; a Modelfleet that knows only an older one then refuses the warehouse.

What a warehouse lacks is made when it is next used. A new table or a new column (nullable, in no index) needs no more
than that; anything else needs a migration.

1. Runs, models, decisions, incidents, prediction issues.
2. Forecasts: backtests; of models the candidates, folds, fallback, mase, pinball and coverage; an issue's time column;
   the level of a decision.
"""

DIALECT = "dialect"
"""In an index's `info`: the database it is for; without it, for both."""

METRICS = (*FORECAST, *CLASSIFICATION)


def quoted(name: str) -> quoted_name:
    """`name`, always quoted in SQL."""
    return quoted_name(name, quote=True)


def make_table(name: str, columns: Mapping[str, Kind], *constraints: UniqueConstraint | Index) -> Table:
    """A table of `columns`, in order."""
    items = [Column(quoted(column), SqlType(kind)) for column, kind in columns.items()]
    return Table(quoted(name), MetaData(), *items, *constraints)


def unique(*columns: str) -> UniqueConstraint:
    """The constraint that no two rows have the same values in `columns`."""
    return UniqueConstraint(*(quoted(column) for column in columns))


SCHEMA = make_table("schema_version", {"version": INTEGER})

RUNS = make_table(
    "runs",
    {
        **dict.fromkeys(("fleet", "pipeline", "interval", "attempt", "status"), TEXT),
        "started_at": INSTANT,
        "ended_at": INSTANT,
        "rows": INTEGER,
        **dict.fromkeys(("counts", "step_seconds", "message", "spec_digest", "code_version"), TEXT),
    },
    unique("fleet", "pipeline", "interval", "attempt"),
)

MODELS = make_table(
    "models",
    {
        **dict.fromkeys(("fleet", "interval", "attempt", "partition"), TEXT),
        **dict.fromkeys(("status", "reason", "message", "candidate", "candidates", "code"), TEXT),
        **dict.fromkeys(("n_folds", "n_rows", "n_null_target", "n_train", "n_test"), INTEGER),
        "window_start": INSTANT,
        "window_end": INSTANT,
        "fit_seconds": FLOAT,
        **dict.fromkeys(METRICS, FLOAT),
        "baseline_status": TEXT,
        **{f"baseline_{metric}": FLOAT for metric in METRICS},
        "fallback_status": TEXT,
        **{f"fallback_{metric}": FLOAT for metric in METRICS},
        "champion_status": TEXT,
        **{f"champion_{metric}": FLOAT for metric in METRICS},
        "baseline_value": FLOAT,
        "own_metrics": TEXT,
        "model_digest": TEXT,
        "model_version": INTEGER,
    },
    unique("fleet", "interval", "attempt", "partition"),
)

DECISIONS = make_table(
    "decisions",
    {
        **dict.fromkeys(
            ("fleet", "interval", "attempt", "partition", "level", "decision", "rule", "reason", "mode"), TEXT
        ),
        "serves_version": INTEGER,
        "champion_interval": TEXT,
    },
    unique("fleet", "interval", "attempt", "partition"),
)

INCIDENTS = make_table(
    "incidents",
    {
        **dict.fromkeys(
            ("id", "fleet", "pipeline", "interval", "attempt", "step", "kind", "severity", "title", "message"), TEXT
        ),
        "occurred_at": INSTANT,
        "source_url": TEXT,
        "resolved_at": INSTANT,
    },
    unique("id"),
)

ISSUES = make_table(
    "prediction_issues",
    {
        "fleet": TEXT,
        "interval": TEXT,
        "attempt": TEXT,
        "issued_at": INSTANT,
        "rows": INTEGER,
        "time_column": TEXT,
    },
    unique("fleet", "interval", "attempt"),
)
"""One row per load of predictions, even of none. The view of the latest finds attempts here, not among the rows."""

BACKTESTS = make_table(
    "backtests",
    {
        **dict.fromkeys(("fleet", "backtest"), TEXT),
        "made_at": INSTANT,
        **dict.fromkeys(("fold", "partition", "candidate", "source", "message"), TEXT),
        **dict.fromkeys(("n_train", "n_test"), INTEGER),
        **dict.fromkeys(METRICS, FLOAT),
        **{f"baseline_{metric}": FLOAT for metric in METRICS},
        "own_metrics": TEXT,
    },
    unique("fleet", "backtest", "fold", "partition"),
)

FIXED = (RUNS, MODELS, DECISIONS, INCIDENTS, ISSUES, BACKTESTS)

ISSUED: dict[str, Kind] = {
    "step": INTEGER,
    "prediction": FLOAT,
    "probability": FLOAT,
    "source": TEXT,
    "partition": TEXT,
    "model_version": INTEGER,
    "interval": TEXT,
    "issued_at": INSTANT,
    "attempt": TEXT,
}
"""The columns of every predictions table, after the author's; a forecast's quantiles come before `source`."""

OBSERVED: dict[str, Kind] = {
    "actual": FLOAT,
    "partition": TEXT,
    "interval": TEXT,
    "attempt": TEXT,
    "loaded_at": INSTANT,
}
"""The columns of every table of actuals, after the key columns and the time."""


def predictions(
    table: str, columns: Mapping[str, Kind], *, quantiles: Iterable[str] = (), time: str | None = None
) -> Table:
    """A table of predictions, with the author's `columns` (key, time, id) first.

    :param time: the column of target times of a fleet that forecasts: PostgreSQL finds forecasts by it and by partition.
    """
    names, at = list(ISSUED), list(ISSUED).index("source")
    names[at:at] = quantiles
    every = {**columns, **{name: ISSUED.get(name, FLOAT) for name in names}}
    return make_table(table, every, *_indexes(table, time))


def _indexes(table: str, time: str | None) -> list[Index]:
    """The rows of one load lie together, and in it those of a partition, so on PostgreSQL a BRIN index finds them.

    It costs a load next to nothing (a b-tree halves its speed). `DIALECT` says which database an index is for.
    """
    name, load = quoted(identifier(f"{table}_interval")), [quoted("interval"), quoted("attempt")]
    brin: dict[str, Any] = {"postgresql_using": "brin", "postgresql_with": {"autosummarize": "on"}}
    if time is None:
        return [Index(name, *load, **brin)]
    found_by = [*load, quoted("partition"), quoted(time)]
    return [
        Index(name, *load, info={DIALECT: "sqlite"}),
        Index(
            name,
            *found_by,
            postgresql_ops={"partition": "text_bloom_ops"},
            info={DIALECT: "postgresql"},
            **brin,
        ),
    ]


def actuals(fleet: str, keys: Mapping[str, Kind], time: str, time_kind: Kind) -> Table:
    """The table of actuals of `fleet`: one row per time and partition.

    Time comes first in the index, so that the rows of a new day go to its end.
    """
    name = actuals_table(fleet)
    index = Index(quoted(identifier(f"{name}_time")), quoted(time), quoted("partition"), unique=True)
    return make_table(name, {**keys, time: time_kind, **OBSERVED}, index)
