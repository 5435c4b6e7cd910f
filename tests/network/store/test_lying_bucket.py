"""An operator's own bucket whose service lies: the client follows it nowhere, reveals nothing more,
and spends no more than its limits."""

import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from assay.network.store import bucket as bucket_store
from assay.network.store import bucket_service
from assay.network.store.base import StoreError
from assay.network.store.bucket import BucketStore, open_bucket
from assay.network.store.bucket_service import read_bucket
from assay.network.store.http_client import HttpTimeouts
from assay.network.store.s3_signing import Credentials
from tests.network.store.hostile import CALM, HASTY, Hostile, Manners, answer

KEY, SECRET, TOKEN = "AKIAHUNTER2", "hunter2/Very+Secret", "hunter2session"
PART = 1_024
LARGE = bytes(3 * PART)
BEGUN = b"<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
ENDED = b"<CompleteMultipartUploadResult/>"
POURED = 64 << 20
#: The uses of a bucket.
USES: dict[str, Callable[[BucketStore], Any]] = {
    "get": lambda store: store.get("x", 100),
    "size": lambda store: store.open("x").size(),
    "read": lambda store: store.open("x").read(0, 10),
    "list": lambda store: store.list(),
    "put": lambda store: store.put("x", b"small"),
    "put a large one": lambda store: store.put("x", LARGE),
    "delete": lambda store: store.delete("x"),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_store, "PART_BYTES", PART)


@pytest.fixture
def serve(start: Callable[..., Hostile]) -> Callable[..., tuple[BucketStore, Hostile]]:
    """A service of these manners, and one's bucket there."""

    def serve(manners: Manners, patience: HttpTimeouts = CALM) -> tuple[BucketStore, Hostile]:
        server = start(manners)
        return open_at(server.url, patience), server

    return serve


def open_at(url: str, patience: HttpTimeouts = CALM) -> BucketStore:
    credentials = Credentials(SecretStr(KEY), SecretStr(SECRET), SecretStr(TOKEN))
    return open_bucket(read_bucket("s3://miners/one", url, "auto"), credentials, patience=patience)


def behave(method, path, headers, connection) -> bool:
    """A service that does all that is asked and keeps nothing of it."""
    if method == "POST":
        answer(connection, 200, BEGUN if "uploads=" in path else ENDED)
    elif "list-type" in path:
        answer(connection, 200, b"<ListBucketResult/>")
    elif method == "GET" and "range" in headers:
        answer(connection, 206, bytes(10), "Content-Range: bytes 0-9/10")
    elif method == "GET":
        answer(connection, 200, bytes(10))
    elif method == "HEAD":
        answer(connection, 200, b"", "Content-Length: 10")
    elif method == "DELETE":
        answer(connection, 204)
    else:
        answer(connection, 200, b"", 'ETag: "one"')
    return True


def test_a_well_behaved_service(serve) -> None:
    store, server = serve(behave)
    assert [use(store) for use in USES.values()] == [bytes(10), 10, bytes(10), (), None, None, None]
    asked = [(method, path) for method, path, _ in server.asked]
    assert ("PUT", "/miners/one/x?partNumber=3&uploadId=7") in asked
    assert asked[-2:] == [("POST", "/miners/one/x?uploadId=7"), ("DELETE", "/miners/one/x")]
    assert server.headers["x-amz-security-token"] == TOKEN


#: The requests that a service redirects: a method and a part of the path.
PLACES = [(m, "") for m in ("GET", "HEAD", "PUT", "POST", "DELETE")] + [
    ("GET", "list-type"),
    ("PUT", "partNumber"),
    ("POST", "uploadId"),
]


@pytest.mark.parametrize(("method", "words"), PLACES)
@pytest.mark.parametrize("status", [301, 307])
def test_no_redirect_is_followed(serve, start, method: str, words: str, status: int) -> None:
    elsewhere = start(behave)

    def lead_away(asked, path, headers, connection) -> bool:
        if asked != method or words not in path:
            return behave(asked, path, headers, connection)
        answer(connection, status, b"", f"Location: {elsewhere.url}{path}")
        return True

    store, _ = serve(lead_away)
    refused = 0
    for use in USES.values():
        try:
            use(store)
        except StoreError as error:
            assert f"redirects (status {status})" in str(error)  # noqa: PT017
            refused += 1
    assert refused
    assert elsewhere.connections == 0


