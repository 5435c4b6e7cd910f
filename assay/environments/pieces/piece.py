"""Whether a text is a piece: a small function that does on its inputs what it does everywhere.

A piece is read, brought into its normal form and run in the sandbox (`inside`), twice: the second
time under another seed and clock, with objects at other places and sets walked from behind. A
verdict is a function of the text and the inputs: no machine, engine or hash seed decides. What is
asked and compared later is the normal form, in which a function's author has no word: names are
letters, and there are no comments.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from assay.environments.programs.case_runs import CaseRun, compile_inside, run_counted
from assay.protocol.parameters import MILLION
from assay.sandbox.guest import COMPILED, Request

#: Most instructions in which a check's runs end each, what is done for them outside included: the
#: fewest that scoring an answer may take. Most runs of a check.
BUDGET, RUNS = 100 * MILLION, 2
#: Most bytes of a function's text and of an input's, most inputs.
FUNCTION_MAX, INPUT_MAX, INPUTS_MAX = 4_096, 2_048, 16
#: Most bytes of what is said of it.
_SAID_MAX = 1 << 16
#: Seed and clock of the second run; those of the first are 0.
_SEED, _CLOCK = 1, 10**15


class Fault(StrEnum):
    """Why something is no piece."""

    TEXT = "text"
    SYNTAX = "syntax"
    NAME = "name"
    ATTRIBUTE = "attribute"
    LITERAL = "literal"
    SIZE = "size"
    FORM = "form"
    UNUSED = "unused"
    INPUT = "input"
    RAISES = "raises"
    VALUE = "value"
    CHANGES = "changes"
    UNSTABLE = "unstable"
    CONSTANT = "constant"
    COPY = "copy"
    BUDGET = "budget"
    CRASH = "crash"
    KNOWN = "known"
    PAIRS = "pairs"


#: Each fault in words.
FAULTS = {
    Fault.TEXT: "a text is too long, or no text in ASCII",
    Fault.SYNTAX: "not one function of the part of Python that pieces are written in",
    Fault.NAME: "a name that it does not give, and no function of the list; or it gives such a one",
    Fault.ATTRIBUTE: "an attribute that is no method of the list",
    Fault.LITERAL: "a number or text in it is too long, or of another type",
    Fault.SIZE: "the normal form is too small or too large",
    Fault.FORM: "the normal form is not its own normal form",
    Fault.UNUSED: "a parameter is not read, or there are none or too many",
    Fault.INPUT: "an input is no list of as many values as there are parameters; or there is none",
    Fault.RAISES: "the function raises an exception",
    Fault.VALUE: "the output is no value",
    Fault.CHANGES: "the function changes its arguments",
    Fault.UNSTABLE: "the output depends on the order of a set or on a place in memory",
    Fault.CONSTANT: "the output does not depend on the input",
    Fault.COPY: "each output is an argument",
    Fault.BUDGET: "its instructions are used up",
    Fault.CRASH: "the interpreter ends",
    Fault.KNOWN: "the pool has this normal form; of a proposed input: the function has it",
    Fault.PAIRS: "an output is not the one that was asked for",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A function in its normal form, its inputs and their outputs as they are written.

    Attributes:
        size: nodes of its syntax tree.
    """

    function: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    size: int

    @property
    def digest(self) -> bytes:
        """SHA-256 of the normal form, 32 bytes: two pieces with one digest are one."""
        return sha256(self.function.encode()).digest()


@dataclass(frozen=True, slots=True)
class PieceVerdict:
    """What a check found: a piece, or why there is none.

    Attributes:
        instructions: of all runs, each at most the check's budget.
    """

    piece: Piece | None
    fault: Fault | None
    instructions: int


def check_piece(
    function: str, inputs: Sequence[str], known: Container[bytes] = (), budget: int = BUDGET
) -> PieceVerdict:
    """Whether a stranger's function and inputs are a piece. No text raises an error.

    Args:
        inputs: each as its arguments stand between the parentheses of a call.
        known: digests of the pool's pieces.
        budget: instructions in which each run ends.

    Raises:
        WorkerError: no sandbox can run. This is not the author's fault.
        ProblemFileError: there is no sandbox here.
    """
    if not 1 <= len(inputs) <= INPUTS_MAX:
        return PieceVerdict(None, Fault.INPUT, 0)
    first = ask("check", function, *inputs, instructions=budget)
    spent = first.instructions
    if not first.fields:  # with some, others than these inputs took for ever
        return PieceVerdict(None, first.fault, spent)
    form, size, *pairs = first.fields
    piece = Piece(form, tuple(pairs[::2][: len(inputs)]), tuple(pairs[1::2]), int(size))
    if piece.digest in known:
        return PieceVerdict(None, Fault.KNOWN, spent)
    if len(pairs) > 2 * len(inputs):
        return PieceVerdict(None, Fault.CONSTANT, spent)
    second = ask("again", form, *piece.inputs, instructions=budget, seed=_SEED, clock=_CLOCK)
    spent += second.instructions
    if second.fault in (Fault.BUDGET, Fault.CRASH):
        return PieceVerdict(None, second.fault, spent)
    if second.fields != piece.outputs:
        return PieceVerdict(None, Fault.UNSTABLE, spent)
    return PieceVerdict(piece, None, spent)


def is_solvable(piece: Piece) -> bool:
    """Whether its function gives all of its outputs in one run, as an answer has to (`induce`),
    within the fewest instructions that any setting leaves one. Errors as of `check_piece`.
    """
    return ask("run", piece.function, *piece.inputs).fields == piece.outputs


@dataclass(frozen=True, slots=True)
class Said:
    """What a run inside said, or why it said nothing. Of a `check` both: it says what it found
    before it tries other inputs, and these may use up its instructions."""

    fields: tuple[str, ...]
    fault: Fault | None
    instructions: int


def ask(do: str, *texts: str, instructions: int = BUDGET, seed: int = 0, clock: int = 0) -> Said:
    """What `inside` says to a function, its inputs, or a value. No text raises an error.

    Args:
        do: a name of its tasks.
        texts: strangers'.
        instructions: within which it has to end.

    Raises:
        WorkerError, ProblemFileError: see `check_piece`.
    """
    if any(
        "\0" in text or _is_long(text, FUNCTION_MAX if i == 0 else INPUT_MAX)
        for i, text in enumerate(texts)
    ):
        return Said((), Fault.TEXT, 0)
    given = "\0".join((do, *texts)).encode()
    request = Request(compile_inside(__package__), given, COMPILED, seed, clock)
    return _read(run_counted(request, instructions, _SAID_MAX, keep=do == "check"))


def _read(run: CaseRun) -> Said:
    head, *fields = run.output.decode("ascii", "replace").split("\0")
    if run.end == "instructions":
        return Said(tuple(fields), Fault.BUDGET, run.instructions)
    if run.end == "exit 0" and head == "ok":
        return Said(tuple(fields), None, run.instructions)
    told = run.end == "exit 0" and head in tuple(Fault)
    return Said((), Fault(head) if told else Fault.CRASH, run.instructions)


def _is_long(text: str, most: int) -> bool:
    """Whether a text has too many bytes, or is none: half a character."""
    try:
        return len(text) > most or len(text.encode()) > most
    except UnicodeEncodeError:
        return True
