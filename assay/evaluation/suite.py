"""A suite: the problems of a file that are asked, each once, and why each other row is not.

`assay env look` says of a file how its rows are read, and this module believes it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from assay.environments import gsm, letters_file, math_file
from assay.environments.base import BLANKS, Conversation, open_stream
from assay.environments.instructions import instruction_file
from assay.environments.instructions.instruction_file import InstructionRow, InstructionRows
from assay.environments.letters_file import LETTERS, LettersRows
from assay.environments.math_file import MathRows, MathTask
from assay.environments.problem_file import read_problem_file, read_table
from assay.environments.problem_look import NAMED, Look, convert_program, look_at_file
from assay.environments.programs import code_file
from assay.environments.programs.case_runs import require_sandbox
from assay.environments.programs.code_file import CodeRows, write_request
from assay.evaluation.conventions import CONVENTIONS, Convention, SuiteRow
from assay.network.hub.origin import name_source
from assay.protocol import Domain, hash_fields
from assay.protocol.encoding import to_json
from assay.protocol.errors import OperatorError
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

    def describe(self) -> dict[str, object]:
        """What a result says of it, and what makes another one of it."""
        return {
            "name": self.name,
            "sha256": self.digest.hex(),
            "columns": dict(self.columns),
            "convention": self.convention.name,
            "prompt": self.convention.text,
            "prompts": None if self.prompts is None else to_json(self.prompts),
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
    look, _ = look_at_file(file, columns, trained)
    family = look.environment.partition(":")[0]
    data = read_problem_file(file)
    digest = sha256(data).digest()
    out, asked = _list_left_out(look), dict[str, int]()
    left = {number for rows in out.values() for number in rows}
    rows = []
    for row in _READERS[family](read_table(data, file)[1], columns, digest):
        if row.number in left:
            continue
        if isinstance(row.right, MathTask | InstructionRow) and row.right.context:
            out.setdefault("several messages", []).append(row.number)
        elif asked.setdefault(_join_blanks(row.problem), row.number) == row.number:
            rows.append(row)
        else:
            out.setdefault("asked already", []).append(row.number)
    if not rows:
        said = ", ".join(f"{len(n)} {reason}" for reason, n in out.items()) or "it has none"
        raise EvaluationError(f"{file}: none of its {look.rows} rows can be asked: {said}")
    name, chosen = name_source(file)[:_NAME], columns or {}
    return Suite(name, digest, CONVENTIONS[family], rows, look.rows, out, look.uncompared, chosen)


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


Columns = Mapping[str, str] | None


def _read_words(lines: Sequence[bytes], columns: Columns, digest: bytes) -> Iterator[SuiteRow]:
    reader = gsm.RowReader()
    for number, line in enumerate(lines, 1):
        with suppress(ValueError):  # a damaged one
            row = reader(line)
            yield SuiteRow(number, row.question, row.solution)


def _read_math(lines: Sequence[bytes], columns: Columns, digest: bytes) -> Iterator[SuiteRow]:
    rows = MathRows(columns)
    rows.add_all(lines)
    for number, row in rows.kept:
        yield SuiteRow(number, row.problem, row.text or "", row.make_task())


def _read_letters(lines: Sequence[bytes], columns: Columns, digest: bytes) -> Iterator[SuiteRow]:
    """Each row's choices in an order of its own, which is the same for everybody."""
    rows = LettersRows()
    rows.add_all(lines)
    for number, row in rows.kept:
        seed = hash_fields(Domain.HELD_OUT, b"choices", digest, number.to_bytes(4, "big"))
        dealt = row.deal(open_stream(letters_file.NAME, seed))
        letters = LETTERS[: len(dealt.choices)]
        marked = zip(letters, dealt.choices, strict=True)
        choices = "\n".join(f"{letter}) {choice}" for letter, choice in marked)
        yield SuiteRow(number, f"{dealt.question}\n\n{choices}", dealt.letter, None, letters)


def _read_instructions(
    lines: Sequence[bytes], columns: Columns, digest: bytes
) -> Iterator[SuiteRow]:
    rows = InstructionRows()
    rows.add_all(lines)
    for number, row in rows.kept:
        yield SuiteRow(number, row.prompt, "", row)


def _read_programs(lines: Sequence[bytes], columns: Columns, digest: bytes) -> Iterator[SuiteRow]:
    require_sandbox()
    rows = CodeRows()
    for number, line in enumerate(lines, 1):
        rows.number = number - 1
        with suppress(ValueError):  # a damaged one, or one without test cases
            rows.add(convert_program(line))
    rows.finish()
    for number, row in rows.kept:
        yield SuiteRow(number, row.text, "", row, how=write_request(row))


_READERS: Mapping[str, Callable[[Sequence[bytes], Columns, bytes], Iterator[SuiteRow]]] = {
    code_file.NAME: _read_programs,
    gsm.NAME: _read_words,
    instruction_file.NAME: _read_instructions,
    letters_file.NAME: _read_letters,
    math_file.NAME: _read_math,
}
