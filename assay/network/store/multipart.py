"""Uploads a large object in parts, which are invisible until the service puts them together.

An upload that broke off, or was killed, is continued: an existing part with our own bytes, by the
MD5 that is its ETag, is not sent again. If a service uses other ETags (as AWS does with its key
management), all parts are sent. An upload that cannot progress is removed, so that the next attempt
starts afresh, and so is one that the service would not list for the next attempt.

Source: Amazon S3 API reference, "Uploading and copying objects using multipart upload" and "Object
integrity".
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress

from assay.network.bounded_http import HttpAnswer
from assay.network.store.base import StoreError
from assay.network.store.bucket_service import (
    BucketRequest,
    BucketService,
    FailedError,
    RefusedError,
    name_failure,
)
from assay.network.store.deadlines import within
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

#: Parts that are sent at the same time.
_PARTS = 4
#: Most bytes of an answer that names no parts.
_XML_MAX = 64 << 10
#: Most pages of parts, of 1,000 each: S3 accepts no more parts.
_PAGES = 10
#: Most older uploads of an object that are removed for a new one.
_OLDER = 16
#: Seconds for finding an upload's remains or its completion; and for removing them.
_LOOK_S, _ABORT_S = 20.0, 5.0


def upload(service: BucketService, name: str, pieces: Iterable[bytes]) -> None:
    """Write an object from parts, atomically.

    Args:
        pieces: of one size, but the last one.

    Raises:
        StoreError: it cannot be written. The next attempt finds the parts that are there, unless
            the service does not list them, or cannot make the object of them.
    """
    problem = f"cannot write {name}"
    may_list, begun = True, None
    try:
        begun = _find_begun(service, name)
    except RefusedError:
        may_list = False
    except StoreError:  # the next attempt may learn of it
        pass
    uploaded = None if begun is None else _find_parts(service, name, begun)
    if begun is None or uploaded is None:
        answer = service.send(problem, BucketRequest("POST", name, "uploads=", limit=_XML_MAX))
        with service.explaining(problem):
            begun = write_query([("uploadId", read_upload(answer.body))])
    sending = _Sending(service, name, begun, uploaded or {})
    try:
        sending.send_parts(pieces)
        sending.complete()
    except StoreError as error:
        if not may_list or sending.is_hopeless(error):
            _take_away(service, name, begun)
        raise


def _find_begun(service: BucketService, name: str) -> str | None:
    """The newest unfinished upload of an object, as a query; None: there is none."""
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
    """Remove an upload that cannot succeed, because its parts would be charged for."""
    with suppress(StoreError), within(_ABORT_S):
        service.send(f"cannot clear away {name}", BucketRequest("DELETE", name, begun))


def _find_parts(service: BucketService, name: str, begun: str) -> Mapping[int, UploadPart] | None:
    """Existing parts by number, as far as this can be known; None: there is no such upload. MinIO
    has listed parts that were gone."""
    problem, known, after = f"cannot find parts of {name}", {}, ""
    with suppress(StoreError), within(_LOOK_S):
        for _ in range(_PAGES):
            query = f"part-number-marker={after}&{begun}" if after else begun
            asked = BucketRequest("GET", name, query, limit=PAGE_MAX, absent=True)
            answer = service.send(problem, asked)
            if answer.status == 404:
                return None
            with service.explaining(problem):
                parts, after = read_parts(answer.body)
            known.update(parts)
            if not after:
                break
    return known


class _Sending:
    """An upload in progress, by its query, and the parts that the service has."""

    def __init__(
        self, service: BucketService, name: str, begun: str, uploaded: Mapping[int, UploadPart]
    ) -> None:
        self._service = service
        self._name = name
        self._problem = f"cannot write {name}"
        self._begun = begun
        self._there = uploaded
        self._brought = False
        self._ends = False
        self._tags: list[str] = []
        self._digests = bytearray()
        self._waiting: deque[tuple[int, Future[HttpAnswer]]] = deque()

    def send_parts(self, pieces: Iterable[bytes]) -> None:
        """Send the missing parts, several at a time."""
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
        except (StoreError, OSError, RuntimeError):  # ours, or of the pieces' reader: a late part
            # would fall into the next attempt. An interrupted thread does not wait
            ended = wait(part for _, part in self._waiting).done
            self._brought |= any(part.exception() is None for part in ended)
            raise

    def _await_one(self) -> None:
        number, part = self._waiting.popleft()
        self._tags[number - 1] = part.result().headers.get("etag", "")
        self._brought = True

    def is_hopeless(self, error: StoreError) -> bool:
        """Return whether this upload has failed for good: the service refuses to make the object of
        its parts, or this attempt made no progress."""
        kinds = (RefusedError, FailedError) if self._ends else RefusedError
        if self._brought:
            return self._ends and isinstance(error, RefusedError)
        return isinstance(error, kinds)

    def complete(self) -> None:
        """Make the service assemble the object from the parts."""
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
            if not self._is_there():  # else only the answer to the first request was lost
                raise

    def _is_there(self) -> bool:
        """Return whether the object exists, made of these parts."""
        made = hashlib.md5(self._digests, usedforsecurity=False).hexdigest()
        with suppress(StoreError), within(_LOOK_S):
            answer = self._service.send(self._problem, BucketRequest("HEAD", self._name))
            return answer.headers.get("etag", "").strip('"') == f"{made}-{len(self._tags)}"
        return False
