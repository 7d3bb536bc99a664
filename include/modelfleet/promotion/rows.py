"""The rows that rules see: a training's model rows beside the champion fleet, cleaned, under the names of rules."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError, bounded
from modelfleet.promotion.expression import ROWS, identifier
from modelfleet.rules import MODEL_COUNTS


def load(
    con: duckdb.DuckDBPyConnection,
    challengers: pa.Table,
    champions: pa.Table | None,
    metrics: Sequence[str],
    key_columns: Sequence[str],
    interval: str,
) -> int:
    """Make the view `ROWS` (a row per challenger) and the table ``__mf_only`` (partitions only the champion has).

    Returns how many partitions need a decision. Columns have positional names; an author's appear once, quoted.

    :raises DataError: for no rows, duplicate or null partitions, and columns that are missing or of the wrong type.
    """
    named = f"training of {interval}"
    if challengers.num_rows == 0:
        raise DataError(f"{named} has no model rows: nothing to decide", hint="its dataset may have been empty")
    partitions = _partitions(challengers, named)
    modelled = pa.chunked_array([], pa.string())
    if champions is not None:
        with_model = pc.fill_null(pc.equal(_column(champions, "status", "champion index"), "trained"), False)
        modelled = _partitions(champions, "champion index").filter(with_model)
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
    for prefix in ("", "baseline_", "champion_", "fallback_"):
        for i, metric in enumerate(metrics):
            columns[f"{prefix}m{i}"] = _finite(_column(challengers, prefix + metric), prefix + metric, named)
    for count in MODEL_COUNTS:
        columns[count] = _cast(_column(challengers, count), pa.int64(), count, named)
    for i, key in enumerate(key_columns):
        columns[f"k{i}"] = _plain(_column(challengers, key, named))
    con.register("__mf_source", pa.table(columns))
    con.execute(f"CREATE TEMP VIEW {ROWS} AS {_rows_sql(metrics, key_columns)}")
    only = modelled.filter(pc.invert(pc.is_in(modelled, value_set=partitions.combine_chunks())))
    con.register("__mf_only", pa.table({"partition": only}))
    return int(challengers.num_rows) + len(only)


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
        WHEN champion_status IN ('not_comparable', 'stored') THEN 'not_comparable'
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


def _finite(column: pa.ChunkedArray, name: str, named: str) -> pa.ChunkedArray:
    """Float64, with NaN and infinity as null."""
    numbers = _cast(column, pa.float64(), name, named)
    return pc.if_else(pc.fill_null(pc.is_finite(numbers), False), numbers, pa.scalar(None, pa.float64()))


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A key column as DuckDB compares it: dictionaries decoded (an ENUM refuses other literals), all-null as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    return _text(column) if pa.types.is_null(column.type) else column
