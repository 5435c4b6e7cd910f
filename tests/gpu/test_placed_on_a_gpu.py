"""Programs with `device = "cuda:0"`: load, generate, follow, appeal, judge in a worker. Rollouts
of one turn, and episodes.

Each also runs on the processor, with the same code, which shows that the test is right.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.environments.registry import make_environment
from assay.inference.checkpoint import load_checkpoint
from assay.inference.following import NEAR
from assay.inference.generate import DraftCount, follow_groups, generate_groups, make_group_request
from assay.inference.placement import make_placement
from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import open_workers
from assay.protocol.hashing import Domain, hash_fields
from assay.subnet.presets import DEMO_WORK
from assay.training import GENESIS
from assay.verification import make_projection
from tests.inference.conftest import make_group_requests

TEMPERATURE = 1_024
#: Of `guess`, whose replies have about as many tokens as the model's turns.
EPISODES_WORK = replace(
    DEMO_WORK, max_tokens=32, turns=4, context=256, reply_bytes=64, paid_reply=4_000
)
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


@pytest.fixture(scope="module", params=["one turn", "episodes"])
def requests(genesis, request):
    if request.param == "one turn":
        return make_group_requests(genesis)
    return make_episode_requests(genesis)


def make_episode_requests(genesis):
    """Six problems of `guess`, four episodes each."""
    environment, requests = make_environment("guess", {}), []
    for index in range(6):
        seed = hash_fields(Domain.PROBLEM, b"test", bytes([index]))
        problem = environment.make_problem(seed, [1])
        seeds = tuple(hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(4))
        requests.append(make_group_request(environment, problem, seeds, EPISODES_WORK, genesis))
    return requests


def read_first_group(requests, expected):
    """What a judge gives a pass to read: prompts, own tokens, seeds and what worlds replied."""
    request, tokens = requests[0], [rollout.tokens for rollout in expected[0]]
    play = request.play
    replies = None if play is None else [play.replay(own.tolist()).replies for own in tokens]
    if replies is not None:
        assert any(replies)
    return [request.prompt] * len(tokens), tokens, request.seeds, replies


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
    # an episode was read turn by turn as well, in other packs
    off = 0 if requests[0].play is None else 1
    for group, others in zip(exact, whole, strict=True):
        for rollout, other in zip(group, others, strict=True):
            assert np.abs(rollout.logprobs.astype(int) - other.logprobs).max() <= off
            assert rollout.sketch.tolist() == other.sketch.tolist()


@each_device
@each_kind
def test_an_appeal_is_heard(requests, projection, expected, device, implementation):
    checkpoint = place(device, implementation)
    *given, replies = read_first_group(requests, expected)
    found = checkpoint.get_appeal(TEMPERATURE).measure(*given, projection, replies)
    assert all(measured.margins.max() <= NEAR for measured in found)


@each_device
@each_kind
def test_a_worker_measures_what_the_program_does(
    genesis, requests, projection, expected, device, implementation
):
    *given, replies = read_first_group(requests, expected)
    given = *given, projection, replies
    here = place(device, implementation).get_forward(TEMPERATURE).measure(*given)
    with open_workers([WorkerSettings(device, implementation, 0.5)]) as pool:
        there = pool.load(GENESIS, genesis.digest).get_forward(TEMPERATURE).measure(*given)
    for one, other in zip(here, there, strict=True):
        assert one.margins.tolist() == other.margins.tolist()
        assert one.logprobs.tolist() == other.logprobs.tolist()
        assert one.sketch.tolist() == other.sketch.tolist()