def test_the_environment_changes_nothing(serve, start, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, server = start(behave), start(behave)
    for name in (
        "AWS_ENDPOINT",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_PROXY_URL",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.setenv(name, elsewhere.url)
    for name in (
        "AWS_SESSION_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_REGION",
        "AWS_REQUEST_PAYER",
        "AWS_SKIP_SIGNATURE",
        "AWS_UNSIGNED_PAYLOAD",
        "AWS_BUCKET",
    ):
        monkeypatch.setenv(name, "true")
    credentials = Credentials(SecretStr(KEY), SecretStr(SECRET))
    store = open_bucket(read_bucket("s3://miners/one", server.url, "auto"), credentials)
    for use in USES.values():
        use(store)
        assert server.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAHUNTER2")
        assert "/auto/s3/aws4_request" in server.headers["authorization"]
        assert not {"x-amz-security-token", "x-amz-request-payer"} & server.headers.keys()
    assert elsewhere.connections == 0


def pour(head: str) -> Manners:
    """These headers, and then bytes, far more than anybody may read."""

    def manners(method, path, headers, connection) -> None:
        sent[0] = 0
        connection.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode())
        for _ in range(POURED >> 16):
            sent[0] += connection.send(bytes(1 << 16))

    sent = [0]
    manners.sent = sent  # type: ignore[attr-defined]
    return manners


@pytest.mark.parametrize("name", [name for name in USES if name != "size"])
@pytest.mark.parametrize("status", [200, 206, 400, 404])
def test_a_body_without_an_end(serve, name: str, status: int) -> None:
    """Some calls need only the status, which they have; none reads the endless body."""
    manners = pour(f"{status} So")
    store, _ = serve(manners)
    try:
        USES[name](store)
    except StoreError as error:
        assert "Traceback" not in str(error)  # noqa: PT017
    else:
        assert name in ("put", "delete") or status == 404
    assert manners.sent[0] < POURED  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", USES)
def test_a_length_of_a_terabyte(serve, name: str) -> None:
    def lie(method, path, headers, connection) -> bool:
        answer(connection, 200, b"", f"Content-Length: {1 << 40}", 'ETag: "one"')
        return method == "HEAD"

    store, _ = serve(lie, HASTY)
    if name in ("size", "put", "delete"):  # nobody reads a body there
        USES[name](store)
        return
    with pytest.raises(StoreError, match=r"are read|another part|is no"):
        USES[name](store)


def test_a_part_that_is_longer_than_asked_for(serve) -> None:
    for body, said in ((bytes(11), "0-9/10"), (bytes(9), "0-9/10"), (bytes(10), "1-10/11")):

        def lie(method, path, headers, connection, body=body, said=said) -> bool:
            if method == "HEAD":
                return behave(method, path, headers, connection)
            answer(connection, 206, body, f"Content-Range: bytes {said}")
            return True

        with pytest.raises(StoreError, match=r"at most 10 are read|another part"):
            serve(lie)[0].open("x").read(0, 10)


def test_an_object_of_no_length(serve) -> None:
    def lie(method, path, headers, connection) -> None:
        connection.sendall(b"HTTP/1.1 200 So\r\n\r\n")

    for name in ("get", "size"):
        with pytest.raises(StoreError, match="not say its length"):
            USES[name](serve(lie)[0])


def write_page(*keys: str, token: str | None = None) -> bytes:
    entries = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    more = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
    truncated = str(token is not None).lower()
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="{space}">'
        f"<IsTruncated>{truncated}</IsTruncated>{entries}{more}</ListBucketResult>"
    ).encode()


def serve_pages(pages: Iterator[bytes]) -> Manners:
    def manners(method, path, headers, connection) -> bool:
        answer(connection, 200, next(pages))
        return True

    return manners


