"""Read-only stores over HTTP: those of strangers, and one's own as strangers see it.

Ranges are requested and checked: an answer counts if it claims to be exactly the requested range,
of the same object as the first answer. The reader checks its bytes against a root.
"""

import re
from collections.abc import Iterable
from typing import NoReturn

from assay.network.bounded_http import HttpAnswer
from assay.network.store.base import ObjectSource, ObjectStore, ServedError, StoreError, check_name
from assay.network.store.http_client import HttpClient
from assay.network.store.locators import WebLocator

#: Most bytes of one read.
READ_MAX = 256 << 20
#: Statuses of a missing object. S3 sends 403 to strangers who may not list.
_ABSENT = frozenset({403, 404, 410})
_NO_RANGE = re.compile(r"bytes \*/(\d{1,19})")


class WebStore(ObjectStore):
    """A place below which objects are read by their names, and never written."""

    def __init__(self, locator: WebLocator, client: HttpClient) -> None:
        self.locator = locator
        self._client = client

    def put(self, name: str, data: bytes) -> None:
        self._refuse()

    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        self._refuse()

    def list(self, prefix: str = "", some: int | None = None) -> tuple[str, ...]:
        self._refuse()

    def delete(self, name: str) -> None:
        self._refuse()

    def open(self, name: str) -> ObjectSource:
        check_name(name)
        return _WebObject(f"{self.locator.url}/{name}", self._client)

    def get(self, name: str, limit: int) -> bytes | None:
        check_name(name)
        url = f"{self.locator.url}/{name}"
        answer = self._client.ask("GET", url, limit)
        if answer.status in _ABSENT:
            return None
        if answer.status != 200:
            raise ServedError(f"{url} answers with status {answer.status}")
        return answer.body

    def _refuse(self) -> NoReturn:
        raise StoreError(
            f"{self.locator.url} is read only: to write, name a bucket under [store] upload"
        )


class _WebObject:
    """An `ObjectSource`: one object, the same at every read, as far as its server tells."""

    def __init__(self, url: str, client: HttpClient) -> None:
        self._url = url
        self._client = client
        self._size: int | None = None
        self._etag: str | None = None

    def size(self) -> int | None:
        answer = self._client.ask("HEAD", self._url, 0)
        if answer.status in _ABSENT:
            return None
        if answer.status != 200:
            raise ServedError(f"{self._url} answers with status {answer.status}")
        if "content-length" not in answer.headers:
            raise ServedError(f"{self._url} does not say how long it is")
        self._note_version(int(answer.headers["content-length"]), answer)
        return self._size

    def read(self, start: int, end: int) -> bytes | None:
        if not 0 <= start < end:
            return None if self.size() is None else b""
        if self._size is not None:
            end = min(end, self._size)
            if start >= end:
                return b""
        if self._size is None and end - start > READ_MAX:
            size = self.size()
            return None if size is None else self.read(start, end)
        if end - start > READ_MAX:
            raise ServedError(f"{end - start} bytes of {self._url} are more than one read takes")
        answer = self._client.ask("GET", self._url, end - start, f"bytes={start}-{end - 1}")
        if answer.status in _ABSENT:
            return None
        if answer.status == 416:
            return self._read_past_the_end(answer, start)
        if answer.status == 206:
            return self._read_part(answer, start, end)
        if answer.status == 200 and start == 0:  # the whole object, no longer than requested
            self._note_version(len(answer.body), answer)
            return answer.body
        if answer.status == 200:
            raise ServedError(f"{self._url} is not served by range: use a server that does")
        raise ServedError(f"{self._url} answers with status {answer.status}")

    def _read_past_the_end(self, answer: HttpAnswer, start: int) -> bytes:
        match = _NO_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if match is not None and int(match[1]) > start:
            raise ServedError(f"{self._url} refuses a range that lies within it")
        if match is not None:
            self._note_version(int(match[1]), answer)
        return b""

    def _read_part(self, answer: HttpAnswer, start: int, end: int) -> bytes:
        if answer.content_range is None:
            raise ServedError(f"{self._url} sends a part but does not say which")
        first, last, total = answer.content_range
        if first != start or last != min(end, total) - 1:
            raise ServedError(f"{self._url} sends another part than requested")
        if len(answer.body) != last - first + 1:
            raise ServedError(f"{self._url} sends a part of another length than it says")
        self._note_version(total, answer)
        return answer.body

    def _note_version(self, size: int, answer: HttpAnswer) -> None:
        etag = answer.headers.get("etag")
        changed = self._size is not None and size != self._size
        if changed or (etag and self._etag and etag != self._etag):
            raise ServedError(f"{self._url} has changed while it was read")
        self._size, self._etag = size, etag or self._etag
