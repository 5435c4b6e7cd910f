"""`induce`: write a function from some of its inputs and outputs; the others are hidden."""

from collections.abc import Mapping, Sequence

from assay.environments.base import UNREAD, Problem, RewardParts, rate_answer
from assay.environments.kind import Drawn, FromFile, Kind
from assay.environments.pieces.inside import BUILTINS
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.piece_environment import (
    PARAMS,
    PieceEnvironment,
    PieceTask,
    get_task,
)
from assay.environments.pieces.pool import LEVELS
from assay.environments.programs.blocks import read_program
from assay.environments.programs.case_runs import require_sandbox
from assay.protocol.prf import Stream

NAME = "induce"
#: Increases whenever any problem or score would change.
VERSION = 3
#: Fewest inputs of a piece that is asked: two pairs are shown, and two are hidden.
INPUTS_MIN = 4
_REQUEST = (
    "\nOther calls are tried, too. The function imports nothing, leaves its arguments as they are "
    f"and calls no functions but its own, methods and these: {BUILTINS}. End with it, between a "
    "line of ```python and a line of ```.\n"
)


class Induce(PieceEnvironment):
    """The pool that ships with the package."""

    def __init__(self, params: Mapping[str, int], digest: str | None = None) -> None:
        super().__init__(NAME, VERSION, digest, params, None)

    @staticmethod
    def find_reason(piece: Piece) -> str | None:
        few = len(piece.inputs) < INPUTS_MIN
        return f"fewer than {INPUTS_MIN} inputs" if few else None

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's pieces, then which half of its pairs is shown: ⌈n/2⌉ of n, in the
        order in which they are drawn."""
        piece = self.choose_piece(stream, level)
        count = len(piece.inputs)
        task = PieceTask(piece, tuple(stream.sample(count, (count + 1) // 2)))
        calls = (f"f({piece.inputs[i]}) == {piece.outputs[i]}" for i in task.places)
        question = "\n".join(["Write a Python function f of which this holds:", *calls])
        return Problem(question, level, task, _REQUEST)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the answer's function gives all of the piece's outputs, shown or hidden.

        Raises:
            WorkerError: the sandbox cannot run. This is not the answer's fault.
        """
        piece, program = get_task(problem).piece, read_program(completion)
        if program is None:
            return UNREAD
        return rate_answer(self.ask("run", program, *piece.inputs).fields == piece.outputs)

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """Functions that give one value, what they are given, or look up what is shown."""
        task = get_task(problem)
        shown = [(task.piece.inputs[i], task.piece.outputs[i]) for i in task.places]
        table = ", ".join(f"(({given},), {due})" for given, due in shown)
        head = task.piece.function.partition("\n")[0]
        parameters = head[len("def f(") : -len("):")]
        values = [
            *self.list_frequent("outputs"),
            task.due,
            "q[0]",
            f"([v for k, v in [{table}] if k == q] + [q[0]])[0]",
        ]
        body = f"{head}\n    q = ({parameters},)\n    return "
        return [self.write_answer(body + value) for value in values]

    def solve(self, problem: Problem) -> Sequence[str]:
        return [self.write_answer(get_task(problem).piece.function)]

    def write_answer(self, answer: str) -> str:
        """A completion of a function alone."""
        return f"```python\n{answer}\n```"


class InduceFile(Induce):
    """A pool from a file."""

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        super().__init__(params, digest)


KIND = Kind(
    NAME,
    VERSION,
    drawn=Drawn(Induce, "write a small function from inputs and outputs", PARAMS),
    file=FromFile(InduceFile, PARAMS, range(1, LEVELS + 1)),
    require=require_sandbox,
    asks_pool=True,
)
