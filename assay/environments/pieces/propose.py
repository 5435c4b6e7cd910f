"""`propose`: write a function and an input, an input, or a function for given pairs, which no piece
of the pool has. A part of mixtures: what is proposed becomes the other parts' problems.

After Zhao et al., "Absolute Zero: reinforced self-play reasoning with zero data", 2025.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from assay.environments.answer_form import read_answer
from assay.environments.base import UNREAD, Param, Problem, RewardParts, rate_answer
from assay.environments.kind import Drawn
from assay.environments.kind import Kind as EnvironmentKind
from assay.environments.pieces import induce
from assay.environments.pieces.inside import BUILTINS
from assay.environments.pieces.piece import (
    BUDGET,
    INPUTS_MAX,
    RUNS,
    Fault,
    Piece,
    PieceVerdict,
    check_piece,
)
from assay.environments.pieces.piece_environment import PieceEnvironment, PieceTask, get_task
from assay.environments.programs.blocks import find_program
from assay.environments.programs.case_runs import require_sandbox
from assay.protocol.parameters import MILLION, PROPOSE, UNITS
from assay.protocol.prf import Stream

NAME = PROPOSE
#: Increases whenever any problem or score would change.
VERSION = 3
POOL_SETTING = "pool"
#: Settings. A check's runs have the same number of instructions each.
PARAMS: Mapping[str, Param] = MappingProxyType(
    {
        POOL_SETTING: Param(2_048, 64, 8_192, "proposals that the pool keeps, the newest"),
        UNITS: Param(
            190,
            30,
            RUNS * BUDGET // MILLION,
            "millions of instructions that scoring an answer may take",
        ),
    }
)
#: Faults of what is no proposal.
_UNREAD = Fault.TEXT, Fault.SYNTAX, Fault.INPUT
_RULES = (
    "The function imports nothing, leaves its arguments as they are and calls no functions but its "
    f"own, methods and these: {BUILTINS}. "
)
_BLOCK = "between a line of ```python and a line of ```.\n"
_INPUT = "a line of ####, a space and the arguments as they stand between the parentheses of a call"


class Kind(IntEnum):
    """What is asked for."""

    FUNCTION = 0
    INPUT = 1
    PAIRS = 2


_REQUESTS = {
    Kind.FUNCTION: f"\n{_RULES}End with {_INPUT}, and then with the function {_BLOCK}",
    Kind.INPUT: f"\nEnd with {_INPUT}.\n",
    Kind.PAIRS: f"\nOther calls are tried, too. {_RULES}End with the function {_BLOCK}",
}


@dataclass(frozen=True, slots=True)
class ProposeTask(PieceTask):
    """The second of the two pieces, and what is asked for."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class Proposal:
    """A valid proposal.

    Attributes:
        piece: as it was checked; with the one new input where an input was asked for.
        widens: the pool has its function.
    """

    piece: Piece
    widens: bool


