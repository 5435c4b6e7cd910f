"""Episodes while they are generated. A world sees a turn only once the reference has confirmed it,
so no state of a world is ever taken back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.environments.base import Environment, Problem
from assay.inference.checkpoint import Outline
from assay.protocol.parameters import Work
from assay.verification import Tokenizer
from assay.verification.episodes import (
    Episode,
    EpisodeRules,
    begin_episode,
    make_episode_rules,
    replay,
)


@dataclass(frozen=True, slots=True)
class Play:
    """An episode so far, and all that its next turn needs: a value.

    Attributes:
        environment: whose worlds `run_all` may step together.
    """

    episode: Episode
    rules: EpisodeRules
    tokenizer: Tokenizer
    environment: Environment

    def take_turn(self, turn: Sequence[int]) -> "Play":
        """See `Episode.take_turn`."""
        return replace(self, episode=self.episode.take_turn(turn, self.rules, self.tokenizer))

    def replay(self, tokens: Sequence[int]) -> Episode:
        """See `episodes.replay`. The episode is one before its first turn."""
        return replay(self.episode, tokens, self.rules, self.tokenizer)


def begin_play(
    environment: Environment, problem: Problem, prompt_tokens: int, work: Work, outline: Outline
) -> Play | None:
    """The episode of a problem before its first turn; None: networks of these parameters have
    rollouts of one turn, and no world is asked."""
    if work.turns == 1:
        return None
    return Play(
        begin_episode(environment, problem, prompt_tokens),
        make_episode_rules(work, outline.manifest),
        outline.tokenizer,
        environment,
    )
