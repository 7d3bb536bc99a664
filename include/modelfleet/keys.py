"""Partition keys: values <-> canonical key, the stable hash of a key, and its bucket.

The canonical key of a partition is ``carrier=AA/origin=JFK``: columns in the spec's order, names and values URL-quoted, so
that ``/`` and ``=`` only ever separate. Null is ``!null`` (a quoted string never holds ``!``), the empty string is nothing
after ``=``. A key is a name, never a path.

Key columns are string, int, bool or date. Floats are refused: their text differs between programs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote

from modelfleet.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

KeyType = Literal["string", "int", "bool", "date"]
KeyValue = str | int | bool | date | None
NULL = "!null"
_HASH_BITS = 64


def encode(columns: Sequence[str], values: Sequence[KeyValue]) -> str:
    """The canonical key of one combination of values, in the order of `columns`.

    :raises DataError: for a value that is no string, int, bool, date or None.
    """
    return "/".join(f"{quote_text(c)}={encode_value(c, v)}" for c, v in zip(columns, values, strict=True))


def encode_value(column: str, value: KeyValue) -> str:
    """The text of one value; see `encode`."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quote_text(value)
    if type(value) is date:
        return value.isoformat()
    raise DataError(
        f"key column {column!r}: a value of type {type(value).__name__} can't be part of a partition key; "
        "allowed are string, int, bool and date",
        hint=_CAST_HINT.format(column=column),
    )


def decode(key: str, types: Mapping[str, KeyType]) -> dict[str, KeyValue]:
    """The values of a canonical key; `types` names the key columns in order.

    :raises DataError: for a text that is not a canonical key of these columns.
    """
    parts = key.split("/")
    names = list(types)
    if len(parts) != len(names):
        raise _malformed(key, names)
    values: dict[str, KeyValue] = {}
    for name, part in zip(names, parts, strict=True):
        column, separator, text = part.partition("=")
        if not separator or column != quote_text(name):
            raise _malformed(key, names)
        try:
            values[name] = _decode_value(text, types[name])
        except ValueError:
            raise _malformed(key, names) from None
    return values


def quoted(key: str, columns: Sequence[str]) -> str:
    """A key as people write it, ``city=Malm\u00f6/kind=station hub``, with its values quoted; one that is quoted stays as it is.

    A value with a slash or a percent sign must be quoted already.
    """
    parts = [part.partition("=") for part in key.split("/")]
    if "%" in key or [name for name, _, _ in parts] != [quote_text(column) for column in columns]:
        return key
    return "/".join(f"{name}={text if text.startswith('!') else quote_text(text)}" for name, _, text in parts)


def key_type(column: str, arrow_type: pa.DataType, *, fleet: str = "") -> KeyType:
    """Which key type a column of this Arrow type has.

    :raises DataError: for floats and all other types, naming the column.
    """
    import pyarrow.types as t

    if t.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    if t.is_string(arrow_type) or t.is_large_string(arrow_type) or t.is_string_view(arrow_type):
        return "string"
    if t.is_boolean(arrow_type):
        return "bool"
    if t.is_integer(arrow_type):
        return "int"
    if t.is_date(arrow_type):
        return "date"
    named = f"fleet {fleet!r}: " if fleet else ""
    raise DataError(
        f"{named}key column {column!r} is of type {arrow_type}; allowed are string, int, bool and date",
        hint=_CAST_HINT.format(column=column),
    )


