"""The lake's files: one pyarrow filesystem for all readers, and the two conditional writes that commits stand on.

Files are written once, under names that carry their attempt. Only a run's ``manifest.json`` (and the pointer to the
latest attempt) are ever replaced, and only on condition that nobody else did so in the meantime.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from modelfleet import settings
from modelfleet.errors import ConfigurationError, CorruptionError, NotFoundError
from modelfleet.lake.files import Digested, Files
from modelfleet.lake.local import LocalFiles

if TYPE_CHECKING:
    import pyarrow as pa

_COPIED_BYTES = 8 << 20


@dataclass(frozen=True)
class FileEntry:
    """A data file as a manifest names it.

    `path` is relative to the lake, or absolute for a file that is referenced in place. `digest` is the blake2b of its
    bytes, hexadecimal.
    """

    path: str
    rows: int
    bytes: int
    digest: str


Version = tuple[Files, str, str]
"""Files, a path in them, and what tells its content of now from others."""
_SEEN: dict[Version, Digested] = {}
"""The files in place that this process has digested."""
_SEEN_LIMIT = 10_000


class Lake:
    """The files under one root. `fs` and all paths are relative to it, with ``/`` as separator.

    A lake in a folder is opened by its path, another by the `Files` that reach it.
    """

    def __init__(self, root: Path | Files) -> None:
        self.files: Files = LocalFiles(root) if isinstance(root, Path) else root
        self._vouched: dict[Version, Digested] = {}

    def __repr__(self) -> str:
        return f"Lake({self.location('')!r})"

    @classmethod
    def open(cls) -> Lake:
        """The lake of the settings.

        :raises ConfigurationError: for a URI that is neither a local path nor ``abfs://``, a container that is not there, or
            credentials that are missing or wrong.
        :raises UnavailableError: when the object store can't be reached.
        """
        uri = settings.lake_uri()
        parts = urlsplit(uri)
        if parts.scheme in ("abfs", "abfss"):
            from modelfleet.lake.azure import BlobFiles

            lake = cls(BlobFiles.of(uri, settings.lake_connection()))
        elif parts.scheme in ("", "file"):
            lake = cls(Path(unquote(parts.path) if parts.scheme else uri).resolve())
        else:
            raise ConfigurationError(
                f"lake {uri!r}: the scheme {parts.scheme!r} is not known",
                hint="set MODELFLEET_LAKE to a local folder, a file:// URI or "
                "abfs://<container>@<account>.dfs.core.windows.net/<folder>",
            )
        lake.files.check()
        return lake

    @property
    def root(self) -> Path:
        """The folder of a local lake."""
        return Path(self.location(""))

    @property
    def fs(self) -> Any:
        """The pyarrow filesystem rooted at the lake, for reading; files are written by `open_output`."""
        return self.files.fs

    def location(self, path: str) -> str:
        """The path as a person would open it."""
        return self.files.location(path)

    def exists(self, path: str) -> bool:
        from pyarrow.fs import FileType

        return bool(self.fs.get_file_info(path).type == FileType.File)

    def intervals(self, folder: str) -> list[str]:
        """The names of the interval folders of ``<fleet>/<pipeline>``, sorted; what is committed in them the manifests say."""
        return sorted(self.files.folders(folder))

    def read(self, path: str) -> bytes:
        """The bytes of a file.

        :raises NotFoundError: when it is not there.
        """
        try:
            with self.fs.open_input_file(path) as file:
                return bytes(file.read())
        except FileNotFoundError:
            raise NotFoundError(f"no file {path!r} in the lake {self.location('')}") from None

    def write_once(self, path: str, data: bytes) -> None:
        """Create a file, whole or not at all.

        :raises FileExistsError: when it is there already; it is left as it is.
        """
        self.files.write_once(path, data)

    def swap(self, path: str, data: bytes, *, expected: bytes | None) -> None:
        """Replace a small file on condition that it still holds `expected` (None: that it does not exist).

        :raises ConflictError: when somebody else changed it; it is left as it is.
        """
        self.files.swap(path, data, expected=expected)

    def open_output(self, path: str) -> Any:
        """A binary stream, a context manager, that creates a data file of any size under a name of its own.

        :raises FileExistsError: when it is there already; it is left as it is.
        """
        return self.files.open_output(path)

    def delete(self, path: str) -> None:
        """Delete a file that no manifest names; nothing to do where it is not there."""
        self.files.delete(path)

    def open_input(self, path: str) -> pa.NativeFile:
        """A random-access reader of a data file; an absolute `path` is a file referenced in place."""
        files, inside = self._place_of(path)
        return files.fs.open_input_file(inside)

    def entry(self, path: str, rows: int) -> FileEntry:
        """The entry of a file just written: size and digest of the bytes that arrived.

        :raises NotFoundError: when it is not there.
        """
        found = self.files.digested(path)
        if found is None:
            raise NotFoundError(f"no file {path!r} in the lake {self.location('')}")
        return FileEntry(path, rows, found.bytes, found.digest)

    def verify(self, entry: FileEntry) -> None:
        """Check a file against its entry.

        :raises CorruptionError: when its bytes are not the recorded ones.
        """
        if not self.holds(entry):
            raise CorruptionError(f"file {entry.path!r} does not match the digest recorded in its manifest")

    def holds(self, entry: FileEntry) -> bool:
        """Whether the file is there with the recorded bytes."""
        files, inside = self._place_of(entry.path)
        found = files.digested(inside)
        return found is not None and (found.bytes, found.digest) == (entry.bytes, entry.digest)

    def copy_to(self, path: str, target: Path) -> None:
        """Copy a file out of the lake, to a local path."""
        with self.fs.open_input_stream(path) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _COPIED_BYTES)

    def path_in_place(self, path: str) -> str:
        """How a manifest names a file or folder that is referenced in place: absolute where the lake is a local folder."""
        return self.location(path) if isinstance(self.files, LocalFiles) else path

    def files_below(self, path: str) -> list[str] | None:
        """The files in a folder referenced in place and in its folders; `path` alone if it is a file, None if it is nothing."""
        from pyarrow.fs import FileSelector, FileType

        files, inside = self._place_of(path)
        kind = files.fs.get_file_info(inside).type
        if kind == FileType.File:
            return [path]
        if kind != FileType.Directory:
            return None
        found = files.fs.get_file_info(FileSelector(inside, recursive=True))
        return [path + info.path.removeprefix(inside) for info in found if info.type == FileType.File]

    def entry_in_place(self, path: str, rows: int) -> FileEntry:
        """The entry of a file referenced in place; its digest is computed once per process while it stays the same.

        :raises NotFoundError: when it is not there.
        """
        files, inside = self._place_of(path)
        version = files.version(inside)
        found = None if version is None else self._digested(files, inside, version)
        if found is None:
            raise NotFoundError(f"no file {path!r}")
        return FileEntry(path, rows, found.bytes, found.digest)

    def vouching(self, paths: Iterable[str]) -> Lake:
        """This lake for other processes: files in place that this one has digested are digested there only if they changed."""
        wanted = set(map(self._place_of, paths))
        made = Lake(self.files)
        made._vouched = {seen: known for seen, known in _SEEN.items() if seen[:2] in wanted}
        return made

    def _digested(self, files: Files, inside: str, version: str) -> Digested | None:
        known = self._vouched.get((files, inside, version)) or _SEEN.get((files, inside, version))
        if known is None and (known := files.digested(inside)) is not None:
            while len(_SEEN) >= _SEEN_LIMIT:
                del _SEEN[next(iter(_SEEN))]
            _SEEN[files, inside, version] = known
        return known

    def _place_of(self, path: str) -> tuple[Files, str]:
        """Where a data file is: here, or for an absolute path in the local file system."""
        absolute = PurePosixPath(path).is_absolute()
        return (LocalFiles(Path("/")), path.lstrip("/")) if absolute else (self.files, path)
