"""The rows that rules see: a training's model rows beside the champion fleet, cleaned, under the names of rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError, bounded
from modelfleet.promotion.expression import ROWS, identifier
from modelfleet.rules import MODEL_COUNTS

if TYPE_CHECKING:
    from modelfleet.spec import Gate


PREFIXES = ("", "baseline_", "champion_", "fallback_")
_TEXTS = ("status", "reason", "message", "baseline_status", "champion_status", "fallback_status")


def columns_read(gate: Gate, metrics: Sequence[str], key_columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of a training's model rows that `load` reads for this gate; the others need not be read at all."""
    rules = " ".join((*gate.each, *gate.fleet)).lower()
    prefixes = [prefix for prefix in PREFIXES if prefix != "fallback_" or "fallback" in rules]
    numbers = (prefix + metric for prefix in prefixes for metric in metrics)
    return tuple(dict.fromkeys(("partition", *_TEXTS, *MODEL_COUNTS, *key_columns, *numbers)))


def with_model(champions: pa.Table | None) -> pa.ChunkedArray:
    """The partitions that the champion fleet has a model of."""
    if champions is None:
        return pa.chunked_array([], pa.string())
    trained = pc.fill_null(pc.equal(_column(champions, "status", "champion index"), "trained"), False)
    return _partitions(champions, "champion index").filter(trained)


def load(
    con: duckdb.DuckDBPyConnection,
    challengers: pa.Table,
    modelled: pa.ChunkedArray,
    metrics: Sequence[str],
    key_columns: Sequence[str],
    interval: str,
) -> None:
    """Make the view `ROWS`: a row per challenger of this table.

    Columns have positional names; an author's appear once, quoted.

    :param modelled: the partitions that the champion fleet has a model of.
    :raises DataError: for duplicate or null partitions, and columns that are missing or of the wrong type.
    """
    named = f"training of {interval}"
    partitions = _partitions(challengers, named)
    columns = {
        "partition": partitions,
        "status": _text(_column(challengers, "status", named)),
        "code": _text(_column(challengers, "reason")),
        "message": _text(_column(challengers, "message")),
        "baseline_status": _text(_column(challengers, "baseline_status")),
        "champion_status": _text(_column(challengers, "champion_status")),
        "fallback_status": _text(_column(challengers, "fallback_status")),
        "has_champion": pc.is_in(partitions, value_set=modelled.combine_chunks()),
    }
    numbers = {f"{prefix}m{i}": prefix + metric for prefix in PREFIXES for i, metric in enumerate(metrics)}
    for column, name in numbers.items():
        columns[column] = _cast(_column(challengers, name), pa.float64(), name, named)
    for count in MODEL_COUNTS:
        columns[count] = _cast(_column(challengers, count), pa.int64(), count, named)
    for i, key in enumerate(key_columns):
        columns[f"k{i}"] = _plain(_column(challengers, key, named))
    con.register("__mf_given", pa.table(columns))
    finite = ", ".join(f"CASE WHEN isfinite({column}) THEN {column} END AS {column}" for column in numbers)
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW __mf_source AS SELECT * REPLACE ({finite}) FROM __mf_given"
        if finite
        else "CREATE OR REPLACE TEMP VIEW __mf_source AS FROM __mf_given"
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW {ROWS} AS {_rows_sql(metrics, key_columns)}")


def finish(con: duckdb.DuckDBPyConnection, modelled: pa.ChunkedArray, interval: str) -> int:
    """Make the table ``__mf_only``, the partitions that only the champion has; how many need a decision.

    :raises DataError: for a partition that is in two tables of challengers.
    """
    judged = con.sql("SELECT partition FROM __mf_judged").to_arrow_table()
    partitions = _partitions(judged, f"training of {interval}")
    only = modelled.filter(pc.invert(pc.is_in(modelled, value_set=partitions.combine_chunks())))
    con.register("__mf_only", pa.table({"partition": only}))
    return len(partitions) + len(only)


