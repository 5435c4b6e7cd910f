"""A miner's file: one way to write it, no unnoticed change, and no more of it read than requested.

`tests/protocol/test_submission.py` tests groups, and `tests/verification/test_file_attacks.py` a
judge with files that lie.
"""

import io
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.submissions.file import SubmissionFile
from assay.judge.whole_file import read_whole
from assay.protocol.encoding import EncodingError
from assay.protocol.reason import Reason, Refusal
from assay.protocol.submission import (
    HEADER_BYTES,
    LOGPROB_MAX,
    Rollout,
    compute_submission_root,
    get_opening_bytes,
)
from tests.artifacts.conftest import (
    ID_BITS,
    Group,
    MemorySource,
    Shown,
    are_equal,
    expect,
    make_groups,
    show,
)

SIZE = 3
TOKEN = st.tuples(
    st.integers(0, 3) | st.integers(0, 2**ID_BITS - 1),
    st.integers(0, 1) | st.integers(0, LOGPROB_MAX),
    st.integers(-127, 127),
    st.integers(-127, 127),
)
EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=3)


def make_rollout(tokens: list[tuple[int, int, int, int]]) -> Rollout:
    table = np.array(tokens, np.int64)
    return Rollout(
        table[:, 0].astype(np.uint32), table[:, 1].astype(np.uint32), table[:, 2:].astype(np.int8)
    )


ROLLOUT = st.lists(TOKEN, min_size=1, max_size=40).map(make_rollout)
GROUP = st.lists(ROLLOUT, min_size=SIZE, max_size=SIZE)


@pytest.fixture(scope="module")
def shown() -> Shown:
    return show(make_groups(5))


def change(data: bytes, edits: list[tuple[int, int]]) -> bytes:
    """Some bytes of it others; none where it is empty."""
    changed = bytearray(data)
    for place, other in edits if data else ():
        changed[place % len(data)] ^= other
    return bytes(changed)


# --- canonical


@given(groups=st.lists(GROUP, min_size=1, max_size=4))
def test_written_groups_are_read_back(groups: list[Group]) -> None:
    shown = show(groups)
    found = shown.read_all()
    assert not isinstance(found, Refusal), found
    assert all(map(are_equal, found, groups))
    assert show(found).data == shown.data
    _, whole = read_whole(io.BytesIO(shown.data))
    assert all(map(are_equal, whole, groups))


def test_same_rows_same_bytes(shown: Shown) -> None:
    strided = [
        [
            Rollout(
                r.tokens.repeat(2)[::2], r.logprobs.astype(np.uint64), r.sketch[:, ::-1][:, ::-1]
            )
            for r in group
        ]
        for group in make_groups(5)
    ]
    assert show(make_groups(5)).data == show(strided).data == shown.data


@given(edits=EDITS)
def test_no_byte_changes_unseen(shown: Shown, edits: list[tuple[int, int]]) -> None:
    """Other bytes are never taken for the committed ones: other sources may have those."""
    served = change(shown.data, edits)
    if served == shown.data:
        return
    found = shown.read_all(served)
    assert isinstance(found, Refusal), found
    assert found.unbound
    try:
        opening, groups = read_whole(io.BytesIO(served))
        list(groups)
    except EncodingError:
        return
    assert compute_submission_root(opening.header) != shown.committed.root


@given(place=st.integers(0, 2**16), size=st.integers(1, 99), new=st.binary(max_size=200))
def test_nothing_is_put_in_or_left_out(shown: Shown, place: int, size: int, new: bytes) -> None:
    start = place % len(shown.data)
    served = shown.data[:start] + new + shown.data[start + size :]
    found = shown.read_all(served)
    if served.startswith(shown.data):  # bytes after the file are no part of it
        assert not isinstance(found, Refusal)
    else:
        assert isinstance(found, Refusal)
        assert found.unbound


