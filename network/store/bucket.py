"""One's own bucket at an S3-compatible service: AWS, R2, MinIO, and what else speaks S3.

An object appears whole or not at all: a large one goes up in parts, and none of them can be seen
before the service has put them together. An upload that was cut off is sent again from its start;
parts that were there are not taken up. They are taken away, or a lifecycle rule of the bucket does
it; nobody sees them.

Everything goes through `HttpClient`: no redirect, no proxy, no variable of the environment, and
limits of bytes and time. Credentials stay in here: no error, log or representation has them, nor
what the service answers.
"""

import re
import ssl
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
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
from assay.network.store.bucket_address import BucketAddress
from assay.network.store.deadlines import within
from assay.network.store.http import Answer, HttpClient, HttpPatience, Request
from assay.network.store.s3_xml import (
    read_code,
    read_page,
    read_upload,
    require_complete,
    write_parts,
)
from assay.network.store.signing import Credentials, Signer, write_query
from assay.network.store.web import READ_MAX
from assay.network.threads import start_thread

#: Bytes of a part of a large object, and parts on their way together.
PART_BYTES, _PARTS = 8 << 20, 4
#: A request has a minute and a half with all its tries, longer where it has much to send.
PATIENCE = HttpPatience(
    connect_s=10.0, silence_s=30.0, total_s=90.0, bytes_a_second=64 << 10, tries=5
)
#: Statuses of what was well received.
_FINE = frozenset({200, 204, 206})
#: Most bytes of an answer in XML, of a page of a listing, and of what is said to a failure.
_XML_MAX, _PAGE_MAX, _WORDS_MAX = 64 << 10, 4 << 20, 16 << 10
#: Names that a page is asked for, and most pages, bytes and seconds of a listing.
_PAGE, _PAGES, _LIST_MAX, _LIST_S = 1_000, 1_000, 256 << 20, 300.0
#: Seconds for taking away what an upload left behind.
_ABORT_S = 5.0

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/\d{1,19}")


def open_bucket(
    address: BucketAddress,
    credentials: Credentials,
    certificates: str | None = None,
    patience: HttpPatience | None = None,
) -> "BucketStore":
    """The bucket as a store. Nothing is asked of the service yet.

    Args:
        certificates: PEM of authorities that are trusted beside the system's.
        patience: with the service; None: `PATIENCE`.

    Raises:
        StoreError: the client cannot be made of this.
    """
    if not credentials.usable:
        raise StoreError(
            f"{address.url} cannot be opened: its key, secret or token is empty, or has blanks or "
            "letters that no key has"
        )
    tls = ssl.create_default_context()
    if certificates is not None:
        try:
            tls.load_verify_locations(cadata=certificates)
        except (ssl.SSLError, ValueError):
            raise StoreError(f"{address.url} cannot be opened: there is no certificate") from None
    client = HttpClient(True, patience=patience or PATIENCE, tls=tls)
    return BucketStore(client, address, Signer(credentials, address.region))


