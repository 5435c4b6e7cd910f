"""Worlds with a secret that a model guesses: each turn is a guess, and each reply compares it.

A turn's last word is its guess. So a turn has one guess, and a small model that has learnt no other
form of an answer may still happen to give one.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from assay.environments.base import BLANKS, UNREAD, Answer, Problem, RewardParts, rate_answer
from assay.environments.worlds.world import WorldEnvironment

#: The request behind a question, unless the owner says otherwise.
REQUEST = "End each turn with your guess.\n"


@dataclass(frozen=True, slots=True)
class Secret(Answer):
    """What is to be guessed, in its one spelling, and the most turns of an episode."""

    text: str
    turns: int

    @property
    @abstractmethod
    def kind(self) -> str:
        """What a guess is, in words."""

    @abstractmethod
    def is_guess(self, word: str) -> bool:
        """Whether a word is a guess."""

    @abstractmethod
    def compare(self, guess: str) -> str:
        """What the world says to a wrong guess."""


@dataclass(frozen=True, slots=True)
class Guesses:
    """The `State` of an episode: the turns that are left, and the last turn's guess."""

    secret: Secret
    left: int
    guess: str | None = None

    def step(self, turn: str, is_ended: bool) -> tuple["Guesses", str | None]:
        """See `State.step`. A turn that was cut is read like another."""
        del is_ended
        secret, word = self.secret, read_last_word(turn)
        guess = word if secret.is_guess(word) else None
        after = Guesses(secret, self.left - 1, guess)
        if guess == secret.text or after.left <= 0:
            return after, None
        return after, f"Guess {secret.kind}.\n" if guess is None else f"{secret.compare(guess)}\n"

    def score(self) -> RewardParts:
        """See `State.score`: only the last guess counts."""
        return UNREAD if self.guess is None else rate_answer(int(self.guess == self.secret.text))


def read_last_word(turn: str) -> str:
    """The last word of a turn; empty without any."""
    words = turn.rstrip(BLANKS)
    return words[max(map(words.rfind, BLANKS)) + 1 :]


class GuessingEnvironment(WorldEnvironment):
    """An environment of secrets, all of one class."""

    secrets: type[Secret]

    def write_answer(self, answer: str) -> str:
        return answer

    def open(self, problem: Problem) -> Guesses:
        secret = self._find_secret(problem)
        return Guesses(secret, secret.turns)

    def solve(self, problem: Problem) -> Sequence[str]:
        return [self._find_secret(problem).text]

    def _find_secret(self, problem: Problem) -> Secret:
        secret = problem.answer
        if not isinstance(secret, self.secrets):
            raise TypeError(f"not a problem of {self.name}: {type(secret).__name__}")
        return secret
