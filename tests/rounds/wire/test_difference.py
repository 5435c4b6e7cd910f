"""Differences between a child and its parent: the part that is sent, the residual, the refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from assay.artifacts.checkpoints.tensor_delta import make_delta
from assay.artifacts.steps.folder import digest_tensors_of
from assay.protocol.encoding import EncodingError
from assay.rounds.wire import (
    DifferenceForm,
    compute_size_limit,
    decode_difference,
    difference,
    encode_difference,
    find_form_fault,
)

EXACT = DifferenceForm()
ROUNDED = DifferenceForm(bits=16, feedback=1_000_000)
SPARSE = DifferenceForm(3, 20, 2, 950_000)
FINE = DifferenceForm(3, 20, 8, 950_000)
FORMS = [EXACT, ROUNDED, SPARSE, FINE]
Masters = dict[str, torch.Tensor]


def make_pair(seed: int = 0, step: float = 1e-4) -> tuple[Masters, Masters]:
    """Masters of several shapes, and those of a child that moved every value."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"a.weight": (33, 7), "b.bias": (5,), "one": (), "none": (0, 4)}
    parent = {n: torch.randn(s, generator=random) * 0.05 for n, s in shapes.items()}
    moves = {n: torch.randn(s, generator=random) * step for n, s in shapes.items()}
    return parent, {n: t + moves[n] for n, t in parent.items()}


def are_equal(one: Masters, other: Masters) -> bool:
    """Equal bit for bit, including signs of zeros and NaN."""
    return one.keys() == other.keys() and all(
        one[n].shape == t.shape and one[n].numpy().tobytes() == t.numpy().tobytes()
        for n, t in other.items()
    )


@given(st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 2), max_size=100))
def test_an_exact_child_comes_across_bit_for_bit(pairs):
    patterns = np.array(pairs, np.uint32).reshape(-1, 2).T.copy()
    parent, child = ({"t": torch.from_numpy(p.view(np.float32))} for p in patterns)
    blobs, left = encode_difference(parent, child, EXACT, {})
    assert are_equal(decode_difference(parent, blobs, EXACT), child)
    assert left == {}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_residual_is_the_part_not_sent(form):
    parent, child = make_pair()
    blobs, left = encode_difference(parent, child, form, {})
    seen = decode_difference(parent, blobs, form)
    assert {n: t.shape for n, t in seen.items()} == {n: t.shape for n, t in parent.items()}
    if form.feedback:
        assert are_equal(left, {n: child[n] - seen[n] for n in child})
    else:
        assert are_equal(seen, child)


def test_values_unchanged_by_rounding_stay_the_same():
    """A master moves by whole steps of bf16 or not at all; its own lower bits stay."""
    parent, child = make_pair()
    seen = decode_difference(parent, encode_difference(parent, child, ROUNDED, {})[0], ROUNDED)
    for name, before in parent.items():
        old, new = before.bfloat16(), child[name].bfloat16()
        moved = old != new
        assert torch.equal(seen[name][~moved], before[~moved])
        steps = new.float() - old.float()
        assert torch.equal(seen[name][moved], (before + steps)[moved])
        assert bool(moved.any()) or before.numel() < 100


@pytest.mark.parametrize("form", [ROUNDED, SPARSE, FINE], ids=str)
def test_the_residual_is_sent_later(form):
    """A child that moves no more: with all that was left fed back, all of it is sent in the end."""
    whole = DifferenceForm(form.kept, form.chunk, form.bits, 1_000_000)
    parent, child = make_pair(step=0.1)
    before, left, rest = parent, {}, []
    for _ in range(40):
        blobs, left = encode_difference(before, child, whole, {})
        before = decode_difference(before, blobs, whole)
        rest.append(max(float(t.abs().max()) for t in left.values() if t.numel()))
    # a step of bf16 below 1/4 is 2^-10; of the sparse form each call sends a part of the largest
    assert rest[-1] <= (2**-10 if form is ROUNDED else rest[0] / 10)


def test_a_residual_is_added_by_its_share():
    parent, child = make_pair()
    _, first = encode_difference(parent, child, SPARSE, {})
    blobs, second = encode_difference(parent, child, SPARSE, first)
    share = torch.tensor(950_000.0) / torch.tensor(1_000_000.0)
    target = {n: child[n] + first[n] * share for n in child}
    expected = encode_difference(parent, target, SPARSE, {})
    assert blobs == expected[0]
    assert are_equal(second, expected[1])


