"""A lake in a folder of the machine, or of a network file system that all workers share under the same path."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from modelfleet.errors import ConflictError
from modelfleet.lake.files import Digested, blake2b


@dataclass(frozen=True)
class LocalFiles:
    """The files under a folder. A small file appears whole, as it is linked under its name when it is written."""

    root: Path

    @cached_property
    def fs(self) -> Any:
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

        return SubTreeFileSystem(str(self.root), LocalFileSystem())

    def check(self) -> None:
        """Make the folder where it is not there yet."""
        self.root.mkdir(parents=True, exist_ok=True)

    def location(self, path: str) -> str:
        return str(self.root / path)

    def folders(self, path: str) -> list[str]:
        place = self.root / path
        return [entry.name for entry in place.iterdir() if entry.is_dir()] if place.is_dir() else []

    def write_once(self, path: str, data: bytes) -> None:
        self._make_folder_of(path)
        temporary = self._temporary(path, data)
        try:
            os.link(temporary, self.root / path)
        finally:
            temporary.unlink()

    def swap(self, path: str, data: bytes, *, expected: bytes | None) -> None:
        self._make_folder_of(path)
        target = self.root / path
        with (target.parent / f".{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            current = target.read_bytes() if target.exists() else None
            if current != expected:
                raise ConflictError(
                    f"{path!r} was changed by another attempt in the meantime; this one is not committed"
                )
            self._temporary(path, data).replace(target)

    def open_output(self, path: str) -> Any:
        """A stream that writes where the file will be: what a killed writer leaves of it is a file that no sidecar names."""
        self._make_folder_of(path)
        (self.root / path).open("xb").close()
        return self.fs.open_output_stream(path)

    def delete(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def digested(self, path: str) -> Digested | None:
        """Read back from the file system, so that it is of the bytes that arrived."""
        try:
            with (self.root / path).open("rb") as file:
                digest = hashlib.file_digest(file, blake2b).hexdigest()
                return Digested(os.fstat(file.fileno()).st_size, digest)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def version(self, path: str) -> str | None:
        try:
            status = (self.root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"

    def _make_folder_of(self, path: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)

    def _temporary(self, path: str, data: bytes) -> Path:
        target = self.root / path
        # Not by mkstemp: its files are their owner's alone, while manifests are read by all who may read the lake.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return temporary
