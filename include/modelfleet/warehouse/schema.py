"""The warehouse's tables: the fixed ones, and each fleet's predictions with the view of the latest.

Other tables are made on demand; nothing here talks to a database.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Index, MetaData, Table, UniqueConstraint
from sqlalchemy.sql import quoted_name

from modelfleet.metric_names import CLASSIFICATION, REGRESSION
from modelfleet.warehouse.kinds import FLOAT, INSTANT, INTEGER, TEXT, Kind, SqlType
from modelfleet.warehouse.names import identifier, latest_view, predictions_table

SCHEMA_VERSION = 1
"""Raised with every change of a fixed table. A new column is added, nullable; anything else needs a migration."""

METRICS = (*REGRESSION, *CLASSIFICATION)


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
        **dict.fromkeys(("status", "reason", "message", "candidate"), TEXT),
        **dict.fromkeys(("n_rows", "n_null_target", "n_train", "n_test"), INTEGER),
        "window_start": INSTANT,
        "window_end": INSTANT,
        "fit_seconds": FLOAT,
        **dict.fromkeys(METRICS, FLOAT),
        "baseline_status": TEXT,
        **{f"baseline_{metric}": FLOAT for metric in METRICS},
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
        **dict.fromkeys(("fleet", "interval", "attempt", "partition", "decision", "rule", "reason", "mode"), TEXT),
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
    },
    unique("fleet", "interval", "attempt"),
)
"""One row per load of predictions, even of none. The view of the latest finds attempts here, not among the rows."""

FIXED = (RUNS, MODELS, DECISIONS, INCIDENTS, ISSUES)

ISSUED: dict[str, Kind] = {
    "prediction": FLOAT,
    "probability": FLOAT,
    "source": TEXT,
    "partition": TEXT,
    "model_version": INTEGER,
    "interval": TEXT,
    "issued_at": INSTANT,
    "attempt": TEXT,
}
"""The columns of every predictions table, after the author's."""


def predictions(fleet: str, columns: Mapping[str, Kind]) -> Table:
    """The predictions table of `fleet`, with the author's `columns` (key, time, id) first.

    The rows of one load lie together, so that on PostgreSQL a BRIN index finds them and costs a load next to nothing
    (a b-tree halves its speed).
    """
    name = predictions_table(fleet)
    index = Index(
        quoted(identifier(f"{name}_interval")),
        quoted("interval"),
        quoted("attempt"),
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    return make_table(name, {**columns, **ISSUED}, index)


def latest_view_sql(fleet: str) -> str:
    """The SELECT of the view: for each interval, the rows of the attempt issued last."""
    return (
        f'SELECT p.* FROM "{predictions_table(fleet)}" p JOIN (SELECT "interval", "attempt", ROW_NUMBER() OVER '
        '(PARTITION BY "interval" ORDER BY "issued_at" DESC, "attempt" DESC) AS n '
        f'FROM "{ISSUES.name}" WHERE "fleet" = \'{fleet}\') i '
        'ON p."interval" = i."interval" AND p."attempt" = i."attempt" WHERE i.n = 1'
    )


def create_view_sql(fleet: str, dialect: str) -> str:
    """PostgreSQL fixes a view's columns when it is made, so it is made again; SQLite's follows the table."""
    verb = "CREATE VIEW IF NOT EXISTS" if dialect == "sqlite" else "CREATE OR REPLACE VIEW"
    return f'{verb} "{latest_view(fleet)}" AS {latest_view_sql(fleet)}'
