"""A lake in Azure's object store (ADLS Gen2, Blob Storage, the emulator Azurite).

Reading goes through pyarrow's filesystem. Writing goes through Azure's own client, for three things pyarrow's streams can't
do: to create only what is not there (``If-None-Match``), to replace only what is known (``If-Match``), and to
have the service check each request's bytes against their MD5 as they arrive. A file that is being written is not visible
before its last request, which also puts the digest of the bytes sent into the blob's metadata.
"""

from __future__ import annotations

import base64
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from modelfleet.errors import ConfigurationError, ConflictError, UnavailableError
from modelfleet.lake.account import FORM, Account
from modelfleet.lake.files import Digested, blake2b

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.storage.blob import BlobClient, BlobProperties, ContainerClient

    from modelfleet.settings import Connection

DIGEST, WRITER = "blake2b", "writer"
"""Metadata of each blob: the digest of its bytes, and a word of who wrote it, by which a writer knows its own again."""

BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class BlobFiles:
    """The blobs of a container whose names begin with `folder`."""

    account: Account
    container: str
    folder: str
    uri: str

    @classmethod
    def of(cls, uri: str, connection: Connection | None) -> BlobFiles:
        """The files of an ``abfs://`` or ``abfss://`` URI; both are encrypted on their way but for an emulator.

        :raises ConfigurationError: when the URI names no container and account, or the connection is not of them.
        """
        parts = urlsplit(uri)
        host, container = parts.hostname or "", unquote(parts.username or "")
        if not host or not container or parts.password is not None or parts.query:
            place = f"{parts.username}@{host}" if parts.username else host
            shown = f"{parts.scheme}://{place}{parts.path}"  # without what may be a secret
            raise ConfigurationError(f"lake: the URI {shown!r} is not of the form {FORM}")
        account = Account.of(host, connection)
        return cls(account, container, unquote(parts.path).strip("/"), uri.rstrip("/"))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "fs"}

    @cached_property
    def fs(self) -> Any:
        from pyarrow.fs import SubTreeFileSystem

        return SubTreeFileSystem(f"{self.container}/{self.folder}".rstrip("/"), self.account.filesystem)

    def check(self) -> None:
        from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

        try:
            with _reaching(self.uri):
                self._blob("manifest.json").get_blob_properties()
        except ResourceNotFoundError as exc:
            if _code(exc) == "ContainerNotFound":
                raise ConfigurationError(
                    f"lake {self.uri!r}: there is no container {self.container!r}",
                    hint="make the container, or correct MODELFLEET_LAKE",
                ) from None
        except (ClientAuthenticationError, HttpResponseError) as exc:
            why = exc.status_code or str(exc).splitlines()[0]
            raise ConfigurationError(
                f"lake {self.uri!r}: account {self.account.name!r} refuses the credentials ({why})",
                hint="give the key of this account, or an identity that may read and write its blobs",
            ) from None

    def location(self, path: str) -> str:
        return f"{self.uri}/{path}" if path else self.uri

    def folders(self, path: str) -> list[str]:
        from azure.storage.blob import BlobPrefix

        prefix = self._name(path) + "/"
        with _reaching(self.uri):
            found = list(self._client.walk_blobs(prefix, delimiter="/"))
        return [item.name[len(prefix) : -1] for item in found if isinstance(item, BlobPrefix)]

    def write_once(self, path: str, data: bytes) -> None:
        from azure.core import MatchConditions

        if not self._put(path, data, match_condition=MatchConditions.IfMissing):
            raise FileExistsError(self.location(path))

    def swap(self, path: str, data: bytes, *, expected: bytes | None) -> None:
        from azure.core import MatchConditions

        current, etag = self._current(path)
        condition: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
        if current is not None:
            condition = {"match_condition": MatchConditions.IfNotModified, "etag": etag}
        if current != expected or not self._put(path, data, **condition):
            raise ConflictError(f"{path!r} was changed by another attempt in the meantime; this one is not committed")

    def open_output(self, path: str) -> Any:
        return BlobWriter(self._blob(path), self.location(path))

    def delete(self, path: str) -> None:
        """In one request. pyarrow's filesystem also marks the folder, and two that do so at once wait seconds for each other."""
        from azure.core.exceptions import ResourceNotFoundError

        with suppress(ResourceNotFoundError), _reaching(self.uri):
            self._blob(path).delete_blob()

    def digested(self, path: str) -> Digested | None:
        """Of the bytes sent, which the service checked as they arrived; of a blob that others wrote, of the bytes there."""
        found = self._properties(path)
        if found is None:
            return None
        digest = (found.metadata or {}).get(DIGEST)
        return Digested(found.size, digest if digest is not None else self._read_digest(path))

    def version(self, path: str) -> str | None:
        found = self._properties(path)
        return None if found is None else str(found.etag)

    def _properties(self, path: str) -> BlobProperties | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            with _reaching(self.uri):
                return self._blob(path).get_blob_properties()
        except ResourceNotFoundError:
            return None

    def _read_digest(self, path: str) -> str:
        hashed = blake2b()
        with self.fs.open_input_stream(path) as stream:
            while block := stream.read(BLOCK_BYTES):
                hashed.update(block)
        return str(hashed.hexdigest())

    def _current(self, path: str) -> tuple[bytes | None, str | None]:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            with _reaching(self.uri):
                stream = self._blob(path).download_blob()
                return stream.readall(), stream.properties.etag
        except ResourceNotFoundError:
            return None, None

    def _put(self, path: str, data: bytes, **condition: Any) -> bool:
        """Write a small file in one request; False where the condition does not hold."""
        blob, writer, hashed = self._blob(path), secrets.token_hex(8), blake2b()
        hashed.update(data)
        with _reaching(self.uri), _refusing(blob, writer) as refused:
            metadata = {DIGEST: hashed.hexdigest(), WRITER: writer}
            blob.upload_blob(data, overwrite=True, metadata=metadata, validate_content=True, **condition)
        return not refused

    def _name(self, path: str) -> str:
        return f"{self.folder}/{path}" if self.folder else path

    def _blob(self, path: str) -> BlobClient:
        return self._client.get_blob_client(self._name(path))

    @property
    def _client(self) -> ContainerClient:
        return _client(self.account, self.container, os.getpid())


