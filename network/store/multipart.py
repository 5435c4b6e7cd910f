"""A large object goes up in parts, none of which is seen before the service puts them together.

What an upload that broke off, or was killed, has left there is taken up: a part that is there with
our own bytes, by the MD5 that is its ETag, is not sent again. Where a service names parts otherwise
(AWS does under a key of its key management), all of them are. What does not get on is taken away,
so that the next try begins anew, and so is what a service would not tell the next try of.

Source: Amazon S3 API reference, "Uploading and copying objects using multipart upload" and "Object
integrity".
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress

from assay.network.store.bucket_service import (
    BucketRequest,
    BucketService,
    FailedError,
    RefusedError,
    name_failure,
)
from assay.network.store.deadlines import within
from assay.network.store.http_client import HttpAnswer
from assay.network.store.object_store import StoreError
from assay.network.store.s3_signing import write_query
from assay.network.store.s3_xml import (
    PAGE_MAX,
    UploadPart,
    read_begun,
    read_code,
    read_parts,
    read_upload,
    require_complete,
    write_parts,
)

#: Parts on their way together.
_PARTS = 4
#: Most bytes of an answer that names no parts.
_XML_MAX = 64 << 10
#: Most pages of parts, of 1,000 each: S3 puts no more together.
_PAGES = 10
#: Most older uploads of an object that are cleared away for a new one.
_OLDER = 16
#: Seconds for finding an upload's remains, or that all of it is there; and for taking them away.
_LOOK_S, _ABORT_S = 20.0, 5.0


def upload(service: BucketService, name: str, pieces: Iterable[bytes]) -> None:
    """Writes an object from parts, whole.

    Args:
        pieces: of one size, but the last one.

    Raises:
        StoreError: it cannot be written. What is there of it is found by the next try, unless the
            service does not tell of it, or cannot make the object of that.
    """
    problem = f"cannot write {name}"
    told, begun = True, None
    try:
        begun = _find_begun(service, name)
    except RefusedError:
        told = False
    except StoreError:  # the next try may be told
        pass
    there = None if begun is None else _find_parts(service, name, begun)
    if begun is None or there is None:
        answer = service.send(problem, BucketRequest("POST", name, "uploads=", limit=_XML_MAX))
        with service.explaining(problem):
            begun = write_query([("uploadId", read_upload(answer.body))])
    sending = _Sending(service, name, begun, there or {})
    try:
        sending.send_parts(pieces)
        sending.complete()
    except StoreError as error:
        if not told or sending.is_hopeless(error):
            _take_away(service, name, begun)
        raise


def _find_begun(service: BucketService, name: str) -> str | None:
    """The upload of an object that was begun last and did not end, as a query; None: there is
    none."""
    problem = f"cannot find uploads of {name}"
    key = service.address.get_key(name)
    query = write_query([("uploads", ""), ("prefix", key)])
    with within(_LOOK_S):
        answer = service.send(problem, BucketRequest("GET", "", query, limit=PAGE_MAX))
        with service.explaining(problem, RefusedError):
            uploads = [write_query([("uploadId", one)]) for one in read_begun(answer.body, key)]
        for older in uploads[:-1][:_OLDER]:
            _take_away(service, name, older)
    return uploads[-1] if uploads else None


def _take_away(service: BucketService, name: str, begun: str) -> None:
    """An upload that nothing will come of; its parts would be paid for."""
    with suppress(StoreError), within(_ABORT_S):
        service.send(f"cannot clear away {name}", BucketRequest("DELETE", name, begun))


def _find_parts(service: BucketService, name: str, begun: str) -> Mapping[int, UploadPart] | None:
    """Parts that are there, by number, as far as it can be known; None: there is no such upload.
    MinIO has listed ones that were gone."""
    problem, found, after = f"cannot find parts of {name}", {}, ""
    with suppress(StoreError), within(_LOOK_S):
        for _ in range(_PAGES):
            query = f"part-number-marker={after}&{begun}" if after else begun
            asked = BucketRequest("GET", name, query, limit=PAGE_MAX, absent=True)
            answer = service.send(problem, asked)
            if answer.status == 404:
                return None
            with service.explaining(problem):
                parts, after = read_parts(answer.body)
            found.update(parts)
            if not after:
                break
    return found


class _Sending:
    """An upload that was begun, by its query, and the parts of it that the service has."""

    def __init__(
        self, service: BucketService, name: str, begun: str, there: Mapping[int, UploadPart]
    ) -> None:
        self._service = service
        self._name = name
        self._problem = f"cannot write {name}"
        self._begun = begun
        self._there = there
        self._brought = False
        self._ends = False
        self._tags: list[str] = []
        self._digests = bytearray()
        self._waiting: deque[tuple[int, Future[HttpAnswer]]] = deque()

    def send_parts(self, pieces: Iterable[bytes]) -> None:
        """Sends the missing parts, some at a time."""
        try:
            for number, piece in enumerate(pieces, 1):
                digest = hashlib.md5(piece, usedforsecurity=False)
                self._digests += digest.digest()
                part = self._there.get(number)
                if part == UploadPart(len(piece), digest.hexdigest()):
                    self._tags.append(f'"{part.md5}"')
                    continue
                if len(self._waiting) == _PARTS:
                    self._await_one()
                query = f"partNumber={number}&{self._begun}"
                asked = BucketRequest("PUT", self._name, query, content=piece)
                self._tags.append("")
                self._waiting.append((number, self._service.send_beside(self._problem, asked)))
            while self._waiting:
                self._await_one()
        except (StoreError, OSError, RuntimeError):  # ours, or of who reads the pieces: a late part
            # would fall into the next try. Who is interrupted waits for nothing
            ended = wait(part for _, part in self._waiting).done
            self._brought |= any(part.exception() is None for part in ended)
            raise

    def _await_one(self) -> None:
        number, part = self._waiting.popleft()
        self._tags[number - 1] = part.result().headers.get("etag", "")
        self._brought = True

    def is_hopeless(self, error: StoreError) -> bool:
        """Whether this upload has failed for good: the service refuses to make the object of its
        parts, or this try got it no further."""
        kinds = (RefusedError, FailedError) if self._ends else RefusedError
        if self._brought:
            return self._ends and isinstance(error, RefusedError)
        return isinstance(error, kinds)

    def complete(self) -> None:
        """Has the service make the object of the parts."""
        with self._service.explaining(self._problem):
            parts = write_parts(self._tags)
        self._ends = True
        asked = BucketRequest("POST", self._name, self._begun, content=parts, limit=_XML_MAX)
        try:
            ended = self._service.send(self._problem, asked)
            try:
                require_complete(ended.body)
            except ValueError as error:
                kind = name_failure(ended.status, read_code(ended.body))
                raise self._service.explain(self._problem, str(error), kind) from None
        except StoreError:
            if not self._is_there():  # else its answer was lost: asked again it knows of no upload
                raise

    def _is_there(self) -> bool:
        """Whether the object is there, of these parts."""
        made = hashlib.md5(self._digests, usedforsecurity=False).hexdigest()
        with suppress(StoreError), within(_LOOK_S):
            answer = self._service.send(self._problem, BucketRequest("HEAD", self._name))
            return answer.headers.get("etag", "").strip('"') == f"{made}-{len(self._tags)}"
        return False
