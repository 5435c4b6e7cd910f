"""Answers to a gate's problems in a store: `gates/<SHA-256 of the file>.parquet`."""

import time
from collections.abc import Sequence
from hashlib import sha256

from assay.artifacts.gates.file import compute_bytes_max
from assay.artifacts.store_objects import (
    UnavailableError,
    answer_in_time,
    make_answers_name,
    put_object,
    read_parts,
)
from assay.network.store.base import ObjectStore, StoreError
from assay.protocol.parameters import Gate

#: Seconds for a file from all stores, and for a chunk.
FETCH_SECONDS, _PATIENCE_S = 600.0, 60.0


def publish_answers(store: ObjectStore, data: bytes) -> bytes:
    """Upload a file of answers, unless it is there, and read it back. Return its SHA-256. Raises
    StoreError: the store cannot be read or written."""
    digest = sha256(data).digest()
    put_object(store, make_answers_name(digest), digest, memoryview(data))
    return digest


def fetch_answers(
    stores: Sequence[ObjectStore],
    digest: bytes,
    gate: Gate,
    max_tokens: int,
    seconds: float = FETCH_SECONDS,
) -> bytes:
    """The file with a SHA-256.

    Args:
        stores: asked in order.
        max_tokens: of an answer, which bounds the file's size.
        seconds: for all of it, whatever the stores do.

    Raises:
        UnavailableError: no store has it, or they have others or larger ones, or not in time; says
            which.
    """
    name, most = make_answers_name(digest), compute_bytes_max(gate, max_tokens)
    deadline = time.monotonic() + seconds
    reasons = []
    for store in stores:
        try:
            return _fetch(store, name, digest, most, deadline)
        except (UnavailableError, StoreError) as error:
            reasons.append(str(error))
    raise UnavailableError("; ".join(dict.fromkeys(reasons)) or f"no store is named for {name}")


def _fetch(store: ObjectStore, name: str, digest: bytes, most: int, deadline: float) -> bytes:
    def get_patience() -> float:
        return min(_PATIENCE_S, deadline - time.monotonic())

    source = store.open(name)
    size = answer_in_time(source.size, get_patience)
    if size is None:
        raise UnavailableError(f"there is no {name}")
    if size > most:
        raise UnavailableError(f"{name} has {size:,} bytes; at most {most:,} are accepted")
    fault = f"the store serves {name} with another size than it says"
    data = bytearray()
    for part in read_parts(source, size, get_patience, fault):
        data += part
        if time.monotonic() > deadline:
            raise UnavailableError(f"{name} did not come in time")
    if sha256(data).digest() != digest:
        raise UnavailableError(f"{name} has other bytes than its SHA-256 says")
    return bytes(data)
