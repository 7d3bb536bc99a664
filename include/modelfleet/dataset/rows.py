"""The files of grouped rows: one per bucket, written once and read a few times, whole columns at a time.

Arrow files, compressed by lz4, which leaves as they are the columns that don't shrink. The same rows as Parquet took three
times as long to write and to read, for files of the same size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from modelfleet import modelcode
from modelfleet.lake.store import FileEntry, Lake

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads

BATCH_ROWS = 1 << 17
SUFFIX = "arrow"


def write_bucket(lake: Lake, path: str, rows: pa.Table) -> FileEntry:
    """Write the rows of a bucket."""
    import pyarrow as pa

    whole = rows.unify_dictionaries().combine_chunks()
    # In this thread, as in reading: the other cores have buckets of their own.
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with lake.open_output(path) as sink, pa.ipc.new_file(sink, whole.schema, options=options) as writer:
        writer.write_table(whole, max_chunksize=BATCH_ROWS)
    return lake.entry(path, rows.num_rows)


def read_bucket(lake: Lake, entry: FileEntry, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a bucket, sorted by the hash of their key and by time.

    :param columns: only these, in this order.
    """

    with lake.open_input(entry.path) as file, _opened(file, columns) as reader:
        rows: pa.Table = reader.read_all()
    return rows if columns is None else rows.select(list(columns))


def read_batches(
    lake: Lake, entry: FileEntry, numbers: Iterable[int], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Some of a bucket's record batches, of `BATCH_ROWS` rows each but for the last."""
    with lake.open_input(entry.path) as file, _opened(file, columns) as reader:
        for number in numbers:
            yield reader.get_batch(number).select(list(columns))


def batches_of(entry: FileEntry) -> list[int]:
    """How many rows each record batch of a bucket's file has."""
    return [min(BATCH_ROWS, entry.rows - start) for start in range(0, entry.rows, BATCH_ROWS)]


def schema_of_bucket(lake: Lake, entry: FileEntry) -> pa.Schema:
    """The columns of a bucket's file."""
    with lake.open_input(entry.path) as file, _opened(file, None) as reader:
        return reader.schema


def scan(lake: Lake, entries: Sequence[FileEntry]) -> pads.Dataset:
    """The rows of all buckets, one after the other, to be read a batch at a time; `float` as double.

    :param entries: at least one.
    """
    import pyarrow.dataset as ds

    schema = modelcode.widened_schema(schema_of_bucket(lake, entries[0]))
    return ds.dataset([entry.path for entry in entries], filesystem=lake.fs, format="ipc", schema=schema)


def write_partitions(lake: Lake, path: str, prints: Mapping[str, str]) -> FileEntry:
    """Write the partitions of a bucket in its order, each with the fingerprint of its rows."""
    import pyarrow as pa

    columns = {"partition": list(prints), "fingerprint": list(prints.values())}
    found = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    with lake.open_output(path) as sink, pa.ipc.new_file(sink, found.schema) as writer:
        writer.write_table(found)
    return lake.entry(path, found.num_rows)


def read_partitions(lake: Lake, entry: FileEntry) -> dict[str, str]:
    """What `write_partitions` wrote: the fingerprints by partition, in the bucket's order."""
    import pyarrow as pa

    with lake.open_input(entry.path) as file:
        found = pa.ipc.open_file(file).read_all()
    return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))


def _opened(file: pa.NativeFile, columns: Sequence[str] | None) -> pa.ipc.RecordBatchFileReader:
    import pyarrow as pa

    included = None
    if columns is not None:
        with pa.ipc.open_file(file) as reader:
            included = [reader.schema.get_field_index(name) for name in columns]
        missing = [name for name, place in zip(columns, included, strict=True) if place < 0]
        if missing:
            raise KeyError(f"no column {missing[0]!r}")
    return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(use_threads=False, included_fields=included))
