"""Checkpoints of a bucket: the rows fitted so far, so that whoever goes on after a killed task fits only the others.

Every `SECONDS` of fitting the new rows are written as a file, and a sidecar that names it. Sidecars are numbered and written
once; they count under the same fingerprint as those of whole buckets, and while their files are intact. Buckets that take less
leave none.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from modelfleet.errors import NotFoundError
from modelfleet.lake.buckets import BucketPlace
from modelfleet.lake.runs import encode
from modelfleet.lake.store import FileEntry, Lake

if TYPE_CHECKING:
    import pyarrow as pa

SECONDS = 4.0
"""About how much work a killed task loses, where writing is quick."""
_SHARE, _LONGEST = 50, 4
"""Where it is not, the next one waits for so many times as long as this one took; at most so many times the above."""


@dataclass(frozen=True)
class Checkpoints:
    """Of one bucket: in its own place, and what attempts before it left in theirs, the latest first."""

    lake: Lake
    place: BucketPlace
    bucket: int
    earlier: tuple[BucketPlace, ...] = ()
    seconds: float = SECONDS

    def found(self) -> list[pa.Table]:
        """The rows that are there already; those of an earlier attempt get a sidecar here too, for whoever comes next."""
        entries = self._entries(self.place)
        for place in self.earlier:
            for entry in self._entries(place):
                if entry not in entries:
                    self._note(entry)
                    entries.append(entry)
        return [self._read(entry) for entry in entries]

    def keep(self, fitted: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
        """The rows as tables, each written once it took `seconds` to fit; what is left at the end is not."""
        import pyarrow as pa

        waiting: list[Mapping[str, Any]] = []
        began, pause = time.perf_counter(), self.seconds
        for row in fitted:
            waiting.append(row)
            if (now := time.perf_counter()) - began >= pause:
                table = pa.Table.from_pylist(waiting, schema=schema)
                self._write(table)
                yield table
                waiting, began = [], time.perf_counter()
                pause = min(max(self.seconds, _SHARE * (began - now)), _LONGEST * self.seconds)
        if waiting:
            yield pa.Table.from_pylist(waiting, schema=schema)

    def forget(self) -> None:
        """Delete the files of this place: the bucket is finished. Those of earlier attempts are theirs."""
        for entry in self._entries(self.place):
            if entry.path.startswith(f"{self.place.folder}/"):
                self.lake.delete(entry.path)

    def _write(self, rows: pa.Table) -> None:
        """As Arrow, which costs a tenth of Parquet: most such files are never read."""
        import pyarrow as pa

        path = self.place.file("part", self.bucket, secrets.token_hex(4), "arrow")
        with self.lake.open_output(path) as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        self._note(self.lake.entry(path, rows.num_rows))

    def _read(self, entry: FileEntry) -> pa.Table:
        import pyarrow as pa

        with self.lake.open_input(entry.path) as file:
            return pa.ipc.open_file(file).read_all()

    def _note(self, entry: FileEntry) -> None:
        """The sidecar of a file, under the first number that is free."""
        about = {"file": asdict(entry), "fingerprint": self.place.fingerprint, "buckets": self.place.buckets}
        for number in count():
            try:
                return self.lake.write_once(self._sidecar(self.place, number), encode(about))
            except FileExistsError:
                continue

    def _entries(self, place: BucketPlace) -> list[FileEntry]:
        """The intact files of a place; sidecars are asked for by number, folders never listed."""
        found = []
        for number in count():
            try:
                given = json.loads(self.lake.read(self._sidecar(place, number)))
                entry, made_for = FileEntry(**given["file"]), (given["fingerprint"], given["buckets"])
            except NotFoundError:
                break
            except (ValueError, KeyError, TypeError):
                continue  # damaged: its partitions are fitted again
            if made_for == (self.place.fingerprint, self.place.buckets) and self.lake.holds(entry):
                found.append(entry)
        return found

    def _sidecar(self, place: BucketPlace, number: int) -> str:
        return f"{place.folder}/part-{self.bucket:05d}-{number:04d}.json"