def no_rows(interval: str) -> DataError:
    """The error of a training without model rows."""
    return DataError(
        f"training of {interval} has no model rows: nothing to decide", hint="its dataset may have been empty"
    )


def _rows_sql(metrics: Sequence[str], key_columns: Sequence[str]) -> str:
    numbers = [f"m{i}" for i in range(len(metrics))]

    def struct(prefix: str, status: str, condition: str = "TRUE") -> str:
        values = [f"CASE WHEN {condition} THEN {prefix}{n} END" for n in numbers]
        fields = [f"{identifier(m)} := {value}" for m, value in zip(metrics, values, strict=True)]
        return f"struct_pack({', '.join([*fields, f'status := {status}'])})"

    # A comparison without one usable number is none; a status that is not known holds like a failure. `none` beside a
    # champion that has a model: it came into production after this training.
    compared = f"coalesce({', '.join(f'champion_{n}' for n in numbers)}) IS NOT NULL" if numbers else "TRUE"
    effective = f"""CASE WHEN champion_status = 'compared' AND {compared} THEN 'compared'
        WHEN champion_status = 'stored' AND {compared} THEN 'stored'
        WHEN champion_status = 'same' AND has_champion AND {compared} THEN 'stored'
        WHEN champion_status IN ('not_comparable', 'stored', 'same') THEN 'not_comparable'
        WHEN champion_status = 'none' AND has_champion THEN 'not_comparable'
        WHEN champion_status = 'none' OR (champion_status IS NULL AND NOT has_champion) THEN 'none'
        ELSE 'failed' END"""
    shown = [f"{n} AS {identifier(m)}" for m, n in zip(metrics, numbers, strict=True)]
    shown += [f"{c} AS {identifier(c)}" for c in MODEL_COUNTS]
    shown += [f"k{i} AS {identifier(k)}" for i, k in enumerate(key_columns)]
    shown.append(struct("baseline_", "baseline_status") + " AS baseline")
    shown.append(struct("champion_", "__mf_status", "__mf_status IN ('compared', 'stored')") + " AS champion")
    shown.append(struct("fallback_", "fallback_status") + " AS fallback")
    internal = "partition AS __mf_partition, status AS __mf_trained_status, code AS __mf_code, message AS __mf_message"
    seen = "champion_status AS __mf_seen, has_champion AS __mf_has_champion, __mf_status"
    source = f"(SELECT *, {effective} AS __mf_status FROM __mf_source)"
    return f"SELECT {internal}, {seen}, {', '.join(shown)} FROM {source}"


def _column(table: pa.Table, name: str, required_by: str | None = None) -> pa.ChunkedArray:
    """A column by its exact name; nulls for one that is missing, unless it is required."""
    found = table.column_names.count(name)
    if found == 1:
        return table.column(name)
    if found > 1 or required_by:
        raise DataError(
            f"{required_by or 'model rows'}: {found} columns named {name!r}; exactly one is needed",
            hint=f"columns are {bounded(table.column_names, limit=20)}",
        )
    return pa.chunked_array([pa.nulls(table.num_rows)])


def _partitions(table: pa.Table, named: str) -> pa.ChunkedArray:
    values = _text(_column(table, "partition", named))
    if values.null_count:
        raise DataError(f"{named}: {values.null_count} of {len(values)} rows have no partition")
    if pc.count_distinct(values).as_py() < len(values):
        counts = pc.value_counts(values)
        repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
        raise DataError(
            f"{named}: {len(repeated)} partitions appear more than once: {bounded(map(repr, repeated))}",
            hint="every expected partition is one row; was a bucket read twice?",
        )
    return values


def _cast(column: pa.ChunkedArray, to: pa.DataType, name: str, named: str) -> pa.ChunkedArray:
    try:
        return column.cast(to)
    except pa.ArrowException as exc:
        raise DataError(f"{named}: column {name!r} is of type {column.type}, which can't be read as {to}") from exc


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A key column as DuckDB compares it: dictionaries decoded (an ENUM refuses other literals), all-null as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    return _text(column) if pa.types.is_null(column.type) else column
