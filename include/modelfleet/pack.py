"""A pack: the models of one fleet version and their index, in Parquet files ordered by the hash of the partition key.

A row holds everything about one partition's model; the index is the same rows read without the model's bytes. The header
(``pack.json``) lists the files with their digests: a pack is trusted by the digest of its header, which the registry
keeps, and scoring unpickles no model from bytes that do not lead back to it. MLflow hands over a folder without its digest:
there the header beside the files is what is trusted.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from modelfleet import keys, slices
from modelfleet.errors import CorruptionError, DataError
from modelfleet.lake.store import FileEntry, Lake

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.matrices import Inputs
    from modelfleet.spec import FleetSpec

FORMAT = 3
"""Raise it when a change makes older readers misread a pack: readers refuse a newer format by name."""
HEADER = "pack.json"
MODEL = "model"
HASH = "_hash"
_UNDIGESTED = (HASH, MODEL, "fit_seconds", "candidates", "trained_attempt", "message")
"""Columns that may differ between two runs with the same result."""


@dataclass(frozen=True)
class PackHeader:
    """What the reader of a pack must know. `digest` is of the content alone: same models, same digest.

    `spec` is that of the training, as JSON text, since the order of its tables counts. A kept champion may be of an earlier
    one, so its row says which code and which `inputs` (by their id, in the column `features`) are its own; `features` and
    `code` are those of all models together. `groups` are the files of models over many partitions.
    """

    format: int
    fleet: str
    problem: str
    key_types: tuple[tuple[str, keys.KeyType], ...]
    time: str
    time_type: str
    ids: tuple[str, ...]
    features: tuple[str, ...]
    feature_types: Mapping[str, str]
    target: str
    spec: str
    inputs: Mapping[str, Any]
    code: tuple[str, ...]
    groups: tuple[FileEntry, ...]
    files: tuple[FileEntry, ...]
    ranges: tuple[tuple[int, int], ...]
    rows: int
    digest: str

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> PackHeader:
        given = json.loads(data)
        if given.get("format") != FORMAT:
            raise DataError(
                f"pack of format {given.get('format')!r}; this version of Modelfleet reads format {FORMAT}",
                hint="train and promote the fleet anew under another home or name, or use the version that wrote it",
            )
        for name in ("files", "groups"):
            given[name] = tuple(FileEntry(**entry) for entry in given[name])
        given["ranges"] = tuple((low, high) for low, high in given["ranges"])
        given["key_types"] = tuple((name, kind) for name, kind in given["key_types"])
        return cls(**{**given, **{name: tuple(given[name]) for name in ("ids", "features", "code")}})

    @cached_property
    def fleet_spec(self) -> FleetSpec:
        """The spec of the training."""
        from modelfleet.spec import FleetSpec

        return FleetSpec.from_json(self.spec)

    @cached_property
    def all_inputs(self) -> dict[str, Inputs]:
        """How the matrices of its models are made, by their id."""
        from modelfleet.matrices import Inputs

        return {name: Inputs.from_json(given) for name, given in self.inputs.items()}


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

        return pa.concat_tables([self._read(entry, columns, models=False) for entry in self.header.files])

    def rows(self, low: int, high: int) -> pa.Table:
        """The rows, with models, whose key's hash lies in ``[low, high)``.

        :raises CorruptionError: when a file does not hold the recorded bytes.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        overlapping = [
            entry
            for entry, (start, end) in zip(self.header.files, self.header.ranges, strict=True)
            if start < high and low < end
        ]
        tables = [self._read(entry, None, models=True) for entry in overlapping]
        if not tables:
            return self._read(self.header.files[0], None, models=False).slice(0, 0)
        rows = pa.concat_tables(tables)
        hashes = rows.column(HASH)
        # The upper bound of the last range is 2**64, which no uint64 holds.
        inside = pc.and_(
            pc.greater_equal(hashes, pa.scalar(low, pa.uint64())),
            pc.less_equal(hashes, pa.scalar(high - 1, pa.uint64())),
        )
        return rows.filter(inside)

    def groups(self, *, models: bool = True) -> pa.Table | None:
        """The rows of models over many partitions; None where there are none.

        :raises CorruptionError: when a file does not hold the recorded bytes.
        """
        import pyarrow as pa

        tables = [self._read(entry, None, models=models) for entry in self.header.groups]
        return pa.concat_tables(tables) if tables else None

    def _read(self, entry: FileEntry, columns: Sequence[str] | None, *, models: bool) -> pa.Table:
        import pyarrow.parquet as pq

        with self._open(entry.path) as file:
            if not models:
                reader = pq.ParquetFile(file)
                wanted = columns or [name for name in reader.schema_arrow.names if name != MODEL]
                return reader.read(columns=list(wanted))
            data = file.read()
        if hashlib.blake2b(data, digest_size=16).hexdigest() != entry.digest:
            raise CorruptionError(
                f"fleet {self.header.fleet!r}: pack file {entry.path!r} does not hold the bytes its header records",
                hint="no model of it is loaded; restore the file, or roll back to an earlier version",
            )
        return pq.read_table(io.BytesIO(data))


