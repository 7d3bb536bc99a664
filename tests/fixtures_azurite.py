"""The fixture of tests that need Azurite. A test module that uses it says ``pytest_plugins = ["fixtures_azurite"]``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import cloud_servers


@pytest.fixture(scope="session")
def azurite() -> Iterator[cloud_servers.Azurite]:
    """An emulator that lives as long as the test session."""
    server = cloud_servers.azurite()
    try:
        made = server.__enter__()
    except cloud_servers.MissingError as exc:
        if os.environ.get("MODELFLEET_REQUIRE_AZURITE") == "1":
            pytest.fail(f"MODELFLEET_REQUIRE_AZURITE=1, but {exc}")
        pytest.skip(str(exc))
    try:
        yield made
    finally:
        server.__exit__(None, None, None)
