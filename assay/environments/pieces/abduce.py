"""`abduce`: find an input for which a function returns an output. Any that does is right, but for
the output itself: a function that changes nothing the second time would ask for a copy.
"""

from collections.abc import Mapping, Sequence

from assay.environments.answer_form import AnswerForm
from assay.environments.base import UNREAD, Problem, RewardParts, rate_answer
from assay.environments.kind import Drawn, FromFile, Kind
from assay.environments.pieces.piece import Fault, Piece
from assay.environments.pieces.piece_environment import (
    PARAMS,
    PieceEnvironment,
    PieceTask,
    get_task,
)
from assay.environments.pieces.pool import LEVELS
from assay.environments.programs.case_runs import require_sandbox
from assay.protocol.prf import Stream

NAME = "abduce"
#: Increases whenever any problem or score would change.
VERSION = 3
FORM, _ANSWER = AnswerForm.HASH, "the arguments as they stand between the parentheses of the call"
#: Faults of an answer that is read, and wrong.
_WRONG = Fault.BUDGET, Fault.CRASH


class Abduce(PieceEnvironment):
    """The pool that ships with the package."""

    def __init__(self, params: Mapping[str, int], digest: str | None = None) -> None:
        super().__init__(NAME, VERSION, digest, params, FORM)

    @staticmethod
    def find_reason(piece: Piece) -> str | None:
        return None if _list_places(piece) else "outputs that are their inputs"

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's pieces, then one of its inputs that are not their outputs."""
        piece = self.choose_piece(stream, level)
        task = PieceTask(piece, (stream.choose(_list_places(piece)),))
        question = (
            f"{piece.function}\n\nFind arguments for which f returns the value below, other than "
            f"that value itself.\n{task.due}"
        )
        return Problem(question, level, task, self.write_request(_ANSWER))

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: for the answer, which is not the output, the function returns the output.

        Raises:
            WorkerError: the sandbox cannot run. This is not the answer's fault.
        """
        task, answer = get_task(problem), self.read_answer(completion)
        result = None if answer is None else self.ask("find", task.piece.function, answer)
        if result is None or result.fault not in (None, *_WRONG):
            return UNREAD
        return rate_answer(result.fields[1:] == (task.due,) and result.fields[0] != task.due)

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """The pool's most frequent inputs, and the output."""
        answers = [*self.list_frequent("inputs"), get_task(problem).due]
        return [self.write_answer(answer) for answer in answers]

    def solve(self, problem: Problem) -> Sequence[str]:
        return [self.write_answer(get_task(problem).given)]


def _list_places(piece: Piece) -> list[int]:
    pairs = zip(piece.inputs, piece.outputs, strict=True)
    return [i for i, (given, output) in enumerate(pairs) if given != output]


class AbduceFile(Abduce):
    """A pool from a file."""

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        super().__init__(params, digest)


KIND = Kind(
    NAME,
    VERSION,
    FORM,
    drawn=Drawn(Abduce, "find an input for which a small function returns an output", PARAMS),
    file=FromFile(AbduceFile, PARAMS, range(1, LEVELS + 1)),
    require=require_sandbox,
    asks_pool=True,
)
