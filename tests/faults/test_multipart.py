"""A large file goes up in parts, and something goes wrong between two of them.

The bucket is the S3-speaking server's own, behind the proxy; its least part and ours are small.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import moto.s3.models
import pytest

from assay.network.store import bucket as bucket_store
from assay.network.store.base import StoreError
from assay.network.store.bucket import open_bucket
from assay.network.store.bucket_service import read_bucket
from assay.network.store.http_client import HttpTimeouts
from assay.neurons.miner import uploads
from tests.faults.proxy import HTTP_FAULTS, FaultProxy
from tests.s3 import BUCKET, PREFIX, REGION, S3

PART, NAME = 1_024, "hotkey/window-7.rollouts"
OLD, NEW = b"the file before", bytes(range(256)) * 18  # four parts and a half
#: Requests at the start, in the middle and at the end of an upload.
PLACES = ("uploads", "partNumber=3", r"POST .*uploadId")
#: No upload asks for a range, and a part is answered without a body.
RANGES = ("wrong range", "whole body", "shifted range")
IN_BODY = ("length too short", "altered body")
CELLS = [
    (name, place)
    for name in HTTP_FAULTS
    for place in PLACES
    if name not in RANGES
    and (name not in IN_BODY or place != PLACES[1])
    and (name != "reordered" or place == PLACES[1])  # the others are asked alone
]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as service:
        yield service


@pytest.mark.parametrize(("name", "place"), CELLS)
def test_a_fault_between_two_parts(
    name: str, place: str, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader sees the old file or the new one, whole, and the next try brings the new one."""
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", PART // 4)
    monkeypatch.setattr(uploads, "_PART_BYTES", PART)
    monkeypatch.setattr(bucket_store, "PART_BYTES", PART)
    own = s3.open()
    own.put(NAME, OLD)
    with closing(FaultProxy(s3.endpoint)) as proxy:
        address = read_bucket(f"s3://{BUCKET}/{PREFIX}", proxy.url, REGION)
        patient = hasty = open_bucket(address, s3.credentials)
        if name != "latency":
            patience = HttpTimeouts(silence_s=1.0, total_s=0.4, tries=1)
            hasty = open_bucket(address, s3.credentials, patience=patience)
        sent: list[int] = []
        proxy.set_fault(name, only=place)
        until, failed = time.monotonic() + 60, True
        while failed and not proxy.hits[name]:  # a busy machine's own haste may end a try before
            assert time.monotonic() < until, "it did not strike"
            failed = fails(lambda: uploads.upload(hasty, NAME, NEW, print, sent.append))
        assert proxy.hits[name], "it did not strike"
        seen = own.get(NAME, 1 << 20)
        assert seen in (OLD, NEW)
        if not failed:
            assert seen == NEW  # a finished upload is there
        if name == "latency":
            assert not failed
        proxy.clear()
        proxy.drop_dead()
        uploads.upload(patient, NAME, NEW, print, sent.append)
        assert sent[-1] == len(NEW)
        assert any("partNumber=5" in asked for asked in proxy.requests)
    assert own.get(NAME, 1 << 20) == NEW


def fails(use: Callable[[], Any]) -> bool:
    try:
        use()
    except StoreError:
        return True
    return False
