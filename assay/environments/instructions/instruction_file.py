"""`instructions:SHA256`: prompts with instructions that a program checks, from a file.

The format is that of IFEval and IFBench: a `prompt`, the names of its instructions in
`instruction_id_list`, and the arguments of each in `kwargs`. A reply is right if it meets all of a
row's instructions. Rows with an instruction that no rule here can check are skipped and counted by
its name. What a reply says is not judged: a file of prompts that any text meets teaches nothing.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from assay.environments.base import (
    BLANKS,
    UNREAD,
    Answer,
    DrawnEnvironment,
    Problem,
    RewardParts,
    cut_thought,
    make_messages,
    rate_answer,
)
from assay.environments.instructions import ifbench, ifeval
from assay.environments.instructions.kinds import ArgumentError, Check, Kind
from assay.environments.kind import FromFile
from assay.environments.kind import Kind as EnvironmentKind
from assay.environments.problem_file import (
    KeptRows,
    has_control,
    name_formats,
    read_object,
    require_chat,
)
from assay.environments.problem_formats import FORMATS
from assay.environments.problem_table import parse_cell, read_chat
from assay.protocol.encoding import EncodingError
from assay.protocol.prf import Stream

NAME = "instructions"
#: Increases whenever any problem or score would change.
VERSION = 1
KINDS: Mapping[str, Kind] = {**ifeval.KINDS, **ifbench.KINDS}
#: Levels that a file may have: the number of a row's instructions, the last one and more.
LEVELS = range(1, 6)
#: Most instructions of a row, and bytes of a reply in UTF-8.
INSTRUCTIONS_MAX, REPLY_BYTES = 16, 1 << 17
#: Replies without any content: a row that one of them meets pays for nothing.
EMPTY_REPLIES = "ok", "OK", "Ok.", '"Ok."', "ok ok ok ok ok ok ok ok ok ok"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name, its arguments in a fixed order, and the check of a reply."""

    name: str
    arguments: str
    check: Check


@dataclass(frozen=True, slots=True)
class InstructionRow(Answer):
    """A row of the file. `fault` is a reason to skip it, which its fields show; `context` are
    messages before the prompt, with their roles."""

    prompt: str
    instructions: tuple[Instruction, ...]
    fault: str | None = None
    context: tuple[tuple[str, str], ...] = ()

    @property
    def level(self) -> int:
        return min(len(self.instructions), LEVELS[-1])

    @property
    def required(self) -> tuple[tuple[str, str], ...]:
        """The instructions as values that compare."""
        return tuple((one.name, one.arguments) for one in self.instructions)

    def count_met(self, completion: str) -> int | None:
        """The number of instructions that a completion's reply meets; None without a reply."""
        reply = read_reply(completion)
        return None if reply is None else sum(one.check(reply) for one in self.instructions)


class InstructionFile(DrawnEnvironment):
    """The prompts of a file; a level is a number of instructions.

    Attributes:
        skipped: reason → numbers of the rows skipped for it.
    """

    rated = frozenset({"satisfaction"})

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the file whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file, a row is damaged, all
                rows are skipped, or a setting is given: there are none.
        """
        super().__init__(f"{NAME}:{digest}", VERSION, {}, params)
        rows = InstructionRows()
        self._by_level = rows.find_levels(digest, NAME)
        self.skipped = rows.skipped
        self.levels = list(self._by_level)

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's rows, each equally likely; they are in the file's order."""
        row = stream.choose(self._by_level[level])
        return Problem(f"{row.prompt}\n", level, row, context=make_messages(row.context))

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """The parts of a reply are its instructions."""
        row = problem.answer
        if not isinstance(row, InstructionRow):
            raise TypeError(f"not a problem of {self.name}: {type(row).__name__}")
        met = row.count_met(completion)
        return UNREAD if met is None else rate_answer(met, len(row.instructions))

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        return "yes", "I cannot answer that.", problem.prompt, problem.prompt.upper()


class InstructionRows(KeptRows[InstructionRow, InstructionRow]):
    """A file's rows."""

    def _read(self, line: bytes) -> tuple[InstructionRow, str | None]:
        row = read_instruction_row(line)
        return row, row.fault

    def _identify(self, row: InstructionRow) -> Hashable:
        return row.prompt, row.context

    def _get_right(self, row: InstructionRow) -> object:
        return row.required

    def divide(self) -> Mapping[int, Sequence[InstructionRow]]:
        found: dict[int, list[InstructionRow]] = {}
        for _, row in self.kept:
            found.setdefault(row.level, []).append(row)
        return found


def read_reply(completion: str) -> str | None:
    """The text after the last `</think>`, without blanks around it. None if it is blank or too
    long."""
    reply = cut_thought(completion).strip(BLANKS)
    short = len(reply.encode("utf-8", "surrogatepass")) <= REPLY_BYTES
    return reply if reply and short else None


def read_instruction_row(line: bytes) -> InstructionRow:
    """Read one line of JSON. Raises ValueError, with the fault, if it is damaged."""
    row = read_object(line, NAME)
    if not all(name in row for name in ("prompt", "instruction_id_list", "kwargs")):
        raise name_formats(row, NAME)
    chat = read_chat(row["prompt"])
    if chat is not None and any(map(has_control, chat.texts)):  # as in two rows of IFBench
        return InstructionRow("", (), "control characters")
    chat = require_chat(row["prompt"], "prompt", NAME)
    prompt = chat.question
    names, given = (_read_list(row[name], name) for name in ("instruction_id_list", "kwargs"))
    if len(names) != len(given):
        raise ValueError(f"it has {len(names)} instructions and {len(given)} kwargs")
    if not 1 <= len(names) <= INSTRUCTIONS_MAX:
        many = "no instruction" if not names else f"more than {INSTRUCTIONS_MAX} instructions"
        return InstructionRow(prompt, (), many)
    try:
        instructions = tuple(starmap(_bind, zip(names, given, strict=True)))
        return InstructionRow(prompt, instructions, None, chat.context)
    except ArgumentError as error:
        return InstructionRow(prompt, (), str(error))


def _read_list(value: Any, name: str) -> Sequence[Any]:
    with suppress(EncodingError):
        value = parse_cell(value)
    if not isinstance(value, list):
        raise ValueError(f"its {name} is no list")
    return value


def _bind(name: Any, given: Any) -> Instruction:
    """The instruction of that name. Raises ArgumentError if no rule here can check it."""
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ArgumentError(f"not checked: {str(name)[:60]}")
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise ArgumentError(f"{name}: its arguments are no object")
    try:
        check = kind.bind(given)
    except ArgumentError as error:
        raise ArgumentError(f"{name}: {error}") from None
    arguments = {key: given[key] for key in sorted(kind.readers)}
    return Instruction(name, json.dumps(arguments), check)


KIND = EnvironmentKind(
    NAME, VERSION, file=FromFile(InstructionFile, levels=LEVELS, rows=FORMATS[NAME])
)
