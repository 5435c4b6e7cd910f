"""Random k-SAT near the threshold: find an assignment, which substitution alone rates.

Instances are planted, so every problem has an answer and a miner's pay does not depend on luck.
Naive planting makes the majority of a variable's signs point at the solution. So clauses are
weighted by q^(true literals) with (1-q)(1+q)^(k-1) = 1, which balances the signs (Jia, Moore,
Strain, "Generating hard satisfiable formulas by hiding solutions deceptively", 2005). The planted
solution is thrown away: any other solution is as good.

Quality is always 0: a search leaves no steps that could be checked without paying for padding. Note
for choosing weights: an assignment drawn at random satisfies 1 - 2^-k of the clauses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import eq
from types import MappingProxyType

from assay.environments.base import (
    UNREAD,
    Answer,
    DrawnEnvironment,
    Param,
    Problem,
    RewardParts,
    cut_thought,
    rate_answer,
)
from assay.environments.kind import Drawn, Kind
from assay.protocol.parameters import MILLION
from assay.protocol.prf import Stream

NAME = "sat"
#: Increases whenever any problem or score would change.
VERSION = 2

PARAMS: Mapping[str, Param] = MappingProxyType(
    {
        "k": Param(3, 3, 5, "literals a clause"),
        "density": Param(426, 100, 3_000, "clauses per hundred variables; 3-SAT turns at 426"),
    }
)

#: Level n has n variables.
LEVELS = range(5, 201)

#: Per k, the weight of a clause whose signs agree with the plan in t places, t = 0 … k: q^t·10^6.
_WEIGHTS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        3: (0, 618_034, 381_966, 236_068),
        4: (0, 839_287, 704_402, 591_195, 496_183),
        5: (0, 927_562, 860_371, 798_048, 740_239, 686_617),
    }
)

_THOUGHTLESS = "0", "1", "01", "10", "0011", "0110"


@dataclass(frozen=True, slots=True)
class Formula(Answer):
    """Clauses of signed 1-based variables (-3: not x3), and the number of variables."""

    variables: int
    clauses: tuple[tuple[int, ...], ...]


class Sat(DrawnEnvironment):
    levels = LEVELS
    rated = frozenset({"satisfaction"})

    def __init__(self, params: Mapping[str, int]) -> None:
        super().__init__(NAME, VERSION, PARAMS, params)

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw a formula of ⌊variables · density / 100⌋ clauses; duplicates are possible."""
        variables = level
        plan = stream.draw_flips(variables)
        count = variables * self.params["density"] // 100
        clauses = tuple(_draw_clause(stream, plan, self.params["k"]) for _ in range(count))
        return Problem(_write_prompt(variables, clauses), variables, Formula(variables, clauses))

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """What follows the thought ends with its only `####`, a line `#### ` and one 0 or 1 per
        variable.

        Its parts are the clauses.
        """
        formula = problem.answer
        if not isinstance(formula, Formula):
            raise TypeError(f"not a SAT problem: {type(formula).__name__}")
        assignment = _read_assignment(cut_thought(completion), formula.variables)
        if assignment is None:
            return UNREAD
        true = {v if value else -v for v, value in enumerate(assignment, 1)}
        satisfied = sum(not true.isdisjoint(clause) for clause in formula.clauses)
        return rate_answer(satisfied, len(formula.clauses))

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        return tuple(f"#### {(digits * problem.level)[: problem.level]}" for digits in _THOUGHTLESS)


def _read_assignment(said: str, variables: int) -> list[bool] | None:
    prefix = "#### "
    last = said[said.rfind("\n") + 1 :]
    if said.count("####") != 1 or len(last) != len(prefix) + variables:
        return None
    values = last[len(prefix) :]
    if not last.startswith(prefix) or set(values) - {"0", "1"}:
        return None
    return [value == "1" for value in values]


def _draw_clause(stream: Stream, plan: Sequence[bool], k: int) -> tuple[int, ...]:
    chosen: list[int] = []
    while len(chosen) < k:  # rejection keeps it uniform over the sets of k variables
        variable = stream.draw_below(len(plan))
        if variable not in chosen:
            chosen.append(variable)
    weights, hidden = _WEIGHTS[k], [plan[variable] for variable in chosen]
    while True:
        signs = stream.draw_flips(k)
        agreeing = sum(map(eq, signs, hidden))
        if stream.draw_below(MILLION) < weights[agreeing]:
            break
    return tuple(v + 1 if sign else -v - 1 for sign, v in zip(signs, chosen, strict=True))


def _write_prompt(variables: int, clauses: Sequence[Sequence[int]]) -> str:
    lines = [
        f"Set x1 to x{variables} to 0 or 1 so that each line below has a number that holds: "
        "3 holds if x3 is 1, -3 holds if x3 is 0.",
        *(" ".join(map(str, clause)) for clause in clauses),
        f"End with a line of #### , a space and the {variables} digits of x1 to x{variables}.",
    ]
    return "\n".join(lines) + "\n"


KIND = Kind(
    NAME, VERSION, drawn=Drawn(Sat, "random k-SAT; a level is a number of variables", PARAMS)
)