@given(edits=EDITS, which=st.integers(0, 2), where=st.integers(0, 4))
def test_any_bytes_may_be_committed_to(
    shown: Shown, edits: list[tuple[int, int]], which: int, where: int
) -> None:
    """All readers refuse them alike for their faults, or they are another honest file."""

    parts = list(shown.parts[where])
    parts[which] = change(parts[which], edits)
    lie = shown.change({where: (parts[0], parts[1], parts[2])})
    found = lie.read_all()
    if isinstance(found, Refusal):
        assert found.reason in (Reason.MALFORMED, Reason.ROOT_MISMATCH, Reason.TOO_LARGE)
        assert found.detail.isprintable()
        assert found.group == where
    else:
        assert show(found).data == lie.data


# --- in a store


def test_only_what_is_asked_for_is_read(shown: Shown) -> None:
    """An audit's ranges do not touch each other twice, and nothing else of the file matters."""
    source = MemorySource(shown.data)
    honest = shown.read(SubmissionFile(source))
    assert not isinstance(honest, Refusal)
    assert source.reads[0] == (0, get_opening_bytes(5))
    ranges = sorted(source.reads)
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))
    assert sum(end - start for start, end in ranges) < len(shown.data)
    alone = bytearray(len(shown.data))
    for start, end in ranges:
        alone[start:end] = shown.data[start:end]
    found = shown.read(bytes(alone))
    assert not isinstance(found, Refusal)
    for one, other in zip(honest, found, strict=True):
        assert (one.index, one.valued) == (other.index, other.valued)
        assert are_equal(list(one.audited.values()), list(other.audited.values()))


def test_nothing_is_read_before_it_is_asked_for(shown: Shown) -> None:
    source = MemorySource(shown.data)
    SubmissionFile(source)
    assert source.reads == []


def test_no_group_of_a_refused_file_is_read(shown: Shown) -> None:
    source = MemorySource(shown.data)
    context = replace(shown.context, window=shown.context.window + 1)
    found = replace(shown, context=context).read(SubmissionFile(source))
    expect(found, Reason.WRONG_HEADER)
    assert source.reads == [(0, get_opening_bytes(5))]


def test_missing_file(shown: Shown) -> None:
    expect(shown.read(SubmissionFile(MemorySource(None))), Reason.NOT_REVEALED, "no such file")


@pytest.mark.parametrize("left", [0, 1, HEADER_BYTES, get_opening_bytes(5), -1])
def test_file_that_is_cut_off(shown: Shown, left: int) -> None:
    found = shown.read_all(shown.data[:left] or b"\0")
    expect(found, Reason.NOT_REVEALED, "ends before byte")
    assert isinstance(found, Refusal)
    assert found.unbound


class Changing(MemorySource):
    """One that becomes another once its opening has been read."""

    def __init__(self, data: bytes, later: bytes | None) -> None:
        super().__init__(data)
        self.later = later

    def read(self, start: int, end: int) -> bytes | None:
        found = super().read(start, end)
        self.data = self.later
        return found


def test_file_that_changes_while_it_is_read(shown: Shown) -> None:
    def read(later: bytes | None) -> Any:
        return shown.read(SubmissionFile(Changing(shown.data, later)))

    expect(read(None), Reason.NOT_REVEALED, "no such file")
    expect(read(shown.data[: get_opening_bytes(5)]), Reason.NOT_REVEALED, "ends before byte")
    expect(read(bytes(len(shown.data))), Reason.ROOT_MISMATCH)
    expect(read(show(make_groups(5, longest=63)).data.ljust(1 << 16)), Reason.ROOT_MISMATCH)


def test_store_that_sends_more_than_it_was_asked_for(shown: Shown) -> None:
    class Generous(MemorySource):
        def read(self, start: int, end: int) -> bytes | None:
            return super().read(start, end + 1)

    expect(shown.read(SubmissionFile(Generous(shown.data))), Reason.NOT_REVEALED)
