"""Held-out accuracy: problems nobody was ever asked, sampled as the miners sample."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from assay.environments import MILLION, Environment
from assay.inference import Checkpoint, Request
from assay.protocol import Domain, hash_fields

#: 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Correct answers among held-out problems, one sampled completion each (T as in the rules)."""

    correct: int
    problems: int

    @property
    def value(self) -> float:
        """Share of correct answers."""
        return self.correct / self.problems

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval (Wilson, 1927)."""
        n, p = self.problems, self.value
        centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return max(0.0, centre - half), min(1.0, centre + half)


def evaluate(
    checkpoint: Checkpoint,
    environment: Environment,
    temperature: int,
    problems: int,
    on_progress: Callable[[int], None] = lambda done: None,
    batch: int = 256,
) -> Accuracy:
    """Accuracy on the first `problems` held-out problems; the same problems for any checkpoint."""
    drafter = checkpoint.get_drafter(temperature)
    correct = 0
    for start in range(0, problems, batch):
        asked, requests = [], []
        for number in range(start, min(start + batch, problems)):
            index = number.to_bytes(4, "big")
            seed = hash_fields(Domain.HELD_OUT, environment.digest, index)
            asked.append(environment.make_problem(seed, checkpoint.manifest.levels))
            prompt = tuple(checkpoint.tokenizer.encode(asked[-1].prompt))
            requests.append(Request(prompt, seed))
        for problem, tokens in zip(asked, drafter.draft(requests), strict=True):
            text = checkpoint.tokenizer.decode(tokens)
            correct += environment.score(problem, text).correctness == MILLION
        on_progress(min(start + batch, problems))
    return Accuracy(correct, problems)
