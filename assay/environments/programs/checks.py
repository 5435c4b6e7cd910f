"""Asserts that decide about a function: author's code, which calls the program's function.

Program and check never meet. The check runs in a copy of the interpreter of its own, where a call
of the function is answered from a table; the program's copy gives the answers (`inside`). Which
calls there are may depend on answers, so both take turns: the check says what it calls, as far as
it gets, the program answers all of it at once, until the check needs no further answer. It is
decided by one run of the check on the answers of one run of the program.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from assay.environments.programs.case_runs import GIVEN_MAX, CaseRun, compile_inside, run_case

#: Most turns of a check. Each ends with more calls answered than the last.
TURNS_MAX = 64
#: Instructions in which a check is made, whatever is left for it. Checks whose code is kept.
_MAKING = 200_000_000
_KEPT = 512
_ASKED = re.compile(rb"asked ([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Check:
    """Code that decides about a function, by asserts: it passes if it ends without an exception.

    Attributes:
        text: runs after `setup`, with the function under its own name and as `candidate`.
    """

    setup: str
    text: str


def run_check(code: bytes, check: Check, name: str, instructions: int) -> tuple[bool, int]:
    """Whether a check passes, and the instructions that it took with the program's answers.

    Args:
        code: the program's, compiled.
        instructions: that both may take together.

    Raises:
        WorkerError, ProblemFileError: see `case_runs`.
    """
    made = _make_check(check, name)
    left, answered = instructions - made.instructions, -1
    given = b""
    for _ in range(TURNS_MAX if made.end == "exit 0" else 0):
        turn = _take("check", name, made.output, given, left)
        left -= turn.instructions
        head, *lines = turn.output.split(b"\n")
        if head == b"passed":
            return turn.end == "exit 0", instructions - left
        header = _ASKED.fullmatch(head)
        if turn.end != "exit 0" or header is None or int(header[1]) <= answered:
            break
        answered = int(header[1])
        reply = _take("answer", name, code, _join(lines), left)
        left -= reply.instructions
        answers = reply.output.split(b"\n")[1:][-len(lines) :]
        if reply.end != "exit 0" or len(answers) != len(lines):
            break
        given = _join([line for pair in zip(lines, answers, strict=True) for line in pair])
    return False, instructions - left


def _join(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _take(do: str, name: str, text: bytes, lines: bytes, instructions: int) -> CaseRun:
    given = f"{do} {name} {len(text)}\n".encode() + text + lines
    if len(given) > GIVEN_MAX:
        return CaseRun(b"", "instructions", 0)
    return run_case(compile_inside(__package__), given, instructions)


@lru_cache(_KEPT)
def _make_check(check: Check, name: str) -> CaseRun:
    """The check's code. Every program pays for it, so a verdict does not depend on what is kept."""
    return _take("make", name, json.dumps([check.setup, check.text]).encode(), b"", _MAKING)
