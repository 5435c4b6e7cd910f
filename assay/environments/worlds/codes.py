"""Find a code (Mastermind): the world replies how many digits are right, and how many misplaced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from assay.environments.base import Param, Problem
from assay.environments.kind import Drawn, Kind
from assay.environments.worlds.guessing import REQUEST, GuessingEnvironment, Secret
from assay.protocol.prf import Stream

NAME = "codes"
#: Increases whenever any problem, reply or score would change.
VERSION = 1
#: Digest of the proof episodes.
PROOF = "087b3fb5af4b402130c6fbe729fc0b168506d17132fbd646e07ce13a2a8d6473"
PARAMS: Mapping[str, Param] = MappingProxyType({})


class CodePlan(NamedTuple):
    """A level: places of a code, digits from 0 on, and the most turns of an episode."""

    places: int
    digits: int
    turns: int


#: Guessing what fits all replies so far needs no more turns.
LEVELS = (
    CodePlan(2, 3, 4),
    CodePlan(2, 4, 5),
    CodePlan(3, 4, 6),
    CodePlan(3, 6, 8),
    CodePlan(4, 6, 10),
    CodePlan(4, 8, 12),
)


@dataclass(frozen=True, slots=True)
class Code(Secret):
    """A text of the first `digits` digits."""

    digits: int

    @property
    def kind(self) -> str:
        return f"a code of {len(self.text)} digits from 0 to {self.digits - 1}"

    def is_guess(self, word: str) -> bool:
        known = "0123456789"[: self.digits]
        return len(word) == len(self.text) and all(digit in known for digit in word)

    def compare(self, guess: str) -> str:
        right = sum(ours == theirs for ours, theirs in zip(self.text, guess, strict=True))
        common = sum(
            min(self.text.count(digit), guess.count(digit)) for digit in "0123456789"[: self.digits]
        )
        return f"{right} right, {common - right} misplaced"


class Codes(GuessingEnvironment):
    levels = range(1, len(LEVELS) + 1)
    turns = max(plan.turns for plan in LEVELS)
    secrets = Code
    proof_turns = (
        *("00", "01", "10", "12", "22", "33", "000", "012", "123", "345"),
        *("0011", "2345", "7070"),
    )

    def __init__(self, params: Mapping[str, int]) -> None:
        super().__init__(NAME, VERSION, PARAMS, params, PROOF)

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        places = LEVELS[problem.level - 1].places
        return [self.write_answer((digits * places)[:places]) for digits in ("0", "1", "01", "012")]

    def _draw(self, stream: Stream, level: int) -> Problem:
        places, digits, turns = LEVELS[level - 1]
        text = "".join(str(stream.draw_below(digits)) for _ in range(places))
        code = Code(text, turns, digits)
        question = (
            f"Guess {code.kind} in {turns} turns. Digits may repeat. Replies say how many digits "
            "are right, and how many others are misplaced.\n"
        )
        return Problem(question, level, code, REQUEST)


KIND = Kind(
    NAME, VERSION, drawn=Drawn(Codes, "find a code by replies, turn by turn (Mastermind)", PARAMS)
)