@pytest.mark.parametrize("form", [ROUNDED, SPARSE], ids=str)
def test_a_restart_in_between_changes_nothing(form):
    """A residual is tensors: it is written, committed to and read as masters are."""
    parent, child = make_pair()
    later = {n: t + 1e-3 for n, t in child.items()}
    _, left = encode_difference(parent, child, form, {})
    again = load(save(left))
    assert digest_tensors_of(again.items()) == digest_tensors_of(left.items())
    one, other = (encode_difference(child, later, form, r) for r in (left, again))
    assert one[0] == other[0]
    assert are_equal(one[1], other[1])


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_threads_and_the_order_of_names_change_nothing(form):
    parent, child = make_pair()
    first = encode_difference(parent, child, form, {})[0]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        backwards = ({n: m[n] for n in sorted(m, reverse=True)} for m in (parent, child))
        assert encode_difference(*backwards, form, {})[0] == first
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_pieces_are_of_one_size(monkeypatch, form):
    monkeypatch.setattr(difference, "PIECE_BYTES", 16)
    parent, child = make_pair()
    blobs, _ = encode_difference(parent, child, form, {})
    assert {len(blob) for blob in blobs[:-1]} == {16}
    seen = decode_difference(parent, blobs, form)
    whole = b"".join(blobs)
    with pytest.raises(EncodingError, match="pieces"):
        decode_difference(parent, [whole[:3], whole[3:]], form)
    with pytest.raises(EncodingError):
        decode_difference(parent, [*blobs, b""], form)
    assert are_equal(decode_difference(parent, blobs, form), seen)


@pytest.mark.parametrize("form", FORMS, ids=str)
@given(data=st.data())
def test_garbage_is_refused_or_has_the_parents_form(form, data):
    parent, child = make_pair()
    good = b"".join(encode_difference(parent, child, form, {})[0])
    mutant = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(mutant[: data.draw(st.integers(0, len(mutant)))])
    for attempt in (bytes(mutant), cut, bytes(mutant) + b"x"):
        try:
            seen = decode_difference(parent, [attempt], form)
        except EncodingError:
            continue
        assert {n: t.shape for n, t in seen.items()} == {n: t.shape for n, t in parent.items()}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_nothing_may_follow_or_lack(form):
    parent, child = make_pair()
    good = b"".join(encode_difference(parent, child, form, {})[0])
    for bad in (good + b"\0", good[:-1], good * 2, b""):
        with pytest.raises(EncodingError):
            decode_difference(parent, [bad], form)
    with pytest.raises(EncodingError):
        decode_difference(parent, [], form)


@pytest.mark.parametrize("form", [ROUNDED, SPARSE, FINE], ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_only_the_exact_form_sends_values_that_are_not_finite(form, bad):
    """Sums with NaN have other bits on other machines."""
    parent, child = make_pair()
    child["one"] = torch.tensor(bad)
    with pytest.raises(ValueError, match="number"):
        encode_difference(parent, child, form, {})


def test_a_stranger_who_says_that_a_master_is_infinite_is_refused():
    parent = {"t": torch.zeros(3)}
    old, new = (np.array(p, np.uint16) for p in ([0, 0, 0], [0, 0x7F80, 0]))
    delta = make_delta(memoryview(old.tobytes()), memoryview(new.tobytes()), None)
    assert delta is not None
    with pytest.raises(EncodingError, match="finite"):
        decode_difference(parent, [delta], ROUNDED)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_sizes_are_bounded_before_anything_is_read(form):
    """Whatever changed: patterns that no compressor makes smaller."""
    noise = np.random.default_rng(0).integers(0, 1 << 30, (2, 70_001), np.uint32)
    parent, child = ({"t": torch.from_numpy(p.view(np.float32))} for p in noise)
    limit = compute_size_limit(parent, form)
    size = sum(map(len, encode_difference(parent, child, form, {})[0]))
    assert size == limit if form.kept else size <= limit
    with pytest.raises(EncodingError, match="asks for"):
        decode_difference(parent, [bytes(limit + 1)], form)


def test_nothing_to_tell_is_told_in_nothing():
    assert decode_difference({}, encode_difference({}, {}, SPARSE, {})[0], SPARSE) == {}


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (DifferenceForm(0, 4_096, 0, 0), "no chunks"),
        (DifferenceForm(0, 0, 8, 0), "no chunks"),
        (DifferenceForm(0, 0, 0, 1), "fed back"),
        (DifferenceForm(65, 64, 2, 0), "between 1 and chunk"),
        (DifferenceForm(1, (1 << 20) + 1, 2, 0), "between 1 and chunk"),
        (DifferenceForm(64, 4_096, 1, 0), "2 to 8 bits"),
        (DifferenceForm(64, 4_096, 9, 0), "2 to 8 bits"),
        (DifferenceForm(64, 4_096, 2, 1_000_001), "the whole"),
    ],
)
def test_forms_that_are_none(form, why):
    assert why in (find_form_fault(form) or "")
    with pytest.raises(ValueError, match=why):
        encode_difference({}, {}, form, {})


def test_tensors_that_do_not_fit_are_our_own_fault():
    parent, child = make_pair()
    with pytest.raises(ValueError, match="different names"):
        encode_difference(parent, child | {"more": torch.zeros(1)}, EXACT, {})
    with pytest.raises(ValueError, match="different sizes"):
        encode_difference(parent, child | {"one": torch.zeros(2)}, EXACT, {})
    with pytest.raises(ValueError, match="float32"):
        encode_difference(parent, child | {"one": torch.tensor(1.0).double()}, EXACT, {})
