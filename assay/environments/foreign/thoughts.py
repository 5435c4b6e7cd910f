"""Whether right answers earn behind a thought in which another one is drafted, as models that think
write them. An owner should know before such a model learns: a rubric of others may read the draft.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import pairwise

from assay.environments.base import THOUGHT, Environment, Problem
from assay.environments.foreign.vet_report import PROBLEMS, VetCheck


def write_thought(draft: str, answer: str) -> str:
    """A turn that answers behind a thought with a draft."""
    return f"<think>\nPerhaps:\n{draft}\nNo.\n{THOUGHT}\n\n{answer}"


def check_thoughts(earned: Sequence[bool]) -> VetCheck:
    """What so many right answers earn there: advice, because not every model thinks in its text."""
    lost = earned.count(False)
    detail = f"{len(earned)} right answers earn behind a thought with a draft"
    if lost:
        detail = (
            f"{lost} of {len(earned)} right answers earn nothing behind a thought with a draft: "
            f"of models that think, read what follows {THOUGHT}"
        )
    return VetCheck("thoughts", True, detail)


def try_thoughts(environment: Environment, levels: Sequence[int]) -> VetCheck | None:
    """The check of some problems of each level; None: no right episode is known. Raises
    WorkerError: a scorer cannot run here."""
    earned = [one for level in levels for one in _try_level(environment, level)]
    return check_thoughts(earned) if earned else None


def _try_level(environment: Environment, level: int) -> Iterator[bool]:
    seeds = (sha256(f"thoughts {i}".encode()).digest() for i in range(PROBLEMS + 1))
    problems = [environment.make_problem(seed, [level]) for seed in seeds]
    solved = [(one, list(turns)) for one in problems if (turns := environment.solve(one))]
    for (problem, turns), (_, others) in pairwise(solved):
        if _earns(environment, problem, turns):
            yield _earns(environment, problem, [write_thought(others[-1], one) for one in turns])


def _earns(environment: Environment, problem: Problem, turns: Sequence[str]) -> bool:
    state = environment.open(problem)
    for turn in turns:
        state, _ = state.step(turn, is_ended=True)
    return state.score().is_right