class BlobWriter(io.RawIOBase):
    """A stream into a blob that appears, whole, when it is closed; not at all where an error ends its ``with`` block.

    :raises FileExistsError: on closing, when there is a blob of that name.
    """

    def __init__(self, blob: BlobClient, location: str) -> None:
        self._blob, self._location = blob, location
        self._waiting = bytearray()
        self._blocks: list[str] = []
        self._hashed, self._writer, self._size = blake2b(), secrets.token_hex(8), 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        self._hashed.update(data)
        self._waiting += data
        written = memoryview(data).nbytes
        self._size += written
        while len(self._waiting) >= BLOCK_BYTES:
            self._stage(BLOCK_BYTES)
        return written

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        self._finish()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            super().close()  # what was staged is never seen, and the service forgets it

    def __enter__(self) -> Self:
        return self

    def __del__(self) -> None:
        """A stream nobody closed is not a file: unlike other streams, it is not finished by the collector."""

    def _stage(self, size: int) -> None:
        block = base64.b64encode(f"{self._writer}{len(self._blocks):08d}".encode()).decode()
        with _reaching(self._location):
            self._blob.stage_block(block, bytes(self._waiting[:size]), validate_content=True)
        del self._waiting[:size]
        self._blocks.append(block)

    def _finish(self) -> None:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        if self._waiting:
            self._stage(len(self._waiting))
        metadata = {DIGEST: self._hashed.hexdigest(), WRITER: self._writer}
        listed = [BlobBlock(block) for block in self._blocks]
        with _reaching(self._location), _refusing(self._blob, self._writer) as refused:
            self._blob.commit_block_list(listed, metadata=metadata, match_condition=MatchConditions.IfMissing)
        if refused:
            raise FileExistsError(self._location)


@lru_cache(maxsize=8)
def _client(account: Account, container: str, process: int) -> ContainerClient:
    """One client per process: connections must not be shared with a forked child."""
    from azure.storage.blob import ContainerClient, ExponentialRetry

    return ContainerClient(
        account.endpoint,
        container,
        credential=account.credential,
        retry_policy=ExponentialRetry(1, 2, random_jitter_range=1),  # three times, after about 3, 5 and 9 seconds
        connection_timeout=10,
        read_timeout=60,
        max_single_put_size=256 << 20,
    )


@contextmanager
def _refusing(blob: BlobClient, writer: str) -> Iterator[list[str]]:
    """Collects the refusal of a conditional write, unless the blob in the way is our own.

    A request whose answer got lost is sent again, and then meets what it wrote.
    """
    from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

    refused: list[str] = []
    try:
        yield refused
    except (ResourceExistsError, ResourceModifiedError) as exc:
        try:
            ours = (blob.get_blob_properties().metadata or {}).get(WRITER) == writer
        except ResourceNotFoundError:
            ours = False
        if not ours:
            refused.append(_code(exc))


def _code(error: AzureError) -> str:
    """The service's word for what is wrong, which is on errors that it answered with."""
    return str(getattr(error, "error_code", None))


@contextmanager
def _reaching(uri: str) -> Iterator[None]:
    """Failures that a repetition may mend, as our error; those that say something of the blob are passed on."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    try:
        yield
    except ClientAuthenticationError:
        raise
    except AzureError as exc:
        if isinstance(exc, HttpResponseError) and exc.status_code in (401, 403, 404, 409, 412):
            raise
        raise UnavailableError(
            f"lake {uri!r} can't be reached: {type(exc).__name__}: {str(exc).splitlines()[0][:300]}"
        ) from exc
