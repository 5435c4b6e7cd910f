"""An operator's own bucket at an S3-compatible service: AWS, R2, MinIO, and others.

An object appears atomically. A large one is uploaded in parts, and an upload that broke off or was
killed continues where it stopped (`multipart.py`).
"""

import ssl
from collections.abc import Iterable, Iterator
from itertools import chain

from assay.network.store.base import (
    LIST_MAX,
    ObjectSource,
    ObjectStore,
    StoreError,
    check_folder,
    check_name,
    is_name,
)
from assay.network.store.bucket_service import BucketAddress, BucketRequest, BucketService
from assay.network.store.deadlines import within
from assay.network.store.http_client import HttpClient, HttpTimeouts
from assay.network.store.multipart import upload
from assay.network.store.s3_signing import Credentials, Signer, write_query
from assay.network.store.s3_xml import PAGE_MAX, read_page
from assay.network.store.web import READ_MAX

#: Bytes of a part of a large object.
PART_BYTES = 8 << 20
#: A request and its retries may take a minute and a half, longer if it has much to send.
PATIENCE = HttpTimeouts(
    connect_s=10.0, silence_s=30.0, total_s=90.0, bytes_a_second=64 << 10, tries=5
)
#: Names on a page; most pages, bytes and seconds of a listing.
_PAGE, _PAGES, _LIST_MAX, _LIST_S = 1_000, 1_000, 256 << 20, 300.0


def open_bucket(
    address: BucketAddress,
    credentials: Credentials,
    certificates: str | None = None,
    patience: HttpTimeouts | None = None,
) -> "BucketStore":
    """The bucket as a store. The service is not contacted yet.

    Args:
        certificates: PEM of authorities that are trusted besides the system's.
        patience: with the service; None: `PATIENCE`.

    Raises:
        StoreError: the client cannot be made with these.
    """
    if not credentials.usable:
        raise StoreError(
            f"{address.url} cannot be opened: its key, secret or token is empty, or has blanks or "
            "letters that no key has"
        )
    tls = None
    if certificates is not None:
        tls = ssl.create_default_context()
        try:
            tls.load_verify_locations(cadata=certificates)
        except (ssl.SSLError, ValueError):
            raise StoreError(f"{address.url} cannot be opened: there is no certificate") from None
    client = HttpClient(True, patience=patience or PATIENCE, tls=tls)
    return BucketStore(BucketService(client, address, Signer(credentials, address.region)))


class BucketStore(ObjectStore):
    """A bucket. Made by `open_bucket`."""

    def __init__(self, service: BucketService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return f"BucketStore({self._service.address.url!r})"

    def put(self, name: str, data: bytes) -> None:
        self.put_parts(name, (data,))

    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        check_name(name)
        pieces = _cut(parts, PART_BYTES)
        first = next(pieces, b"")
        second = next(pieces, None)
        if second is None:
            self._service.send(f"cannot write {name}", BucketRequest("PUT", name, content=first))
        else:
            upload(self._service, name, chain((first, second), pieces))

    def open(self, name: str) -> ObjectSource:
        check_name(name)
        return _BucketObject(self._service, name)

    def get(self, name: str, limit: int) -> bytes | None:
        check_name(name)
        problem = f"cannot read {name}"
        answer = self._service.send(problem, BucketRequest("GET", name, limit=limit, absent=True))
        if answer.status == 404:
            return None
        if answer.status != 200 or "content-length" not in answer.headers:
            raise self._service.explain(problem, "the service does not say its length")
        return answer.body

    def list(self, prefix: str = "", some: int | None = None) -> tuple[str, ...]:
        """See `ObjectStore`. Skips keys that are not object names: other programs wrote them."""
        folder = check_folder(prefix)
        names: set[str] = set()
        with within(_LIST_S):
            for page in self._list_pages(folder):
                names.update(page)
                if some is not None and len(names) >= some:
                    return tuple(sorted(names)[:some])
                if len(names) > LIST_MAX:
                    raise StoreError(f"more than {LIST_MAX} objects below {folder!r}: list less")
        return tuple(sorted(names))

    def delete(self, name: str) -> None:
        check_name(name)
        self._service.send(f"cannot delete {name}", BucketRequest("DELETE", name, absent=True))

    def _list_pages(self, folder: str) -> Iterator[tuple[str, ...]]:
        """Names below a folder, page by page."""
        problem = "cannot list objects"
        root = self._service.address.get_key("")
        below = root + (f"{folder}/" if folder else "")
        fields, token = [("list-type", "2"), ("max-keys", f"{_PAGE}"), ("prefix", below)], ""
        left = _LIST_MAX
        for _ in range(_PAGES):
            more = [("continuation-token", token)] if token else []
            query = write_query([*fields, *more])
            answer = self._service.send(
                problem, BucketRequest("GET", "", query, limit=min(PAGE_MAX, left))
            )
            left -= len(answer.body)
            with self._service.explaining(problem):
                keys, token = read_page(answer.body)
                if not all(key.startswith(below) for key in keys):
                    raise ValueError("it lists other objects than requested")
            yield tuple(key.removeprefix(root) for key in keys if is_name(key.removeprefix(root)))
            if not token:
                return
        raise self._service.explain(problem, f"{_PAGES} pages have no end")


def _cut(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of this size. The last one may be smaller."""
    held = bytearray()
    for part in parts:
        for start in range(0, len(part), size):
            held += part[start : start + size]
            if len(held) >= size:
                yield bytes(held[:size])
                del held[:size]
    if held:
        yield bytes(held)


class _BucketObject:
    """An `ObjectSource` of a bucket. Every call looks again."""

    def __init__(self, service: BucketService, name: str) -> None:
        self._service = service
        self._name = name
        self._problem = f"cannot read {name}"

    def size(self) -> int | None:
        answer = self._service.send(self._problem, BucketRequest("HEAD", self._name, absent=True))
        if answer.status == 404:
            return None
        if "content-length" not in answer.headers:
            raise self._service.explain(self._problem, "the service does not say its length")
        return int(answer.headers["content-length"])

    def read(self, start: int, end: int) -> bytes | None:
        whole = self.size()
        if whole is None:
            return None
        end = min(end, whole)
        if not 0 <= start < end:
            return b""
        size = end - start
        if size > READ_MAX:
            raise self._service.explain(self._problem, f"{size} bytes are more than one read takes")
        wanted = f"bytes={start}-{end - 1}"
        answer = self._service.send(
            self._problem, BucketRequest("GET", self._name, "", wanted, limit=size, absent=True)
        )
        if answer.status == 404:
            return None
        part = answer.content_range
        right = part is not None and part[:2] == (start, end - 1)
        if answer.status != 206 or not right or len(answer.body) != size:
            raise self._service.explain(self._problem, "it sent another part than requested")
        return answer.body
