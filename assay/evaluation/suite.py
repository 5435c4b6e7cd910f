"""A suite: the problems of a file that are asked, each once, and why each other row is not.

`assay env look` says of a file how its rows are read, and this module believes it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from assay.environments import letters_file
from assay.environments.base import BLANKS, Conversation, open_stream
from assay.environments.instructions.instruction_file import InstructionRow
from assay.environments.letters_file import LETTERS, LettersRow
from assay.environments.math_file import MathRow
from assay.environments.problem_file import Row
from assay.environments.problem_look import NAMED, look_at_file
from assay.environments.problem_report import AskedRow, Look
from assay.environments.programs.code_file import CodeRow, write_request
from assay.environments.registry import KINDS
from assay.environments.text_file import TextRow
from assay.evaluation.conventions import CONVENTIONS, Convention, SuiteRow
from assay.network.hub.origin import name_source
from assay.protocol.encoding import to_json
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Prompts

#: Characters of a suite's name.
_NAME = 200
_RUN = re.compile(f"[{BLANKS}]+")


class EvaluationError(OperatorError):
    """An evaluation cannot be run as it is asked for. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A file's problems as they are asked.

    Attributes:
        name: of the file, or of what was downloaded. digest: SHA-256 of its bytes, 32 bytes.
        rows: one or more, in the file's order. rows_in_file: of all of it.
        left_out: reason → numbers of the rows that are not asked for it.
        uncompared: training file → why rows may be asked that it has, too.
        columns: part of a row → its column, as the caller named them.
        prompts: an owner's words in place of the convention's.
    """

    name: str
    digest: bytes
    convention: Convention
    rows: Sequence[SuiteRow]
    rows_in_file: int
    left_out: Mapping[str, Sequence[int]] = field(default_factory=dict)
    uncompared: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    prompts: Prompts | None = None

    def put(
        self, row: SuiteRow, shots: Sequence[SuiteRow], *, bos: bool, plain: bool
    ) -> Conversation:
        """What a model is asked, see `Convention.put`.

        Raises:
            EvaluationError: there are examples, and the suite takes none.
        """
        if shots and self.convention.shot is None:
            raise EvaluationError(
                f"{self.name}: the convention {self.convention.name} takes no examples: leave out "
                "--shots"
            )
        if shots and self.prompts is not None:
            raise EvaluationError(
                f"{self.name}: its examples are those of --prompts: leave out --shots"
            )
        return self.convention.put(row, shots, self.prompts, bos=bos, plain=plain)

    def identify(self) -> dict[str, Any]:
        """What makes another one of it: nothing of where its file, or one that is trained on,
        lies."""
        numbers = b"".join(row.number.to_bytes(4, "big") for row in self.rows)
        return {
            "sha256": self.digest.hex(),
            "columns": dict(self.columns),
            "convention": self.convention.name,
            "prompt": self.convention.text,
            "prompts": None if self.prompts is None else to_json(self.prompts),
            "asked_rows": sha256(numbers).hexdigest(),
        }

    def describe(self) -> dict[str, Any]:
        """What a result says of it."""
        return {
            "name": self.name,
            **self.identify(),
            "rows": self.rows_in_file,
            "asked": len(self.rows),
            "left_out": {
                reason: {"rows": len(rows), "first": list(rows[:NAMED])}
                for reason, rows in self.left_out.items()
            },
            "uncompared": dict(self.uncompared),
        }


def read_suite(
    file: Path, trained: Sequence[Path] = (), columns: Mapping[str, str] | None = None
) -> Suite:
    """The suite in a file.

    Args:
        trained: files of problems that are trained on. Rows that ask one of them are left out.
        columns: part of a row → its column, where the names of columns do not show it.

    Raises:
        EvaluationError: no row can be asked.
        ProblemFileError: a file cannot be read at all. The message says what to do.
    """
    look, found = look_at_file(file, columns, trained, is_suite=True)
    family, _, name = look.environment.partition(":")
    digest = bytes.fromhex(name)
    if family not in CONVENTIONS:
        raise EvaluationError(
            f"{file}: a suite is asked in one turn, and {family}:SHA256 replies between turns: a "
            "trainer's held-out problems are episodes, and `assay status` shows their success"
        )
    if (require := KINDS[family].require) is not None:
        require()
    out, asked = _list_left_out(look), dict[str, int]()
    trained_on = {number for numbers in look.suites.values() for number in numbers}
    rows = []
    for row in found:
        if row.number in trained_on:
            continue
        if isinstance(row.source, MathRow | InstructionRow) and row.source.context:
            out.setdefault("several messages", []).append(row.number)
            continue
        one = _ask(row, digest)
        if asked.setdefault(_join_blanks(one.problem), row.number) == row.number:
            rows.append(one)
        else:
            out.setdefault("asked already", []).append(row.number)
    if not rows:
        said = ", ".join(f"{len(n)} {reason}" for reason, n in out.items()) or "it has none"
        raise EvaluationError(f"{file}: none of its {look.rows} rows can be asked: {said}")
    name, chosen = name_source(file)[:_NAME], columns or {}
    left = {reason: sorted(numbers) for reason, numbers in out.items()}
    convention = CONVENTIONS[family]
    return Suite(name, digest, convention, rows, look.rows, left, look.uncompared, chosen)


def put_words(suites: Sequence[Suite], words: Mapping[str, Prompts]) -> list[Suite]:
    """The suites with an owner's words.

    Args:
        words: family of a suite → those for it.

    Raises:
        EvaluationError: there are words, and no suite is of their family.
    """
    families = {suite.convention.family for suite in suites}
    if words and not families & words.keys():
        raise EvaluationError(
            f"there are words for {', '.join(words)}, and the suites are of "
            f"{', '.join(sorted(families)) or 'none'}: name a table by one of these"
        )
    return [replace(suite, prompts=words.get(suite.convention.family)) for suite in suites]


def read_shots(file: Path, count: int, columns: Mapping[str, str] | None = None) -> list[SuiteRow]:
    """The first rows of a file as examples. Raises an EvaluationError: it has fewer."""
    rows = read_suite(file, (), columns).rows
    if len(rows) < count:
        raise EvaluationError(f"{file} has {len(rows)} rows for --shots {count}: ask for fewer")
    return list(rows[:count])


def require_apart(suite: Suite, shots: Sequence[SuiteRow]) -> None:
    """Raise an EvaluationError if a suite asks what an example answers."""
    shown = {_join_blanks(shot.problem) for shot in shots}
    same = [row.number for row in suite.rows if _join_blanks(row.problem) in shown]
    if same:
        raise EvaluationError(
            f"{suite.name}, row {same[0]}: it is one of the examples: take them from another file"
        )


def _join_blanks(problem: str) -> str:
    """A problem with one space for each run of blanks: doubles often differ in those alone."""
    return _RUN.sub(" ", problem).strip(" ")


def _list_left_out(look: Look) -> dict[str, list[int]]:
    """Reason → rows: those that training would skip too, damaged ones, and those trained on."""
    out = {**look.left_out, **{f"damaged: {why}": rows for why, rows in look.damaged.items()}}
    for file, rows in look.suites.items():
        if rows:
            out[f"in the training file {file}"] = rows
    return {reason: list(rows) for reason, rows in out.items()}


def _ask(row: AskedRow, digest: bytes) -> SuiteRow:
    """A row as a suite asks it.

    Args:
        digest: of the file. Each row's choices have an order of its own, the same for everybody.
    """
    number, source = row.number, row.source
    if isinstance(source, Row):
        return SuiteRow(number, source.question, source.solution)
    if isinstance(source, MathRow):
        return SuiteRow(number, source.problem, source.text or "", source.make_task())
    if isinstance(source, InstructionRow):
        return SuiteRow(number, source.prompt, "", source)
    if isinstance(source, CodeRow):
        return SuiteRow(number, source.text, "", source, how=write_request(source))
    if isinstance(source, TextRow):
        return SuiteRow(number, source.text, source.answers[0], source)
    assert isinstance(source, LettersRow), "no suite has other rows"
    seed = hash_fields(Domain.HELD_OUT, b"choices", digest, number.to_bytes(4, "big"))
    dealt = source.deal(open_stream(letters_file.NAME, seed))
    letters = LETTERS[: len(dealt.choices)]
    marked = zip(letters, dealt.choices, strict=True)
    choices = "\n".join(f"{letter}) {choice}" for letter, choice in marked)
    return SuiteRow(number, f"{dealt.question}\n\n{choices}", dealt.letter, None, letters)
