"""Which account a lake's URI means, what opens it, and that the key is never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelfleet import settings
from modelfleet.errors import ConfigurationError
from modelfleet.lake import Lake
from modelfleet.lake.account import Account
from modelfleet.lake.azure import BlobFiles
from modelfleet.settings import Connection

SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0"
LAKE = "abfs://lake@acme.dfs.core.windows.net/fleets"


def connection(**changes: Any) -> Connection:
    return Connection("modelfleet_lake", "wasb", **changes)


def of_text(text: str) -> Connection:
    return connection(extra={"connection_string": text})


@pytest.mark.parametrize(
    "host, given, endpoint, key",
    [
        pytest.param("acme", None, "https://acme.blob.core.windows.net", None, id="identity"),
        pytest.param(
            "acme.dfs.core.chinacloudapi.cn", None, "https://acme.blob.core.chinacloudapi.cn", None, id="another cloud"
        ),
        pytest.param(
            "acme.dfs.core.windows.net",
            connection(login="acme", password=SECRET),
            "https://acme.blob.core.windows.net",
            SECRET,
            id="login and password",
        ),
        pytest.param(
            "acme.dfs.core.windows.net",
            of_text(
                f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={SECRET};EndpointSuffix=core.windows.net"
            ),
            "https://acme.blob.core.windows.net",
            SECRET,
            id="connection string",
        ),
        pytest.param(
            "acme",
            of_text(f"AccountName=acme;AccountKey={SECRET};BlobEndpoint=http://127.0.0.1:10000/acme/;"),
            "http://127.0.0.1:10000/acme",
            SECRET,
            id="emulator",
        ),
    ],
)
def test_account_is_found(host: str, given: Connection | None, endpoint: str, key: str | None) -> None:
    assert Account.of(host, given) == Account("acme", endpoint, key)


@pytest.mark.parametrize(
    "given, why",
    [
        pytest.param(
            connection(login="other", password=SECRET), "it is of account 'other', the lake is in 'acme'", id="other"
        ),
        pytest.param(connection(login="acme"), "it has no account key", id="no key"),
        pytest.param(
            of_text(f"AccountName=acme;SharedAccessSignature=sv=1&sig={SECRET}"),
            "a shared access signature is not taken",
            id="signature",
        ),
        pytest.param(
            connection(login="acme", password=SECRET, extra={"tenant_id": "t"}),
            "the extra 'tenant_id' is not known",
            id="extra",
        ),
    ],
)
def test_connection_that_opens_nothing_is_refused(given: Connection, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"connection 'modelfleet_lake' can't open it: {why}") as caught:
        Account.of("acme", given)
    assert "AIRFLOW_CONN_MODELFLEET_LAKE" in str(caught.value.hint)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["abfs://acme", "abfs://lake@", f"abfs://lake:{SECRET}@acme/f", f"abfs://lake@acme/f?sig={SECRET}"]
)
def test_uri_of_no_container_and_account_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not of the form abfs://<container>@<account>") as caught:
        BlobFiles.of(uri, None)
    assert SECRET not in str(caught.value)


def test_key_is_in_no_text_of_the_lake() -> None:
    lake = Lake(BlobFiles.of(LAKE, connection(login="acme", password=SECRET)))
    assert lake.location("demand/train") == f"{LAKE}/demand/train"
    shown = [repr(lake), str(lake), repr(lake.files), repr(vars(lake)), lake.location("x"), repr(lake.fs)]
    assert not [text for text in shown if SECRET in text]


def test_credentials_come_from_the_connection_or_else_azures_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    assert settings.lake_connection() is None
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=acme;AccountKey={SECRET}")
    assert Account.of("acme", settings.lake_connection()).key == SECRET
    given = {"conn_type": "wasb", "login": "acme", "password": f"{SECRET}2"}
    monkeypatch.setenv("AIRFLOW_CONN_MODELFLEET_LAKE", json.dumps(given))
    assert Account.of("acme", settings.lake_connection()).key == f"{SECRET}2"
