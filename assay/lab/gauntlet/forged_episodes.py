"""Episodes that were not played as their world and the keyed draw say, each with the reason for
which a judge refuses it.

They forge one rollout for any model: `Forger` is what they need of it. Where nothing else is said,
the proofs are genuine for the context that the tokens were drawn in.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from assay.protocol.episode import Reply
from assay.protocol.reason import Reason
from assay.protocol.submission import Rollout
from assay.verification import Tokenizer
from assay.verification.episodes import Episode, EpisodeRules

Logits = NDArray[np.float32]
#: (number of the reply, its ids) → the ids that are read instead.
Say = Callable[[int, tuple[int, ...]], Sequence[int]]
#: (logits [1, V], number of the token, tokens of the turn so far) → the token.
Draw = Callable[[Logits, int, int], int]
#: The noise of a token so far behind is another one's.
_FAR = 1 << 20


@dataclass
class Played:
    """An episode as somebody played it: own tokens, and what they heard of the world."""

    tokens: list[int]
    heard: list[Reply]
    episode: Episode

    @property
    def turns(self) -> list[list[int]]:
        """Own tokens by turns."""
        bounds = [0, *(reply.at for reply in self.heard), len(self.tokens)]
        return [self.tokens[a:b] for a, b in pairwise(bounds)]


class Forger(ABC):
    """A rollout of a group in the hands of who forges it.

    Attributes:
        episode: before its first turn.
        drawable: bool [V].
    """

    episode: Episode
    rules: EpisodeRules
    tokenizer: Tokenizer
    drawable: NDArray[np.bool_]

    @property
    @abstractmethod
    def honest(self) -> Played:
        """The rollout as it should be."""

    @property
    @abstractmethod
    def neighbour(self) -> Played:
        """Another honest one of its group."""

    @abstractmethod
    def compute_logits(self, tokens: Sequence[int], heard: Sequence[Reply]) -> Logits:
        """The model's, behind these own tokens and replies: [1, V]."""

    @abstractmethod
    def draw(self, logits: Logits, t: int) -> int:
        """The keyed draw of own token t."""

    @abstractmethod
    def prove(self, tokens: Sequence[int], heard: Sequence[Reply]) -> Rollout:
        """The proofs that a prefill of this context gives."""

    @property
    def end(self) -> int:
        """An end token."""
        return min(self.rules.end_tokens)

    def replace_token(self, token: int) -> int:
        """Another drawable token, no end."""
        ids = np.flatnonzero(self.drawable).tolist()
        return next(i for i in [*ids[token % len(ids) :], *ids] if i not in {token, self.end})

    def play(
        self,
        say: Say = lambda number, ids: ids,
        draw: Draw | None = None,
        goes_on: Callable[[Episode], bool] = lambda episode: episode.end is None,
    ) -> Played:
        """Play it, honestly but for the arguments."""
        draw = draw or (lambda logits, t, _: self.draw(logits, t))
        episode, most = self.episode, self.rules.max_tokens
        own: list[int] = []
        heard: list[Reply] = []
        while goes_on(episode):
            turn: list[int] = []
            while len(own) + len(turn) < most and not {*turn[-1:]} & self.rules.end_tokens:
                logits = self.compute_logits([*own, *turn], heard)
                turn.append(draw(logits, len(own) + len(turn), len(turn)))
            own += turn
            episode = episode.take_turn(turn, self.rules, self.tokenizer)
            for reply in episode.replies[len(heard) :]:
                heard.append(Reply(reply.at, tuple(say(len(heard), reply.ids))))
        return Played(own, heard, episode)

    def join(self, turns: Sequence[Sequence[int]]) -> Rollout:
        """A rollout of these turns, each behind what the world replies to those before it."""
        episode = self.episode
        for turn in turns[:-1]:
            episode = episode.take_turn(turn, self.rules, self.tokenizer)
            if episode.end is not None:
                break
        return self.prove([token for turn in turns for token in turn], episode.replies)

    def hear(self, say: Say) -> Rollout:
        """A rollout that was played with other replies."""
        one = self.play(say)
        return self.prove(one.tokens, one.heard)

    def draw_by(self, draw: Draw) -> Rollout:
        """A rollout that was drawn in another way."""
        one = self.play(draw=draw)
        return self.prove(one.tokens, one.heard)


Forgery = Callable[[Forger], Rollout]
#: All of them, by name. Each needs an honest rollout of three turns or more.
FORGERIES: dict[str, tuple[Reason, Forgery]] = {}


def _refused_for(reason: Reason) -> Callable[[Forgery], Forgery]:
    def add(forgery: Forgery) -> Forgery:
        FORGERIES[forgery.__name__.replace("_", " ")] = reason, forgery
        return forgery

    return add


# What the world said


@_refused_for(Reason.SKETCH_MISMATCH)
def the_first_reply_is_another(forger: Forger) -> Rollout:
    return forger.hear(
        lambda number, ids: ids if number else (forger.replace_token(ids[0]), *ids[1:][::-1])
    )


@_refused_for(Reason.SKETCH_MISMATCH)
def one_token_of_the_second_reply_is_another(forger: Forger) -> Rollout:
    return forger.hear(
        lambda number, ids: (forger.replace_token(ids[0]), *ids[1:]) if number == 1 else ids
    )


@_refused_for(Reason.SKETCH_MISMATCH)
def one_separator_too_many(forger: Forger) -> Rollout:
    return forger.hear(lambda number, ids: ids if number else (*ids, ids[-1]))


@_refused_for(Reason.SKETCH_MISMATCH)
def no_reply_was_read(forger: Forger) -> Rollout:
    return forger.hear(lambda number, ids: ())


