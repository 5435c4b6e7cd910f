"""One's own bucket at an S3-compatible service: AWS, R2, MinIO, and what else speaks S3.

An object appears whole or not at all: a large one goes up in parts, and none of them can be seen
before the service has put them together. An upload that was cut off is sent again from its start;
obstore keeps no uploads' names, so parts that were there are not taken up. What it left behind
nobody sees, and a lifecycle rule of the bucket clears it away.

Credentials stay in here: no error, log or representation has them, nor what the service answers.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydantic import SecretStr

from assay.network.store.base import (
    ObjectSource,
    ObjectStore,
    StoreError,
    check_folder,
    check_name,
)
from assay.network.store.objects import list_names, read_whole
from assay.network.text import mask_endpoint, mask_url, name_host

if TYPE_CHECKING:  # the package has it for checkers alone
    from obstore.store import ClientConfig

#: Bytes of a part of a large object, and parts on their way together.
PART_BYTES, _PARTS = 8 << 20, 4
#: Seconds to connect, and for one request with its body; from then on it is tried again, with
#: pauses that double, for so many times and seconds.
_CONNECT_S, _REQUEST_S, _RETRIES, _RETRY_S = 10, 60, 4, 90

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who writes."""

    access_key_id: SecretStr
    secret_access_key: SecretStr
    session_token: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """Where a bucket is.

    Attributes:
        prefix: of all names in it; "": none.
        endpoint: URL of the service; None: AWS's for the region.
    """

    bucket: str
    prefix: str
    endpoint: str | None
    region: str

    @property
    def url(self) -> str:
        """For people."""
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def read_bucket(upload: str, endpoint: str | None, region: str) -> BucketAddress:
    """What `s3://bucket/prefix` means.

    Raises:
        StoreError: it is none, or the endpoint is no plain http(s) URL.
    """
    scheme, _, rest = upload.partition("://")
    bucket, _, prefix = rest.removesuffix("/").partition("/")
    plain = _BUCKET.fullmatch(bucket) and (not prefix or _PREFIX.fullmatch(prefix))
    if scheme != "s3" or not plain or {".", ".."} & set(prefix.split("/")):
        raise StoreError(
            f"{mask_url(upload)!r} is no bucket: write s3://bucket or s3://bucket/path"
        )
    if endpoint is not None:
        try:
            url = urlsplit(endpoint)
            fine = url.scheme in ("https", "http") and url.hostname and "@" not in url.netloc
        except ValueError:
            fine = False
        if not fine or "?" in endpoint or "#" in endpoint:
            raise StoreError(
                f"{mask_endpoint(endpoint)!r} is no endpoint: write https://host, without user "
                "and query"
            )
    return BucketAddress(bucket, prefix, endpoint, region)


def open_bucket(
    address: BucketAddress, credentials: Credentials, certificates: str | None = None
) -> "BucketStore":
    """The bucket as a store. Nothing is asked of the service yet.

    Args:
        certificates: PEM of authorities that are trusted beside the system's.

    Raises:
        StoreError: the client cannot be made of this.
    """
    token = credentials.session_token
    more = {} if token is None else {"session_token": token.get_secret_value()}
    if address.endpoint is not None:
        more["endpoint"] = address.endpoint
    options: ClientConfig = {
        "allow_http": (address.endpoint or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=_CONNECT_S),
        "timeout": timedelta(seconds=_REQUEST_S),
        "user_agent": "assay",
    }
    if certificates is not None:
        options["root_certificate"] = certificates
    try:
        store = S3Store(
            address.bucket,
            prefix=address.prefix or None,
            region=address.region,
            access_key_id=credentials.access_key_id.get_secret_value(),
            secret_access_key=credentials.secret_access_key.get_secret_value(),
            client_options=options,
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": timedelta(seconds=_RETRY_S),
            },
            **more,  # type: ignore[arg-type] # settings by name
        )
    except (BaseError, ValueError) as error:
        raise StoreError(
            f"{address.url} cannot be opened ({type(error).__name__}): see to endpoint and region"
        ) from None
    return BucketStore(store, address)


class BucketStore(ObjectStore):
    """A bucket. Made by `open_bucket`."""

    def __init__(self, store: S3Store, address: BucketAddress) -> None:
        self._store = store
        self._address = address

    def __repr__(self) -> str:
        return f"BucketStore({self._address.url!r})"

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""
        check_name(name)
        try:
            obstore.put(self._store, name, data, chunk_size=PART_BYTES, max_concurrency=_PARTS)
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot write {name}", error) from None

    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """See `ObjectStore`."""
        check_name(name)
        try:
            obstore.put(
                self._store, name, iter(parts), chunk_size=PART_BYTES, max_concurrency=_PARTS
            )
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot write {name}", error) from None

    def open(self, name: str) -> ObjectSource:
        """See `ObjectStore`."""
        check_name(name)
        return _BucketObject(self, name)

    def get(self, name: str, limit: int) -> bytes | None:
        """See `ObjectStore`."""
        check_name(name)
        try:
            return read_whole(self._store, name, limit)
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot read {name}", error) from None

    def list(self, prefix: str = "", some: int | None = None) -> tuple[str, ...]:
        """See `ObjectStore`."""
        folder = check_folder(prefix)
        try:
            return list_names(self._store, folder, some)
        except (OSError, BaseError) as error:
            raise self._explain("cannot list objects", error) from None

    def delete(self, name: str) -> None:
        """See `ObjectStore`."""
        check_name(name)
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot delete {name}", error) from None

    def get_size(self, name: str) -> int | None:
        """Bytes of an object; None: it is not there."""
        try:
            return int(obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return None
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot read {name}", error) from None

    def get_range(self, name: str, start: int, end: int) -> bytes | None:
        """Bytes [start, end) of an object that has them; None: it is not there."""
        try:
            return bytes(obstore.get_range(self._store, name, start=start, end=end))
        except FileNotFoundError:
            return None
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot read {name}", error) from None

    def _explain(self, problem: str, error: Exception) -> StoreError:
        """What the service said, as far as it cannot be a secret: status and code. Services answer
        with the key's name and with the text that was signed."""
        text = str(error)
        status, code = _STATUS.search(text), _CODE.search(text)
        said = [type(error).__name__, *(f[1] for f in (status, code) if f is not None)]
        endpoint = self._address.endpoint
        where = name_host(endpoint) if endpoint else f"AWS, {self._address.region}"
        return StoreError(
            f"{problem} in {self._address.url} at {where} ({', '.join(said)}): see that endpoint, "
            "region and bucket are right, and that the credentials may read, write and list there"
        )


class _BucketObject:
    """An `ObjectSource` of a bucket; every call looks again."""

    def __init__(self, owner: BucketStore, name: str) -> None:
        self._owner = owner
        self._name = name

    def size(self) -> int | None:
        return self._owner.get_size(self._name)

    def read(self, start: int, end: int) -> bytes | None:
        size = self.size()
        if size is None:
            return None
        end = min(end, size)
        if not 0 <= start < end:
            return b""
        return self._owner.get_range(self._name, start, end)
