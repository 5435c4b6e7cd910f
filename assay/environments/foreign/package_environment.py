"""`package:SHA256`: an environment from an archive on this machine. The archive's own code makes
and scores its problems in a sandbox (`guest_archive`).

An answer is what the completion gives in the form that is asked for, and only that text reaches the
package. Assay takes one thing from the package's reply: that an answer is wholly right. Code that
takes too many instructions, raises or ends has not said so. A package with turns has worlds that
reply (`package_world`), and sees whole turns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from assay.environments.answer_form import AnswerForm, FormedEnvironment, declare_form
from assay.environments.base import (
    BLANKS,
    PART_LEVELS,
    UNREAD,
    Answer,
    Param,
    Problem,
    RewardParts,
    State,
    compute_digest,
    leave_unmade,
    rate_answer,
    resolve_params,
)
from assay.environments.foreign.guest_archive import TURNS_MAX, GuestArchive
from assay.environments.foreign.making import draw_made
from assay.environments.foreign.package_file import find_fault
from assay.environments.foreign.package_world import PackageEpisode, prove_worlds
from assay.environments.kind import FromFile, Kind
from assay.environments.problem_file import ProblemFileError, find_file
from assay.environments.programs.case_runs import require_sandbox
from assay.protocol.parameters import MILLION, UNITS
from assay.protocol.prf import Stream
from assay.sandbox import count_cores
from assay.sandbox.guest import INTERPRETER

NAME = "package"
#: Increases whenever any problem or score would change.
VERSION = 6
#: Most levels of a package.
LEVELS_MAX = 64
PARAMS: Mapping[str, Param] = MappingProxyType(
    {
        UNITS: Param(
            200, 10, 5_000, "millions of instructions that a problem, score or episode may take"
        )
    }
)
FORM, _ANSWER = AnswerForm.HASH, "the answer alone"


@dataclass(frozen=True, slots=True)
class PackageTask(Answer):
    """The data from which a copy makes a problem again."""

    digest: str
    level: int
    number: int


class PackageEnvironment(FormedEnvironment):
    """The environment of an archive, at the levels that it names.

    Attributes:
        about, skipped: see `GuestArchive`.
    """

    family, version = NAME, VERSION
    #: the default form of answers; None: the whole completion is one
    default: AnswerForm | None = FORM
    find_fault = staticmethod(find_fault)
    archive: type[GuestArchive] = GuestArchive

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the archive whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file or no sandbox, the file
                is no package, or a setting is unknown or out of its range.
        """
        name, form = f"{self.family}:{digest}", self.default
        units = resolve_params(name, {**PARAMS, **declare_form(form)}, params)[UNITS]
        file, data = find_file(digest, self.family)
        if fault := self.find_fault(data):
            raise ProblemFileError(f"{file}: {fault}")
        self._digest = digest
        self._archive = self.archive(data, units)
        description = self._archive.ask("describe")
        if fault := find_levels_fault(description):
            raise ProblemFileError(f"{file}: {fault}")
        self.levels, self.turns = description["levels"], description["turns"]
        super().__init__(name, self.version, PARAMS, params, form if self.turns == 1 else None)
        more = [INTERPRETER.image_digest.encode(), self.archive.compute_own_digest()]
        if self.turns > 1:
            more.append(prove_worlds(self._archive, self.levels, self.turns, units))
        self.digest = compute_digest(name, self.version, self.params, *more)
        self.about, self.skipped = self._archive.about, self._archive.skipped
        self.scorers = count_cores()

    def _draw(self, stream: Stream, level: int) -> Problem:
        """The problem of a number below 2^63, drawn again if the package makes no problem of it,
        as long as instructions are left for one; else one that is not made.

        Raises:
            WorkerError: no sandbox can run.
        """
        number, made = draw_made(self._archive, level, stream, self.params[UNITS] * MILLION)
        if "prompt" not in made:
            return leave_unmade(level)
        task = PackageTask(self._digest, level, number)
        request = self.write_request(_ANSWER) or "\n"
        return Problem(made["prompt"].rstrip(BLANKS), level, task, request)

    def open(self, problem: Problem) -> State:
        if self.turns == 1 or not problem.is_made:
            return super().open(problem)
        task, left = self._find_task(problem), self.params[UNITS] * MILLION
        return PackageEpisode(self._archive, task.level, task.number, self.turns, left)

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """Of a world: nothing, and the right turns of another problem."""
        if self.turns == 1:
            return super().list_thoughtless(problem)
        if not problem.is_made:
            return [""]
        reply = self._archive.ask("right turns", self._find_task(problem).level, 0)
        return ["", *reply.get("turns", ())]

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the package says that the answer is wholly right.

        Raises:
            WorkerError: no sandbox can run. This is not the answer's fault.
        """
        if self.turns > 1 or not problem.is_made:
            return self.open(problem).step(completion, is_ended=True)[0].score()
        task, answer = self._find_task(problem), self.read_answer(completion)
        if answer is None:
            return UNREAD
        reply = self._archive.ask("score", task.level, task.number, answer)
        # a package does not say whether it could read a wrong answer
        return rate_answer(1) if reply.get("right") is True else UNREAD

    def _find_task(self, problem: Problem) -> PackageTask:
        task = problem.answer
        if not isinstance(task, PackageTask) or task.digest != self._digest:
            raise TypeError(f"not a problem of {self.name}: {type(task).__name__}")
        return task


def find_levels_fault(description: Mapping[str, Any]) -> str | None:
    """The fault of a package's reply to `describe` or of its levels. None if there is none."""
    if "error" in description:
        return f"it is not an environment: {description['error']}"
    levels = description["levels"]
    whole = all(type(level) is int for level in levels)  # True and 2.0 equal some integers
    legal = whole and 1 <= len(levels) <= LEVELS_MAX and sorted(set(levels)) == levels
    if not legal or not 1 <= levels[0] <= levels[-1] < PART_LEVELS:
        return f"LEVELS are 1 to {LEVELS_MAX} ascending integers of 1 to {PART_LEVELS - 1}"
    turns = description.get("turns")
    if type(turns) is not int or not 1 <= turns <= TURNS_MAX:
        return f"TURNS is an integer from 1 to {TURNS_MAX}"
    return None


KIND = Kind(
    NAME,
    VERSION,
    FORM,
    file=FromFile(PackageEnvironment, PARAMS, archive=lambda _: True, is_drawn=True),
    require=require_sandbox,
)
