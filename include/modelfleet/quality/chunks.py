"""Judging more rows than fit in memory: Great Expectations measures chunk after chunk and judges the sum.

Three ways, by what an expectation must see at once:

- **one row** (nulls, ranges, sets, patterns, lengths, pairs, the number of rows): counts and row numbers of the chunks
  add up, all such checks in one pass;
- **rows with equal values** (`unique`): rows are told apart by a 64-bit hash. Equal rows have equal hashes, so without
  equal hashes no chunk hides a duplicate, and the check joins that one pass. Otherwise the rows whose hash occurs again
  are judged together, equal hashes in one chunk;
- **a whole column** (means, quantiles, distinct values, order) or its type: as a frame of the columns it names, one
  set of columns after the other. No columns at all are read for the table's shape.

A check that raises on a chunk is judged again on all its rows, so that its message is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.types as pt

from modelfleet.quality import expectations
from modelfleet.quality.checks import Check
from modelfleet.quality.frame import Form, Rows, forms_of, frame_of

CHUNK_ROWS = 500_000
"""Rows judged at once; fewer than that are one frame."""
_CHUNK_CELLS = 8_000_000
"""Values in a chunk, so that many columns make shorter chunks."""

_BY_ROW = frozenset(
    {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_be_null",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
        "expect_multicolumn_sum_to_equal",
        "expect_multicolumn_values_to_be_equal",
        "expect_select_column_values_to_be_unique_within_record",
        "expect_table_row_count_to_be_between",
        "expect_table_row_count_to_equal",
    }
)
_BY_EQUAL_ROWS = frozenset({"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"})
_BY_SHAPE = frozenset(
    {
        "expect_column_to_exist",
        "expect_table_column_count_to_be_between",
        "expect_table_column_count_to_equal",
        "expect_table_columns_to_match_ordered_list",
        "expect_table_columns_to_match_set",
    }
)

Asked = tuple[Check, Any]
"""A check and its expectation as Great Expectations has it."""
Hashes = npt.NDArray[np.uint64]


def evaluate(
    asked: Sequence[Asked], rows: Rows, count: int, *, exact: Collection[str] = (), chunk_rows: int = CHUNK_ROWS
) -> dict[str, Any]:
    """Great Expectations' result per check id, the same as of `expectations.evaluate` on all rows at once.

    :param count: how many `rows` there are.
    :param exact: columns whose type is itself judged.
    """
    names = rows.schema.names
    together, left = [], []
    results: dict[str, Any] = {}
    shape = [expectation for check, expectation in asked if check.expectation in _BY_SHAPE]
    if shape:
        results.update(expectations.evaluate(shape, frame_of(rows.schema.empty_table(), names)))
    for check, expectation in asked:
        columns = check.reads(names)
        if check.id in results:
            continue
        if not set(check.columns) <= set(names) or set(columns) & set(exact):
            left.append((check, expectation))
        elif check.expectation in _BY_ROW:
            together.append((check, expectation))
        elif check.expectation in _BY_EQUAL_ROWS and all(_hashable(rows.schema.field(c).type) for c in check.columns):
            again = _again(rows, check.columns, count, chunk_rows)
            if len(again):
                results.update(_judged([(check, expectation)], names, _of_duplicates(rows, check, again, chunk_rows)))
            else:
                together.append((check, expectation))
        else:
            left.append((check, expectation))
    if together:
        columns = [name for name in names if any(name in check.reads(names) for check, _ in together)]
        results.update(_judged(together, names, _frames(rows, columns, forms_of(rows, columns), chunk_rows)))
    results.update(_whole([(c, e) for c, e in [*left, *together] if c.id not in results], rows, exact))
    return results


def _judged(asked: Sequence[Asked], names: Sequence[str], frames: Iterator[pd.DataFrame]) -> dict[str, Any]:
    """Results of the expectations that raised on no frame, each judged on the sum over `frames`."""
    tally = expectations.Tally((expectation, check.reads(names)) for check, expectation in asked)
    for part in frames:
        tally.add(part)
    return tally.results()


def _whole(asked: Sequence[Asked], rows: Rows, exact: Collection[str]) -> dict[str, Any]:
    """Results on frames of all rows, one for each set of columns read."""
    groups: dict[tuple[str, ...], list[Any]] = {}
    for check, expectation in asked:
        groups.setdefault(tuple(check.reads(rows.schema.names)), []).append(expectation)
    results: dict[str, Any] = {}
    for columns, group in groups.items():
        results.update(expectations.evaluate(group, frame_of(rows, columns, exact=exact)))
    return results


def _frames(rows: Rows, columns: Sequence[str], forms: Mapping[str, Form], chunk_rows: int) -> Iterator[pd.DataFrame]:
    """`columns` of `rows` in order, as frames of at most about `chunk_rows` rows, numbered on from frame to frame.

    The next one is read while the caller looks at one.
    """
    chunks = _chunks(rows, columns, max(1, min(chunk_rows, _CHUNK_CELLS // max(1, len(columns)))))
    start = 0
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, chunks, None)
        while (table := following.result()) is not None:
            following = reader.submit(next, chunks, None)
            yield frame_of(table, columns, forms=forms, start=start)
            start += table.num_rows


def _chunks(rows: Rows, columns: Sequence[str], most: int) -> Iterator[pa.Table]:
    """At least one table, be it empty."""
    schema = pa.schema([rows.schema.field(name) for name in columns])
    if isinstance(rows, pa.Table):
        batches = iter(rows.select(columns).to_batches(max_chunksize=most))
    else:
        # Arrow reads ahead until it holds a gigabyte, with threads or without.
        ahead = {"batch_readahead": 1, "fragment_readahead": 1}
        batches = rows.to_batches(columns=list(columns), batch_size=most, use_threads=False, **ahead)
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if count and count + batch.num_rows > most:
            yield pa.Table.from_batches(held, schema)
            held, count = [], 0
        held.append(batch)
        count += batch.num_rows
    yield pa.Table.from_batches(held, schema)


def _hashable(kind: pa.DataType) -> bool:
    """Whether pandas hashes values of Arrow type `kind` such that equal values, and only by chance others, agree."""
    if pt.is_dictionary(kind):
        kind = kind.value_type
    texts = (pt.is_string, pt.is_large_string, pt.is_binary, pt.is_large_binary)
    return pt.is_null(kind) or pt.is_primitive(kind) or pt.is_decimal(kind) or any(is_text(kind) for is_text in texts)


def _hashes(frame: pd.DataFrame) -> Hashes:
    """One hash per row. Nulls are alike, and so are 0.0 and -0.0."""
    floats = frame.select_dtypes("float")
    alike = (floats + 0.0).where(floats.notna())
    return np.asarray(pd.util.hash_pandas_object(frame.assign(**alike), index=False), np.uint64)


def _again(rows: Rows, columns: Sequence[str], count: int, chunk_rows: int) -> Hashes:
    """The hashes that several of the `count` rows have in `columns`, sorted, each as often as there are rows."""
    hashes = np.empty(count, np.uint64)
    start = 0
    for part in _frames(rows, columns, forms_of(rows, columns), chunk_rows):
        hashes[start : start + len(part)] = _hashes(part)
        start += len(part)
    hashes.sort()
    equal = hashes[1:] == hashes[:-1]
    if not equal.any():
        return hashes[:0].copy()
    return hashes[np.append(equal, False) | np.append(False, equal)]


def _of_duplicates(rows: Rows, check: Check, again: Hashes, chunk_rows: int) -> Iterator[pd.DataFrame]:
    """All `rows` in frames, those of equal hash in the same one: first rows whose hash occurs once, then the others.

    The rows are read once for every `chunk_rows` rows whose hash occurs again.
    """
    columns = check.reads(rows.schema.names)
    forms = forms_of(rows, columns)
    done = 0
    while done < len(again):
        # all the rows of the hash at the end of this stretch belong to it
        low, high = again[done], again[min(done + chunk_rows, len(again)) - 1]
        alike = []
        for part in _frames(rows, columns, forms, chunk_rows):
            hashes = _hashes(part[list(check.columns)])
            several = again[np.minimum(np.searchsorted(again, hashes), len(again) - 1)] == hashes
            if not done:
                yield part[~several]
            alike.append(part[several & (low <= hashes) & (hashes <= high)])
        yield pd.concat(alike)
        done = int(np.searchsorted(again, high, side="right"))
