"""Inputs that several scripts measure on: the demo's model, its problems, a group of them."""

from assay.environments import make_environment
from assay.inference import Checkpoint, GroupRequest, load_checkpoint
from assay.neurons.demo_rules import DEMO_ENVIRONMENT, DEMO_SETTINGS
from assay.protocol import Domain, hash_fields
from assay.training import GENESIS
from assay.verification import Projection, make_projection


def load_genesis() -> Checkpoint:
    """The model that the demo starts from."""
    return load_checkpoint(GENESIS)


def make_requests(
    checkpoint: Checkpoint, groups: int, rollouts: int, salt: bytes = b""
) -> list[GroupRequest]:
    """Problems at the checkpoint's levels; another salt is another set of them."""
    environment = make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    requests = []
    for group in range(groups):
        seed = hash_fields(Domain.PROBLEM, b"bench", salt, group.to_bytes(4, "big"))
        problem = environment.make_problem(seed, checkpoint.manifest.levels)
        seeds = tuple(hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(rollouts))
        requests.append(GroupRequest(tuple(checkpoint.tokenizer.encode(problem.prompt)), seeds))
    return requests


def make_any_projection(checkpoint: Checkpoint) -> Projection:
    """A projection as a window would have it."""
    return make_projection(hash_fields(Domain.PROJECTION, b"bench"), checkpoint.manifest)
