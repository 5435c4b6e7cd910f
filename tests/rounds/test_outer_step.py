"""The outer step: its own arithmetic a second time, by Python's fractions and by torch."""

import math
from fractions import Fraction
from functools import partial

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from assay.rounds import agreement
from assay.rounds.outer_step import (
    OuterState,
    begin_outer,
    compute_outer_root,
    is_finite,
    is_within_bound,
    measure_square,
    round_masters,
    step_outwards,
    weigh_children,
)
from tests.rounds.outer_by_hand import step_by_hand
from tests.rounds.round_rules import RULES

FLOATS = st.floats(-4, 4, width=32)


ROWS = st.tuples(FLOATS, FLOATS, FLOATS)


@given(ROWS, ROWS, st.lists(ROWS, min_size=1, max_size=5))
def test_one_rounded_operation_after_another(theta, velocity, children):
    state = OuterState({"w": torch.tensor(theta)}, {"w": torch.tensor(velocity)})
    masters = [{"w": torch.tensor(child)} for child in children]
    assume(all(measure_square(child, state.masters) for child in masters))
    after = step_outwards(state, masters, RULES)
    to_fractions = partial(map, Fraction)
    expected = step_by_hand(
        RULES,
        *(list(to_fractions(row)) for row in (theta, velocity)),
        [list(to_fractions(child)) for child in children],
    )
    found = zip(after.masters["w"].tolist(), after.velocity["w"].tolist(), strict=True)
    assert [tuple(to_fractions(pair)) for pair in found] == expected


@pytest.mark.parametrize(
    ("third", "factors"),
    [((-300, 0), [1 << 23, 1 << 23, 0]), ((1, 3), [(1 << 24) // 3] * 3)],
    ids=("leads_back", "agrees_in_part"),
)
def test_the_formulas_example(third, factors):
    """As the module's page tells it."""
    theta = {"w": torch.zeros(2)}
    children = [{"w": torch.tensor(one).float()} for one in ((3, 1), (3, -1), third)]
    assert weigh_children(theta, children) == factors
    assert "d_1 = (3, 1), d_2 = (3, −1)" in agreement.__doc__


@pytest.fixture
def _same_threads_afterwards():
    """Two threads on the processors of several test workers wait in vain for each other."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_same_threads_afterwards")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1,), (7, 13), (1_100, 1_000)])
def test_sizes_and_threads_change_no_bit(shape, threads):
    """Vector units take the ends of an array one by one, and a large tensor is taken in parts: the
    same bits, as torch's own."""
    generator = torch.Generator().manual_seed(7)
    theta, velocity, *children = torch.randn(4, *shape, generator=generator)
    torch.set_num_threads(threads)
    state, masters = OuterState({"w": theta}, {"w": velocity}), [{"w": c} for c in children]
    after = step_outwards(state, masters, RULES)
    million = torch.tensor(1e6)
    rate, momentum = torch.tensor(float(RULES.rate)), torch.tensor(float(RULES.momentum))
    rate, momentum = rate / million, momentum / million
    factors = [torch.tensor(f / 2**24) for f in weigh_children(state.masters, masters)]
    mean = (children[0] - theta) * factors[0] + (children[1] - theta) * factors[1]
    speed = velocity * momentum + mean
    assert torch.equal(after.velocity["w"], speed)
    assert torch.equal(after.masters["w"], theta + (speed * momentum + mean) * rate)


def weigh(*rows):
    """Shares of children of one tensor each."""
    theta = {"w": torch.zeros(len(rows[0]))}
    return [f / 2**24 for f in weigh_children(theta, [{"w": torch.tensor(row)} for row in rows])]


def test_children_of_one_mind_count_alike():
    assert weigh((1.0, 2.0)) == [1.0]
    assert weigh((1.0, 2.0), (1.0, 2.0), (1.0, 2.0)) == pytest.approx([1 / 3] * 3, abs=1e-5)
    assert weigh((1.0, 0.0), (0.0, 1.0)) == [0.5, 0.5]
    assert weigh((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)) == pytest.approx(
        [1 / 3] * 3, abs=1e-6
    )


@pytest.mark.parametrize("length", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_child_that_leads_elsewhere_counts_nothing(place, length):
    """Whatever its length is, and wherever it comes in order: back, or where no other leads."""
    for row in ((-3.0, -3.0, 0.0), (0.0, 0.0, 3.0)):
        rows = [(3.0, 1.0, 0.0), (1.0, 3.0, 0.0)]
        rows.insert(place, tuple(length * value for value in row))
        shares = weigh(*rows)
        assert shares.pop(place) == 0
        assert shares == pytest.approx([0.5, 0.5], abs=1e-6)


def test_a_long_child_is_shortened_and_a_short_one_counts_less():
    long = weigh((1.0, 1.0), (1.0, 1.0), (50.0, 50.0))
    assert long == pytest.approx([1 / 3, 1 / 3, 2 / 50 / 3], abs=1e-5)
    short = weigh((1.0, 1.0), (1.0, 1.0), (0.1, 0.1))
    assert short == pytest.approx([1 / 2.2, 1 / 2.2, 0.2 / 2.2], abs=1e-5)
    assert weigh((1.0, 1.0), (1.9, 1.9), (0.6, 0.6)) == pytest.approx([1 / 3] * 3, abs=1e-6)
    of_two = weigh((1.0, 1.0), (50.0, 50.0))  # which of them lies nobody knows
    assert of_two == pytest.approx([0.5, 2 / 50 / 2], abs=1e-5)


def test_a_minority_that_agrees_with_itself_counts_nothing():
    honest = [(3.0, 1.0, 1.0, 0.0), (1.0, 3.0, 1.0, 0.0), (1.0, 1.0, 3.0, 0.0)]
    assert weigh(*honest, (0.0, 0.0, 0.0, 5.0), (0.0, 0.0, 0.0, 4.0))[3:] == [0.0, 0.0]


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


@given(st.lists(FLOATS, min_size=1, max_size=40), st.integers(1, 1 << 26))
def test_the_norm_is_exact(values, bound):
    """Against Python's integers, whatever the order of a library's sums."""
    there = torch.tensor(values)
    parts = [abs(Fraction(value)) for value in there.tolist()]
    whole = sum(math.floor(part * 2**30) ** 2 for part in parts)
    assert measure_square({"w": there}, {"w": torch.zeros_like(there)}) == whole
    assert is_within_bound(whole, bound) == (whole <= (bound << 10) ** 2)


def test_differences_beyond_every_bound():
    for value in (2.0**10, 3e38, math.inf, math.nan):
        there = {"w": torch.tensor([0.0, value])}
        assert measure_square(there, {"w": torch.zeros(2)}) is None
    large = {"w": torch.full((3 << 20,), 2.0**-11)}  # several chunks
    square = measure_square(large, {"w": torch.zeros(3 << 20)})
    norm = math.sqrt(3 << 20) * 2.0**-11
    assert is_within_bound(square, math.ceil(norm * 2**20))
    assert not is_within_bound(square, math.floor(norm * 2**20))


def test_numbers_that_are_none():
    assert is_finite({"w": torch.tensor([1.0])})
    for value in (math.inf, -math.inf, math.nan):
        assert not is_finite({"v": torch.zeros(2), "w": torch.tensor([1.0, value])})