class Propose(PieceEnvironment):
    """Proposals for the pool that ships with the package, and what has been added to it."""

    def __init__(self, params: Mapping[str, int]) -> None:
        super().__init__(NAME, VERSION, None, params, None, PARAMS)

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw what is asked for, of what the level's pieces have; then the second piece and its
        pairs; then the first, which is another, and its pair."""
        pieces = self.get_pieces(level)
        able = {
            Kind.FUNCTION: pieces,
            Kind.INPUT: [piece for piece in pieces if len(piece.inputs) < INPUTS_MAX],
            Kind.PAIRS: [piece for piece in pieces if len(piece.inputs) >= induce.INPUTS_MIN],
        }
        kind = stream.choose([kind for kind in Kind if able[kind]])
        piece = stream.choose(able[kind])
        count = len(piece.inputs)
        if kind is Kind.PAIRS:
            places = tuple(stream.sample(count, (count + 1) // 2))
            calls = (_call(piece, place) for place in places)
            second = ["Write another Python function f of which this holds:", *calls]
        else:
            places = (stream.draw_below(count),)
            task = "Find another input for this f."
            if kind is Kind.FUNCTION:
                task = "Write another Python function f, and an input for it."
            second = [piece.function, "", _call(piece, places[0]), "", task]
        first = stream.choose([other for other in pieces if other is not piece])
        shown = first.function, "", _call(first, stream.draw_below(len(first.inputs))), ""
        question = "\n".join([*shown, *second])
        return Problem(question, level, ProposeTask(piece, places, kind), _REQUESTS[kind])

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: it is valid.

        Raises:
            WorkerError: the sandbox cannot run. This is not the proposal's fault.
        """
        verdict = self.check(problem, completion)
        if verdict is None or verdict.fault in _UNREAD:
            return UNREAD
        return rate_answer(verdict.piece is not None)

    def check(self, problem: Problem, completion: str) -> PieceVerdict | None:
        """What a completion proposes; None: nothing. Errors as of `score`."""
        task = _get_task(problem)
        program, given = _read(completion, task.kind)
        if (program is None and task.kind is not Kind.INPUT) or (
            given is None and task.kind is not Kind.PAIRS
        ):
            return None
        budget, piece = self.params[UNITS] * MILLION // RUNS, task.piece
        if task.kind is Kind.INPUT:
            verdict = check_piece(piece.function, [given or ""], budget=budget)
            found = verdict.piece
            if found is not None and found.inputs[0] in piece.inputs:
                return PieceVerdict(None, Fault.KNOWN, verdict.instructions)
            return verdict
        inputs = piece.inputs if task.kind is Kind.PAIRS else [given or ""]
        verdict = check_piece(program or "", inputs, self.known, budget)
        found = verdict.piece
        if found is not None and task.kind is Kind.PAIRS and found.outputs != piece.outputs:
            return PieceVerdict(None, Fault.PAIRS, verdict.instructions)
        return verdict

    def find_proposal(self, problem: Problem, completion: str) -> Proposal | None:
        """The valid proposal of a completion, or None. Errors as of `score`."""
        verdict = self.check(problem, completion)
        if verdict is None or verdict.piece is None:
            return None
        return Proposal(verdict.piece, _get_task(problem).kind is Kind.INPUT)

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """What is shown, the pool's most frequent inputs, and functions that do next to nothing."""
        task = _get_task(problem)
        functions = [
            task.piece.function,
            "def f(a):\n    return a",
            "def f(a):\n    return 0",
            "def f(a):\n    return [a]",
        ]
        inputs = [task.given, *self.list_frequent("inputs")]
        if task.kind is Kind.INPUT:
            return [write_proposal(None, given) for given in inputs]
        if task.kind is Kind.PAIRS:
            inputs = [""]
        return [
            write_proposal(function, given or None) for function in functions for given in inputs
        ]

    def solve(self, problem: Problem) -> Sequence[str]:
        """None: a proposal that is known is none."""
        del problem  # is any
        return ()


def write_proposal(function: str | None, given: str | None) -> str:
    """A completion that proposes a function, an input or both."""
    lines = [] if given is None else [f"#### {given}"]
    return "\n".join(lines if function is None else [*lines, "```python", function, "```"])


def _read(completion: str, kind: Kind) -> tuple[str | None, str | None]:
    """The function and the input of a completion, as far as it has them."""
    if kind is Kind.INPUT:
        return None, read_answer(completion)
    block = find_program(completion)
    if kind is Kind.PAIRS or block is None:
        return block and block.program, None
    return block.program, read_answer(block.before.rstrip("\n"))


def _call(piece: Piece, place: int) -> str:
    return f"f({piece.inputs[place]}) == {piece.outputs[place]}"


def _get_task(problem: Problem) -> ProposeTask:
    task = get_task(problem)
    if not isinstance(task, ProposeTask):
        raise TypeError("not a problem of propose")
    return task


KIND = EnvironmentKind(
    NAME,
    VERSION,
    drawn=Drawn(Propose, "write functions and inputs for the other parts of a mixture", PARAMS),
    require=require_sandbox,
)
