"""Objects of a store: their names below a locator, and functions that put, read and refuse one.

A digest names bytes, so any copy will do, and no store is trusted. `assay.protocol.commitment` has
the name of a miner's file, and `assay.protocol.record` the names of records.
"""

import mmap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import enumerate as enumerate_threads
from typing import TypeVar

from assay.network.store.base import ObjectSource, ObjectStore, StoreError
from assay.network.threads import call_beside
from assay.protocol.errors import OperatorError, TroubleKind

#: Folders of mirrors' copies, and of children's records.
MIRRORS, CHILDREN = "mirrors", "children"
#: Bytes that are read and written at a time.
CHUNK_BYTES = 8 << 20
#: Most concurrent calls to stores, including those that never return.
CALLS_MAX = 64
_CALL = "store call"
#: Seconds between two looks at the clock.
_TICK_S = 0.2

#: Called with the bytes done so far and those known to be due.
Progress = Callable[[int, int], None]
T = TypeVar("T")


class UnavailableError(OperatorError):
    """A store does not have an object with this digest, or not in time, or has other bytes under
    its name."""

    trouble_kind = TroubleKind.STORE


def ignore_progress(done: int, due: int) -> None:
    """Ignore progress."""


def telling_bytes(report: Callable[[str], None], doing: str, every_s: float = 5.0) -> Progress:
    """A `Progress` that reports the share that is done, at most every few seconds."""
    due = time.monotonic() + 1

    def progress(done: int, total: int) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + every_s
            report(f"{doing}: {done / max(1, total):.0%} of {total >> 20:,} MiB")

    return progress


def make_parameters_name(digest: bytes) -> str:
    return f"parameters/{digest.hex()}.json"


def make_problems_name(digest: str) -> str:
    """The name of a file of problems, by its SHA-256 in hex."""
    return f"problems/{digest}"


def make_checkpoint_name(digest: bytes, name: str) -> str:
    return f"checkpoints/{digest.hex()}/{name}"


def make_tensor_name(digest: bytes) -> str:
    return f"tensors/{digest.hex()}"


def make_delta_name(checkpoint: bytes, digest: bytes) -> str:
    return make_checkpoint_name(checkpoint, f"deltas/{digest.hex()}")


def make_step_name(digest: bytes, name: str) -> str:
    return f"steps/{digest.hex()}/{name}"


def make_answers_name(digest: bytes) -> str:
    """The name of a checkpoint's answers to its gate's problems, by the file's SHA-256."""
    return f"gates/{digest.hex()}.parquet"


def make_child_name(digest: bytes) -> str:
    return f"{CHILDREN}/{digest.hex()}.json"


def make_merge_name(digest: bytes) -> str:
    return f"merges/{digest.hex()}.json"


def make_outer_name(root: bytes) -> str:
    """The name of the safetensors file with the masters and velocity of a root."""
    return f"outer/{root.hex()}"


def make_piece_name(digest: bytes) -> str:
    """The name of a part of a child, by its SHA-256."""
    return f"pieces/{digest.hex()}"


def make_mirror_name(window: int, root: bytes, *, samples: bool = False) -> str:
    """The name of a copy of a submission's audited parts, or of its samples."""
    return f"{MIRRORS}/{window}/{root.hex()}" + (".samples" if samples else "")


def put_object(store: ObjectStore, name: str, digest: bytes, data: memoryview) -> None:
    """Write an object whose SHA-256 is `digest`, unless it is there, and read it back. Raises
    StoreError: the store cannot be read or written, or returns other bytes."""
    if _holds(store, name, digest, len(data)):
        return
    parts = (bytes(data[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES))
    if len(data) <= CHUNK_BYTES:
        store.put(name, next(parts, b""))
    else:
        store.put_parts(name, parts)
    if not _holds(store, name, digest, len(data)):
        raise StoreError(
            f"the store gives back other bytes of {name} than were written: fix the store; "
            f"nothing is published until then"
        )


def _holds(store: ObjectStore, name: str, digest: bytes, size: int) -> bool:
    source = store.open(name)
    if source.size() != size:
        return False
    hashed = sha256()
    for start in range(0, size, CHUNK_BYTES):
        hashed.update(source.read(start, min(size, start + CHUNK_BYTES)) or b"")
    return hashed.digest() == digest


@contextmanager
def map_file(path: Path) -> Iterator[mmap.mmap]:
    """Map a file for reading. It must not be empty."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def read_parts(
    source: ObjectSource, size: int, get_patience: Callable[[], float], fault: str
) -> Iterator[bytes]:
    """An object's bytes in order, `CHUNK_BYTES` at a time, each requested through `answer_in_time`.

    Args:
        size: bytes, as the store says.
        fault: error text for a store that returns another number of bytes.

    Raises:
        UnavailableError, StoreError: as `answer_in_time`; and `fault`.
    """
    for start in range(0, size, CHUNK_BYTES):
        end = min(size, start + CHUNK_BYTES)
        data = answer_in_time(partial(source.read, start, end), get_patience)
        if data is None or len(data) != end - start:
            raise UnavailableError(fault)
        yield data


def answer_in_time(ask: Callable[[], T], get_patience: Callable[[], float]) -> T:
    """The answer of a store, within our own time limit. A call that never returns costs a thread,
    which writes nowhere.

    Args:
        get_patience: seconds since the request; called again and again.

    Raises:
        UnavailableError: there was no answer in time, or too many calls hang already.
        StoreError: from `ask`.
    """
    if sum(thread.name == _CALL for thread in enumerate_threads()) >= CALLS_MAX:
        raise UnavailableError(f"{CALLS_MAX} calls to stores hang: end this program, begin again")
    try:
        answer = call_beside(ask, _CALL)
    except OSError as error:
        raise UnavailableError(str(error)) from None
    begun = time.monotonic()
    while not wait([answer], timeout=_TICK_S).done:
        waited = time.monotonic() - begun
        if waited > get_patience():
            raise UnavailableError(f"too slow: no answer after {waited:.0f} s")
    return answer.result()
