"""Writes a table's batches as Parquet files of bounded size into an attempt."""

from __future__ import annotations

import secrets
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from modelfleet.keys import quote_text
from modelfleet.lake import Attempt, FileEntry, Lake
from modelfleet.lake.parquet import write_options

FILE_ROWS = 1_000_000
FILE_BYTES = 128 << 20
_GROUP_ROWS = 131_072
_GROUP_BYTES = 16 << 20


class PartWriter:
    """Batches in, files out: ``extract/<name>-0000-<token>.parquet`` and so on. Holds one row group in memory.

    A context manager: on an error the unfinished file is closed and stays unnamed.
    """

    def __init__(self, lake: Lake, attempt: Attempt, name: str, schema: pa.Schema) -> None:
        self._lake, self._attempt, self._name, self._schema = lake, attempt, name, schema
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._stream: Any = None
        self._writer: Any = None
        self._path, self._rows = "", 0
        self._token = secrets.token_hex(4)  # of this try: a task that is tried again writes beside what was left
        self.files: list[FileEntry] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if exc is None:
                self._flush()
                self._finish()
        finally:
            self._close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Write a batch's rows, now or with those after it."""
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        if self._pending_bytes >= _GROUP_BYTES or sum(b.num_rows for b in self._pending) >= _GROUP_ROWS:
            self._flush()

    def discard(self) -> None:
        """Delete the files: others hold the same rows."""
        for entry in self.files:
            self._lake.delete(entry.path)
        self.files = []

    def _flush(self) -> None:
        if not self._pending:
            return
        import pyarrow.parquet as pq

        if self._writer is None:
            self._path = self._attempt.path(
                f"extract/{quote_text(self._name)}-{len(self.files):04d}-{self._token}.parquet"
            )
            self._stream = self._lake.open_output(self._path)
            self._writer = pq.ParquetWriter(self._stream, self._schema, **write_options(self._schema))
        group = pa.Table.from_batches(self._pending, self._schema)
        self._pending, self._pending_bytes = [], 0
        self._writer.write_table(group, row_group_size=group.num_rows)
        self._rows += group.num_rows
        if self._rows >= FILE_ROWS or self._stream.tell() >= FILE_BYTES:
            self._finish()

    def _finish(self) -> None:
        if self._writer is not None:
            self._close()
            self.files.append(self._lake.entry(self._path, self._rows))
            self._rows = 0

    def _close(self) -> None:
        writer, stream, self._writer, self._stream = self._writer, self._stream, None, None
        if writer is not None:
            writer.close()
            stream.close()
