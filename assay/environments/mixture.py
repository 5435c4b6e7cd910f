"""`mix`: problems of several environments, each drawn as often as its weight says.

Its settings are its parts' settings: `sat = 3` gives the environment `sat` the weight 3, and
`sat.density = 400` is sat's own setting. Its levels also come from its parts: level l of the i-th
part, in order of name and from 1, is 1,000·i + l, so a manifest says for each part which levels are
in force. A part without a level in force is never drawn.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd, lcm
from types import MappingProxyType

from assay.environments.base import (
    PART_LEVELS,
    Answer,
    Environment,
    Problem,
    RewardParts,
    State,
    compute_digest,
    open_stream,
    require_levels,
)

NAME = "mix"
#: Increases whenever any problem or score would change.
VERSION = 1
PARTS_MAX, WEIGHT_MAX = 16, 10**6


@dataclass(frozen=True, slots=True)
class PartProblem(Answer):
    """The index of the part that asked, from 0, and its problem."""

    part: int
    problem: Problem


class Mixture:
    """Several environments as one; none of them is a mixture."""

    name = NAME

    def __init__(
        self, params: Mapping[str, int], make: Callable[[str, Mapping[str, int]], Environment]
    ) -> None:
        """Makes the parts, with `make` from name and settings.

        Raises:
            ValueError: fewer than two parts, too many, a mixture among them, a weight out of range,
                a setting of no part, or what `make` raises.
        """
        weights, settings = divide(params)
        self._weights = tuple(weights.values())
        self.parts: tuple[Environment, ...] = tuple(make(name, settings[name]) for name in weights)
        resolved = dict(weights)
        for part in self.parts:
            resolved |= {f"{part.name}.{name}": value for name, value in part.params.items()}
        self.params: Mapping[str, int] = MappingProxyType(dict(sorted(resolved.items())))
        self.levels: Sequence[int] = tuple(
            PART_LEVELS * number + level
            for number, part in enumerate(self.parts, 1)
            for level in part.levels
        )
        self._legal = frozenset(self.levels)
        self.turns = max(part.turns for part in self.parts)
        self.scorers = max(part.scorers for part in self.parts)
        self.rated: frozenset[str] = frozenset().union(*(part.rated for part in self.parts))
        digests = b"".join(part.digest for part in self.parts)
        self.digest = compute_digest(NAME, VERSION, self.params, digests)

    def compute_shares(self, levels: Sequence[int]) -> Sequence[int]:
        """Each part's weight, divided equally among its levels."""
        return share_weights(self._weights, levels)

    def make_problem(self, seed: bytes, levels: Sequence[int]) -> Problem:
        """The problem that the drawn part makes of the same seed, from its levels among
        `levels`."""
        stream = open_stream(NAME, seed)
        require_levels(levels, levels if self._legal.issuperset(levels) else self.levels)
        asked = self._divide_levels(levels)
        weights = [w if levels else 0 for w, levels in zip(self._weights, asked, strict=True)]
        drawn, part = stream.draw_below(sum(weights)), 0
        while drawn >= weights[part]:
            drawn -= weights[part]
            part += 1
        problem = self.parts[part].make_problem(seed, asked[part])
        level = PART_LEVELS * (part + 1) + problem.level
        return replace(problem, level=level, answer=PartProblem(part, problem))

    def open(self, problem: Problem) -> State:
        asked = self._open(problem)
        return self.parts[asked.part].open(asked.problem)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        asked = self._open(problem)
        return self.parts[asked.part].score(asked.problem, completion)

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        asked = self._open(problem)
        return self.parts[asked.part].list_thoughtless(asked.problem)

    def solve(self, problem: Problem) -> Sequence[str]:
        asked = self._open(problem)
        return self.parts[asked.part].solve(asked.problem)

    def _open(self, problem: Problem) -> PartProblem:
        answer = problem.answer
        if not isinstance(answer, PartProblem) or answer.part >= len(self.parts):
            raise TypeError(f"not a problem of this mixture: {type(answer).__name__}")
        return answer

    def _divide_levels(self, levels: Sequence[int]) -> list[list[int]]:
        asked: list[list[int]] = [[] for _ in self.parts]
        for level in levels:
            asked[level // PART_LEVELS - 1].append(level % PART_LEVELS)
        return asked


def share_weights(weights: Sequence[int], levels: Sequence[int]) -> list[int]:
    """How often each level is asked, as coprime integers, by the weights of the parts."""
    counts = Counter(level // PART_LEVELS for level in levels)
    whole = lcm(*counts.values())
    parts = [level // PART_LEVELS for level in levels]
    shares = [weights[part - 1] * whole // counts[part] for part in parts]
    common = gcd(*shares)
    return [share // common for share in shares]


def divide(params: Mapping[str, int]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Weights by part, in order of name, and settings by part. Raises ValueError as `Mixture`
    does."""
    weights = {name: value for name, value in sorted(params.items()) if "." not in name}
    settings: dict[str, dict[str, int]] = {name: {} for name in weights}
    for name, weight in weights.items():
        if name.partition(":")[0] == NAME:
            raise ValueError("a mixture is not a part of a mixture: name its parts instead")
        if type(weight) is not int or not 1 <= weight <= WEIGHT_MAX:
            raise ValueError(
                f"mix: {name} = {weight!r} must be an integer from 1 to {WEIGHT_MAX}: its weight"
            )
    if not 2 <= len(weights) <= PARTS_MAX:
        raise ValueError(
            f"mix has {len(weights)} parts: name 2 to {PARTS_MAX} environments, each with its "
            "weight, such as mix,arithmetic=3,sat=1"
        )
    for name, value in params.items():
        part, dot, setting = name.rpartition(".")
        if dot and part not in settings:
            raise ValueError(f"mix: {name} is a setting of {part!r}, which is not a part of it")
        if dot:
            settings[part][setting] = value
    return weights, settings
