"""Held-out accuracy: problems nobody was ever asked, sampled as the miners sample."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from assay.environments import MILLION, Environment, Success
from assay.inference import Checkpoint, Request
from assay.protocol import Domain, hash_fields

#: 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054
#: Completions sampled together.
_BATCH = 256


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
    levels: Sequence[int] | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Accuracy:
    """Accuracy on the first `problems` held-out problems; the same for all checkpoints.

    Args:
        levels: of the problems; None: those that the checkpoint puts in force.
    """
    return add_up(
        count_successes(checkpoint, environment, temperature, problems, levels, on_progress)
    )


def add_up(counts: Mapping[int, Success]) -> Accuracy:
    """All levels together."""
    solved, asked = (sum(getattr(s, name) for s in counts.values()) for name in ("solved", "asked"))
    return Accuracy(solved, asked)


def count_successes(
    checkpoint: Checkpoint,
    environment: Environment,
    temperature: int,
    problems: int,
    levels: Sequence[int] | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> dict[int, Success]:
    """As `evaluate`, by level."""
    drafter = checkpoint.get_drafter(temperature)
    asked, solved = Counter[int](), Counter[int]()
    for start in range(0, problems, _BATCH):
        batch, requests = [], []
        for number in range(start, min(start + _BATCH, problems)):
            index = number.to_bytes(4, "big")
            seed = hash_fields(Domain.HELD_OUT, environment.digest, index)
            batch.append(environment.make_problem(seed, levels or checkpoint.manifest.levels))
            prompt = tuple(checkpoint.tokenizer.encode(batch[-1].prompt))
            requests.append(Request(prompt, seed))
        for problem, tokens in zip(batch, drafter.draft(requests), strict=True):
            text = checkpoint.tokenizer.decode(tokens)
            asked[problem.level] += 1
            solved[problem.level] += environment.score(problem, text).correctness == MILLION
        on_progress(min(start + _BATCH, problems))
    return {level: Success(solved[level], count) for level, count in asked.items()}