def encode_columns(table: pa.Table, columns: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The distinct canonical keys of a table and, per row, the position of its key among them (int64, shape (rows,)).

    Keys are made once per distinct combination, not per row. Order: first appearance.

    :raises DataError: for a key column whose type can't be one.
    """
    names, codes = _encoded(table, columns)
    return names.to_pylist(), codes


def hash_columns(table: pa.Table, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of the distinct canonical keys of a table, and per row the position of its own; see `encode_columns`.

    What a process hashed before is looked up: the batches of a table mostly hold the same keys.
    """
    names, codes = _encoded(table, columns)
    return _HASHED.of(names), codes


def _encoded(table: pa.Table, columns: Sequence[str]) -> tuple[pa.Array, np.ndarray]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    for column in columns:
        key_type(column, table.schema.field(column).type)
    codes = np.zeros(table.num_rows, dtype=np.int64)
    if table.num_rows == 0:
        return pa.array([], pa.string()), codes
    texts, indices = zip(*(_texts(column, table.column(column)) for column in columns), strict=True)
    for text, index in zip(texts, indices, strict=True):
        # Renumbered after every column, so that the product of the columns' sizes can't overflow.
        codes = pa.array(codes * len(text) + index).dictionary_encode().indices.to_numpy().astype(np.int64)
    first = np.empty(int(codes.max()) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    parts = [text.take(pa.array(index[first])) for text, index in zip(texts, indices, strict=True)]
    return pc.binary_join_element_wise(*parts, "/"), codes


class _Hashed:
    """The hashes of keys that were met before, so that Arrow looks them up."""

    LIMIT = 1 << 21

    def __init__(self) -> None:
        self._names: pa.Array | None = None
        self._hashes: np.ndarray | None = None

    def of(self, names: pa.Array) -> np.ndarray:
        """`hash_of` of each name; uint64, shape (names,)."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._names is None or self._hashes is None or len(self._names) == 0:
            self._names, self._hashes = names, hashes(names.to_pylist())
            return self._hashes
        at = pc.index_in(names, value_set=self._names)
        found = self._hashes[pc.fill_null(at, 0).to_numpy()]
        if at.null_count:
            new = names.filter(at.is_null())
            fresh = hashes(new.to_pylist())
            found[at.is_null().to_numpy(zero_copy_only=False)] = fresh
            if len(self._names) + len(new) > self.LIMIT:
                self._names, self._hashes = names, found
            else:
                self._names = pa.concat_arrays([self._names, new])
                self._hashes = np.concatenate([self._hashes, fresh])
        return found


_HASHED = _Hashed()


def hashes(names: Sequence[str]) -> np.ndarray:
    """`hash_of` of each name; uint64, shape (names,)."""
    import numpy as np

    return np.fromiter(map(hash_of, names), dtype=np.uint64, count=len(names))


def buckets_of(hashed: np.ndarray, buckets: int) -> np.ndarray:
    """`bucket_of` of each hash, for at most 65,536 buckets; uint16."""
    import numpy as np

    count, half, low = np.uint64(buckets), np.uint64(32), np.uint64(0xFFFFFFFF)
    carried = ((hashed & low) * count) >> half
    return (((hashed >> half) * count + carried) >> half).astype(np.uint16)


def hash_of(key: str) -> int:
    """A stable 64-bit hash of a canonical key (blake2b); its order is the order of buckets and packs."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=_HASH_BITS // 8).digest(), "big")


def bucket_of(hashed: int, buckets: int) -> int:
    """The bucket of a hash: equal ranges of the hash, so that packs made with other bucket counts still line up."""
    return (hashed * buckets) >> _HASH_BITS


def bucket_range(bucket: int, buckets: int) -> tuple[int, int]:
    """The hashes of a bucket, as a half-open range."""
    scale = 1 << _HASH_BITS
    return -(-bucket * scale // buckets), -(-(bucket + 1) * scale // buckets)


def seed_of(key: str) -> int:
    """A random state of 32 bits derived from the key: the same whatever the parallelism."""
    return hash_of(f"seed:{key}") & 0xFFFFFFFF


@lru_cache(maxsize=4096)
def quote_text(text: str) -> str:
    """URL-quote everything but letters, digits, ``-``, ``_`` and ``~``; dots too where the text is nothing else."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if text.strip(".") == "" else quoted


def _decode_value(text: str, kind: KeyType) -> KeyValue:
    if text == NULL:
        return None
    if kind == "string":
        value = unquote(text, errors="strict")
        if quote_text(value) != text:
            raise ValueError(text)
        return value
    if kind == "bool":
        return {"true": True, "false": False}[text] if text in ("true", "false") else _refuse(text)
    if kind == "date":
        day = date.fromisoformat(text)  # reads other ISO forms too, which would be second names of one partition
        return day if day.isoformat() == text else _refuse(text)
    number = int(text)
    return number if str(number) == text else _refuse(text)


def _refuse(text: str) -> KeyValue:
    raise ValueError(text)


def _texts(name: str, column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """The distinct parts of keys that a column makes, ``name=value``, and per row the position of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = _plain(column).dictionary_encode().combine_chunks()
    values = encoded.dictionary.to_pylist()
    prefix = quote_text(name)
    texts = [f"{prefix}={encode_value(name, value)}" for value in (*values, None)]
    indices = pc.fill_null(encoded.indices.cast("int64"), len(values)).to_numpy(zero_copy_only=False)
    return pa.array(texts, pa.string()), indices


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with its values in place: neither a dictionary nor a view, which Arrow can't take rows of."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def _malformed(key: str, names: Sequence[str]) -> DataError:
    example = "/".join(f"{quote_text(n)}=..." for n in names)
    return DataError(
        f"{key!r} is no partition key; allowed is {example}", hint="values are URL-quoted, in the spec's order"
    )


_CAST_HINT = "cast it in `prepare` or in a view, for example to string or int: CAST({column} AS STRING)"
