"""Programs with `device = "cuda:0"`: load, generate, follow, appeal, judge in a worker.

Each also runs on the processor, with the same code, which shows that the test is right.
"""

import numpy as np
import pytest
import torch

from assay.inference import (
    DraftCount,
    follow_groups,
    generate_groups,
    load_checkpoint,
    make_placement,
)
from assay.inference.following import NEAR
from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import open_workers
from assay.protocol import Domain, hash_fields
from assay.training import GENESIS
from assay.verification import make_projection
from tests.inference.conftest import make_group_requests

TEMPERATURE = 1_024
DEVICES = [
    "cpu",
    pytest.param(
        "cuda:0",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]
each_device = pytest.mark.parametrize("device", DEVICES)
each_kind = pytest.mark.parametrize("implementation", ["fp32-sdpa", "split3"])


@pytest.fixture(scope="module")
def genesis():
    torch.set_num_threads(1)
    return load_checkpoint(GENESIS)


@pytest.fixture(scope="module")
def projection(genesis):
    return make_projection(hash_fields(Domain.PROJECTION, b"test"), genesis.manifest)


@pytest.fixture(scope="module")
def requests(genesis):
    return make_group_requests(genesis)


@pytest.fixture(scope="module")
def expected(genesis, requests, projection):
    return make(generate_groups, genesis, requests, projection)


def place(device, implementation):
    return load_checkpoint(GENESIS, placement=make_placement(device, implementation, 0.5))


def make(how, checkpoint, requests, projection, **options):
    return how(
        requests,
        checkpoint.get_drafter(TEMPERATURE),
        checkpoint.get_reference(TEMPERATURE),
        checkpoint.get_rules(TEMPERATURE),
        projection,
        DraftCount(),
        **options,
    )


def check_near(found, expected):
    """No token is another, unless both came as near as honest passes may differ by; what is claimed
    of it differs by no more than a judge allows for."""
    for group, others in zip(found, expected, strict=True):
        for rollout, other in zip(group, others, strict=True):
            assert rollout.tokens.tolist() == other.tokens.tolist()
            assert np.abs(rollout.logprobs.astype(int) - other.logprobs).max() <= 8
            assert np.abs(rollout.sketch.astype(int) - other.sketch).max() <= 1


@each_device
@each_kind
def test_groups_are_those_of_the_processor(requests, projection, expected, device, implementation):
    checkpoint = place(device, implementation)
    model = checkpoint.get_reference(TEMPERATURE).model
    assert str(model.device) == device
    check_near(make(generate_groups, checkpoint, requests, projection), expected)


@each_device
@each_kind
def test_followed_drafts_are_those_of_whole_ones(
    requests, projection, expected, device, implementation
):
    checkpoint = place(device, implementation)
    check_near(make(follow_groups, checkpoint, requests, projection), expected)
    exact = make(follow_groups, checkpoint, requests, projection, exact=True)
    whole = make(generate_groups, checkpoint, requests, projection)
    for group, others in zip(exact, whole, strict=True):
        for rollout, other in zip(group, others, strict=True):
            assert rollout.logprobs.tolist() == other.logprobs.tolist()
            assert rollout.sketch.tolist() == other.sketch.tolist()


@each_device
@each_kind
def test_an_appeal_is_heard(requests, projection, expected, device, implementation):
    checkpoint, prompt = place(device, implementation), requests[0].prompt
    tokens = [rollout.tokens for rollout in expected[0]]
    found = checkpoint.get_appeal(TEMPERATURE).measure(
        [prompt] * len(tokens), tokens, requests[0].seeds, projection
    )
    assert all(measured.margins.max() <= NEAR for measured in found)


@each_device
@each_kind
def test_a_worker_measures_what_the_program_does(
    genesis, requests, projection, expected, device, implementation
):
    tokens = [rollout.tokens for rollout in expected[0]]
    given = [requests[0].prompt] * len(tokens), tokens, requests[0].seeds, projection
    here = place(device, implementation).get_forward(TEMPERATURE).measure(*given)
    with open_workers([WorkerSettings(device, implementation, 0.5)]) as pool:
        there = pool.load(GENESIS, genesis.digest).get_forward(TEMPERATURE).measure(*given)
    for one, other in zip(here, there, strict=True):
        assert one.margins.tolist() == other.margins.tolist()
        assert one.logprobs.tolist() == other.logprobs.tolist()
        assert one.sketch.tolist() == other.sketch.tolist()
