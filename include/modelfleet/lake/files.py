"""What a lake asks of the place its files are in: a folder (`local`) or a container of Azure's object store (`azure`)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Digested:
    """A file's size in bytes and the blake2b of its bytes, hexadecimal."""

    bytes: int
    digest: str


class Files(Protocol):
    """The files under one root; all paths are relative to it, with ``/`` as separator.

    Whoever implements it is pickled into Spark's tasks, and passes ``tests/lake/test_lake_contract.py``.
    """

    def __hash__(self) -> int:
        """Equal for files of the same root."""

    @property
    def fs(self) -> Any:
        """A pyarrow filesystem rooted here, for reading alone."""

    def check(self) -> None:
        """See that the root can be used.

        :raises ConfigurationError: when it is not there, or the credentials are wrong.
        :raises UnavailableError: when it can't be reached.
        """

    def location(self, path: str) -> str:
        """The path as a person would open it."""

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder, in any order; none where it is missing."""

    def write_once(self, path: str, data: bytes) -> None:
        """Create a file, whole or not at all.

        :raises FileExistsError: when it is there already; it is left as it is.
        """

    def swap(self, path: str, data: bytes, *, expected: bytes | None) -> None:
        """Replace a small file on condition that it still holds `expected` (None: that it does not exist).

        :raises ConflictError: when somebody else changed it; it is left as it is.
        """

    def open_output(self, path: str) -> Any:
        """A binary stream, a context manager, that creates a data file of any size.

        :raises FileExistsError: when it is there already, here or when the stream is closed; it is left as it is.
        """

    def delete(self, path: str) -> None:
        """Delete a file; nothing to do where it is not there."""

    def digested(self, path: str) -> Digested | None:
        """Size and digest of the bytes that arrived, or None where there is no such file."""

    def version(self, path: str) -> str | None:
        """A word that is another one when the file's bytes changed, or None where there is no such file."""


def blake2b() -> Any:
    """The hash of the lake's digests: 128 bits."""
    return hashlib.blake2b(digest_size=16)
