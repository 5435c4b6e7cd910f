"""Deltas between tensors of bf16: exact, small, and of no use to a liar."""

import io
import struct
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.checkpoints import tensor_delta
from assay.artifacts.checkpoints.tensor_delta import apply_delta, make_delta
from assay.protocol.encoding import EncodingError


def apply(parent: bytes, delta: bytes) -> bytes:
    parts = apply_delta(len(parent), io.BytesIO(parent).read, io.BytesIO(delta).read)
    return b"".join(parts)


def make(parent: bytes, child: bytes) -> bytes:
    delta = make_delta(memoryview(parent), memoryview(child), 10 * len(child) + 1_000)
    assert delta is not None
    return delta


def make_step(size: int, share: float) -> tuple[bytes, bytes]:
    """A tensor, and the same with a share of its values moved by one unit in the last place."""
    random = np.random.default_rng(size)
    before = random.integers(0, 1 << 16, size, dtype=np.uint16)
    moved = random.random(size) < share
    after = before + moved * random.choice(np.array([1, 0xFFFF], np.uint16), size)
    return before.tobytes(), after.astype(np.uint16).tobytes()


@given(st.lists(st.tuples(st.integers(0, 65_535), st.integers(0, 65_535)), max_size=300))
def test_any_change_is_exact(pairs):
    """Signs, infinities and NaN included: the delta knows bits, not values."""
    parent, child = np.array(pairs, np.uint16).reshape(-1, 2).T
    parent, child = parent.tobytes(), child.tobytes()
    assert apply(parent, make(parent, child)) == child


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1_000, 4_097])
@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
def test_blocks_of_any_size(monkeypatch, size, share):
    monkeypatch.setattr(tensor_delta, "BLOCK_BYTES", 2_048)
    parent, child = make_step(size, share)
    assert apply(parent, make(parent, child)) == child


@pytest.mark.parametrize(("share", "bound"), [(0.0, 0.001), (0.01, 0.01), (0.05, 0.033)])
def test_a_small_change_has_a_small_delta(share, bound):
    """Against the entropy of which values moved and whither: 0.6 % and 2.1 % of the tensor."""
    parent, child = make_step(1 << 20, share)
    assert len(make(parent, child)) <= bound * len(child)


def test_a_delta_that_is_not_worth_it_is_none():
    parent, child = (np.random.default_rng(n).bytes(1 << 16) for n in (1, 2))
    assert make_delta(memoryview(parent), memoryview(child), len(child) // 2) is None


@pytest.mark.parametrize(("parent", "child"), [(b"ab", b"abcd"), (b"abc", b"abd")])
def test_tensors_of_other_sizes_have_no_delta(parent, child):
    with pytest.raises(ValueError, match="of one size"):
        make_delta(memoryview(parent), memoryview(child), 100)


PARENT, CHILD = make_step(5_000, 0.1)
DELTA = make(PARENT, CHILD)


@given(st.data())
def test_garbage_is_refused_or_has_the_tensors_size(data):
    """No other error is raised; a digest judges the result."""
    mutant = bytearray(DELTA)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutant) - 1))
        mutant[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(mutant)))
    for delta in (bytes(mutant), bytes(mutant[:cut]), bytes(mutant) + b"x"):
        with suppress(EncodingError):
            assert len(apply(PARENT, delta)) == len(CHILD)


def pack(*parts: bytes) -> bytes:
    return struct.pack("<3I", *map(len, parts)) + b"".join(parts)


def compress(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def test_a_bomb_does_not_go_off():
    """A gigabyte of zeros in 30 kB, in each place: sizes are known before anything grows."""
    bomb = compress(bytes(1 << 30))
    mask, plane = compress(bytes(625)), compress(b"")
    before = pa.default_memory_pool().max_memory()
    for parts in ((bomb, plane, plane), (mask, bomb, plane), (mask, plane, bomb)):
        with pytest.raises(EncodingError):
            apply(bytes(10_000), pack(*parts))
    assert pa.default_memory_pool().max_memory() < before + (1 << 20)


def test_lengths_beyond_any_use_are_not_read():
    taken = []

    def take(count: int) -> bytes:
        taken.append(count)
        return b"\xff" * count

    with pytest.raises(EncodingError, match="takes"):
        list(apply_delta(10_000, io.BytesIO(bytes(10_000)).read, take))
    assert taken == [12]


@pytest.mark.parametrize(
    ("delta", "why"),
    [
        (DELTA[:-1], "cut off"),
        (DELTA + b"\0", "after its end"),
        (DELTA * 2, "after its end"),
        (b"", "cut off"),
    ],
)
def test_faults_are_named(delta, why):
    with pytest.raises(EncodingError, match=why):
        apply(PARENT, delta)


def test_a_bit_beyond_the_last_value_is_refused():
    delta = pack(compress(b"\x01"), compress(b"\x02"), compress(b"\x00"))
    with pytest.raises(EncodingError, match="that there is not"):
        apply(bytes(2 * 7), delta)


def test_a_value_that_is_marked_and_did_not_change_is_refused():
    delta = pack(compress(b"\xc0"), compress(b"\x02\x00"), compress(b"\x00\x00"))
    with pytest.raises(EncodingError, match="that did not"):
        apply(bytes(2 * 7), delta)


def test_a_parent_that_is_too_short():
    with pytest.raises(EncodingError, match="shorter"):
        list(apply_delta(len(PARENT), io.BytesIO(PARENT[:-2]).read, io.BytesIO(DELTA).read))
