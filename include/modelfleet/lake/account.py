"""Which storage account of Azure a lake is in, and what opens it; no secret is ever shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from modelfleet.errors import ConfigurationError, bounded
from modelfleet.settings import Connection, connection_variable

FORM = "abfs://<container>@<account>.dfs.core.windows.net/<folder>"
_EXTRA = ("connection_string",)
_SUFFIX = "core.windows.net"


@dataclass(frozen=True)
class Account:
    """A storage account. Without a `key` the identity of each process opens it (DefaultAzureCredential).

    `endpoint` is the URL of its blob service. The key goes with the account into Spark's tasks, so that executors need no
    settings of their own; it is in no `repr`.
    """

    name: str
    endpoint: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, host: str, connection: Connection | None) -> Account:
        """The account of a URI's host, opened with the connection.

        :raises ConfigurationError: when the connection is malformed or of another account.
        """
        name, _, suffix = host.partition(".dfs.")
        standard = f"https://{name}.blob.{suffix or _SUFFIX}"
        if connection is None:
            return cls(name, standard)
        if unknown := sorted(set(connection.extra) - set(_EXTRA)):
            raise _refused(connection, f"the extra {bounded(map(repr, unknown))} is not known", name)
        text = connection.extra.get("connection_string")
        made = _of_text(str(text), connection, name) if text else cls(connection.login, standard, connection.password)
        if made.name != name:
            raise _refused(connection, f"it is of account {made.name!r}, the lake is in {name!r}", name)
        if not made.key:
            raise _refused(connection, "it has no account key", name)
        return made

    @property
    def filesystem(self) -> Any:
        """pyarrow's filesystem of the whole account."""
        from pyarrow.fs import AzureFileSystem

        parts = urlsplit(self.endpoint)
        own = parts.netloc.startswith(f"{self.name}.")  # an emulator has the account in the path instead
        blob = parts.netloc.removeprefix(self.name) if own else parts.netloc
        return AzureFileSystem(
            account_name=self.name,
            account_key=self.key,
            blob_storage_authority=blob,
            blob_storage_scheme=parts.scheme,
            dfs_storage_authority=blob.replace(".blob.", ".dfs.", 1),
            dfs_storage_scheme=parts.scheme,
        )

    @property
    def credential(self) -> Any:
        """What the Azure SDK's clients take."""
        if self.key is not None:
            return {"account_name": self.name, "account_key": self.key}
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential()


def _of_text(text: str, connection: Connection, name: str) -> Account:
    given = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if "SharedAccessSignature" in given:
        raise _refused(
            connection, "a shared access signature is not taken, as error messages of libraries show it", name
        )
    owner = given.get("AccountName", "")
    scheme, suffix = given.get("DefaultEndpointsProtocol", "https"), given.get("EndpointSuffix", _SUFFIX)
    endpoint = given.get("BlobEndpoint") or f"{scheme}://{owner}.blob.{suffix}"
    return Account(owner, endpoint.rstrip("/"), given.get("AccountKey"))


def _refused(connection: Connection, why: str, name: str) -> ConfigurationError:
    return ConfigurationError(
        f"lake in account {name!r}: connection {connection.id!r} can't open it: {why}",
        hint=f"set {connection_variable(connection.id)} to JSON with conn_type wasb, the account's name as login and its key "
        "as password, or AZURE_STORAGE_CONNECTION_STRING to the account's connection string; or leave both unset and give "
        "the processes an identity",
    )
