"""The program of a completion: a fenced block of Markdown, as CommonMark 0.31 reads fences of
backticks outside lists and quotes.

    read_program("So:\\n```python\\nprint(6)\\n```\\nThat is it.")  # "print(6)"
"""

import re
from collections import deque
from itertools import filterfalse
from operator import itemgetter
from typing import NamedTuple

from assay.environments.base import ANSWER_BYTES, cut_thought

#: A block. One without an end goes on to the text's end, and what was matched is not given back, so
#: nothing is read twice, and no text takes more than its length: the judge reads hostile ones.
_BLOCK = re.compile(
    r"^(?P<indent> {0,3})(?P<fence>`{3,}+)[ \t]*+(?:(?P<python>(?i:python3?|py))(?=[ \t\n]))?"
    r"(?P<info>[^`\n]*+)\n(?P<text>(?s:.*?))(?:^(?P<end> {0,3}(?P=fence)`*+)[ \t\r]*+$|\Z)",
    re.MULTILINE | re.ASCII,
)


class ProgramBlock(NamedTuple):
    """A program, and what stands before its block behind the thought, with line feeds as ends of
    lines."""

    before: str
    program: str


def find_program(completion: str) -> ProgramBlock | None:
    """The last block behind the thought whose first word is python, python3 or py in any case, or
    without such a one the last block without a word; None: there is none, or it is no program. Such
    has at most `ANSWER_BYTES` in UTF-8, no NUL and no lone surrogate."""
    text = cut_thought(completion).replace("\r\n", "\n")
    block = _find_last(text, filter, "python") or _find_last(text, filterfalse, "info")
    if block is None:
        return None
    program, indent = block["text"].removesuffix("\n"), len(block["indent"])
    if indent:
        program = re.sub(rf"^ {{1,{indent}}}", "", program, flags=re.MULTILINE)
    if "\0" in program or not _is_short(program):
        return None
    return ProgramBlock(text[: block.start()], program)


def read_program(completion: str) -> str | None:
    """The program of a completion, if it has one: see `find_program`."""
    block = find_program(completion)
    return None if block is None else block.program


def _find_last(
    text: str, choose: "type[filter[re.Match[str]] | filterfalse[re.Match[str]]]", group: str
) -> re.Match[str] | None:
    """The last block with an end of which a group says something, or nothing. No line of Python
    runs for each block: a text may have a million."""
    closed = filter(itemgetter("end"), _BLOCK.finditer(text))
    return next(iter(deque(choose(itemgetter(group), closed), 1)), None)


def _is_short(program: str) -> bool:
    try:
        return len(program.encode()) <= ANSWER_BYTES
    except UnicodeEncodeError:
        return False
