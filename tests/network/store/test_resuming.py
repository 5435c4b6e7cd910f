"""The upload of a large object continues after it broke off or was killed."""

import hashlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import moto.s3.models
import pytest
from pydantic import SecretStr

from assay.network.store import bucket as bucket_store
from assay.network.store import multipart
from assay.network.store.base import StoreError
from assay.network.store.bucket import BucketStore, open_bucket
from assay.network.store.bucket_service import read_bucket
from assay.network.store.http_client import HttpTimeouts
from assay.network.store.s3_signing import Credentials
from tests.faults.proxy import FaultProxy
from tests.network.store.hostile import CALM, Hostile, answer
from tests.s3 import BUCKET, PREFIX, REGION, S3

ROOT = Path(__file__).parents[3]
PART, NAME = 1_024, "checkpoint/model.safetensors"
PIECES = [bytes([n]) * PART for n in range(9)] + [b"end"]
KEY = f"{PREFIX}/{NAME}"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as service:
        yield service


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", PART)
    monkeypatch.setattr(bucket_store, "PART_BYTES", PART)


@pytest.fixture
def proxy(s3: S3) -> Iterator[FaultProxy]:
    with closing(FaultProxy(s3.endpoint)) as proxy:
        yield proxy
    for upload in list_uploads(s3):
        s3.connect("s3").abort_multipart_upload(Bucket=BUCKET, Key=KEY, UploadId=upload)
    s3.open().delete(NAME)


def open_at(s3: S3, url: str) -> BucketStore:
    address = read_bucket(f"s3://{BUCKET}/{PREFIX}", url, REGION)
    return open_bucket(address, s3.credentials, patience=HttpTimeouts(total_s=60.0, tries=1))


def list_uploads(s3: S3) -> list[str]:
    found = s3.connect("s3").list_multipart_uploads(Bucket=BUCKET, Prefix=KEY)
    return [upload["UploadId"] for upload in found.get("Uploads", []) if upload["Key"] == KEY]


def list_parts(s3: S3) -> list[int]:
    """Numbers of the parts that are there of the only upload."""
    (upload,) = list_uploads(s3)
    found = s3.connect("s3").list_parts(Bucket=BUCKET, Key=KEY, UploadId=upload)
    return [part["PartNumber"] for part in found.get("Parts", [])]


def get_sent(proxy: FaultProxy) -> list[int]:
    """Numbers of the parts that went up since this was asked last."""
    asked = [re.search(r"[?]partNumber=(\d+)&", path) for path in proxy.requests]
    proxy.requests.clear()
    return sorted(int(part[1]) for part in asked if part)


def test_parts_that_are_there_are_not_sent_again(s3: S3, proxy: FaultProxy) -> None:
    store = open_at(s3, proxy.url)
    proxy.set_fault("cut", only="partNumber=6")
    with pytest.raises(StoreError, match="cannot write"):
        store.put_parts(NAME, PIECES)
    there = list_parts(s3)
    assert len(there) in (6, 7, 8, 9)
    proxy.clear()
    get_sent(proxy)
    store.put_parts(NAME, PIECES)
    assert get_sent(proxy) == [n for n in range(1, 11) if n not in there]
    assert store.get(NAME, 1 << 20) == b"".join(PIECES)
    assert list_uploads(s3) == []


KILLED = """
import os, signal, sys
from pydantic import SecretStr
from assay.network.store import bucket as bucket_store
from assay.network.store.s3_signing import Credentials
from assay.network.store.bucket import open_bucket
from assay.network.store.bucket_service import read_bucket

bucket_store.PART_BYTES = 1_024
endpoint, key, secret = sys.argv[1:]
store = open_bucket(
    read_bucket("s3://miners/one", endpoint, "us-east-1"),
    Credentials(SecretStr(key), SecretStr(secret)),
)

def cut():
    for n in range(9):
        if n == 8:  # four at most are on their way
            os.kill(os.getpid(), signal.SIGKILL)
        yield bytes([n]) * 1_024

store.put_parts("checkpoint/model.safetensors", cut())
"""


def test_a_killed_program_goes_on_where_it_was(s3: S3, proxy: FaultProxy) -> None:
    s3.open().put(NAME, b"old")
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, s3.endpoint, s3.key_id, s3.secret],
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    there = list_parts(s3)
    assert len(there) >= 4
    store = open_at(s3, proxy.url)
    assert store.get(NAME, 3) == b"old"
    store.put_parts(NAME, PIECES)
    assert set(get_sent(proxy)) == set(range(1, 11)) - set(there)
    assert store.get(NAME, 1 << 20) == b"".join(PIECES)


