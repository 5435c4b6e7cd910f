"""Where one's own bucket is: what its operator writes, and the URLs that follow from it."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from assay.network.store.object_store import StoreError
from assay.network.text import mask_endpoint, mask_url, name_host

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
#: Printable ASCII without blanks, `?`, `#` and `@`.
_PLAIN = re.compile(r"[!\"$->A-~]+")


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

    @property
    def service(self) -> str:
        """Whom one asks, without what may be secret in its address."""
        return name_host(self.endpoint) if self.endpoint else f"AWS, {self.region}"

    @property
    def root(self) -> str:
        """URL of the bucket; the service knows buckets by their path."""
        endpoint = self.endpoint or f"https://s3.{self.region}.amazonaws.com"
        return f"{endpoint.rstrip('/')}/{self.bucket}"

    def get_key(self, name: str) -> str:
        """What the service calls an object."""
        return f"{self.prefix}/{name}" if self.prefix else name


def read_bucket(upload: str, endpoint: str | None, region: str) -> BucketAddress:
    """What `s3://bucket/prefix` means.

    Raises:
        StoreError: it is none, the endpoint is no plain http(s) URL, or the region no name.
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
            named = url.scheme in ("https", "http") and url.hostname and url.port != 0
            fine = named and _PLAIN.fullmatch(endpoint) is not None
        except ValueError:
            fine = False
        if not fine:
            raise StoreError(
                f"{mask_endpoint(endpoint)!r} is no endpoint: write https://host, without user "
                "and query"
            )
    if not _REGION.fullmatch(region):
        raise StoreError(f"{region[:64]!r} is no region: write one such as eu-central-1")
    return BucketAddress(bucket, prefix, endpoint, region)
