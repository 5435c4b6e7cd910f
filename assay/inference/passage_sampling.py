"""Draws the calibration set of a checkpoint."""

from collections.abc import Callable, Sequence

from assay.environments.base import Conversation, Environment, Problem
from assay.inference.draft import OwnDrafter
from assay.inference.passages import Passage
from assay.inference.sampled_episodes import sample_episodes
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Work
from assay.verification import Tokenizer

#: A problem, the ids of its prompt, and a 32-byte seed to draw with.
Asked = tuple[Problem, tuple[int, ...], bytes]


def ask_problems(
    encode: Callable[[Conversation], list[int]],
    environment: Environment,
    levels: Sequence[int],
    problems: int,
) -> list[Asked]:
    """The problems of a calibration set; the same for everyone.

    The seeds use their own domain, so they differ from every window's.

    Args:
        encode: the tokenizer's. It raises a ValueError at a prompt that it cannot encode.
    """
    asked = []
    for number in range(problems):
        seed = hash_fields(
            Domain.CALIBRATION_PROBLEM, environment.digest, number.to_bytes(4, "big")
        )
        problem = environment.make_problem(seed, levels)
        asked.append((problem, tuple(encode(problem.conversation)), seed))
    return asked


def sample_passages(
    drafter: OwnDrafter,
    tokenizer: Tokenizer,
    environment: Environment,
    asked: Sequence[Asked],
    work: Work,
) -> list[Passage]:
    """One sampled rollout of each problem. `work`: see `sample_episodes`."""
    played = sample_episodes(drafter, tokenizer, environment, asked, work)
    return [Passage(one.prompt, one.tokens, one.episode.replies) for one in played]
