"""`deduce`: predict what a function returns for an input.

After Zhao et al., "Absolute Zero: reinforced self-play reasoning with zero data", 2025.
"""

from collections.abc import Mapping, Sequence

from assay.environments.answer_form import AnswerForm
from assay.environments.base import UNREAD, Problem, RewardParts, rate_answer
from assay.environments.kind import Drawn, FromFile, Kind
from assay.environments.pieces.piece_environment import (
    PARAMS,
    PieceEnvironment,
    PieceTask,
    get_task,
)
from assay.environments.pieces.pool import LEVELS
from assay.environments.programs.case_runs import require_sandbox
from assay.protocol.prf import Stream

NAME = "deduce"
#: Increases whenever any problem or score would change.
VERSION = 3
FORM, _ANSWER = AnswerForm.HASH, "the value as Python writes it"


class Deduce(PieceEnvironment):
    """The pool that ships with the package."""

    def __init__(self, params: Mapping[str, int], digest: str | None = None) -> None:
        super().__init__(NAME, VERSION, digest, params, FORM)

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's pieces, then one of its inputs."""
        piece = self.choose_piece(stream, level)
        task = PieceTask(piece, (stream.draw_below(len(piece.inputs)),))
        question = f"{piece.function}\n\nWhat does f({task.given}) return?"
        return Problem(question, level, task, self.write_request(_ANSWER))

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the answer is the output, as a value.

        Raises:
            WorkerError: the sandbox cannot run. This is not the answer's fault.
        """
        due, answer = get_task(problem).due, self.read_answer(completion)
        result = None if answer is None else self.ask("read", answer)
        if result is None or result.fault is not None:
            return UNREAD
        return rate_answer(result.fields == (due,))

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """The pool's most frequent outputs, and the input."""
        answers = [*self.list_frequent("outputs"), get_task(problem).given]
        return [self.write_answer(answer) for answer in answers]

    def solve(self, problem: Problem) -> Sequence[str]:
        return [self.write_answer(get_task(problem).due)]


class DeduceFile(Deduce):
    """A pool from a file."""

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        super().__init__(params, digest)


KIND = Kind(
    NAME,
    VERSION,
    FORM,
    drawn=Drawn(Deduce, "predict what a small function returns", PARAMS),
    file=FromFile(DeduceFile, PARAMS, range(1, LEVELS + 1)),
    require=require_sandbox,
    asks_pool=True,
)
