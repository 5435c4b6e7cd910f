"""A step record's bytes and roots, derived a second time by hand."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.steps.folder import StepError, read_step
from assay.protocol.encoding import decode, encode, from_json, to_json
from assay.protocol.episode import Reply
from assay.protocol.reason import Reason
from assay.protocol.step import (
    STEP_VERSION,
    DelayedRollout,
    StepLeftOut,
    StepRecord,
    StepReplay,
    StepRollout,
    StepSource,
    compute_consumed_root,
    compute_delayed_leaf,
    compute_step_leaf,
)


def digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


def hash_by_hand(label: str, *fields: bytes) -> bytes:
    name = f"assay/v4/{label}".encode()
    data = bytes([len(name)]) + name
    for field in fields:
        data += len(field).to_bytes(4, "big") + field
    return sha256(data).digest()


RECORD = StepRecord(
    STEP_VERSION,
    "assay 1.0",
    "torch 2 x",
    2,
    digest("code"),
    digest("parameters"),
    7,
    3,
    digest("parent"),
    (StepSource(digest("alice"), digest("root"), 5),),
    (StepLeftOut(digest("alice"), 4, Reason.SAMPLING_MISMATCH),),
    6,
    digest("consumed"),
    '{"seed":1}',
    digest("before"),
    digest("after"),
    digest("tensors"),
)


def text(value: str) -> bytes:
    return len(value).to_bytes(4, "big") + value.encode()


def test_the_record_byte_by_byte() -> None:
    data = b"".join(
        [
            (4).to_bytes(2, "big"),
            text("assay 1.0"),
            text("torch 2 x"),
            (2).to_bytes(4, "big"),
            digest("code"),
            digest("parameters"),
            (7).to_bytes(8, "big"),
            (3).to_bytes(8, "big"),
            digest("parent"),
            (1).to_bytes(4, "big"),
            digest("alice"),
            digest("root"),
            (5).to_bytes(4, "big"),
            (1).to_bytes(4, "big"),
            digest("alice"),
            (4).to_bytes(4, "big"),
            text("SAMPLING_MISMATCH"),
            (6).to_bytes(4, "big"),
            digest("consumed"),
            text('{"seed":1}'),
            digest("before"),
            digest("after"),
            digest("tensors"),
        ]
    )
    assert encode(RECORD) == data
    assert RECORD.digest == hash_by_hand("step", data)
    assert decode(StepRecord, data) == RECORD == from_json(StepRecord, to_json(RECORD))


def test_replayed_groups_stand_behind_all_that_records_had_before() -> None:
    replay = StepReplay(digest("step"), 2, 5, digest("bob"), digest("old root"), 3)
    record = replace(RECORD, replayed=(replay,))
    data = b"".join(
        [
            (1).to_bytes(4, "big"),
            digest("step"),
            (2).to_bytes(8, "big"),
            (5).to_bytes(8, "big"),
            digest("bob"),
            digest("old root"),
            (3).to_bytes(4, "big"),
        ]
    )
    assert encode(record) == encode(RECORD) + data
    assert decode(StepRecord, encode(record)) == record == from_json(StepRecord, to_json(record))


def test_leaf_and_root() -> None:
    prompt = np.array([1, 2], np.uint32)
    rollouts = [
        StepRollout(np.array([9], np.uint32), np.array([70_000], np.uint32), 1_000_000),
        StepRollout(
            np.array([8, 7], np.uint32), np.array([0, 5], np.uint32), 0, [Reply(1, (3, 2, 1))]
        ),
    ]
    leaf = compute_step_leaf(digest("alice"), 4, digest("model"), prompt, rollouts)
    assert leaf == hash_by_hand(
        "step-leaf",
        digest("alice"),
        bytes([0, 0, 0, 4]),
        digest("model"),
        bytes([0, 0, 0, 1, 0, 0, 0, 2]),
        bytes([0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0x11, 0x70, 0, 15, 0x42, 0x40]),
        bytes([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1])
        + bytes([0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0]),
    )
    waits = compute_delayed_leaf(leaf, bytes(32), [])
    assert waits == hash_by_hand("step-delay", leaf, bytes(32), b"")
    tried = [DelayedRollout(7, 3, 1), DelayedRollout(0, 0, 0)]
    assert compute_delayed_leaf(leaf, digest("earlier"), tried) == hash_by_hand(
        "step-delay", leaf, digest("earlier"), bytes([0, 0, 0, 7, 0, 0, 0, 3, 1]) + bytes(9)
    )
    other = digest("other leaf")
    top = hash_by_hand("node", leaf, other)
    assert compute_consumed_root([leaf, other], 7, digest("parent")) == hash_by_hand(
        "root", bytes([0, 0, 0, 2]), (7).to_bytes(8, "big"), digest("parent"), top
    )
    with pytest.raises(ValueError, match="leaf"):
        compute_consumed_root([], 7, digest("parent"))


@given(st.binary(max_size=200))
def test_garbage_is_an_error_of_one_kind(data: bytes) -> None:

    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        with pytest.raises(StepError, match="cannot be read"):
            read_step(Path(file.name))
