"""Problems in the MATH format (Hendrycks et al., "Measuring mathematical problem solving", 2021).

A row has a `problem`, a `solution` whose last `\\boxed{…}` holds the answer, and a `level`, 1 to 5
or `Level 1` to `Level 5`; where it also has an `answer`, that is the answer. Rows whose answer
`math_answer` cannot read, or that have no such level, are left out and counted: they could only be
scored by guessing. What is asked of the rest has one right value, compared exactly.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from assay.environments.base import Answer, DrawnEnvironment, Problem, RewardParts, read_answer
from assay.environments.math_answer import MathAnswer, read_math
from assay.environments.problem_file import ProblemFileError, find_rows, read_texts
from assay.protocol.parameters import MILLION
from assay.protocol.prf import Stream

NAME = "math"
#: Raised whenever any problem or score would change.
VERSION = 1

_REQUEST = "End with a line of ####, a space and the answer alone, in LaTeX."
_LEVEL = re.compile(r"(?:Level )?([1-5])")


@dataclass(frozen=True, slots=True)
class MathTask(Answer):
    """The right answer, as it is spelled and as it is read."""

    text: str
    right: MathAnswer


@dataclass(frozen=True, slots=True)
class MathRow:
    """A problem; level and right are None where the row is not asked."""

    problem: str
    text: str
    level: int | None
    right: MathAnswer | None


class MathFile(DrawnEnvironment):
    """The problems of a file, at the levels that it names.

    Attributes:
        skipped: rows that are not asked.
    """

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Opens the file whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: no such digest, no such file on this machine, a row that is damaged, no row
                that can be asked, or a setting: it has none.
        """
        super().__init__(f"{NAME}:{digest}", VERSION, {}, params)
        rows = find_rows(digest, NAME, read_math_row)
        self._by_level: dict[int, list[MathRow]] = {}
        for row in rows:
            if row.level is not None and row.right is not None:
                self._by_level.setdefault(row.level, []).append(row)
        self.levels = sorted(self._by_level)
        self.skipped = len(rows) - sum(map(len, self._by_level.values()))
        if not self.levels:
            raise ProblemFileError(f"{self.name}: none of its {len(rows)} answers can be read")

    def _draw(self, stream: Stream, level: int) -> Problem:
        """One of the level's rows, in the file's order, each equally likely."""
        row = stream.choose(self._by_level[level])
        assert row.right is not None, "only such rows are kept"
        return Problem(f"{row.problem}\n{_REQUEST}\n", level, MathTask(row.text, row.right))

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: what follows the only `####` says the same as the right answer."""
        if not isinstance(problem.answer, MathTask):
            raise TypeError(f"not a problem of {self.name}: {type(problem.answer).__name__}")
        answer = read_answer(completion)
        found = None if answer is None else read_math(answer)
        right = found is not None and problem.answer.right.agrees_with(found)
        return RewardParts(MILLION if right else 0, 0, 0)


def read_math_row(line: bytes) -> MathRow:
    """One line of JSON. Raises ValueError: it is damaged; says what is wrong with it."""
    found = read_texts(line, "problem", "solution")
    text = found.get("answer")
    text = text if isinstance(text, str) else find_boxed(found["solution"])
    level = _LEVEL.fullmatch(str(found.get("level")))
    return MathRow(
        found["problem"],
        text or "",
        None if level is None else int(level[1]),
        None if text is None else read_math(text),
    )


def find_boxed(solution: str) -> str | None:
    """What the last `\\boxed{…}` holds, with its braces balanced; None without one."""
    _, mark, rest = solution.rpartition("\\boxed{")
    if not mark:
        return None
    depth, place = 1, 0
    while place < len(rest):
        if rest[place] == "\\":  # and what it escapes
            place += 2
            continue
        depth += {"{": 1, "}": -1}.get(rest[place], 0)
        if not depth:
            return rest[:place]
        place += 1
    return None
