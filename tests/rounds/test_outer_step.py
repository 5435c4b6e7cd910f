"""The outer step: its own arithmetic a second time, by Python's fractions and by torch."""

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.rounds.outer_step import (
    OuterState,
    begin_outer,
    compute_outer_root,
    is_finite,
    is_within_bound,
    round_masters,
    step_outwards,
)
from tests.rounds.round_rules import RULES

FLOATS = st.floats(-4, 4, width=32)


def round_to_single(value: Fraction) -> Fraction:
    """To nearest even, by search over single floats: no arithmetic of a library."""
    near = np.float32(float(value))
    beside = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    best = min(abs(Fraction(float(one)) - value) for one in beside)
    tied = [one for one in beside if abs(Fraction(float(one)) - value) == best]
    even = [one for one in tied if not struct.unpack("<I", struct.pack("<f", one))[0] & 1]
    return Fraction(float((even or tied)[0]))


def step_by_hand(theta, velocity, children):
    r = round_to_single
    rate, momentum = (r(Fraction(p, 10**6)) for p in (RULES.rate, RULES.momentum))
    total = r(children[0] - theta)
    for child in children[1:]:
        total = r(total + r(child - theta))
    mean = r(total / len(children))
    speed = r(r(velocity * momentum) + mean)
    return r(theta + r(r(r(speed * momentum) + mean) * rate)), speed


@settings(max_examples=200, deadline=None)
@given(FLOATS, FLOATS, st.lists(FLOATS, min_size=1, max_size=5))
def test_one_rounded_operation_after_another(theta, velocity, children):
    state = OuterState({"w": torch.tensor([theta])}, {"w": torch.tensor([velocity])})
    after = step_outwards(state, [{"w": torch.tensor([child])} for child in children], RULES)
    expected = step_by_hand(Fraction(theta), Fraction(velocity), list(map(Fraction, children)))
    found = after.masters["w"].item(), after.velocity["w"].item()
    assert tuple(map(Fraction, found)) == expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1,), (7, 13), (1_000, 33)])
def test_sizes_and_threads_change_no_bit(shape, threads):
    """Vector units take the ends of an array one by one: the same bits, as torch's own."""
    generator = torch.Generator().manual_seed(7)
    theta, velocity, *children = torch.randn(4, *shape, generator=generator)
    torch.set_num_threads(threads)
    after = step_outwards(
        OuterState({"w": theta}, {"w": velocity}), [{"w": child} for child in children], RULES
    )
    million = torch.tensor(1e6)
    rate, momentum = torch.tensor(float(RULES.rate)), torch.tensor(float(RULES.momentum))
    rate, momentum = rate / million, momentum / million
    mean = ((children[0] - theta) + (children[1] - theta)) / 2
    speed = velocity * momentum + mean
    assert torch.equal(after.velocity["w"], speed)
    assert torch.equal(after.masters["w"], theta + (speed * momentum + mean) * rate)


def test_a_round_without_a_child_leaves_all_as_it_is():
    state = begin_outer({"w": torch.randn(9).bfloat16()})
    assert compute_outer_root(step_outwards(state, [], RULES)) == compute_outer_root(state)


def test_at_rest_a_checkpoint_rounds_to_itself():
    weights = {"a": torch.randn(9).bfloat16(), "b": torch.randn(2, 3).bfloat16()}
    rounded = round_masters(begin_outer(weights).masters)
    assert all(torch.equal(rounded[name], weight) for name, weight in weights.items())


def test_the_state_is_written_and_read():
    state = begin_outer({"a": torch.randn(9).bfloat16()})
    again = OuterState.from_tensors(state.to_tensors())
    assert compute_outer_root(again) == compute_outer_root(state)
    for strange in (
        {"master.a": torch.zeros(1)},
        {**state.to_tensors(), "velocity.a": torch.zeros(8)},
        {**state.to_tensors(), "more": torch.zeros(8)},
        {n: t.double() for n, t in state.to_tensors().items()},
    ):
        with pytest.raises(ValueError, match=r"outer state|one form"):
            OuterState.from_tensors(strange)


@settings(max_examples=200, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40), st.integers(1, 1 << 26))
def test_the_norm_is_exact(values, bound):
    """Against Python's integers, whatever the order of a library's sums."""
    there = torch.tensor(values)
    parts = [abs(Fraction(value)) for value in there.tolist()]
    whole = sum(math.floor(part * 2**30) ** 2 for part in parts)
    expected = whole <= (bound << 10) ** 2
    assert is_within_bound({"w": there}, {"w": torch.zeros_like(there)}, bound) == expected


def test_differences_beyond_every_bound():
    for value in (2.0**10, 3e38, math.inf, math.nan):
        there = {"w": torch.tensor([0.0, value])}
        assert not is_within_bound(there, {"w": torch.zeros(2)}, 1 << 30)
    large = {"w": torch.full((3 << 20,), 2.0**-11)}  # several chunks
    zeros = {"w": torch.zeros(3 << 20)}
    norm = math.sqrt(3 << 20) * 2.0**-11
    assert is_within_bound(large, zeros, math.ceil(norm * 2**20))
    assert not is_within_bound(large, zeros, math.floor(norm * 2**20))


def test_numbers_that_are_none():
    assert is_finite({"w": torch.tensor([1.0])})
    for value in (math.inf, -math.inf, math.nan):
        assert not is_finite({"v": torch.zeros(2), "w": torch.tensor([1.0, value])})
