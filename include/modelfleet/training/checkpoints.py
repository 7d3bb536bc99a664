"""Checkpoints of a bucket: the rows fitted so far, so that whoever goes on after a killed task fits only the others.

Every `SECONDS` of fitting the new rows are written as a file, and a sidecar that names it. Sidecars are numbered and written
once; they count under the same fingerprint as those of whole buckets, and while their files are intact. Buckets that take less
leave none.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING

from modelfleet import slices
from modelfleet.errors import NotFoundError
from modelfleet.lake.buckets import BucketPlace
from modelfleet.lake.runs import encode
from modelfleet.lake.store import FileEntry, Lake

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

SECONDS = 10.0
"""About how much work a killed task loses."""
FIRST = 4
"""How many partitions are fitted before it is known how long they take."""
GROWTH = 8
"""By how much a piece may be larger than the one before: the first ones may have been quick by chance."""


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

    def fit(self, bucket: pa.Table, fitted: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
        """``fitted(bucket)`` in pieces of whole partitions, each written once it took long enough; the last one never is."""
        bounds = slices.bounds(bucket)
        first, size = 0, FIRST
        while first < len(bounds):
            last = min(first + size, len(bounds))
            start, end = bounds[first][1], bounds[last - 1][2]
            began = time.perf_counter()
            rows = fitted(bucket.slice(start, end - start))
            took = time.perf_counter() - began
            if last < len(bounds) and took > self.seconds / 4:
                self._write(rows)
            yield rows
            per_second = (last - first) / max(took, 1e-6)
            first, size = last, max(1, min(int(per_second * self.seconds), GROWTH * size))

    def forget(self) -> None:
        """Delete the files of this place: the bucket is finished. Those of earlier attempts are theirs."""
        for entry in self._entries(self.place):
            if entry.path.startswith(f"{self.place.folder}/"):
                with suppress(FileNotFoundError):  # a twin task was quicker
                    self.lake.fs.delete_file(entry.path)

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