def test_other_bytes_are_sent(s3: S3, proxy: FaultProxy) -> None:
    """The unfinished uploads are of another object of that name, and of a longer one."""
    store = open_at(s3, proxy.url)
    break_off(store, [*PIECES[:5], *[b"x" * PART] * 9], 12)
    there = list_parts(s3)
    get_sent(proxy)
    pieces = [*PIECES[:3], b"other" + bytes(PART - 5), PIECES[4], b"short"]
    store.put_parts(NAME, pieces)
    assert get_sent(proxy) == [n for n in range(1, 7) if n in (4, 6) or n not in there]
    assert store.get(NAME, 1 << 20) == b"".join(pieces)


def break_off(store: BucketStore, pieces: Sequence[bytes], after: int) -> None:
    def cut() -> Iterator[bytes]:
        yield from pieces[:after]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put_parts(NAME, cut())


class Service:
    """Keeps one upload in memory, with the answers of a test.

    Attributes:
        answers: word of the method and path → other answers, once for each entry.
        sent: numbers of the parts that came.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes]]] = {}
        self.sent: list[int] = []
        self.etag = ""

    def behave(self, method, path, headers, connection) -> bool:
        for words, answers in self.answers.items():
            if words in f"{method} {path}" and answers:
                answer(connection, *answers.pop(0))
                return True
        if "uploads=&" in path or (path.endswith("uploads=") and method == "GET"):
            answer(connection, 200, write_uploads(("one/x", "7")))
        elif method == "GET":
            answer(connection, 200, write_parts({}))
        elif method == "POST" and "uploads=" in path:
            body = "<InitiateMultipartUploadResult><UploadId>8</UploadId></Initiate"
            answer(connection, 200, f"{body}MultipartUploadResult>".encode())
        elif method == "POST":
            answer(connection, 200, b"<CompleteMultipartUploadResult/>")
        elif method == "PUT":
            self.sent.append(int(path.partition("partNumber=")[2].partition("&")[0]))
            answer(connection, 200, b"", 'ETag: "one"')
        elif method == "HEAD":
            answer(connection, 200, b"", "Content-Length: 3072", f'ETag: "{self.etag}"')
        else:
            answer(connection, 204)
        return True


def write_uploads(*uploads: tuple[str, str], dates: Sequence[int] = range(9)) -> bytes:
    rows = "".join(
        f"<Upload><Key>{key}</Key><UploadId>{name}</UploadId><Initiated>{n}</Initiated></Upload>"
        for n, (key, name) in zip(dates, uploads, strict=False)
    )
    return f"<ListMultipartUploadsResult>{rows}</ListMultipartUploadsResult>".encode()


def write_parts(parts: dict[int, bytes], after: str = "", size: int = PART) -> bytes:
    rows = "".join(
        f"<Part><PartNumber>{n}</PartNumber><Size>{size}</Size>"
        f"<ETag>&quot;{hashlib.md5(data).hexdigest()}&quot;</ETag></Part>"
        for n, data in parts.items()
    )
    more = f"<IsTruncated>true</IsTruncated><NextPartNumberMarker>{after}</NextPartNumberMarker>"
    return f"<ListPartsResult>{more if after else ''}{rows}</ListPartsResult>".encode()


LARGE = bytes(3 * PART)


@pytest.fixture
def service(start: Callable[..., Hostile]) -> tuple[BucketStore, Hostile, Service]:
    one = Service()
    server = start(one.behave)
    credentials = Credentials(SecretStr("AKID"), SecretStr("hunter2"))
    address = read_bucket("s3://miners/one", server.url, "auto")
    return open_bucket(address, credentials, patience=CALM), server, one


def test_the_newest_of_several_is_taken_up(service) -> None:
    """An upload is begun twice where the first answer is lost. A neighbour's is no matter."""
    store, server, one = service
    uploads = [("one/x", "new"), ("one/x.json", "other"), ("one/x", "older"), ("one/x", "old")]
    said = write_uploads(*uploads, dates=[3, 4, 1, 2])
    one.answers["GET /miners?"] = [(200, said)]
    store.put("x", LARGE)
    assert server.asked[-1][1] == "/miners/one/x?uploadId=new"
    gone = [path for method, path, _ in server.asked if method == "DELETE"]
    assert gone == ["/miners/one/x?uploadId=older", "/miners/one/x?uploadId=old"]


