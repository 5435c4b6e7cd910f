"""Archives that unpack to more than they say, or all at once, cost no memory."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from functools import cache

import pytest

from assay.environments.foreign.archive import read_member
from assay.environments.foreign.package_file import find_fault
from assay.environments.tasksets.bundle import find_bundle_fault
from assay.environments.tasksets.wheel_file import WheelError, read_wheel

#: Bytes that a member unpacks to, and that reading it may take.
HUGE, FEW = 128 << 20, 4 << 20


def pack(name: str, data: bytes, method: int, size: int, flags: int = 0) -> bytes:
    """A zip of one file, with any size and method in its headers."""
    given = (method, 0, 33, 0, len(data), size, len(name), 0)
    head = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 46, flags, *given[:3], *given[3:])
    tail = struct.pack("<HHHHHHIIIHHHHHII", 46, 46, flags, *given, 0, 0, 0, 0, 0)
    directory = b"PK\x01\x02" + tail + name.encode()
    body = head + name.encode() + data
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


@cache
def deflate(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(size >> 20)) + packer.flush()


RECORD = "x-1.0.dist-info/RECORD"
ODD = {
    "bzip2": pack(RECORD, b"BZh9", zipfile.ZIP_BZIP2, 100),
    "lzma": pack(RECORD, b"", zipfile.ZIP_LZMA, 100),
    "encrypted": pack(RECORD, b"", zipfile.ZIP_STORED, 0, flags=1),
}


def measure(call) -> int:
    """The most bytes that Python had at once while it called."""
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, zipfile.BadZipFile)):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_that_lies_about_its_size_is_read_no_further_than_it_says() -> None:
    lying = pack(RECORD, deflate(HUGE), zipfile.ZIP_DEFLATED, 100)
    with zipfile.ZipFile(io.BytesIO(lying)) as archive:
        assert measure(lambda: read_member(archive, RECORD, 100)) < FEW
    assert measure(lambda: read_wheel(lying)) < FEW


def test_a_file_that_says_how_large_it_is_is_read_to_the_limit() -> None:
    honest = pack(RECORD, deflate(HUGE), zipfile.ZIP_DEFLATED, HUGE)
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        assert measure(lambda: read_member(archive, RECORD, 1 << 20)) < FEW


@pytest.mark.parametrize("way", ODD)
def test_what_unpacks_all_at_once_is_not_unpacked(way: str) -> None:
    with zipfile.ZipFile(io.BytesIO(ODD[way])) as archive:
        assert measure(lambda: read_member(archive, RECORD, 100)) < FEW
    with pytest.raises(WheelError, match=r"stored or deflated|encrypted"):
        read_wheel(ODD[way])
    package = ODD[way].replace(
        RECORD.encode(), b"x/__init__.py\x20\x20\x20\x20\x20\x20\x20\x20\x20"
    )
    assert find_fault(package) is not None
    assert find_bundle_fault(ODD[way]) is not None


def test_what_is_stored_or_deflated_is_read() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", b"1" * 70_000, zipfile.ZIP_DEFLATED)
        archive.writestr("b", b"2", zipfile.ZIP_STORED)
    with zipfile.ZipFile(packed) as archive:
        assert read_member(archive, "a", 70_000) == b"1" * 70_000
        assert read_member(archive, "b", 1) == b"2"


def test_a_file_with_a_name_for_newer_versions_of_python_is_not_read() -> None:
    """Python 3.11 would list one file, and the interpreter inside load another."""
    other = b"pack/os.py"
    info = zipfile.ZipInfo("pack/more.py")
    info.extra = struct.pack("<HHB", 0x5455, 1, 0)  # a time, as common tools write it
    times, named = io.BytesIO(), io.BytesIO()
    for packed in (times, named):
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("pack/__init__.py", "")
            archive.writestr(info, "")
        info.extra += struct.pack("<HHBL", 0x7075, 5 + len(other), 1, zlib.crc32(b"pack/more.py"))
        info.extra += other
    assert find_fault(times.getvalue()) is None
    assert str(find_fault(named.getvalue())).endswith("has a second name")
