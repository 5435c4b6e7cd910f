"""Groups drawn as a miner draws and measured as a validator measures, without miner and validator:
for `evidence_run.py` and `swarm.py`."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from assay.environments.base import Environment, Problem
from assay.environments.rewards import choose_rewards, compute_reward
from assay.inference.checkpoint import Checkpoint
from assay.inference.generate import GroupRequest, generate_groups
from assay.inference.implementations import DEFAULT_IMPLEMENTATION, make_model
from assay.inference.reference import Reference
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.submission import LOGPROB_BITS
from assay.training import Group
from assay.verification import make_projection


def draw_groups(
    checkpoint: Checkpoint,
    model: PreTrainedModel,
    environment: Environment,
    problems: Sequence[Problem],
    rollouts: int,
    place: bytes,
    temperature: int,
) -> list[Group]:
    """A group for each problem.

    Args:
        checkpoint: gives the tokenizer and the rules.
        model: samples, with weights rounded to bf16.
        rollouts: number of rollouts in a group.
        place: 32 bytes that determine all draws.
        temperature: in units of 1/1,024.
    """
    places = [number.to_bytes(4, "big") for number in range(max(len(problems), rollouts))]
    requests = [
        GroupRequest(
            tuple(checkpoint.tokenizer.encode(problem.conversation)),
            tuple(
                hash_fields(Domain.HELD_OUT, place, places[i], places[r]) for r in range(rollouts)
            ),
        )
        for i, problem in enumerate(problems)
    ]
    drawn = generate_groups(
        requests,
        checkpoint.get_drafter(temperature, model),
        Reference(
            make_model(model, DEFAULT_IMPLEMENTATION),
            checkpoint.tokenizer.drawable,
            temperature,
            checkpoint.budget,
        ),
        checkpoint.get_rules(temperature),
        make_projection(place, checkpoint.manifest),
    )
    groups = []
    for problem, request, own in zip(problems, requests, drawn, strict=True):
        completions = [rollout.tokens.tolist() for rollout in own]
        scores = [
            environment.score(problem, checkpoint.tokenizer.decode(tokens))
            for tokens in completions
        ]
        paid = choose_rewards(environment.rated)
        rewards = [compute_reward(score, 0, paid, 1) for score in scores]
        logprobs = [(rollout.logprobs / -(1 << LOGPROB_BITS)).tolist() for rollout in own]
        groups.append(Group(list(request.prompt), completions, rewards, logprobs))
    return groups
