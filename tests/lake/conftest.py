"""The lakes that tests of this folder run on: a local folder and, in slow tests, a container of Azurite.

A test module says ``pytest_plugins = ["fixtures_azurite"]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cloud_servers
from modelfleet.lake import Lake
from modelfleet.settings import Connection


def blob_lake(port: int, folder: str) -> Lake:
    """A lake in the container ``lake`` of the emulator, or proxy, that listens there."""
    from modelfleet.lake.azure import BlobFiles

    uri = f"abfs://lake@{cloud_servers.ACCOUNT}.dfs.core.windows.net/{folder}"
    extra = {"connection_string": cloud_servers.connection_string(port)}
    return Lake(BlobFiles.of(uri, Connection("modelfleet_lake", "wasb", extra=extra)))


def _folder_of(request: pytest.FixtureRequest) -> str:
    return f"tests {abs(hash(request.node.nodeid))}"


@pytest.fixture(params=["local", pytest.param("azurite", marks=[pytest.mark.slow, pytest.mark.integration])])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake of each kind."""
    if request.param == "local":
        return Lake(tmp_path)
    server = request.getfixturevalue("azurite")
    server.environment("lake")
    return blob_lake(server.port, _folder_of(request))


@pytest.fixture
def behind_proxy(
    azurite: cloud_servers.Azurite, request: pytest.FixtureRequest
) -> Iterator[tuple[Lake, cloud_servers.Proxy]]:
    """An empty lake on Azurite, reached through a proxy that can fail."""
    azurite.environment("lake")
    with cloud_servers.proxy(azurite) as made:
        yield blob_lake(made.port, _folder_of(request)), made


@pytest.fixture
def overwrite(request: pytest.FixtureRequest) -> Callable[[Lake, str, bytes | None], None]:
    """Damages a file behind the lake's back; None removes it."""

    def damage(lake: Lake, path: str, data: bytes | None) -> None:
        from modelfleet.lake.azure import BlobFiles

        if isinstance(lake.files, BlobFiles):
            blob = request.getfixturevalue("azurite").client.get_blob_client("lake", f"{lake.files.folder}/{path}")
            blob.delete_blob() if data is None else blob.upload_blob(data, overwrite=True)
        elif data is None:
            (lake.root / path).unlink()
        else:
            (lake.root / path).write_bytes(data)

    return damage
