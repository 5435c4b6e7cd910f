"""Signatures of requests to an S3 service: AWS Signature Version 4 in headers.

Source: "Create a signed AWS API request" and "Authenticating Requests (AWS Signature Version 4)",
Amazon S3 API reference. AWS's own library is not used, because it writes the signed text, with a
session's token, into its log.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import SecretStr

from assay.network.bounded_http import RequestHeaders

_ALGORITHM = "AWS4-HMAC-SHA256"
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The writer's credentials."""

    access_key_id: SecretStr
    secret_access_key: SecretStr
    session_token: SecretStr | None = None

    @property
    def usable(self) -> bool:
        """Return whether all of it fits in a header: an error would name a value that does not."""
        parts = (self.access_key_id, self.secret_access_key, self.session_token)
        words = [part.get_secret_value() for part in parts if part is not None]
        return all(w and w.isascii() and w.isprintable() and " " not in w for w in words)


def write_query(fields: Sequence[tuple[str, str]]) -> str:
    """A query in the form that is signed and sent: in order, with all but unreserved characters
    escaped."""
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in fields)
    return "&".join(f"{name}={value}" for name, value in pairs)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with some credentials, for the services of a region."""

    credentials: Credentials
    region: str

    def sign(
        self, method: str, url: str, content: bytes, wanted: str | None, now: datetime
    ) -> RequestHeaders:
        """The headers for a request. Others may be added. The URL's query is from `write_query`,
        its path is escaped. `wanted` is a Range header, `now` UTC."""
        parts = urlsplit(url)
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(content).hexdigest()
        token = self.credentials.session_token
        headers = {"host": _write_host(parts)}  # in the order in which they are signed
        if wanted is not None:
            headers["range"] = wanted
        headers |= {"x-amz-content-sha256": digest, "x-amz-date": stamp}
        if token is not None:
            headers["x-amz-security-token"] = token.get_secret_value()
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = "\n".join((method, parts.path or "/", parts.query, lines, names, digest))
        scope = (stamp[:8], self.region, "s3", "aws4_request")
        where, hashed = "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()
        key = b"AWS4" + self.credentials.secret_access_key.get_secret_value().encode()
        for word in (*scope, f"{_ALGORITHM}\n{stamp}\n{where}\n{hashed}"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={self.credentials.access_key_id.get_secret_value()}/{where}, "
            f"SignedHeaders={names}, Signature={key.hex()}"
        )
        return list(headers.items())


def _write_host(parts: SplitResult) -> str:
    """The Host header, without a default port."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}" if parts.port in (None, _PORTS[parts.scheme]) else f"{host}:{parts.port}"
