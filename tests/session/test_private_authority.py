"""A store whose certificate is of the operator's own authority: trusted there and nowhere else."""

import ssl
from contextlib import closing

import pytest
import trustme

from assay.network.store.base import StoreError
from assay.network.store.http_client import HttpTimeouts
from assay.session.resources import open_own_store, open_stores
from assay.settings.loading import ConfigError, load_settings
from tests.network.store.hostile import Hostile, answer

KEYS = {"access_key_id": "AKIA", "secret_access_key": "hunter2hunter2"}


def show(method, path, headers, connection):
    answer(connection, 200, b"" if method == "PUT" else b"four", 'ETag: "one"')


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def start(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    servers = []

    def start():
        servers.append(Hostile(show, context))
        return servers[-1], f"https://127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        with closing(server):
            pass


def read(locator, **more):
    return load_settings(None, {"store": {"locator": locator, **more}})


@pytest.fixture
def ca_file(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


def test_a_bucket_behind_a_private_authority(start, ca_file, monkeypatch):
    monkeypatch.setattr("assay.network.store.bucket.PATIENCE", HttpTimeouts(tries=1))
    server, url = start()
    bucket = {"upload": "s3://miners/one", "endpoint": url} | KEYS
    with pytest.raises(StoreError, match="cannot write x"):
        open_own_store(read(f"{url}/miners/one", **bucket))[0].put("x", b"four")
    assert server.asked == []
    open_own_store(read(f"{url}/miners/one", **bucket, ca_file=ca_file))[0].put("x", b"four")
    assert [(method, path) for method, path, _ in server.asked] == [("PUT", "/miners/one/x")]


def test_a_locator_behind_a_private_authority(start, ca_file):
    url = start()[1]
    stores = open_stores(read(f"{url}/one", ca_file=ca_file).store)
    assert stores.open(f"{url}/one").get("x", 4) == b"four"
    for unlike in (
        open_stores(read(f"{url}/one").store).open(f"{url}/one"),
        stores.get_as_stranger(url),
    ):
        with pytest.raises(StoreError):
            unlike.get("x", 4)


def test_strangers_are_not_believed_for_it(start, ca_file):
    """Nor are those whom the operator reads at any address."""
    url, (other, others) = start()[1], start()
    stores = open_stores(read(f"{url}/one", ca_file=ca_file, readable=[others, f"{url}/two"]).store)
    for locator in (others, f"{others}/one", f"{url}/two", f"{url}/ones"):
        with pytest.raises(StoreError):
            stores.open(locator).get("x", 4)
    assert other.asked == []


@pytest.mark.parametrize("text", [b"", b"no certificate", b"\xff\xfe", None])
def test_files_that_are_no_authority(tmp_path, text):
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(ConfigError, match="ca_file under"):
        open_stores(read("https://miner.example", ca_file=file).store)
