"""A lack of memory at any allocation: the results are the same, only later."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from assay.inference.checkpoint import load_checkpoint
from assay.inference.draft import Request
from assay.inference.folder import CheckpointError
from assay.inference.generate import GroupRequest, generate_groups
from assay.inference.placing.devices import DeviceError
from assay.inference.placing.model_sizes import MemoryPlan
from assay.training import GENESIS

#: One in this many operations is made to fail: in each run of the tests, and at night. The numbers
#: are primes, so that each kind of operation has its turn.
STEP, NIGHTLY_STEP = 6_007, 29


class Scarce(TorchDispatchMode):
    """Lets one operation, or all from one on, find no memory. Views and writes in place need none,
    but are counted.

    Attributes:
        count: operations so far.
    """

    def __init__(self, first: int, last: int | None = None) -> None:
        super().__init__()
        self.count = 0
        self._failing = range(first, first + 1 if last is None else last)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        if self.count - 1 in self._failing:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return function(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def work(checkpoint, requests, projection):
    """Two groups, as a miner makes them, and how many operations that takes."""
    groups = [GroupRequest(g.prompt, g.seeds[:3]) for g in requests[:2]]

    def make():
        drafter, reference = checkpoint.get_drafter(1_024), checkpoint.get_reference(1_024)
        rules = checkpoint.get_rules(1_024)
        return generate_groups(groups, drafter, reference, rules, projection)

    with Scarce(-1) as counting:
        whole = make()
    return make, whole, counting.count


def require_same(found, whole):
    for one, other in zip(found, whole, strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.tokens, b.tokens)
            assert np.abs(a.logprobs.astype(int) - b.logprobs.astype(int)).max() <= 1
            assert np.abs(a.sketch.astype(int) - b.sketch.astype(int)).max() <= 1


def test_a_group_is_made_though_memory_lacks_once(work, checkpoint):
    make, whole, count = work
    for moment in range(0, count, STEP):
        with Scarce(moment) as scarce:
            found = make()
        assert scarce.count > moment
        require_same(found, whole)
        checkpoint.budget.plan = MemoryPlan()


@pytest.mark.nightly
def test_a_group_is_made_though_memory_lacks_at_any_allocation(work, checkpoint):
    make, whole, count = work
    for moment in range(0, count, NIGHTLY_STEP):
        with Scarce(moment):
            found = make()
        require_same(found, whole)
        checkpoint.budget.plan = MemoryPlan()


def test_batches_are_halved_after_a_lack_of_memory(checkpoint, requests, projection):
    request = requests[0]
    checkpoint.budget.plan = MemoryPlan()
    reference = checkpoint.get_reference(1_024)
    with Scarce(9):
        reference.measure([request.prompt], [np.array([5])], [bytes(32)], projection)
    assert checkpoint.budget.plan == MemoryPlan().halve(MemoryPlan(1, 1))
    assert checkpoint.get_reference(1_024).budget is reference.budget
    checkpoint.budget.plan = MemoryPlan()


def test_one_row_that_does_not_fit_is_named(checkpoint, requests, projection):
    request = requests[0]
    reference = checkpoint.get_reference(1_024)
    checkpoint.budget.plan = MemoryPlan(4, 4)
    with (
        Scarce(0, 1 << 40),
        pytest.raises(DeviceError, match="cpu has not enough memory for 1 completions"),
    ):
        reference.measure([request.prompt], [np.array([5])], [bytes(32)], projection)
    drafter = checkpoint.get_drafter(1_024)
    with (
        Scarce(0, 1 << 40),
        pytest.raises(DeviceError, match=r"for a completion of up to .* one row at a time"),
    ):
        drafter.draft([Request(request.prompt, bytes(32))])
    checkpoint.budget.plan = MemoryPlan()


def test_a_model_that_does_not_fit_is_our_lack_and_not_the_checkpoints():
    """Else a validator short of memory would call its windows void."""
    with Scarce(-1) as counting:
        load_checkpoint(GENESIS)
    for moment in (0, 1, counting.count // 2, counting.count - 1):
        with Scarce(moment), pytest.raises(CheckpointError, match="not enough memory for") as found:
            load_checkpoint(GENESIS)
        assert type(found.value) is CheckpointError
