"""A bucket of an S3 service over real HTTP, its signatures checked."""

import traceback
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.bucket import PART_BYTES, open_bucket
from assay.network.store.bucket_service import BucketAddress, read_bucket
from assay.network.store.http_client import HttpTimeouts
from assay.network.store.opening import open_store
from assay.network.store.s3_signing import Credentials
from tests.s3 import BUCKET, PREFIX, REGION, S3

SECRET = "hunter2hunter2hunter2"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as service:
        yield service


@pytest.fixture
def store(s3: S3) -> Iterator[ObjectStore]:
    store = s3.open()
    yield store
    for name in store.list():
        store.delete(name)


def test_put_then_get(store: ObjectStore) -> None:
    store.put("hotkey/window-7.rollouts", b"first")
    store.put("hotkey/window-7.rollouts", b"second")
    assert store.get("hotkey/window-7.rollouts", 6) == b"second"
    source = store.open("hotkey/window-7.rollouts")
    assert source.size() == 6
    assert source.read(2, 4) == b"co"
    assert source.read(4, 1 << 70) == b"nd"
    assert [source.read(*r) for r in ((6, 9), (3, 3), (5, 2), (-4, 2))] == [b""] * 4


def test_a_missing_object(store: ObjectStore) -> None:
    source = store.open("nothing")
    assert source.size() is source.read(0, 1) is store.get("nothing", 9) is None
    store.delete("nothing")
    assert store.list() == ()


def test_object_above_the_limit(store: ObjectStore) -> None:
    store.put("large", bytes(11))
    with pytest.raises(StoreError, match="at most 10"):
        store.get("large", 10)


def test_list_is_sorted_and_by_folder(store: ObjectStore) -> None:
    for name in ("b/2", "b/1", "a", "bb/3", "b/c/4"):
        store.put(name, b"x")
    assert store.list() == ("a", "b/1", "b/2", "b/c/4", "bb/3")
    assert store.list("b") == store.list("b/") == ("b/1", "b/2", "b/c/4")
    store.delete("b/1")
    assert store.list("b") == ("b/2", "b/c/4")


def test_written_objects_are_read_at_the_public_address(s3: S3, store: ObjectStore) -> None:
    store.put("hotkey/window-7.rollouts", b"0123456789")
    public = open_store(s3.public)
    assert public.get("hotkey/window-7.rollouts", 10) == b"0123456789"
    source = public.open("hotkey/window-7.rollouts")
    assert source.size() == 10
    assert source.read(3, 5) == b"34"
    assert public.open("hotkey/other").size() is None


def test_a_large_object_goes_up_in_parts(s3: S3, store: ObjectStore) -> None:
    parts = [bytes([i]) * PART_BYTES for i in range(2)] + [b"end"]
    store.put_parts("large", iter(parts))
    assert store.open("large").size() == 2 * PART_BYTES + 3
    assert store.open("large").read(PART_BYTES - 1, PART_BYTES + 1) == b"\0\1"
    store.put("large", b"".join(parts))
    assert store.open("large").read(2 * PART_BYTES, 1 << 40) == b"end"
    etag = s3.connect("s3").head_object(Bucket=BUCKET, Key=f"{PREFIX}/large")["ETag"]
    assert etag.strip('"').endswith("-3")  # three parts


def test_an_upload_that_breaks_off_is_never_seen(s3: S3, store: ObjectStore) -> None:
    """The same as after a kill: nobody reads the uploaded parts."""
    store.put("large", b"old")

    def break_off() -> Iterator[bytes]:
        yield bytes(PART_BYTES)
        yield bytes(PART_BYTES)
        raise RuntimeError("killed")

    with pytest.raises((StoreError, RuntimeError)):
        store.put_parts("large", break_off())
    assert store.get("large", 3) == b"old"
    assert store.list() == ("large",)
    store.put_parts("large", iter([bytes(PART_BYTES), b"new"]))
    assert store.open("large").size() == PART_BYTES + 3


@pytest.mark.parametrize("wrong", ["secret", "key"])
def test_a_wrong_key_is_said_without_it(s3: S3, wrong: str) -> None:
    right = s3.credentials
    credentials = Credentials(
        SecretStr(SECRET) if wrong == "key" else right.access_key_id,
        SecretStr(SECRET) if wrong == "secret" else right.secret_access_key,
    )
    store = s3.open(credentials)
    for use in (
        lambda: store.put("x", b""),
        lambda: store.put_parts("x", iter([b""])),
        lambda: store.get("x", 1),
        lambda: store.open("x").size(),
        lambda: store.list(),
    ):
        with pytest.raises(StoreError, match="credentials may read, write and list") as caught:
            use()
        told = "".join(traceback.format_exception(caught.value)) + repr(store)
        for secret in (SECRET, s3.key_id, s3.secret):
            assert secret not in told
    assert SECRET not in repr(credentials) + repr(vars(store))


def test_a_service_that_is_not_there(s3: S3) -> None:
    address = BucketAddress(BUCKET, PREFIX, "http://127.0.0.1:9", REGION)
    with pytest.raises(
        StoreError, match=r"cannot write x in s3://miners/one at http://127.0.0.1:9"
    ):
        open_bucket(address, s3.credentials, patience=HttpTimeouts(tries=1)).put("x", b"")


def test_names_that_escape(store: ObjectStore) -> None:
    for name in ("../x", "x?y", "/etc/passwd", "a//b", "x%2e", "x y"):
        for use in (store.open, lambda n: store.get(n, 1), lambda n: store.put(n, b"")):
            with pytest.raises(StoreError, match="is not an object's name"):
                use(name)


BAD = [
    "",
    "s3:/bucket",
    "https://bucket",
    "s3://",
    "s3://B",
    "s3://a",
    "s3://bucket/../x",
    "s3://bucket//x",
    "s3://key:hunter2@bucket/x",
    "s3://bucket/x?sig=hunter2",
]


@pytest.mark.parametrize("upload", BAD)
def test_addresses_that_are_no_bucket(upload: str) -> None:
    with pytest.raises(StoreError, match="is not a bucket") as caught:
        read_bucket(upload, None, REGION)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "e.org",
        "ftp://e.org",
        "https://u:hunter2@e.org",
        "https://e.org/?t=hunter2",
        "ht\ntps://e.org",
        "https://e.org ",
        "https://e.org:0",
        "https://e.org:x",
    ],
)
def test_addresses_that_are_no_endpoint(endpoint: str) -> None:
    with pytest.raises(StoreError, match="is not an endpoint") as caught:
        read_bucket("s3://bucket", endpoint, REGION)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("region", ["", "e.org/", "eu central", "a" * 65])
def test_texts_that_are_no_region(region: str) -> None:
    """At AWS it is part of the host's name."""
    with pytest.raises(StoreError, match="is not a region"):
        read_bucket("s3://bucket", None, region)
