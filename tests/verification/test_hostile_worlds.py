"""Worlds that no environment should have, and contexts without room: an episode ends by its rules
all the same."""

from dataclasses import dataclass, replace
from itertools import count

import pytest

from assay.environments.base import Frame, RewardParts, State, rate_answer
from assay.environments.worlds.guess import Guess, Number
from assay.inference.checkpoint import load_outline
from assay.protocol.episode import End
from assay.protocol.reason import Reason
from assay.training import GENESIS
from assay.verification.episodes import Episode, EpisodeRules, find_length_fault, replay

END, ONE = 1, 20  # ids of the shipped tokenizer
RULES = EpisodeRules(6, context=200, reply_bytes=40, max_tokens=48, end_tokens=frozenset({END}))
TOKENIZER = load_outline(GENESIS).tokenizer


@dataclass(frozen=True)
class Endless:
    """It always replies, each time with so many times as much."""

    growth: int = 1
    said: str = "1"

    def step(self, turn: str, is_ended: bool) -> tuple[State, str | None]:
        return replace(self, said=self.said * self.growth), self.said

    def score(self) -> RewardParts:
        return rate_answer(0)


class Raising(Endless):
    def step(self, turn: str, is_ended: bool) -> tuple[State, str | None]:
        raise RuntimeError("a fault of this world")


def play(
    state: State, turns: list[int], prompt: int = 20, rules: EpisodeRules = RULES
) -> tuple[Episode, list[int]]:
    """The replay of whole turns of so many tokens each."""
    own = [token for tokens in turns for token in [ONE] * (tokens - 1) + [END]]
    return replay(Episode(Frame(), state, prompt), own, rules, TOKENIZER), own


@pytest.mark.parametrize(
    ("turns", "end", "own"),
    [([2] * 9, End.TURNS, 12), ([16] * 3, End.TOKENS, 48), ([1] * 6, End.TURNS, 6)],
)
def test_a_world_that_never_ends_is_ended(turns: list[int], end: End, own: int) -> None:
    episode, _ = play(Endless(), turns)
    assert (episode.end, episode.own) == (end, own)


def test_replies_that_grow_are_cut_and_then_have_no_room() -> None:
    """Each is cut to its bytes, and prompt, spans and all tokens that may come fit the context."""
    episode, own = play(Endless(growth=50), [2] * 6)
    lengths = [len(reply.ids) for reply in episode.replies]
    cut = len(TOKENIZER.encode_text("1" * 40 + "\n[cut]"))
    assert lengths == [1, cut, cut]
    assert episode.end is End.CONTEXT
    left = RULES.max_tokens - episode.own
    assert episode.length + left <= RULES.context < episode.length + left + cut
    assert (episode.length, episode.own) == (20 + 8 + sum(lengths), 8)
    assert find_length_fault(episode, 8, 0, 0) is None
    fault = find_length_fault(episode, len(own), 3, 1)
    assert fault is not None
    assert (fault.reason, fault.group, fault.rollout, fault.token) == (
        *(Reason.WRONG_TERMINATION, 3, 1),
        7,
    )


@pytest.mark.parametrize("prompt", [200 - 48, 200, 10_000])
def test_behind_a_prompt_that_fills_the_context_there_is_one_turn(prompt: int) -> None:
    episode, _ = play(Endless(), [3, 3], prompt)
    assert (episode.end, episode.own, episode.replies) == (End.CONTEXT, 3, ())
    roomy, _ = play(Endless(), [3, 3], 200 - 48 - 1)
    assert len(roomy.replies) == 1


def test_an_end_token_at_the_last_token_ends_turn_and_episode() -> None:
    """And another token there cuts them. Neither world says more."""
    ended, own = play(Endless(), [20, 28])
    cut = replay(Episode(Frame(), Endless(), 20), [*own[:-1], ONE], RULES, TOKENIZER)
    assert (ended.end, cut.end) == (End.TOKENS, End.CUT)
    for episode in (ended, cut):
        assert (episode.own, episode.turns, len(episode.replies)) == (48, 2, 1)
        assert find_length_fault(episode, 48, 0, 0) is None


def test_a_world_that_raises_is_our_own_fault() -> None:
    """No verdict on a miner comes of it."""
    with pytest.raises(RuntimeError, match="a fault of this world"):
        play(Raising(), [3])


def test_a_world_that_answers_differently_twice_opens_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no digest that another machine has, either."""
    answers = count()
    monkeypatch.setattr(Number, "compare", lambda *_: ("higher", "lower")[next(answers) % 2])
    with pytest.raises(ValueError, match=r"guess replies otherwise .* Neither mine nor judge"):
        Guess({})