@_refused_for(Reason.SKETCH_MISMATCH)
def each_reply_was_read_twice(forger: Forger) -> Rollout:
    return forger.hear(lambda number, ids: (*ids, *ids))


@_refused_for(Reason.SKETCH_MISMATCH)
def right_ids_and_proofs_behind_another_reply(forger: Forger) -> Rollout:
    """The ids are the honest ones; only the context of their proofs is not."""
    first, *rest = forger.honest.heard
    return forger.prove(forger.honest.tokens, [Reply(first.at, first.ids[::-1]), *rest])


@_refused_for(Reason.SKETCH_MISMATCH)
def states_at_places_as_if_nothing_was_replied(forger: Forger) -> Rollout:
    """Sketches of the sequence's first T places, of which some are a reply's."""
    one, first = forger.honest, forger.honest.heard[0]
    shifted = [*one.tokens[: first.at], *first.ids, *one.tokens[first.at :]][: len(one.tokens)]
    genuine = forger.prove(one.tokens, one.heard)
    return replace(genuine, sketch=forger.prove(shifted, []).sketch)


@_refused_for(Reason.LOGPROB_MISMATCH)
def logprobs_without_the_replies(forger: Forger) -> Rollout:
    one = forger.honest
    genuine = forger.prove(one.tokens, one.heard)
    return replace(genuine, logprobs=forger.prove(one.tokens, []).logprobs)


# Where turns end


@_refused_for(Reason.SAMPLING_MISMATCH)
def the_first_turn_goes_on_past_its_end(forger: Forger) -> Rollout:
    ends = len(forger.honest.turns[0]) - 1

    def go_on(logits: Logits, t: int, _: int) -> int:
        if t == ends:
            logits[:, list(forger.rules.end_tokens)] = -100.0
        return forger.draw(logits, t)

    return forger.draw_by(go_on)


@_refused_for(Reason.SAMPLING_MISMATCH)
def the_first_turn_ends_early(forger: Forger) -> Rollout:
    last = (len(forger.honest.turns[0]) - 1) // 2
    return forger.draw_by(lambda logits, t, _: forger.end if t == last else forger.draw(logits, t))


@_refused_for(Reason.WRONG_TERMINATION)
def the_last_turn_is_left_out(forger: Forger) -> Rollout:
    return forger.join(forger.honest.turns[:-1])


@_refused_for(Reason.WRONG_TERMINATION)
def a_turn_in_the_middle_is_left_out(forger: Forger) -> Rollout:
    first, _, *rest = forger.honest.turns
    return forger.join([first, *rest])


@_refused_for(Reason.WRONG_TERMINATION)
def one_turn_more(forger: Forger) -> Rollout:
    turns = forger.honest.turns
    return forger.join([*turns, turns[0]])


@_refused_for(Reason.SAMPLING_MISMATCH)
def two_turns_are_exchanged(forger: Forger) -> Rollout:
    first, second, third, *rest = forger.honest.turns
    return forger.join([first, third, second, *rest])


@_refused_for(Reason.SAMPLING_MISMATCH)
def one_turn_twice(forger: Forger) -> Rollout:
    first, _, *rest = forger.honest.turns
    return forger.join([first, first, *rest])


@_refused_for(Reason.SAMPLING_MISMATCH)
def turns_of_end_tokens_alone(forger: Forger) -> Rollout:
    return forger.join([[forger.end]] * len(forger.honest.turns))


@_refused_for(Reason.SAMPLING_MISMATCH)
def a_reply_as_the_model_s_own_words(forger: Forger) -> Rollout:
    """Between the ends of the first and the second turn, as if the model had said it."""
    first, second, *rest = forger.honest.turns
    return forger.join([first, [*forger.honest.heard[0].ids, *second], *rest])


# How tokens are drawn


@_refused_for(Reason.SAMPLING_MISMATCH)
def noise_begins_again_at_each_turn(forger: Forger) -> Rollout:
    return forger.draw_by(lambda logits, _, place: forger.draw(logits, place))


@_refused_for(Reason.SAMPLING_MISMATCH)
def replies_move_the_counter(forger: Forger) -> Rollout:
    first = forger.honest.heard[0]
    return forger.draw_by(
        lambda logits, t, _: forger.draw(logits, t + len(first.ids) * (t >= first.at))
    )


@_refused_for(Reason.SAMPLING_MISMATCH)
def later_turns_of_the_likeliest_tokens(forger: Forger) -> Rollout:
    first = forger.honest.heard[0].at

    def be_greedy(logits: Logits, t: int, _: int) -> int:
        if t < first:
            return forger.draw(logits, t)
        return int(np.where(forger.drawable, logits[0], -np.inf).argmax())

    return forger.draw_by(be_greedy)


@_refused_for(Reason.SAMPLING_MISMATCH)
def drawn_anew_behind_the_first_reply(forger: Forger) -> Rollout:
    """With noise of one's own, since one knows what the world has said; the better of two."""
    first = forger.honest.heard[0].at

    def play(tried: int) -> Played:
        far = _FAR * (1 + tried)
        return forger.play(draw=lambda logits, t, _: forger.draw(logits, t + far * (t >= first)))

    one = max(map(play, range(2)), key=lambda played: played.episode.state.score().correctness)
    return forger.prove(one.tokens, one.heard)


@_refused_for(Reason.SAMPLING_MISMATCH)
def the_episode_of_another_rollout(forger: Forger) -> Rollout:
    """Of the same world."""
    return forger.prove(forger.neighbour.tokens, forger.neighbour.heard)
