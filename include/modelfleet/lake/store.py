"""The lake's files: one pyarrow filesystem for everybody, and the two conditional writes that commits stand on.

Data files are written once, under names that carry their attempt. Only a run's ``manifest.json`` (and the pointer to the
latest attempt) are ever replaced, and only on condition that nobody else did so in the meantime.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from modelfleet import settings
from modelfleet.errors import ConfigurationError, ConflictError, CorruptionError, NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa


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


class Lake:
    """The files under one root. `fs` and all paths are relative to it, with ``/`` as separator."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls) -> Lake:
        """The lake of the settings.

        :raises ConfigurationError: for a URI scheme that is not a local path.
        """
        uri = settings.lake_uri()
        parts = urlsplit(uri)
        if parts.scheme not in ("", "file"):
            raise ConfigurationError(
                f"lake {uri!r}: the scheme {parts.scheme!r} is part of the design but not built yet",
                hint="set MODELFLEET_LAKE to a local folder or a file:// URI",
            )
        root = Path(unquote(parts.path) if parts.scheme else uri).resolve()
        root.mkdir(parents=True, exist_ok=True)
        return cls(root)

    @cached_property
    def fs(self) -> Any:
        """The pyarrow filesystem rooted at the lake."""
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

        return SubTreeFileSystem(str(self.root), LocalFileSystem())

    def location(self, path: str) -> str:
        """The path as a person would open it."""
        return str(self.root / path)

    def exists(self, path: str) -> bool:
        return (self.root / path).is_file()

    def intervals(self, folder: str) -> list[str]:
        """The names of the interval folders of ``<fleet>/<pipeline>``, sorted; what is committed in them the manifests say."""
        place = self.root / folder
        return sorted(entry.name for entry in place.iterdir() if entry.is_dir()) if place.is_dir() else []

    def read(self, path: str) -> bytes:
        """The bytes of a file.

        :raises NotFoundError: when it is not there.
        """
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"no file {path!r} in the lake {self.root}") from None

    def make_folder_of(self, path: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)

    def write_once(self, path: str, data: bytes) -> None:
        """Create a file, whole or not at all.

        :raises FileExistsError: when it is there already; it is left as it is.
        """
        self.make_folder_of(path)
        temporary = self._temporary(path, data)
        try:
            os.link(temporary, self.root / path)
        finally:
            temporary.unlink()

    def swap(self, path: str, data: bytes, *, expected: bytes | None) -> None:
        """Replace a small file on condition that it still holds `expected` (None: that it does not exist).

        :raises ConflictError: when somebody else changed it; it is left as it is.
        """
        self.make_folder_of(path)
        target = self.root / path
        with (target.parent / f".{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            current = target.read_bytes() if target.exists() else None
            if current != expected:
                raise ConflictError(
                    f"{path!r} was changed by another attempt in the meantime; this one is not committed"
                )
            self._temporary(path, data).replace(target)

    def open_input(self, path: str) -> pa.NativeFile:
        """A random-access reader of a data file; an absolute `path` is a file referenced in place."""
        if PurePosixPath(path).is_absolute():
            from pyarrow.fs import LocalFileSystem

            return LocalFileSystem().open_input_file(path)
        return self.fs.open_input_file(path)

    def entry(self, path: str, rows: int) -> FileEntry:
        """The entry of a file just written: its size and digest read back from the bytes that arrived."""
        with (self.root / path).open("rb") as file:
            digest = hashlib.file_digest(file, _blake2b).hexdigest()
        return FileEntry(path, rows, (self.root / path).stat().st_size, digest)

    def verify(self, entry: FileEntry) -> None:
        """Check a file against its entry.

        :raises CorruptionError: when its bytes are not the recorded ones.
        """
        place = self.root / entry.path
        if not place.is_file() or self.entry(entry.path, entry.rows) != entry:
            raise CorruptionError(f"file {entry.path!r} does not match the digest recorded in its manifest")

    def holds(self, entry: FileEntry) -> bool:
        """Whether the file is there with the recorded bytes."""
        try:
            self.verify(entry)
        except CorruptionError:
            return False
        return True

    def copy_to(self, path: str, target: Path) -> None:
        """Copy a file out of the lake, to a local path."""
        shutil.copyfile(self.root / path, target)

    def _temporary(self, path: str, data: bytes) -> Path:
        target = self.root / path
        # Not by mkstemp: its files are their owner's alone, while manifests are read by all who may read the lake.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return temporary


def _blake2b() -> Any:
    return hashlib.blake2b(digest_size=16)