def header_digest(data: bytes) -> str:
    """The digest of a header's bytes, by which the registry knows the pack."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def dump_model(estimator: object) -> tuple[bytes, str]:
    """An estimator's bytes and their digest; the same estimator gives the same bytes in every process.

    pickle writes an object that it meets again as a reference, and whether two equal strings are one object differs
    between processes. So nothing is referenced, but in estimators that hold themselves, which can't be written else.
    """
    sink = io.BytesIO()
    pickler = pickle.Pickler(sink, protocol=5)
    pickler.fast = True
    try:
        pickler.dump(estimator)
        data = sink.getvalue()
    except (ValueError, RecursionError):
        data = pickle.dumps(estimator, protocol=5)
    return data, hashlib.blake2b(data, digest_size=16).hexdigest()


def load_model(data: bytes, digest: str) -> Any:
    """The estimator, unpickled only from the bytes that its row records.

    :raises CorruptionError: when the bytes are others.
    """
    if hashlib.blake2b(data, digest_size=16).hexdigest() != digest:
        raise CorruptionError("a model's bytes do not match the digest in its row; it is not unpickled")
    return pickle.loads(data)


def row_schema(key_fields: Sequence[pa.Field], metrics: Sequence[str]) -> pa.Schema:
    """The columns of a pack: one row per partition, the index plus `MODEL` and `HASH`."""
    import pyarrow as pa

    text, count, number, moment = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", "UTC")
    return pa.schema(
        [
            (HASH, pa.uint64()),
            ("partition", text),
            *key_fields,
            ("status", text),
            ("reason", text),
            ("message", text),
            ("serves", text),
            ("level", text),
            ("candidate", text),
            ("candidates", text),
            ("code", text),
            ("features", text),
            ("shared", text),
            ("n_folds", count),
            ("n_rows", count),
            ("n_null_target", count),
            ("n_train", count),
            ("n_test", count),
            ("window_start", moment),
            ("window_end", moment),
            ("fit_seconds", number),
            *((name, number) for name in metrics),
            ("baseline_status", text),
            *((f"baseline_{name}", number) for name in metrics),
            ("fallback_status", text),
            *((f"fallback_{name}", number) for name in metrics),
            ("champion_status", text),
            *((f"champion_{name}", number) for name in metrics),
            ("baseline_value", number),
            ("model_digest", text),
            ("fingerprint", text),
            ("trained_interval", text),
            ("trained_attempt", text),
            (MODEL, pa.binary()),
        ]
    )


def content_digest(rows: pa.Table) -> str:
    """The digest of the rows' content; rows of other buckets are added with `slices.combine`."""
    kept = rows.select([name for name in rows.column_names if name not in _UNDIGESTED])
    hashes = slices.row_hashes(kept)
    return slices.digest_of_parts(
        (key, str(value)) for key, value in zip(rows.column("partition").to_pylist(), hashes.tolist(), strict=True)
    )


def write_rows(lake: Lake, path: str, rows: pa.Table) -> FileEntry:
    """Write one file of a pack, its row groups bounded so that a reader of a few models reads little."""
    import pyarrow.parquet as pq

    lake.make_folder_of(path)
    per_row = max(rows.nbytes // max(rows.num_rows, 1), 1)
    group = max(min((8 << 20) // per_row, 100_000), 100)
    with lake.fs.open_output_stream(path) as sink:
        pq.write_table(
            rows, sink, compression="zstd", row_group_size=group, use_dictionary=["status", "reason", "serves"]
        )
    return lake.entry(path, rows.num_rows)


def make_header(
    spec: FleetSpec,
    *,
    key_types: Mapping[str, keys.KeyType],
    time_type: str,
    feature_types: Mapping[str, str],
    inputs: Mapping[str, Any],
    code: Iterable[str],
    files: Iterable[tuple[FileEntry, tuple[int, int]]],
    groups: Iterable[FileEntry] = (),
    digest: str,
) -> PackHeader:
    """The header of a pack whose files are `files`, each with the range of hashes it covers.

    :param time_type: the Arrow type of the time column.
    :param feature_types: of every column that a model of the pack reads; kept champions' beside the spec's.
    :param inputs: how matrices are made, as JSON values, by their id.
    :param code: dotted paths of the candidates; the spec's first.
    """
    listed = tuple(files)
    return PackHeader(
        format=FORMAT,
        fleet=spec.name,
        problem=spec.problem.kind,
        key_types=tuple(key_types.items()),
        time=spec.time_column,
        time_type=time_type,
        ids=tuple(spec.id_columns),
        features=tuple(feature_types),
        feature_types=dict(feature_types),
        target=spec.problem.target,
        spec=spec.canonical(),
        inputs=dict(inputs),
        code=tuple(dict.fromkeys(code)),
        groups=tuple(groups),
        files=tuple(entry for entry, _ in listed),
        ranges=tuple(hashes for _, hashes in listed),
        rows=sum(entry.rows for entry, _ in listed),
        digest=digest,
    )


def copy_to_folder(lake: Lake, header: PackHeader, folder: Path) -> None:
    """The pack as a local folder, for MLflow."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEADER).write_bytes(header.to_json())
    for entry in (*header.files, *header.groups):
        lake.copy_to(entry.path, folder / PurePosixPath(entry.path).name)
