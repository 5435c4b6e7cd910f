"""Episodes: the spans of a rollout.

A rollout is a prompt, then a turn of the model, a reply of the problem's world, a turn, and so on.
The last span is a turn. Only the model's own tokens are drawn, committed and tested: a reply is a
function of the turns before it, so everybody derives it. Token t of a rollout is its t-th own
token, whatever stands between. Specification, section 3.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reply:
    """What a world said between two turns.

    Attributes:
        at: own tokens before it.
        ids: token ids; none where the tokenizer makes none of the reply.
    """

    at: int
    ids: tuple[int, ...]


class End(StrEnum):
    """Why an episode ended, in the order in which the rules are tried."""

    DONE = "the world gave no reply"
    CUT = "the turn was cut at max_tokens"
    TURNS = "it had as many turns as it may have"
    TOKENS = "it had as many tokens as it may have"
    UNREADABLE = "the tokenizer refuses the reply"
    CONTEXT = "there was no room for the reply and all further tokens"


def find_stop(is_end: NDArray[np.bool_], turns: int, max_tokens: int) -> int:
    """The number of own tokens that an episode has, as far as its ids alone show.

    Args:
        is_end: bool [T], which of its tokens are end tokens.
        turns: most turns.
        max_tokens: most own tokens.

    Returns:
        T if the episode may end there. Else where it must have ended, or max_tokens if it must go
        on.
    """
    ends = np.flatnonzero(is_end[:max_tokens]) + 1
    if len(ends) >= turns:
        return int(ends[turns - 1])
    is_turn = len(ends) > 0 and ends[-1] == len(is_end)
    return len(is_end) if is_turn else max_tokens


def split_turns(is_end: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The turns of own tokens: the first token and the one behind the last of each. The last turn
    need not have ended.

    Args:
        is_end: bool [T], T ≥ 1, which tokens are end tokens.
    """
    bounds = [0, *(np.flatnonzero(is_end[:-1]) + 1).tolist(), len(is_end)]
    return list(pairwise(bounds))


def weave(tokens: Sequence[int], replies: Sequence[Reply]) -> tuple[list[int], list[int]]:
    """Own tokens and replies as one sequence, and the place of each own token in it.

    Args:
        replies: ascending, each behind at least one own token.
    """
    sequence: list[int] = []
    places: list[int] = []
    begin = 0
    for reply in (*replies, Reply(len(tokens), ())):
        own = tokens[begin : reply.at]
        places += range(len(sequence), len(sequence) + len(own))
        sequence += own
        sequence += reply.ids
        begin = reply.at
    return sequence, places
