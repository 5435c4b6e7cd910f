"""What a look at a file of problems found: its rows that are asked, and why each other is not."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assay.environments import letters_file
from assay.environments.instructions.instruction_file import InstructionRow
from assay.environments.letters_file import LettersRow
from assay.environments.math_file import MathRow
from assay.environments.problem_file import Row
from assay.environments.search.search_rows import SearchRow
from assay.environments.text_file import TextRow

if TYPE_CHECKING:
    from assay.environments.programs.code_file import CodeRow


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A row as it is asked: its number, level, problem and right answer."""

    row: int
    level: int
    problem: str
    answer: str


@dataclass(slots=True)
class Look:
    """What a look at a file found. Rows are numbered from 1, without the names of columns.

    Attributes:
        environment: the name of the environment that reads the file.
        columns: part of a row → its column.
        levels: how levels are made, and the number of rows of each.
        asked: number of rows that are asked.
        left_out: reason → rows that are not asked for it.
        damaged: fault → rows for which the file is refused.
        shown: rows whose problem shows another spelling of its answer: they need its form.
        empty: rows that a reply without content, or a copy of the prompt, would meet.
        odds: a guess of a row's answer is right once in so many, in the mean. 0: it is no choice.
        odds_max: the largest `odds` for which each level has rows enough. 0: it is no choice.
        documents: that are searched; `corpus`: the rows that are not asked and may have some.
        fits: family of another environment → rows that it asks of those that this one does not, or,
            beside documents and words, of all.
        suites: suite → rows whose problem it has.
        uncompared: suite → why it may have further ones.
        is_renamed: the environment reads no such columns. is_joined: the file is several.
        is_thinned: a row is left out that the environment would ask.
    """

    file: str
    format: str
    environment: str
    columns: dict[str, str] = field(default_factory=dict)
    levels: str = ""
    per_level: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    asked: int = 0
    left_out: dict[str, list[int]] = field(default_factory=dict)
    damaged: dict[str, list[int]] = field(default_factory=dict)
    shown: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    odds: float = 0.0
    odds_max: int = 0
    documents: int = 0
    corpus: list[bytes] = field(default_factory=list)
    fits: dict[str, list[int]] = field(default_factory=dict)
    suites: dict[str, list[int]] = field(default_factory=dict)
    uncompared: dict[str, str] = field(default_factory=dict)
    samples: list[SampleRow] = field(default_factory=list)
    is_renamed: bool = False
    is_joined: bool = False
    is_thinned: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether the environment reads the file as it is."""
        is_other = self.is_renamed or self.is_joined or self.is_thinned
        return bool(self.asked) and not self.damaged and not is_other


@dataclass(slots=True)
class AskedRow:
    """A row that is asked.

    Attributes:
        answer: the right one, as text. length: by which rows are divided that have no level.
        level: None: its file names none. A look gives it one.
        source: what its environment's reader makes of it.
        line: as its environment reads it without any columns being named; empty: it is written.
        shown: the problem as a sample shows it; empty: as it is.
    """

    number: int
    problem: str
    answer: str
    length: int
    level: int | None
    source: "Row | MathRow | LettersRow | InstructionRow | CodeRow | SearchRow | TextRow"
    line: bytes = b""
    shown: str = ""

    def make_sample(self) -> SampleRow:
        return SampleRow(self.number, self.level or 0, self.shown or self.problem, self.answer)

    def write(self) -> bytes:
        """The row as its environment reads it without any columns being named."""
        source, fields = self.source, dict[str, Any]()
        if isinstance(source, MathRow):
            messages = (*source.context, ("user", self.problem))
            chat = [{"role": role, "content": text} for role, text in messages]
            fields = {"problem": chat if source.context else self.problem, "solution": ""}
            fields |= {"answer": self.answer, "level": self.level}
        elif isinstance(source, LettersRow):
            letter, passage = letters_file.LETTERS[source.right], source.passage
            fields = {"question": self.problem, "options": source.choices, "level": self.level}
            fields |= {"answer": letter} | ({"passage": passage} if passage else {})
        else:
            return self.line.rstrip() + b"\n"
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def write_rows(rows: Iterable[AskedRow], corpus: Iterable[bytes] = ()) -> bytes:
    """A file of these rows, behind those of a corpus."""
    documents = (line.rstrip() + b"\n" for line in corpus)
    return b"".join((*documents, *(row.write() for row in rows)))
