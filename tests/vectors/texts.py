"""Vectors of `text:SHA256`: rows that are asked and why others are not, problems, and scores."""

import json
from dataclasses import asdict
from typing import Any

from file_rows import open_lines
from subjects import digest

from assay.environments.answer_form import AnswerForm
from assay.environments.documents import read_passage
from assay.environments.plain_form import write_plainly
from assay.environments.text_file import TextFile, TextTask

Json = Any

_TOWN = "Fenn is a town.\r\n\r\nIt lies at the lake\tOber.\nIda built it."
#: Rows of a file, and why each is not asked.
ROWS: tuple[tuple[Json, str | None], ...] = (
    ({"question": "Who built Fenn?", "answer": "Ida of Moor", "level": 1}, None),
    ({"question": " Where does the Ull end?\n", "answer": ["the Sea", "Sea."], "level": 2}, None),
    (
        {
            **{"Question": "Which sea?", "level": "medium", "Answer": {"Value": "Glass Sea"}},
            "answers": {"text": ["Sea of glass"], "answer_start": [3]},
        },
        None,
    ),
    ({"question": "How many?", "golden_answers": ["3,204", 3204], "level": "hard"}, None),
    ({"question": "When?", "answer": '["1,5", "a\u00a0day"]', "level": 5}, None),
    ({"query": "What?", "answer": r"It is \\boxed{A Fox}, I think.", "level": "Level 1"}, None),
    ({"question": "Who sits here?", "answer": "An \u00c9MILE", "level": 1}, None),
    ({"question": "Who?", "answer": "x", "answerable": "FALSE", "level": 1}, "that says it has no"),
    ({"question": "Who?", "answer": "x", "is_impossible": True, "level": 1}, "that says it has no"),
    ({"question": "Who?", "answer": "The!", "level": 1}, "without an answer"),
    ({"question": "Who?", "answer": None, "level": 1}, "without an answer"),
    ({"question": "Is it?", "answer": "Yes.", "level": 1}, "with a yes or no for an answer"),
    ({"question": "Is it?", "answer": False, "level": 1}, "with a yes or no for an answer"),
    ({"question": "Who?", "answer": 1.5, "level": 1}, "with an answer of another type"),
    ({"question": "Who?", "answer": "['x']", "level": 1}, "with a list that is no JSON for"),
    ({"question": "Who?", "answer": "x\u0085", "level": 1}, "with a control character in an"),
    ({"question": "Ull or Ober?", "answer": "the Ull", "level": 1}, "with the answer in the quest"),
    ({"question": "Which letter?", "answer": "(C)", "level": 1}, "with a letter for an answer"),
    (
        {"question": "Which? (A) Ull (B) Ober", "answer": "Fenn", "level": 1},
        "with choices in the question",
    ),
    ({"question": "Is A: or B.5 so? C. D) Who?", "answer": "Ada", "level": 5}, None),
    ({"question": "Who?", "answer": "\\frac{1}{x}", "level": 1}, "with a formula for an answer"),
    ({"question": "Who?", "answer": "x" * 129, "level": 1}, "with more than 128 characters for"),
    ({"question": "Who digs?", "answer": ["x" * 129, "x" * 128], "level": 3}, None),
    ({"question": "Who?", "answer": "#### x", "level": 1}, "with a formula for an answer"),
    ({"question": ["Who?"], "answer": "x", "level": 1}, "with a question that is no text"),
    ({"question": "", "answer": "x", "level": 1}, "without a question"),
    (
        {"instruction": "Add.", "input": "1", "answer": "x", "level": 1},
        "an instruction with an inp",
    ),
    ({"instruction": "Name it.", "input": "", "answer": "Ull", "level": 1}, None),
    (
        {"question": "According to the text, who?", "answer": "x", "level": 1},
        "about a passage that it lacks",
    ),
    (
        {"question": "Who digs?", "answer": "x", "context": {"a": 1}, "level": 1},
        "with a passage of another shape",
    ),
    (
        {"question": "Who?", "answer": "x", "passage": "\u00e9" * 8_193, "level": 1},
        "with a passage of more than 8,192",
    ),
    ({"question": "Who built it?", "answer": "Ida", "context": _TOWN, "level": 2}, None),
    ({"question": "Who built it?", "answer": "ida", "context": f" {_TOWN}", "level": 2}, "asked"),
    ({"question": "Who built it?", "answer": "Moor", "context": "Moor did.", "level": 2}, None),
    (
        {
            **{"question": "In this passage, where is it?", "answer": "lake", "level": 4},
            "paragraphs": [
                {"idx": 0, "title": "Fenn\n", "paragraph_text": "It is far."},
                {"idx": 1, "title": "Tarn", "paragraph_text": None},
            ],
        },
        None,
    ),
)
#: Rows whose passages are read alone.
_PASSAGES: tuple[Json, ...] = (
    {"context": "a\u0085\u2028b \n \n\n c\r\nd", "title": "T"},
    {"passage": ["one ", " two"], "article": "three\x00four\ud800"},
    {"paragraphs": [["T", ["It ", " digs."]], [None, "so"]], "context": ""},
    {"context": {"title": ["T", "U"], "sentences": [["a"], []]}},
    {"context": [{"title": "T", "text": "x", "contents": "y"}], "paragraphs": [{"sentences": []}]},
    *({"context": odd} for odd in (7, {"title": "T"}, ["a", 1], [["a"]], [{"text": 1}], True)),
)
#: Rows of a file of which half have a passage: the others are not asked.
_READING: tuple[Json, ...] = (
    {"question": "Who?", "answer": "Ida", "passage": "Ida did."},
    {"question": "Who else?", "answer": "Moor", "passage": " "},
    {"question": "And who?", "answer": "Ada"},
    {"question": "Where?", "answer": "Fenn", "passage": "In Fenn."},
)
_PLAIN = (
    *(
        "The  Ull.",
        "U.S.A.",
        "1,5",
        "1,000",
        "1,'000",
        "a,b",
        "-.5",
        "12:30",
        "C++",
        "x\u00a0the y",
    ),
    *("theatre", "a\r\nthe\tb", "(x) [y] {z}", "\u0130\u212a", "the\x0ban", "\ud83d a", "10,0000"),
)
#: Of the question about the Ull.
_COMPLETIONS = (
    ("the answer", "#### the Sea"),
    ("in capitals, after prose", "It is so.\n#### SEA."),
    ("other blanks", "####  a\tsea\r\n"),
    ("in quotes", '#### "Sea"'),
    ("a sentence", "#### It ends in the Sea"),
    ("all answers", "#### the Sea, Sea."),
    ("two answers", "#### Sea or lake"),
    ("the question", "#### Where does the Ull end?"),
    ("a no-break space", "#### the\u00a0Sea"),
    ("other letters", "#### \u0405ea"),
    ("a zero width", "#### S\u200bea"),
    ("articles alone", "#### the a an"),
    ("signs alone", "#### ..."),
    ("nothing", "#### "),
    ("without the mark", "the Sea"),
    ("twice", "#### Sea\n#### Sea"),
    ("too long", "#### Sea" + " " * (1 << 15)),
    ("no text", ""),
)