class BucketStore(ObjectStore):
    """A bucket. Made by `open_bucket`."""

    def __init__(self, client: HttpClient, address: BucketAddress, signer: Signer) -> None:
        self._client = client
        self._address = address
        self._signer = signer

    def __repr__(self) -> str:
        return f"BucketStore({self._address.url!r})"

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self.put_parts(name, (data,))

    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """See `ObjectStore`."""
        check_name(name)
        pieces = _cut(parts, PART_BYTES)
        first = next(pieces, b"")
        second = next(pieces, None)
        if second is None:
            self._send(f"cannot write {name}", _Asked("PUT", name, content=first))
        else:
            self._upload(name, chain((first, second), pieces))

    def open(self, name: str) -> ObjectSource:
        """See `ObjectStore`."""
        check_name(name)
        return _BucketObject(self, name)

    def get(self, name: str, limit: int) -> bytes | None:
        """See `ObjectStore`."""
        check_name(name)
        problem = f"cannot read {name}"
        answer = self._send(problem, _Asked("GET", name, limit=limit, absent=True))
        if answer.status == 404:
            return None
        if answer.status != 200 or "content-length" not in answer.headers:
            raise self._explain(problem, "it is not said how long it is")
        return answer.body

    def list(self, prefix: str = "", some: int | None = None) -> tuple[str, ...]:
        """See `ObjectStore`. What has no object's name is none: others put it there."""
        folder = check_folder(prefix)
        names: set[str] = set()
        with within(_LIST_S):
            for found in self._list_pages(folder):
                names.update(found)
                if some is not None and len(names) >= some:
                    return tuple(sorted(names)[:some])
                if len(names) > LIST_MAX:
                    raise StoreError(f"more than {LIST_MAX} objects below {folder!r}: list less")
        return tuple(sorted(names))

    def delete(self, name: str) -> None:
        """See `ObjectStore`."""
        check_name(name)
        self._send(f"cannot delete {name}", _Asked("DELETE", name, absent=True))

    def get_size(self, name: str) -> int | None:
        """Bytes of an object; None: it is not there."""
        problem = f"cannot read {name}"
        answer = self._send(problem, _Asked("HEAD", name, absent=True))
        if answer.status == 404:
            return None
        if "content-length" not in answer.headers:
            raise self._explain(problem, "it is not said how long it is")
        return int(answer.headers["content-length"])

    def get_range(self, name: str, start: int, end: int) -> bytes | None:
        """Bytes [start, end) of an object that has them; None: it is not there."""
        problem, size = f"cannot read {name}", end - start
        if size > READ_MAX:
            raise self._explain(problem, f"{size} bytes are more than one read takes")
        wanted = f"bytes={start}-{end - 1}"
        answer = self._send(problem, _Asked("GET", name, "", wanted, limit=size, absent=True))
        if answer.status == 404:
            return None
        said = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        right = said is not None and (int(said[1]), int(said[2])) == (start, end - 1)
        if answer.status != 206 or not right or len(answer.body) != size:
            raise self._explain(problem, "another part came than was asked for")
        return answer.body

    def _list_pages(self, folder: str) -> Iterator[tuple[str, ...]]:
        """Names below a folder, page by page."""
        problem = "cannot list objects"
        root = self._address.get_key("")
        below = root + (f"{folder}/" if folder else "")
        fields, token = [("list-type", "2"), ("max-keys", f"{_PAGE}"), ("prefix", below)], ""
        left = _LIST_MAX
        for _ in range(_PAGES):
            more = [("continuation-token", token)] if token else []
            query = write_query([*fields, *more])
            answer = self._send(problem, _Asked("GET", "", query, limit=min(_PAGE_MAX, left)))
            left -= len(answer.body)
            with self._explaining(problem):
                keys, token = read_page(answer.body)
                if not all(key.startswith(below) for key in keys):
                    raise ValueError("other objects came than were asked for")
            yield tuple(key.removeprefix(root) for key in keys if is_name(key.removeprefix(root)))
            if not token:
                return
        raise self._explain(problem, f"{_PAGES} pages have no end")

    def _upload(self, name: str, pieces: Iterable[bytes]) -> None:
        """A large object in parts."""
        problem = f"cannot write {name}"
        begun = self._send(problem, _Asked("POST", name, "uploads=", limit=_XML_MAX))
        with self._explaining(problem):
            upload = write_query([("uploadId", read_upload(begun.body))])
        try:
            tags = self._upload_parts(problem, name, upload, pieces)
            with self._explaining(problem):
                parts = write_parts(tags)
            asked = _Asked("POST", name, upload, content=parts, limit=_XML_MAX)
            ended = self._send(problem, asked)
            with self._explaining(problem):
                require_complete(ended.body)
        except BaseException:
            with suppress(StoreError), within(_ABORT_S):
                self._send(problem, _Asked("DELETE", name, upload))
            raise

    def _upload_parts(
        self, problem: str, name: str, upload: str, pieces: Iterable[bytes]
    ) -> Sequence[str]:
        """Sends parts, some at a time, and says what the service calls them."""
        tags = []
        waiting: deque[Future[Answer]] = deque()
        try:
            for number, piece in enumerate(pieces, 1):
                if len(waiting) == _PARTS:
                    tags.append(waiting.popleft().result().headers.get("etag", ""))
                query = f"partNumber={number}&{upload}"
                asked = _Asked("PUT", name, query, content=piece)
                waiting.append(self._send_beside(problem, asked))
            tags.extend(part.result().headers.get("etag", "") for part in waiting)
        except StoreError:  # not so who is interrupted: he waits for nothing
            wait(waiting)
            raise
        return tags

    def _send_beside(self, problem: str, asked: "_Asked") -> Future[Answer]:
        """`_send` on a thread that does not hold up the program's end.

        Raises:
            StoreError: this machine lets no further one be started.
        """
        sent: Future[Answer] = Future()

        def run() -> None:
            try:
                sent.set_result(self._send(problem, asked))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
                sent.set_exception(error)

        try:
            start_thread(run, "upload")
        except OSError as error:
            raise StoreError(f"{problem}: {error}") from None
        return sent

    def _send(self, problem: str, asked: "_Asked") -> Answer:
        """The answer to a request that was well received.

        Raises:
            StoreError: it was not.
        """
        url = self._address.root
        if asked.name:
            url += f"/{self._address.get_key(asked.name)}"
        if asked.query:
            url += f"?{asked.query}"
        now = datetime.now(UTC)
        headers = self._signer.sign(asked.method, url, asked.content, asked.wanted, now)
        if asked.method in ("PUT", "POST"):
            headers = [*headers, ("content-length", str(len(asked.content)))]
        request = Request(
            asked.method, url, asked.limit, headers, asked.content, _WORDS_MAX, called="it"
        )
        try:
            answer = self._client.send(request)
        except StoreError as error:
            raise self._explain(problem, str(error)) from None
        code = read_code(answer.body) if answer.status >= 400 else None
        if answer.status in _FINE or (
            answer.status == 404 and asked.absent and code != "NoSuchBucket"
        ):
            return answer
        said = f"status {answer.status}" + (f", {code}" if code is not None else "")
        raise self._explain(problem, said)

    @contextmanager
    def _explaining(self, problem: str) -> Iterator[None]:
        """What is wrong with an answer, said as everything else is."""
        try:
            yield
        except ValueError as error:
            raise self._explain(problem, str(error)) from None

    def _explain(self, problem: str, cause: str) -> StoreError:
        """Nothing that the service wrote is in a cause but a status and an error's name. Services
        answer with the key's name and with the text that was signed."""
        return StoreError(
            f"{problem} in {self._address.url} at {self._address.service} ({cause}): see that "
            "endpoint, region, bucket and this machine's clock are right, and that the credentials "
            "may read, write and list there"
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request to a bucket.

    Attributes:
        name: of an object; "": it is about the bucket.
        query: `write_query`'s.
        wanted: a Range header.
        limit: bytes of the answer; None: nobody reads them.
        absent: whether the object may be missing.
    """

    method: str
    name: str
    query: str = ""
    wanted: str | None = None
    content: bytes = b""
    limit: int | None = None
    absent: bool = False


def _cut(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of this size; the last one may have fewer."""
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