def test_parts_come_in_pages(service) -> None:
    store, server, one = service
    one.answers["GET /miners/one/x?"] = [
        (200, write_parts({1: bytes(PART)}, "1")),
        (200, write_parts({2: bytes(PART)})),
    ]
    store.put("x", LARGE)
    assert one.sent == [3]
    pages = [path for method, path, _ in server.asked if method == "GET"]
    assert pages == [
        "/miners?prefix=one%2Fx&uploads=",
        "/miners/one/x?uploadId=7",
        "/miners/one/x?part-number-marker=1&uploadId=7",
    ]


def test_pages_without_an_end(service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "_PAGES", 3)
    store, server, one = service
    one.answers["GET /miners/one/x?"] = [(200, write_parts({}, "1"))] * 9
    store.put("x", LARGE)
    assert sorted(one.sent) == [1, 2, 3]
    assert sum(method == "GET" for method, _, _ in server.asked) == 4


#: A service's answers about uploads and parts that leave nothing to continue.
NOTHING = [
    (501, b"<Error><Code>NotImplemented</Code></Error>"),
    (403, b""),
    (404, b""),
    (200, b""),
    (200, b"<"),
    (200, b"<ListBucketResult/>"),
    (200, write_parts({0: b""}, "x")),
    (200, write_parts({1: b"", 2: bytes(PART)}, size=PART - 1)),
    (200, write_uploads(("two", "7"))),
    (200, write_uploads(("one/x", ""))),
    (200, b"<!DOCTYPE a><ListPartsResult/>"),
]


@pytest.mark.parametrize("place", ["uploads=", "GET /miners/one/x?"])
@pytest.mark.parametrize("said", NOTHING, ids=range(len(NOTHING)))
def test_unknown_parts_are_sent(service, place: str, said: tuple[int, bytes]) -> None:
    store, server, one = service
    one.answers[f"GET /miners?prefix=one%2Fx&{place}" if place == "uploads=" else place] = [said]
    store.put("x", LARGE)
    assert sorted(one.sent) == [1, 2, 3]
    begun = ("POST", "/miners/one/x?uploads=", None) in server.asked
    assert begun is (place == "uploads=" or said[0] == 404)  # which is said of no upload


def test_a_service_that_lists_no_parts_is_not_waited_for(
    service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "_LOOK_S", 0.2)
    store, server, one = service
    behave = one.behave

    def dawdle(method, path, headers, connection) -> bool:
        if method == "GET":
            server.wait(5.0)
        return behave(method, path, headers, connection)

    server.manners = dawdle
    store.put("x", LARGE)
    assert sorted(one.sent) == [1, 2, 3]


COMPLETE = "POST /miners/one/x?uploadId"
GONE = (404, b"<Error><Code>NoSuchUpload</Code></Error>")


@pytest.mark.parametrize("lost", [GONE, (500, b""), (200, b"<Error><Code>InternalError</Code>")])
def test_an_end_whose_answer_was_lost(service, lost: tuple[int, bytes]) -> None:
    """A second request gets the answer that there is no such upload, or none: the object shows
    it."""
    store, _, one = service
    digests = b"".join(hashlib.md5(bytes(PART)).digest() for _ in range(3))
    one.etag = f"{hashlib.md5(digests).hexdigest()}-3"
    one.answers[COMPLETE] = [lost] * 9
    store.put("x", LARGE)
    assert one.answers[COMPLETE] != [lost] * 9
    for other in (f"{hashlib.md5(digests).hexdigest()}-4", "one", ""):
        one.etag, one.answers[COMPLETE] = other, [lost] * 9
        with pytest.raises(StoreError, match="cannot write x"):
            store.put("x", LARGE)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ((400, b"<Error><Code>InvalidPart</Code></Error>"), False),
        (GONE, False),
        ((503, b""), True),
        ((429, b""), True),
        ((500, b""), True),
        ((501, b""), False),
        ((200, b""), False),
        ((400, b"<Error><Code>RequestTimeout</Code></Error>"), True),
        ((200, b"<Error><Code>InvalidPart</Code></Error>"), False),
        ((200, b"<Error><Code>InternalError</Code></Error>"), True),
    ],
)
def test_uploads_that_cannot_become_objects_are_removed(
    service, said: tuple[int, bytes], kept: bool
) -> None:
    """So the next try does not meet it again; uploads at a busy service are kept for it."""
    store, server, one = service
    one.answers[COMPLETE] = [said] * 9
    with pytest.raises(StoreError, match="cannot write x"):
        store.put("x", LARGE)
    assert (("DELETE", "/miners/one/x?uploadId=7", None) not in server.asked) is kept


