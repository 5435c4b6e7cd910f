"""An operator's own bucket at an S3-compatible service: its place, and signed requests to it.

Everything goes through `HttpClient`: no redirect, no proxy, no environment variable, and limits of
bytes and time. Credentials stay in this module: no error, log or representation contains them, nor
the service's answers.
"""

import re
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from assay.network.bounded_http import HttpAnswer, HttpRequest
from assay.network.store.base import StoreError
from assay.network.store.http_client import HttpClient
from assay.network.store.s3_signing import Signer
from assay.network.store.s3_xml import read_code
from assay.network.text import mask_endpoint, mask_url, name_host
from assay.network.threads import call_beside

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
#: Printable ASCII without blanks, `?`, `#` and `@`.
_PLAIN = re.compile(r"[!\"$->A-~]+")
#: Statuses of success.
_FINE = frozenset({200, 204, 206})
#: Statuses after which a retry may succeed, besides a server's own errors. The error names below
#: also mean that: AWS sends them with statuses that are otherwise permanent, or after a 200.
_LATER = frozenset({408, 429})
_LATER_CODES = frozenset({"OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"})
#: Most bytes of a failure's text that are read.
_WORDS_MAX = 16 << 10


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """A bucket's place. All names in it begin with `prefix`. `endpoint` None is AWS's for the
    region."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str

    @property
    def url(self) -> str:
        """The bucket's URL, for people."""
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def service(self) -> str:
        """The service's name, without possible secrets of its address."""
        return name_host(self.endpoint) if self.endpoint else f"AWS, {self.region}"

    @property
    def root(self) -> str:
        """URL of the bucket. The service finds buckets by their path."""
        endpoint = self.endpoint or f"https://s3.{self.region}.amazonaws.com"
        return f"{endpoint.rstrip('/')}/{self.bucket}"

    def get_key(self, name: str) -> str:
        """The service's key of an object."""
        return f"{self.prefix}/{name}" if self.prefix else name


def read_bucket(upload: str, endpoint: str | None, region: str) -> BucketAddress:
    """The address of `s3://bucket/prefix`. `StoreError`: bucket, endpoint or region is
    malformed."""
    scheme, _, rest = upload.partition("://")
    bucket, _, prefix = rest.removesuffix("/").partition("/")
    plain = _BUCKET.fullmatch(bucket) and (not prefix or _PREFIX.fullmatch(prefix))
    if scheme != "s3" or not plain or {".", ".."} & set(prefix.split("/")):
        raise StoreError(
            f"{mask_url(upload)!r} is not a bucket: write s3://bucket or s3://bucket/path"
        )
    if endpoint is not None:
        try:
            url = urlsplit(endpoint)
            named = url.scheme in ("https", "http") and url.hostname and url.port != 0
            fine = named and _PLAIN.fullmatch(endpoint) is not None
        except ValueError:
            fine = False
        if not fine:
            raise StoreError(
                f"{mask_endpoint(endpoint)!r} is not an endpoint: write https://host, without user "
                "and query"
            )
    if not _REGION.fullmatch(region):
        raise StoreError(f"{region[:64]!r} is not a region: write one such as eu-central-1")
    return BucketAddress(bucket, prefix, endpoint, region)


class RefusedError(StoreError):
    """The service has understood a request, and refuses it."""


class FailedError(StoreError):
    """The service has failed on a request. The request may or may not be the cause."""


def name_failure(status: int, code: str | None) -> type[StoreError]:
    """The kind of error of a failed request. `code` is the error's name, if it has one."""
    if status == 500 or code == "InternalError":
        return FailedError
    lasting = status < 500 or status == 501  # 501: the service lacks the feature
    later = status in _LATER or code in _LATER_CODES
    return RefusedError if lasting and not later else StoreError


@dataclass(frozen=True, slots=True)
class BucketRequest:
    """A request to a bucket."""

    method: str
    name: str  # of an object; "": the request is about the bucket
    query: str = ""  # from `write_query`
    wanted: str | None = None  # a Range header
    content: bytes = b""
    limit: int | None = None  # most bytes of the answer; None: it is not read
    absent: bool = False  # whether the object may be missing


class BucketService:
    """The service that keeps a bucket. All its faults are `StoreError`s."""

    def __init__(self, client: HttpClient, address: BucketAddress, signer: Signer) -> None:
        self._client = client
        self.address = address
        self._signer = signer

    def send_beside(self, problem: str, asked: BucketRequest) -> Future[HttpAnswer]:
        """`send` on a thread that does not delay the program's end."""
        try:
            return call_beside(partial(self.send, problem, asked), "upload")
        except OSError as error:
            raise StoreError(f"{problem}: {error}") from None

    def send(self, problem: str, asked: BucketRequest) -> HttpAnswer:
        """The answer to a successful request. `RefusedError`: a retry would be refused, too.
        `FailedError`: the service has failed. `StoreError`: not at present."""
        url = self.address.root
        if asked.name:
            url += f"/{self.address.get_key(asked.name)}"
        if asked.query:
            url += f"?{asked.query}"
        now = datetime.now(UTC)
        headers = self._signer.sign(asked.method, url, asked.content, asked.wanted, now)
        if asked.method in ("PUT", "POST"):
            headers = [*headers, ("content-length", str(len(asked.content)))]
        request = HttpRequest(
            asked.method, url, asked.limit, headers, asked.content, _WORDS_MAX, called="it"
        )
        try:
            answer = self._client.send(request)
        except StoreError as error:
            raise self.explain(problem, str(error)) from None
        code = read_code(answer.body) if answer.status >= 400 else None
        if answer.status in _FINE or (
            answer.status == 404 and asked.absent and code != "NoSuchBucket"
        ):
            return answer
        message = f"status {answer.status}" + (f", {code}" if code is not None else "")
        raise self.explain(problem, message, name_failure(answer.status, code))

    @contextmanager
    def explaining(self, problem: str, kind: type[StoreError] = StoreError) -> Iterator[None]:
        """Report a fault of an answer like every other fault."""
        try:
            yield
        except ValueError as error:
            raise self.explain(problem, str(error), kind) from None

    def explain(self, problem: str, cause: str, kind: type[StoreError] = StoreError) -> StoreError:
        """An error for a fault. `cause` has no text of the service but a status and an error's
        name: services answer with the key's name and with the text that was signed."""
        return kind(
            f"{problem} in {self.address.url} at {self.address.service} ({cause}): check "
            "that endpoint, region, bucket and this machine's clock are right, and that the "
            "credentials may read, write and list there"
        )
