"""Episodes as a model draws them for itself: each turn is its draft, which no reference confirms.
For held-out problems and calibration sets, for which nobody is paid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from assay.environments.base import Environment, Problem
from assay.environments.scoring import run_all
from assay.inference.draft import OwnDrafter, Request
from assay.protocol.episode import weave
from assay.protocol.parameters import Work
from assay.verification import Tokenizer
from assay.verification.episodes import Episode, EpisodeRules, begin_episode


@dataclass(frozen=True, slots=True)
class SampledEpisode:
    """An episode so far. `tokens` are its own."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    episode: Episode

    def ask(self, seed: bytes) -> Request:
        """The request for its next turn."""
        sequence, _ = weave(self.tokens, self.episode.replies)
        return Request((*self.prompt, *sequence), seed, at=len(self.tokens))


def sample_episodes(
    drafter: OwnDrafter,
    tokenizer: Tokenizer,
    environment: Environment,
    asked: Sequence[tuple[Problem, tuple[int, ...], bytes]],
    work: Work,
) -> list[SampledEpisode]:
    """Play one episode of each problem to its end.

    Args:
        drafter: its rules say which tokens end a turn, and how many a rollout has at most.
        asked: problems, the ids of their prompts, and 32-byte seeds to draw with.
        work: says how many turns there are, and how long replies and sequences may be.
    """
    ends, most = frozenset(drafter.rules.end_tokens), drafter.rules.max_tokens
    rules = EpisodeRules(work.turns, work.context, work.reply_bytes, most, ends)
    played = [
        SampledEpisode(prompt, (), begin_episode(environment, problem, len(prompt)))
        for problem, prompt, _ in asked
    ]
    flying = list(range(len(played)))
    while flying:
        turns = drafter.draft([played[i].ask(asked[i][2]) for i in flying])
        steps = [
            partial(played[i].episode.take_turn, turn, rules, tokenizer)
            for i, turn in zip(flying, turns, strict=True)
        ]
        for i, turn, after in zip(flying, turns, run_all(environment, steps), strict=True):
            before = played[i]
            played[i] = SampledEpisode(before.prompt, before.tokens + turn, after)
        flying = [i for i in flying if played[i].episode.end is None]
    return played
