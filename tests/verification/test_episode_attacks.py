"""Episodes that were not played as their world and the keyed draw say: each by the test that shows
it.

One rollout of a group is forged. Where nothing else is said, its proofs are genuine for the context
that its tokens were drawn in.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from assay.protocol import Reason, Rollout
from assay.protocol.episode import Reply

END = 96  # of the small world (conftest.py)

World = Any  # conftest.EchoWorld: tests cannot import a conftest
Attack = Callable[[World, int, int], Rollout]

ATTACKS: dict[str, tuple[Reason, Attack]] = {}


def attack(reason: Reason) -> Callable[[Attack], Attack]:
    def add(function: Attack) -> Attack:
        ATTACKS[function.__name__] = reason, function
        return function

    return add


def split(world: World, index: int, r: int) -> list[list[int]]:
    """The honest turns."""
    one = world.played[index][r]
    bounds = [0, *(reply.at for reply in one.heard), len(one.tokens)]
    return [one.tokens[a:b] for a, b in pairwise(bounds)]


def join(world: World, index: int, r: int, turns: Sequence[Sequence[int]]) -> Rollout:
    """A rollout of these turns, each behind what the world replies to those before it."""
    episode, heard = world.player.begin(index), []
    for turn in turns[:-1]:
        episode = episode.take_turn(turn, world.player.rules, world.tokenizer)
        heard = list(episode.replies)
        if episode.end is not None:
            break
    return world.player.prove(index, r, [token for turn in turns for token in turn], heard)


def hear(world: World, index: int, r: int, say: Any) -> Rollout:
    """A rollout that was played with other replies."""
    one = world.player.play(index, r, say)
    return world.player.prove(index, r, one.tokens, one.heard)


def draw(world: World, index: int, r: int, draws: Any) -> Rollout:
    """A rollout that was drawn in another way."""
    one = world.player.play(index, r, draw=draws)
    return world.player.prove(index, r, one.tokens, one.heard)


# What the world said


@attack(Reason.SKETCH_MISMATCH)
def the_first_reply_is_another(world: World, index: int, r: int) -> Rollout:
    return hear(world, index, r, lambda number, ids: ids if number else (30, *ids[1:][::-1]))


@attack(Reason.SKETCH_MISMATCH)
def one_digit_of_the_second_reply_is_another(world: World, index: int, r: int) -> Rollout:
    return hear(world, index, r, lambda number, ids: (25, *ids[1:]) if number == 1 else ids)


@attack(Reason.SKETCH_MISMATCH)
def one_separator_too_many(world: World, index: int, r: int) -> Rollout:
    return hear(world, index, r, lambda number, ids: (*ids, 95) if number == 0 else ids)


@attack(Reason.SKETCH_MISMATCH)
def no_reply_was_read(world: World, index: int, r: int) -> Rollout:
    return hear(world, index, r, lambda number, ids: ())


@attack(Reason.SKETCH_MISMATCH)
def each_reply_was_read_twice(world: World, index: int, r: int) -> Rollout:
    return hear(world, index, r, lambda number, ids: (*ids, *ids))


@attack(Reason.SKETCH_MISMATCH)
def a_reply_was_not_cut(world: World, index: int, r: int) -> Rollout:
    """The cut at reply_bytes is the protocol's, not the world's."""
    first = split(world, index, r)[0]
    return hear(world, index, r, lambda n, ids: ids if n else (*ids, *first[len(ids) - 2 : -1]))


@attack(Reason.SKETCH_MISMATCH)
def replies_of_another_rollout(world: World, index: int, r: int) -> Rollout:
    other = world.played[index][(r + 1) % len(world.played[index])].heard
    return hear(world, index, r, lambda number, ids: other[number % len(other)].ids)


@attack(Reason.SKETCH_MISMATCH)
def right_ids_and_proofs_behind_another_reply(world: World, index: int, r: int) -> Rollout:
    """The ids are the honest ones; only the context of their proofs is not."""
    one = world.played[index][r]
    heard = [Reply(one.heard[0].at, one.heard[0].ids[::-1]), *one.heard[1:]]
    return world.player.prove(index, r, one.tokens, heard)


@attack(Reason.SKETCH_MISMATCH)
def states_at_places_as_if_nothing_was_replied(world: World, index: int, r: int) -> Rollout:
    """Sketches of the sequence's first T places, of which some are a reply's."""
    one = world.played[index][r]
    honest = world.player.prove(index, r, one.tokens, one.heard)
    first = one.heard[0]
    shifted = [*one.tokens[: first.at], *first.ids, *one.tokens[first.at :]][: len(one.tokens)]
    return replace(honest, sketch=world.player.prove(index, r, shifted, []).sketch)


@attack(Reason.LOGPROB_MISMATCH)
def logprobs_without_the_replies(world: World, index: int, r: int) -> Rollout:
    one = world.played[index][r]
    honest = world.player.prove(index, r, one.tokens, one.heard)
    return replace(honest, logprobs=world.player.prove(index, r, one.tokens, []).logprobs)


# Where turns end


@attack(Reason.SAMPLING_MISMATCH)
def the_first_turn_goes_on_past_its_end(world: World, index: int, r: int) -> Rollout:
    ends = len(split(world, index, r)[0]) - 1

    def go_on(logits: np.ndarray, seed: bytes, t: int, place: int) -> int:
        if t == ends:
            logits[:, END] = -100.0
        return int(world.forward.draw(logits, seed, t))

    return draw(world, index, r, go_on)


@attack(Reason.SAMPLING_MISMATCH)
def the_first_turn_ends_early(world: World, index: int, r: int) -> Rollout:
    def stop(logits: np.ndarray, seed: bytes, t: int, place: int) -> int:
        return END if t == 2 else int(world.forward.draw(logits, seed, t))

    return draw(world, index, r, stop)


@attack(Reason.WRONG_TERMINATION)
def the_last_turn_is_left_out(world: World, index: int, r: int) -> Rollout:
    return join(world, index, r, split(world, index, r)[:-1])


@attack(Reason.WRONG_TERMINATION)
def a_turn_in_the_middle_is_left_out(world: World, index: int, r: int) -> Rollout:
    turns = split(world, index, r)
    return join(world, index, r, [turns[0], *turns[2:]])


@attack(Reason.WRONG_TERMINATION)
def one_turn_more(world: World, index: int, r: int) -> Rollout:
    return join(world, index, r, [*split(world, index, r), [40, END]])


@attack(Reason.SAMPLING_MISMATCH)
def two_turns_are_exchanged(world: World, index: int, r: int) -> Rollout:
    first, second, third, *rest = split(world, index, r)
    return join(world, index, r, [first, third, second, *rest])


@attack(Reason.SAMPLING_MISMATCH)
def one_turn_twice(world: World, index: int, r: int) -> Rollout:
    first, _, *rest = split(world, index, r)
    return join(world, index, r, [first, first, *rest])


@attack(Reason.SAMPLING_MISMATCH)
def turns_of_end_tokens_alone(world: World, index: int, r: int) -> Rollout:
    return join(world, index, r, [[END]] * len(split(world, index, r)))


@attack(Reason.SAMPLING_MISMATCH)
def a_reply_as_the_model_s_own_words(world: World, index: int, r: int) -> Rollout:
    """Between the ends of the first and the second turn, as if the model had said it."""
    first, second, *rest = split(world, index, r)
    reply = list(world.played[index][r].heard[0].ids)
    return join(world, index, r, [first, [*reply, *second], *rest])


# How tokens are drawn


@attack(Reason.SAMPLING_MISMATCH)
def noise_begins_again_at_each_turn(world: World, index: int, r: int) -> Rollout:
    return draw(
        world, index, r, lambda logits, seed, t, place: int(world.forward.draw(logits, seed, place))
    )


@attack(Reason.SAMPLING_MISMATCH)
def replies_move_the_counter(world: World, index: int, r: int) -> Rollout:
    said = len(world.played[index][r].heard[0].ids)
    first = len(split(world, index, r)[0])
    return draw(
        world,
        index,
        r,
        lambda logits, seed, t, _: int(world.forward.draw(logits, seed, t + said * (t >= first))),
    )


@attack(Reason.SAMPLING_MISMATCH)
def later_turns_of_the_likeliest_tokens(world: World, index: int, r: int) -> Rollout:
    first = len(split(world, index, r)[0])

    def be_greedy(logits: np.ndarray, seed: bytes, t: int, place: int) -> int:
        likeliest = int(logits[0, : END + 1].argmax())
        return likeliest if t >= first else int(world.forward.draw(logits, seed, t))

    return draw(world, index, r, be_greedy)


@attack(Reason.SKETCH_MISMATCH)
def later_turns_of_another_model(world: World, index: int, r: int) -> Rollout:
    """Its own draws and proofs, behind an honest first turn."""
    first, honest = len(split(world, index, r)[0]), world.forward.model
    one = world.played[index][r]
    genuine = world.player.prove(index, r, one.tokens, one.heard)
    world.forward.model = type(honest)(honest.model, seed=10**6)
    try:

        def begin(logits: np.ndarray, seed: bytes, t: int, _: int) -> int:
            return one.tokens[t] if t < first else int(world.forward.draw(logits, seed, t))

        forged = draw(world, index, r, begin)
    finally:
        world.forward.model = honest
    return Rollout(
        forged.tokens,
        np.concatenate([genuine.logprobs[:first], forged.logprobs[first:]]),
        np.concatenate([genuine.sketch[:first], forged.sketch[first:]]),
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_a_forged_episode_is_refused_for_what_it_is(echoing: World, name: str) -> None:
    reason, forge = ATTACKS[name]
    index, r = echoing.target
    draft = echoing.mine()
    draft.groups[index][r] = forge(echoing, index, r)
    verdict = echoing.judge(draft, groups=[index])
    assert (verdict.reason, verdict.group, verdict.rollout) == (reason, index, r), verdict.detail
    assert (verdict.groups, verdict.tokens) == ((), 0)