class Held(Service):
    """Has an upload 7, with or without parts, until that is taken away.

    Attributes:
        refused: pattern of method and path → the answer that is always given instead.
        there: whether it was not taken away.
    """

    def __init__(self, refused: dict[str, tuple[int, bytes]], parts: int = 0) -> None:
        super().__init__()
        self.refused, self.there = refused, True
        self.parts = write_parts({n: bytes(PART) for n in range(1, parts + 1)})

    def behave(self, method, path, headers, connection) -> bool:
        asked = f"{method} {path}"
        if method == "DELETE" and path.endswith("=7"):
            self.there = False
        for words, said in self.refused.items():
            if re.search(words, asked):
                answer(connection, *said)
                return True
        if asked == "GET /miners?prefix=one%2Fx&uploads=":
            answer(connection, 200, write_uploads(*[("one/x", "7")][: self.there]))
        elif asked == "GET /miners/one/x?uploadId=7":
            answer(connection, 200, self.parts)
        else:
            return super().behave(method, path, headers, connection)
        return True


def try_often(start, one: Service, times: int) -> tuple[list[bool], Hostile]:
    """The results of all tries, and the service."""
    server, done = start(one.behave), []
    credentials = Credentials(SecretStr("AKID"), SecretStr("hunter2"))
    store = open_bucket(
        read_bucket("s3://miners/one", server.url, "auto"), credentials, patience=CALM
    )
    for _ in range(times):
        try:
            store.put("x", LARGE)
        except StoreError:
            done.append(False)
        else:
            done.append(True)
    return done, server


ODD = (400, b"<Error><Code>InvalidRequest</Code></Error>")
BROKEN = (500, b"<Error><Code>InternalError</Code></Error>")


@pytest.mark.parametrize(
    ("refused", "parts", "done"),
    [
        ({"uploadId=7": GONE, "GET .*uploads=": (200, write_uploads(("one/x", "7")))}, 0, [True]),
        ({"PUT .*uploadId=7": ODD}, 2, [False, True]),
        ({"PUT .*uploadId=7": GONE}, 0, [False, True]),
        ({"POST .*uploadId=7": BROKEN}, 3, [False, True]),
        ({"POST .*uploadId=7": (200, BROKEN[1])}, 3, [False, True]),
    ],
    ids=["listed when gone", "parts refused", "gone in between", "no end", "no end, said late"],
)
def test_a_stuck_upload_is_given_up(start, refused, parts: int, done: list[bool]) -> None:
    """MinIO has listed uploads that were taken away; AWS takes no part without a checksum for one
    that another program began with some. Each try that took them up would end in the same way."""
    assert try_often(start, Held(refused, parts), len(done))[0] == done


@pytest.mark.parametrize(
    ("refused", "parts"),
    [
        ({"PUT .*partNumber=3": ODD}, 1),
        ({"PUT .*partNumber=1": ODD}, 0),
        ({"PUT ": (503, b"")}, 1),
        ({"PUT ": BROKEN}, 1),
        ({"POST .*uploadId": (503, b"")}, 3),
        ({"POST .*uploadId": BROKEN}, 0),
    ],
)
def test_an_upload_that_may_continue_is_kept(start, refused, parts: int) -> None:
    one = Held(refused, parts)
    assert try_often(start, one, 1)[0] == [False]
    assert one.there


def test_a_new_upload_that_takes_no_part_is_not_left(start) -> None:
    one = Held({"PUT ": ODD})
    one.there = False
    done, server = try_often(start, one, 1)
    assert done == [False]
    assert ("DELETE", "/miners/one/x?uploadId=8", None) in server.asked


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ((403, b""), False),
        ((501, b""), False),
        ((200, b"<ListBucketResult/>"), False),
        ((503, b""), True),
        ((200, write_uploads()), True),
    ],
)
def test_an_unlisted_upload_is_not_left(start, said, kept: bool) -> None:
    """Each try would leave as much there as the file has, and nobody would find it."""
    one = Held({"GET .*uploads=": said, "PUT .*partNumber=3": (503, b"")})
    done, server = try_often(start, one, 1)
    assert done == [False]
    assert (("DELETE", "/miners/one/x?uploadId=8", None) not in server.asked) is kept
