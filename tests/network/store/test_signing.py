"""Signatures are those that AWS's own library makes."""

from datetime import UTC, datetime

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from pydantic import SecretStr

from assay.network.store.s3_signing import Credentials, Signer, write_query

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
LIST = [("prefix", "one/~a"), ("list-type", "2"), ("continuation-token", "1/ÿ+=&% a~")]
CASES = [
    ("GET", "https://s3.eu-central-1.amazonaws.com/miners/one/window-7.rollouts", b"", None),
    ("GET", "http://127.0.0.1:9000/miners/one/x", b"", "bytes=3-9"),
    ("PUT", "https://host:443/deeper/miners/~one/x", b"content", None),
    ("GET", f"https://host:8443/miners?{write_query(LIST)}", b"", None),
    ("POST", "https://host/miners/x?uploads=", b"", None),
    ("DELETE", f"http://[::1]:80/miners/x?{write_query([('uploadId', 'a/b==')])}", b"", None),
]


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize(("method", "url", "content", "wanted"), CASES)
def test_a_signature(
    method: str,
    url: str,
    content: bytes,
    wanted: str | None,
    token: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = None if token is None else SecretStr(token)
    credentials = Credentials(SecretStr("AKID"), SecretStr("se/cr+et"), secret)
    made = Signer(credentials, "eu-central-1").sign(method, url, content, wanted, NOW)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)
    request = AWSRequest(method, url, data=content)
    if wanted is not None:
        request.headers["Range"] = wanted
    theirs = TheirCredentials("AKID", "se/cr+et", token)
    S3SigV4Auth(theirs, "s3", "eu-central-1").add_auth(request)
    expected = {name.lower(): value for name, value in request.headers.items()}
    found = dict(made)
    del found["host"]  # theirs is added on the way, and is signed
    assert found == expected
