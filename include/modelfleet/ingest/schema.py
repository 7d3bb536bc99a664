"""The types the lake stores, and one schema over intervals whose types drifted.

The lake knows few types, so that intervals and databases agree: ``bool``, ``int64``, ``double``, ``string``,
``binary``, ``date32[day]``, ``timestamp[us]``, ``timestamp[us, tz=UTC]``, and ``null`` for a column of which no value
was seen. Files may also hold ``float``: measurements of single precision would take twice the room as double and say no
more. Models, and an author's code, get them as double all the same.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from modelfleet.errors import DataError, bounded

UTC_TIMESTAMP = pa.timestamp("us", tz="UTC")
NAIVE_TIMESTAMP = pa.timestamp("us")
_INT64_DIGITS = 18
_SHOWN = 3
_BY_NAME = {
    str(kind): kind
    for kind in (
        *(pa.null(), pa.bool_(), pa.string(), pa.binary(), pa.large_string(), pa.large_binary(), pa.date32()),
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64(), NAIVE_TIMESTAMP, UTC_TIMESTAMP),
    )
}


@dataclass(frozen=True)
class UnifiedSchema:
    """The one schema to read several intervals with; `notes` says each thing that was widened or filled."""

    schema: pa.Schema
    notes: tuple[str, ...]


def lake_type(kind: pa.DataType, *, utc: bool = False) -> pa.DataType | None:
    """The type a column of type `kind` is stored as, or None where the lake has none for it.

    Decimals without a fraction of up to 18 digits become int64, others double. `utc`: naive timestamps become instants.
    """
    types = pa.types
    if types.is_dictionary(kind):
        return lake_type(kind.value_type, utc=utc)
    if types.is_timestamp(kind):
        return UTC_TIMESTAMP if utc or kind.tz is not None else NAIVE_TIMESTAMP
    if types.is_decimal(kind):
        return pa.int64() if kind.scale == 0 and kind.precision <= _INT64_DIGITS else pa.float64()
    for is_kind, stored in (
        (types.is_null, pa.null()),
        (types.is_boolean, pa.bool_()),
        (types.is_integer, pa.int64()),
        (types.is_float64, pa.float64()),
        (types.is_floating, pa.float32()),
        (lambda k: types.is_string(k) or types.is_large_string(k) or types.is_string_view(k), pa.string()),
        (lambda k: types.is_binary(k) or types.is_large_binary(k) or types.is_fixed_size_binary(k), pa.binary()),
        (types.is_date, pa.date32()),
    ):
        if is_kind(kind):
            return stored
    return None


def columns_of(schema: pa.Schema) -> dict[str, str]:
    """A schema as a manifest holds it: name -> type as text."""
    return {field.name: str(field.type) for field in schema}


def schema_of(columns: Mapping[str, str]) -> pa.Schema:
    """The schema of a manifest's `columns`.

    :raises KeyError: for a type text the lake does not store.
    """
    return pa.schema([(name, _BY_NAME[text]) for name, text in columns.items()])


def unify(
    manifests: Sequence[tuple[str, Mapping[str, str]]], *, needed: Collection[str] | None, fleet: str, table: str
) -> UnifiedSchema:
    """One schema over intervals, given as (interval key, columns) in time order.

    A column lost in a later interval is null there, unless it is `needed`; a new column is null before.

    :raises DataError: for a needed column that is lost or was never there, and for types that do not go together.
    """
    where = f"fleet {fleet!r}, table {table!r}"
    names = list(dict.fromkeys(name for _, columns in manifests for name in columns))
    wanted = set(needed or ())
    unknown = sorted(wanted.difference(names))
    if unknown and manifests:
        raise DataError(f"{where}: no column {_quoted(unknown)}; there is {nearest(unknown[0], names)}")
    fields, notes = [], []
    for name in names:
        notes += _note_absences(name, manifests, needed=name in wanted, where=where)
        by_type: dict[str, list[str]] = {}
        for interval, columns in manifests:
            if name in columns:
                by_type.setdefault(columns[name], []).append(interval)
        fields.append((name, _widest(name, by_type, where)))
        if len([text for text in by_type if text != "null"]) > 1:
            notes.append(f"column {name}: {_seen(by_type)}: read as {fields[-1][1]}")
    return UnifiedSchema(pa.schema(fields), tuple(notes))


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the columns and types of `schema`: cast where widened, null where absent, others dropped.

    :raises DataError: when a value does not fit, such as an integer beyond 2**53 read as double.
    """
    if batch.schema.equals(schema):
        return batch
    columns = []
    for field in schema:
        position = batch.schema.get_field_index(field.name)
        if position < 0:
            columns.append(pa.nulls(batch.num_rows, field.type))
            continue
        column = batch.column(position)
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowInvalid as exc:
            raise DataError(f"column {field.name!r}: {column.type} can't be read as {field.type}: {exc}") from exc
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def nearest(name: str, names: Iterable[str]) -> str:
    """What there is, the most similar to `name` first, quoted and bounded; for messages."""
    listed = list(names)
    if not listed:
        return "none"
    close = difflib.get_close_matches(name, listed, n=3, cutoff=0.6)
    return _quoted([*close, *sorted(other for other in listed if other not in close)])


def _note_absences(
    name: str, manifests: Sequence[tuple[str, Mapping[str, str]]], *, needed: bool, where: str
) -> list[str]:
    has = [name in columns for _, columns in manifests]
    first = has.index(True)
    lost = [interval for (interval, _), there in zip(manifests[first:], has[first:], strict=True) if not there]
    before = [interval for interval, _ in manifests[:first]]
    if lost and needed:
        raise DataError(
            f"{where}: column {name!r} is needed but was lost in {bounded(lost)}",
            hint="restore the column in the source and ingest these intervals again, or leave them out of the window",
        )
    notes = [f"column {name}: lost in {bounded(lost, limit=_SHOWN)}: null there"] if lost else []
    return notes + ([f"column {name}: new, not in {bounded(before, limit=_SHOWN)}: null there"] if before else [])


def _widest(name: str, by_type: Mapping[str, list[str]], where: str) -> pa.DataType:
    widest = pa.null()
    for text in by_type:
        together = _together(widest, _BY_NAME[text])
        if together is None:
            hint = "cast the column in the source, or ingest the older intervals again"
            if {str(widest), text} == {str(UTC_TIMESTAMP), str(NAIVE_TIMESTAMP)}:
                hint = "give the table a timezone, so that its naive timestamps become instants, and ingest it again"
            raise DataError(f"{where}: column {name!r} is {_seen(by_type)}; these types do not go together", hint=hint)
        widest = together
    return widest


def _together(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds both without loss (an integer too big for a double is found when it is cast), or None."""
    types = pa.types
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    pair = (one, other)
    if all(types.is_integer(k) for k in pair):
        signed = all(types.is_signed_integer(k) for k in pair)
        return max(pair, key=lambda k: int(k.bit_width)) if signed else pa.int64()
    if all(types.is_integer(k) or types.is_floating(k) for k in pair):
        return pa.float64()
    if all(types.is_string(k) or types.is_large_string(k) for k in pair):
        return pa.string()
    if {str(k) for k in pair} == {str(pa.date32()), str(NAIVE_TIMESTAMP)}:
        return NAIVE_TIMESTAMP
    return None


def _seen(by_type: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{text} in {bounded(keys, limit=_SHOWN)}" for text, keys in by_type.items())


def _quoted(names: Sequence[str]) -> str:
    return bounded([repr(name) for name in names])