def make_text() -> Json:
    lines = [json.dumps(row) for row, _ in ROWS]
    made = [open_lines("text", lines, {"answer_form": int(form)}) for form in AnswerForm]
    first = made[AnswerForm.HASH]
    assert isinstance(first, TextFile)
    skipped = {row: because for because, rows in first.skipped.items() for row in rows}
    for number, (row, because) in enumerate(ROWS, 1):
        assert skipped.get(number, "").startswith(because or ""), (row, skipped.get(number))
        assert (number in skipped) == (because is not None), (row, skipped.get(number))
    problems = []
    for number in (AnswerForm.HASH, AnswerForm.BOXED):
        for levels in ([1], [2, 3], first.levels):
            for i in range(4):
                seed = digest(f"problem {i}")
                problem = made[number].make_problem(seed, levels)
                assert isinstance(problem.answer, TextTask)
                problems.append(
                    {
                        **{"environment": int(number), "levels": list(levels), "seed": seed.hex()},
                        **{"level": problem.level, "prompt": problem.prompt},
                        "answers": list(problem.answer.row.answers),
                    }
                )
    reading = [json.dumps(row) for row in _READING]
    read = open_lines("text", reading)
    assert isinstance(read, TextFile)
    assert read.skipped == {"without the passage that others have": [2, 3]}
    return {
        "lines": lines,
        "reading": {"lines": reading, "asked": [1, 4], "levels": list(read.levels)},
        "name": first.name,
        "asked": [number for number in range(1, len(ROWS) + 1) if number not in skipped],
        "skipped": [{"row": row, "because": because} for row, because in sorted(skipped.items())],
        "environments": [
            {"settings": dict(one.params), "digest": one.digest.hex()} for one in made
        ],
        "plain": [[text, write_plainly(text)] for text in _PLAIN],
        "passages": [[json.dumps(row), _read_passage(row)] for row in _PASSAGES],
        "problems": problems,
        "scored": [_score(made, form) for form in (AnswerForm.HASH, AnswerForm.TAGS)],
    }


def _read_passage(row: Json) -> str | None:
    try:
        return read_passage(row)
    except ValueError:
        return None


def _score(made: list[Any], form: AnswerForm) -> Json:
    environment = made[form]
    seed = next(
        seed
        for seed in (digest(f"scored {i}") for i in range(100))
        if "Ull end" in environment.make_problem(seed, [2]).question
    )
    problem = environment.make_problem(seed, [2])
    answers = [(about, text) for about, text in _COMPLETIONS if form == AnswerForm.HASH]
    answers += [("in tags", "<answer>Sea</answer>"), ("in a box", "\\boxed{Sea}")]
    return {
        "environment": int(form),
        "seed": seed.hex(),
        "levels": [2],
        "completions": [
            {"about": about, "completion": text} | asdict(environment.score(problem, text))
            for about, text in answers
        ],
    }