def test_a_listing_in_pages(serve) -> None:
    pages = [
        write_page("one/a", "one/b/c", token="t+/&amp;1"),
        write_page(token="2"),
        write_page("one/d", "one/a b", "one/e/", "one/"),
    ]
    store, server = serve(serve_pages(iter(pages)))
    assert store.list() == ("a", "b/c", "d")  # other names were put there by others
    assert "continuation-token=t%2B%2F%261&" in server.asked[1][1]
    assert all("prefix=one%2F" in path for _, path, _ in server.asked)
    store, _ = serve(serve_pages(iter([write_page("one/a", "one/b", token="1")])))
    assert store.list(some=1) == ("a",)


def test_a_listing_without_an_end(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = (write_page(token=str(n)) for n in range(1 << 40))
    monkeypatch.setattr(bucket_store, "_PAGES", 5)
    store, server = serve(serve_pages(endless))
    with pytest.raises(StoreError, match="5 pages have no end"):
        store.list()
    assert len(server.asked) == 5
    monkeypatch.setattr(bucket_store, "_LIST_MAX", 1_000)
    with pytest.raises(StoreError, match="are read"):
        store.list()
    monkeypatch.setattr(bucket_store, "LIST_MAX", 3)
    store, _ = serve(serve_pages(iter([write_page(*(f"one/{n}" for n in range(4)))])))
    with pytest.raises(StoreError, match="more than 3 objects"):
        store.list()


def test_a_listing_has_one_deadline(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page comes in time, all of them never."""

    def dawdle(method, path, headers, connection) -> bool:
        server.wait(0.05)
        answer(connection, 200, write_page(token="1"))
        return True

    store, server = serve(dawdle)
    monkeypatch.setattr(bucket_store, "_LIST_S", 0.3)
    with pytest.raises(StoreError, match=r"in time|cannot be read"):
        store.list()
    assert 1 < len(server.asked) < 10


BILLION = b'<!DOCTYPE a [<!ENTITY b "ha">]><ListBucketResult>&b;</ListBucketResult>'


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<",
        b"\xff\xfe",
        BILLION,
        b"\xef\xbb\xbf" + BILLION,
        BILLION.decode().encode("utf-16"),
        b"<Error><Code>SlowDown</Code></Error>",
        write_page("two/a"),
        write_page(token=""),
        write_page(""),
        write_page("one/" + "x" * 5_000),
    ],
    ids=range(11),
)
def test_malformed_listings(serve, page: bytes) -> None:
    store, _ = serve(serve_pages(iter([page])))
    with pytest.raises(StoreError, match="cannot list objects in s3://miners/one"):
        store.list()


@pytest.mark.parametrize("place", ["begin", "part", "end"])
def test_an_upload_that_the_service_does_not_do(serve, place: str) -> None:
    """It still answers 200, and does not list uploads: the unfinished upload is removed."""

    def lie(method, path, headers, connection) -> bool:
        if place == "begin" and "uploads=" in path:
            answer(connection, 200, b"<Error><Code>Internal</Code></Error>")
        elif place == "part" and "partNumber" in path:
            answer(connection, 200)
        elif place == "end" and method == "POST" and "uploadId" in path:
            answer(connection, 200, b"<Error><Code>Internal</Code></Error>")
        else:
            behave(method, path, headers, connection)
        return True

    store, server = serve(lie)
    with pytest.raises(StoreError, match=r"cannot write x .*(Internal|has no ETag)"):
        store.put("x", LARGE)
    taken = ("DELETE", "/miners/one/x?uploadId=7", None) in server.asked
    assert taken is (place != "begin")


def test_blanks_while_parts_are_put_together(serve) -> None:
    def take_long(method, path, headers, connection) -> bool:
        if method == "POST" and "uploadId" in path:
            answer(connection, 200, b" \n  <?xml version='1.0' encoding='UTF-8'?>\n" + ENDED)
        else:
            behave(method, path, headers, connection)
        return True

    store, server = serve(take_long)
    store.put("x", LARGE)
    assert [asked[0] for asked in server.asked].count("POST") == 2, "begun and ended"
    assert "DELETE" not in [asked[0] for asked in server.asked], "nothing was taken away"


def test_an_interrupted_upload_waits_for_no_part(serve) -> None:
    """The program's end does not wait either: the part is sent on its own thread."""
    interrupted, heard = threading.Event(), []

    def hang(method, path, headers, connection) -> bool:
        if method == "PUT":
            heard.append(interrupted.wait(60))
        behave(method, path, headers, connection)
        return True

    def cut() -> Iterator[bytes]:
        yield from (bytes(PART), bytes(PART))
        raise KeyboardInterrupt

    store, _ = serve(hang)
    with pytest.raises(KeyboardInterrupt):
        store.put_parts("x", cut())
    threads = [one for one in threading.enumerate() if one.name == "upload"]
    assert threads
    assert all(one.daemon for one in threads)
    interrupted.set()
    for one in threads:
        one.join(60)
    assert heard
    assert all(heard)


def test_a_machine_without_threads_is_said_like_all_else(serve, monkeypatch) -> None:
    store, _ = serve(behave)

    def refuse(work, name):
        raise OSError("no thread can be started")

    monkeypatch.setattr(bucket_service, "call_beside", refuse)
    with pytest.raises(StoreError, match="cannot write x: no thread"):
        store.put("x", LARGE)


def test_a_bucket_that_is_missing_is_not_an_object_that_is(serve) -> None:
    def miss(method, path, headers, connection) -> bool:
        answer(connection, 404, b"<Error><Code>NoSuchBucket</Code></Error>")
        return True

    store, _ = serve(miss)
    for name in ("get", "list", "delete"):
        with pytest.raises(StoreError, match="status 404, NoSuchBucket"):
            USES[name](store)


ECHOES = {
    "status line": "what is {}\r\n\r\n",
    "reason": "HTTP/1.1 403 {}\r\nContent-Length: 0\r\n\r\n",
    "header": "HTTP/1.1 200 So\r\n{}\r\n\r\n",
    "encoding": "HTTP/1.1 200 So\r\nContent-Encoding: {}\r\n\r\n",
    "length": "HTTP/1.1 200 So\r\nContent-Length: {}\r\n\r\n",
    "code": "HTTP/1.1 403 So\r\nConnection: close\r\n\r\n<Code>{}</Code>",
    "key as code": "HTTP/1.1 403 So\r\nConnection: close\r\n\r\n<Code>AKIAHUNTER2</Code>",
    "token as code": "HTTP/1.1 403 So\r\nConnection: close\r\n\r\n<Code>hunter2session</Code>",
    "location": "HTTP/1.1 302 So\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("place", ECHOES)
def test_repeated_answers_of_the_service_are_not_repeated(
    serve, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each in all places where a server has words."""

    def repeat(method, path, headers, connection) -> None:
        words = f"{headers['x-amz-security-token']} {headers['authorization']}"
        connection.sendall(ECHOES[place].format(words).encode())

    caplog.set_level(logging.DEBUG, "assay")
    store, server = serve(repeat)
    for use in USES.values():
        with pytest.raises(StoreError) as caught:
            use(store)
        told = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert "hunter2" not in told.lower()
        assert "Signature" not in told
    assert server.asked


@pytest.mark.parametrize("wrong", ["hunter2\r\nX-Evil: 1", "hunter2 ", "hunter2é", "", "hunter2\0"])
def test_a_key_that_is_none_is_not_said(wrong: str) -> None:
    good = SecretStr("AKID")
    address = read_bucket("s3://miners", "http://127.0.0.1:9", "auto")
    for at in range(3):
        words = [good, good, good]
        words[at] = SecretStr(wrong)
        with pytest.raises(StoreError, match="its key, secret or token") as caught:
            open_bucket(address, Credentials(*words))
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_service_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is sent to a server that does not read it: more than the kernels buffer."""
    monkeypatch.setattr(bucket_store, "PART_BYTES", POURED)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_at(f"http://127.0.0.1:{silent.getsockname()[1]}", HASTY)
        with pytest.raises(StoreError, match="in time"):
            store.put("x", bytes(POURED))


def test_a_small_object_is_not_waited_for_like_a_large_one(serve) -> None:
    """Bytes that drip never fall silent, and a thousand are no tebibyte, which would be read."""

    def drip(method, path, headers, connection) -> None:
        connection.sendall(b"HTTP/1.1 200 So\r\nContent-Length: 1000\r\n\r\n")
        while not server.wait(0.05):
            connection.sendall(b"x")

    store, server = serve(drip, HASTY)
    with pytest.raises(StoreError, match="in time"):
        store.get("x", 1 << 40)
