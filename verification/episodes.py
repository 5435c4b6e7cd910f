"""Episodes: what a world says between the turns of a rollout, derived from its own tokens.

The miner's driver takes one turn after the other as the reference confirms them; the judge replays
all turns of a file's rollout. Both call `Episode.take_turn`, so both have the same replies.
Specification, section 3.1.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from assay.environments.base import Environment, Frame, Problem, State
from assay.environments.foreign.package_world import find_error
from assay.environments.scoring import run_all
from assay.protocol.episode import End, Reply, split_turns
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Work
from assay.protocol.reason import Reason, Refusal
from assay.verification.ports import Tokenizer

#: Group and rollout.
Place = tuple[int, int]
#: Own tokens of a rollout, uint32 [T].
Tokens = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class EpisodeRules:
    """How turns and episodes end: from the parameters and the manifest."""

    turns: int  # most of them
    context: int  # most tokens of prompt, turns and replies together
    reply_bytes: int  # most bytes of a reply's content
    max_tokens: int  # most own tokens
    end_tokens: frozenset[int]


def make_episode_rules(work: Work, manifest: Manifest) -> EpisodeRules:
    """The rules of a network and a checkpoint."""
    ends = frozenset(manifest.end_tokens)
    return EpisodeRules(work.turns, work.context, work.reply_bytes, manifest.max_tokens, ends)


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode so far: a value.

    Attributes:
        length: tokens of the prompt and all spans.
        own: tokens of the model.
        turns: whole turns.
        replies: ascending. A reply at `own` waits for the next turn.
        end: why it is over; None: the model goes on.
    """

    frame: Frame
    state: State
    length: int
    own: int = 0
    turns: int = 0
    replies: tuple[Reply, ...] = ()
    end: End | None = None

    @property
    def reply_tokens(self) -> int:
        """Tokens of all replies."""
        return sum(len(reply.ids) for reply in self.replies)

    @property
    def is_broken(self) -> bool:
        """Whether the sandbox in which its world runs ended it."""
        return find_error(self.state) is not None

    def take_turn(
        self, turn: Sequence[int], rules: EpisodeRules, tokenizer: Tokenizer
    ) -> "Episode":
        """The episode after a further turn, and with the world's reply if it goes on.

        Args:
            turn: its tokens, at least one: all up to an end token, or up to max_tokens.
        """
        is_ended = turn[-1] in rules.end_tokens
        state, said = self.state.step(tokenizer.decode(turn), is_ended)
        after = replace(
            self,
            state=state,
            length=self.length + len(turn),
            own=self.own + len(turn),
            turns=self.turns + 1,
        )
        for end, holds in (
            (End.DONE, said is None),
            (End.CUT, not is_ended),
            (End.TURNS, after.turns == rules.turns),
            (End.TOKENS, after.own == rules.max_tokens),
        ):
            if holds:
                return replace(after, end=end)
        ids = tokenizer.encode_reply(said or "", self.frame, rules.reply_bytes)
        if ids is None:
            return replace(after, end=End.UNREADABLE)
        length = after.length + len(ids)
        if length + rules.max_tokens - after.own > rules.context:
            return replace(after, end=End.CONTEXT)
        return replace(after, length=length, replies=(*after.replies, Reply(after.own, tuple(ids))))


def begin_episode(environment: Environment, problem: Problem, prompt_tokens: int) -> Episode:
    """The episode of a problem before its first turn."""
    return Episode(problem.manner.frame, environment.open(problem), prompt_tokens)


def replay(
    episode: Episode, tokens: Sequence[int], rules: EpisodeRules, tokenizer: Tokenizer
) -> Episode:
    """The episode after the turns of `tokens`, as far as it goes.

    Args:
        episode: before its first turn.
        tokens: own tokens, at least one, of which each turn but the last has an end token.
    """
    is_end = [token in rules.end_tokens for token in tokens]
    for begin, end in split_turns(np.array(is_end)):
        episode = episode.take_turn(tokens[begin:end], rules, tokenizer)
        if episode.end is not None:
            break
    return episode


def find_length_fault(episode: Episode, tokens: int, group: int, rollout: int) -> Refusal | None:
    """The fault of a rollout whose replay used another number of tokens than it has, or None."""
    if episode.end is not None and episode.own == tokens:
        return None
    if episode.end is None:
        detail = f"the completion has {tokens} tokens, but the world replies to its last turn"
    else:
        detail = f"the completion has {tokens} tokens, but ends after {episode.own}: {episode.end}"
    return Refusal(Reason.WRONG_TERMINATION, detail, group, rollout, min(tokens, episode.own) - 1)


class Replays:
    """The episodes of a submission's rollouts, each replayed once.

    Args:
        begin: index of a group → the episode of each of its rollouts before the first turn.
    """

    def __init__(
        self,
        environment: Environment,
        begin: Callable[[int], Episode],
        rules: EpisodeRules,
        tokenizer: Tokenizer,
    ) -> None:
        self._environment = environment
        self._begin = begin
        self._rules = rules
        self._tokenizer = tokenizer
        self._known: dict[Place, Episode] = {}

    def count_first_turn(self, tokens: Tokens) -> int:
        """Tokens of a rollout's first turn. No world runs for it."""
        is_end = np.isin(tokens, list(self._rules.end_tokens))
        return int(is_end.argmax()) + 1 if is_end.any() else len(tokens)

    def find_fault(self, rollouts: Mapping[Place, Tokens]) -> Refusal | None:
        """The fault of the first rollout that does not end where its world says, or None. A rollout
        of one turn ends where its ids say: where there is no other, nothing is replayed."""
        if self._rules.turns == 1:
            return None
        for place, episode in zip(rollouts, self.play(rollouts), strict=True):
            fault = find_length_fault(episode, len(rollouts[place]), *place)
            if fault is not None:
                return fault
        return None

    def play(self, rollouts: Mapping[Place, Tokens]) -> list[Episode]:
        """The episode of each. Those that are not known are replayed together, so that they share
        the cores."""
        fresh = [place for place in rollouts if place not in self._known]
        tasks = [partial(self._replay, place, rollouts[place]) for place in fresh]
        self._known |= zip(fresh, run_all(self._environment, tasks), strict=True)
        return [self._known[place] for place in rollouts]

    def list_replies(self, places: Collection[Place]) -> list[tuple[Reply, ...]] | None:
        """The replies of each rollout, all of which have been replayed; None: a rollout has one
        turn."""
        if self._rules.turns == 1:
            return None
        return [self._known[place].replies for place in places]

    def count(self, rollouts: Mapping[Place, Tokens]) -> tuple[int, int, int]:
        """The turns of all these rollouts together, the tokens of their replies, and how many of
        them are broken."""
        if self._rules.turns == 1:
            return len(rollouts), 0, 0
        episodes = self.play(rollouts)
        replies = sum(one.reply_tokens for one in episodes)
        return sum(one.turns for one in episodes), replies, sum(one.is_broken for one in episodes)

    def _replay(self, place: Place, tokens: Tokens) -> Episode:
        group, _ = place
        return replay(self._begin(group), tokens.tolist(), self._rules, self._tokenizer)
