"""The shipped model, loaded once."""

import pytest
import torch

from assay.environments import make_environment
from assay.inference import Checkpoint, GroupRequest, load_checkpoint
from assay.neurons.demo_rules import DEMO_ENVIRONMENT, DEMO_SETTINGS
from assay.protocol import Domain, hash_fields
from assay.training import GENESIS
from assay.verification import Projection, make_projection


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    torch.set_num_threads(1)
    return load_checkpoint(GENESIS)


@pytest.fixture(scope="session")
def projection(checkpoint: Checkpoint) -> Projection:
    return make_projection(hash_fields(Domain.PROJECTION, b"test"), checkpoint.manifest)


@pytest.fixture(scope="session")
def requests(checkpoint: Checkpoint) -> list[GroupRequest]:
    """Six problems of unequal prompts, four rollouts each."""
    environment = make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    requests = []
    for index in range(6):
        seed = hash_fields(Domain.PROBLEM, b"test", bytes([index]))
        problem = environment.make_problem(seed, checkpoint.manifest.levels)
        seeds = tuple(hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(4))
        requests.append(GroupRequest(tuple(checkpoint.tokenizer.encode(problem.prompt)), seeds))
    assert len({len(request.prompt) for request in requests}) > 1
    return requests
