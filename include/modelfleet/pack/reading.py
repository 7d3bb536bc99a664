"""Reading packs: the index, the rows of a range of hashes, one key's row, models over many partitions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from modelfleet import keys
from modelfleet.errors import CorruptionError
from modelfleet.lake.store import FileEntry, Lake
from modelfleet.pack.checked import CheckedFile, every, overlapping
from modelfleet.pack.header import HEADER, PackHeader, header_digest
from modelfleet.pack.rows import HASH, MODEL

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
_OF_GROUPS = ("level", "partition", "features", "code", "model_digest")


class Pack:
    """A pack opened for reading; `open_file` gives a file by the path its entry has."""

    def __init__(self, header: PackHeader, open_file: Callable[[str], Any]) -> None:
        self.header = header
        self._open = open_file

    @classmethod
    def in_lake(cls, lake: Lake, path: str, *, digest: str | None = None) -> Pack:
        """The pack whose header is at `path`.

        :param digest: what `header_digest` must give, as the registry keeps it.
        :raises CorruptionError: when the header is another one.
        """
        data = lake.read(path)
        if digest is not None and header_digest(data) != digest:
            raise CorruptionError(f"pack {path!r} does not match the digest in the registry", hint="it is not read")
        return cls(PackHeader.from_json(data), lake.open_input)

    @classmethod
    def in_folder(cls, folder: Path) -> Pack:
        """A pack copied to a local folder (an MLflow artifact): the files lie beside the header."""
        header = PackHeader.from_json((folder / HEADER).read_bytes())
        return cls(header, lambda path: (folder / PurePosixPath(path).name).open("rb"))

    def index(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows without the models' bytes, in the order of the keys' hashes."""
        import pyarrow as pa

        return pa.concat_tables([*self.index_parts(columns)])

    def index_parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The index, a file of the pack at a time."""
        return (self._index(entry, columns) for entry in self.header.files)

    def find(self, key: str) -> dict[str, Any] | None:
        """The row of one partition without its model, by its canonical key; None where the pack does not know it.

        One row group is read, however many models there are.
        """
        import pyarrow.compute as pc

        hashed = keys.hash_of(key)
        for entry in self._overlapping(hashed, hashed + 1):
            rows = self._index(entry, None, lambda known: overlapping(known, HASH, hashed, hashed + 1))
            found = rows.filter(pc.equal(rows.column("partition"), key)).drop_columns([HASH]).to_pylist()
            if found:
                return found[0]
        return None

    def rows(self, low: int, high: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows, with models, whose key's hash lies in ``[low, high)``.

        :param columns: only these.
        :raises CorruptionError: when a file does not hold the recorded bytes.
        """
        import pyarrow as pa

        read = None if columns is None else [HASH, *(name for name in columns if name != HASH)]
        entries = self._overlapping(low, high)
        if not entries:
            return self._index(self.header.files[0], columns).slice(0, 0)
        tables = [self._file(entry).read(lambda known: overlapping(known, HASH, low, high), read) for entry in entries]
        rows = _within(pa.concat_tables(tables), low, high)
        return rows if columns is None else rows.select(list(columns))

    def groups(self, *, models: bool = True) -> pa.Table | None:
        """The rows of models over many partitions; None where there are none.

        :raises CorruptionError: when a file does not hold the recorded bytes.
        """
        import pyarrow as pa

        entries = self.header.groups
        tables = [self._file(entry).read(every) if models else self._index(entry, None) for entry in entries]
        return pa.concat_tables(tables) if tables else None

    def group_rows(self) -> Iterator[Row]:
        """What serving needs of the models over many partitions; each model's bytes are read when they are asked for.

        :raises CorruptionError: when a file does not hold the recorded bytes.
        """
        for entry in self.header.groups:
            file = self._file(entry)
            models = _Models(file)
            for position, row in enumerate(file.read(every, _OF_GROUPS).to_pylist()):
                yield _LazyRow(row, partial(models.at, position))

    def _overlapping(self, low: int, high: int) -> list[FileEntry]:
        ranged = zip(self.header.files, self.header.ranges, strict=True)
        return [entry for entry, (start, end) in ranged if start < high and low < end]

    def _index(
        self, entry: FileEntry, columns: Sequence[str] | None, wanted: Callable[[Any], list[int]] | None = None
    ) -> pa.Table:
        """Rows of a file without the models' bytes; nothing of them is run, so they are not checked."""
        import pyarrow.parquet as pq

        with self._open(entry.path) as file:
            reader = pq.ParquetFile(file)
            read = list(columns or [name for name in reader.schema_arrow.names if name != MODEL])
            return reader.read(read) if wanted is None else reader.read_row_groups(wanted(reader.metadata), read)

    def _file(self, entry: FileEntry) -> CheckedFile:
        return CheckedFile(self._open, entry, fleet=self.header.fleet)


class PackRows(Mapping[str, Row]):
    """Rows of a pack by their partition; what a row holds is copied out of Arrow when the row is asked for."""

    def __init__(self, rows: pa.Table) -> None:
        self._columns = {name: rows.column(name) for name in rows.column_names}
        self._places = {key: place for place, key in enumerate(rows.column("partition").to_pylist())}

    def __getitem__(self, key: str) -> Row:
        place = self._places[key]
        return {name: column[place].as_py() for name, column in self._columns.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _LazyRow(dict[str, Any]):
    """A row whose model is read when it is asked for."""

    def __init__(self, values: Row, model: Callable[[], bytes]) -> None:
        super().__init__(values)
        self._model = model

    def __missing__(self, name: str) -> bytes:
        if name != MODEL:
            raise KeyError(name)
        return self._model()


class _Models:
    """The models of one file by their rows' position; a row group that was read stays, as its neighbours may be next."""

    def __init__(self, file: CheckedFile) -> None:
        self._file = file
        self._groups: dict[int, pa.ChunkedArray] = {}

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self._file.sizes()))

    def at(self, position: int) -> bytes:
        group = bisect_right(self._ends, position)
        if group not in self._groups:
            self._groups[group] = self._file.read(lambda _: [group], [MODEL]).column(MODEL)
        column = self._groups[group]
        found: bytes = column[position - self._ends[group] + len(column)].as_py()
        return found


def _within(rows: pa.Table, low: int, high: int) -> pa.Table:
    """The rows whose key's hash lies in ``[low, high)``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    hashes = rows.column(HASH)
    # The upper bound of the last range is 2**64, which no uint64 holds.
    inside = pc.and_(
        pc.greater_equal(hashes, pa.scalar(low, pa.uint64())),
        pc.less_equal(hashes, pa.scalar(high - 1, pa.uint64())),
    )
    return rows if pc.all(inside, min_count=0).as_py() else rows.filter(inside)
