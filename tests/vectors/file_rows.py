"""Environments of files of rows, and vectors of `gsm:SHA256`: rows, levels, problems, scores."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from problems import iterate_answers
from subjects import digest

from assay.environments.answer_form import AnswerForm
from assay.environments.base import DrawnEnvironment
from assay.environments.gsm import GsmFile, Task
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.registry import make_environment

Json = Any

_SETTINGS: Mapping[str, int] = MappingProxyType({})


def open_lines(
    family: str, lines: list[str], settings: Mapping[str, int] = _SETTINGS
) -> DrawnEnvironment:
    """The environment of a file of these lines. Errors as of `make_environment`."""
    data = "".join(line + "\n" for line in lines).encode()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_bytes(data)
        add_problem_files([file])
        environment = make_environment(f"{family}:{sha256(data).hexdigest()}", settings)
    assert isinstance(environment, DrawnEnvironment)
    return environment


def describe_damaged(family: str, about: str, lines: list[str], because: str) -> Json:
    """A file that is refused, with a part of the reason."""
    try:
        open_lines(family, lines)
    except ProblemFileError as error:
        said = str(error)
    else:
        said = "nothing"
    assert because in said, (about, said)
    return {"about": about, "lines": lines, "because": because}


def _row(question: Json, answer: Json, **more: Json) -> Json:
    return {"question": question, "answer": answer} | more


#: Rows of a file; the last two ask what rows before them ask.
_ROWS: tuple[Json, ...] = (
    _row("How many?", "a\nb\nc\n#### 1,234"),
    _row("None?", "#### 0", level=3),
    _row("Fewer?", "They go.\n#### -7"),
    _row(" Spaces?\r\n", "a\n#### 5 \t\r\n"),
    _row("\u00bfCu\u00e1ntos? \u65e5\u672c \U0001f600\u00a0", "a\n\n#### 42"),
    _row("A million?", "a\n#### 1,000,000"),
    _row("Many?", "a\nb\nc\nd\n#### 123456789012345678"),
    _row("How few?", "\n\n\n\n\n\n#### 1,234,567\n"),
    _row("One # of ###?", "### 1 ##\n#### 12"),
    _row("Twelve?", "a\u2028b\r\n#### 12"),
    _row("A line?", "#### 3"),
    _row("Fewer?", "In other words.\nAnd lines.\n#### -7"),
    _row("A million?", "#### 1000000"),
)
_ENDING = "its answer does not end with its only ####"
#: What is wrong with a file of these rows, or lines, and a part of what is said.
_DAMAGED: tuple[tuple[str, list[Json], str], ...] = (
    ("no mark", [_ROWS[1], _row("a", "5")], _ENDING),
    ("two marks", [_row("a", "#### 4\n#### 5")], _ENDING),
    ("five signs", [_row("a", "##### 5")], _ENDING),
    ("within a line", [_row("a", "so #### 5")], _ENDING),
    ("no space", [_row("a", "####5")], _ENDING),
    ("another space", [_row("a", "#### \u00a05")], _ENDING),
    ("a line behind it", [_row("a", "#### 5\nso")], _ENDING),
    ("a plus", [_row("a", "#### +5")], _ENDING),
    ("a point", [_row("a", "#### 5.0")], _ENDING),
    ("commas elsewhere", [_row("a", "#### 12,34")], _ENDING),
    ("other digits", [_row("a", "#### \u0665")], _ENDING),
    ("a leading zero", [_row("a", "#### 05")], "its answer 05 is not a whole number"),
    ("a zero in commas", [_row("a", "#### 0,123")], "its answer 0123 is not a whole number"),
    ("minus zero", [_row("a", "#### -0")], "its answer -0 is not a whole number"),
    ("nineteen digits", [_row("a", "#### " + "1" * 19)], "is not a whole number"),
    ("another answer", [_row("a", "#### 1"), _row("a", "#### 2")], "it asks what row 1 asks"),
    ("no question", [_row("", "#### 1")], "its question has 0 characters"),
    ("a blank question", [_row("\t\n", "#### 1")], "its question has 2 characters"),
    ("a long question", [_row("q" * 8_193, "#### 1")], "its question has 8193 characters"),
    ("a control character", [_row("a\x0b", "#### 1")], "holds the character U+000B"),
    ("one in the answer", [_row("a", "\x7f\n#### 1")], "holds the character U+007F"),
    ("half a character", [_row("a\ud800", "#### 1")], "holds the character U+D800"),
    ("a number", [_ROWS[1], _row("a", 5)], "its answer is 5"),
    ("no answer", [_ROWS[1], {"question": "a"}], "gsm:SHA256 takes question and answer"),
    ("no object", [_ROWS[1], ["a", "#### 1"]], "it is not an object with question and answer"),
    ("a name twice", ['{"question": "a", "question": "b", "answer": "#### 1"}'], "occurs twice"),
    ("no JSON", ['{"question": "a", "answer": "#### 1", "n": NaN}'], "NaN is not a number"),
)


def make_gsm_file() -> Json:
    lines = [json.dumps(row) for row in _ROWS]
    made = [open_lines("gsm", lines, {"answer_form": int(form)}) for form in AnswerForm]
    few = lines[:1], lines[:3], [json.dumps(_row("q" * 8_192, "#### 3"))]
    problems = []
    for environment in (made[AnswerForm.HASH], made[AnswerForm.TAGS]):
        assert isinstance(environment, GsmFile)
        for levels in ([1], [8], [3, 5], environment.levels):
            for i in range(4):
                seed = digest(f"problem {i}")
                problem = environment.make_problem(seed, levels)
                assert isinstance(problem.answer, Task)
                problems.append(
                    {
                        **{"settings": dict(environment.params), "levels": levels},
                        **{"seed": seed.hex(), "level": problem.level, "prompt": problem.prompt},
                        "value": problem.answer.row.value,
                    }
                )
    first = made[AnswerForm.HASH]
    return {
        "lines": lines,
        "name": first.name,
        "digests": [{"settings": dict(one.params), "digest": one.digest.hex()} for one in made],
        "levels": first.levels,
        "skipped": [
            {"row": row, "because": because}
            for because, rows in first.skipped.items()  # type: ignore[attr-defined]
            for row in rows
        ],
        "few": [{"lines": each, "levels": open_lines("gsm", each).levels} for each in few],
        "damaged": [
            describe_damaged("gsm", about, [_write(row) for row in rows], because)
            for about, rows, because in _DAMAGED
        ],
        "problems": problems,
        "scored": [_score(made[AnswerForm.HASH]), _score(made[AnswerForm.BOXED])],
    }


def _write(row: Json) -> str:
    return row if isinstance(row, str) else json.dumps(row)


def _score(environment: DrawnEnvironment) -> Json:
    """Answers to the problem of the last level, whose total has seven digits and a sign."""
    seed, levels = digest("scored"), environment.levels[-1:]
    problem = environment.make_problem(seed, levels)
    total = problem.answer.row.value  # type: ignore[attr-defined]
    answers = [("in a box", f"\\boxed{{{total:,} }}"), ("another sign", f"#### {-total}")]
    answers += [
        ("half of the commas", f"#### {total:,}".replace(",", "", 1)),
        ("other digits", "\\boxed{\uff15}"),
    ]
    if environment.params["answer_form"] == AnswerForm.HASH:
        answers += iterate_answers(total)
    return {
        "settings": dict(environment.params),
        "seed": seed.hex(),
        "levels": levels,
        "value": total,
        "completions": [
            {"about": about, "completion": text} | asdict(environment.score(problem, text))
            for about, text in answers
        ],
    }
