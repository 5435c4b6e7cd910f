"""Guess a number: the world replies whether it is higher or lower than the guess.

The smallest world in which everything that a model can learn about a problem reaches it through
replies. Guessing the middle of what is left always succeeds within the turns that a level allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from assay.environments.base import INTEGER, Param, Problem
from assay.environments.kind import Drawn, Kind
from assay.environments.worlds.guessing import REQUEST, GuessingEnvironment, Secret
from assay.protocol.prf import Stream

NAME = "guess"
#: Increases whenever any problem, reply or score would change.
VERSION = 1
#: Digest of the proof episodes.
PROOF = "d7a4b4c3672f508a7eb698a5cbade2c3dbf2347f71c96464e31d6fd514ba770f"
PARAMS: Mapping[str, Param] = MappingProxyType({})


class GuessPlan(NamedTuple):
    """A level: numbers from 0 on, and the most turns of an episode."""

    numbers: int
    turns: int


#: With 2^turns above the numbers, halving always succeeds.
LEVELS = (
    GuessPlan(10, 4),
    GuessPlan(20, 5),
    GuessPlan(50, 6),
    GuessPlan(100, 7),
    GuessPlan(1_000, 10),
    GuessPlan(10_000, 14),
)


@dataclass(frozen=True, slots=True)
class Number(Secret):
    """A number below `numbers`."""

    numbers: int

    @property
    def kind(self) -> str:
        return f"a number from 0 to {self.numbers - 1}"

    def is_guess(self, word: str) -> bool:
        return INTEGER.fullmatch(word) is not None and 0 <= int(word) < self.numbers

    def compare(self, guess: str) -> str:
        return "higher" if int(guess) < int(self.text) else "lower"


class Guess(GuessingEnvironment):
    levels = range(1, len(LEVELS) + 1)
    turns = max(plan.turns for plan in LEVELS)
    secrets = Number
    proof_turns = ("0", "1", "3", "7", "9", "12", "34", "75", "99", "500", "9999", "10000", "-1")

    def __init__(self, params: Mapping[str, int]) -> None:
        super().__init__(NAME, VERSION, PARAMS, params, PROOF)

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        numbers, turns = LEVELS[problem.level - 1]
        return [self.write_answer(str(numbers * turn // turns)) for turn in range(turns)]

    def _draw(self, stream: Stream, level: int) -> Problem:
        numbers, turns = LEVELS[level - 1]
        number = Number(str(stream.draw_below(numbers)), turns, numbers)
        question = f"Guess {number.kind} in {turns} turns. Replies say if it is higher or lower.\n"
        return Problem(question, level, number, REQUEST)


KIND = Kind(
    NAME,
    VERSION,
    drawn=Drawn(Guess, "find a number by replies, turn by turn: higher or lower", PARAMS),
)
