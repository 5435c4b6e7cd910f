"""Vectors of `search:SHA256`: rows that are asked, results of queries, scores of answers."""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from subjects import digest

from assay.environments.plain_form import write_plainly
from assay.environments.problem_file import add_problem_files
from assay.environments.registry import make_environment
from assay.environments.search.search_rows import SearchRows
from assay.environments.tools import ToolEnvironment
from assay.environments.tools.calls import write_call

Json = Any

_LONG = "The Ober lies between hills. " + "It is deep, and its water is cold. " * 20
#: Rows of a file, and whether each is asked.
ROWS: tuple[tuple[Json, bool], ...] = (
    ({"_id": "d1", "title": "Ober", "text": _LONG}, False),
    ({"_id": "d2", "title": "", "text": "A lake is not a river.\nA river\tis not a lake."}, False),
    ({"id": 3, "contents": '"Fenn"\nFenn is a town at the lake Ober. <|im_end|>'}, False),
    ({"id": 4, "contents": '"Fenn"\nFenn is a town at the lake Ober. <|im_end|>'}, False),
    ({"title": "Fenn", "text": "It was built in 1204 by Ida of Moor."}, False),
    ({"title": None, "text": "\u00c9mile na\u00efve caf\u00e9 \U0001f600 \ud83d X-1 x1"}, False),
    ({"title": "...", "text": "\u4e00"}, False),
    (
        {
            **{"question": "Who built the town at the lake Ober?", "answer": "Ida of Moor"},
            **{"level": "easy", "type": "bridge"},
            "context": [["Ida", ["Ida of Moor was a mason.", " She built a town."]], ["Tarn", []]],
        },
        True,
    ),
    (
        {
            **{"question": "Where does the river Ull end?", "answer": "the Sea of Glass"},
            **{"level": "medium", "answer_aliases": ["Glass Sea", "Sea of glass."]},
            "context": {"title": ["Ull"], "sentences": [["The Ull ends in the Sea of Glass."]]},
        },
        True,
    ),
    (
        {
            **{"question": "How many people live in Fenn?", "golden_answers": ["3,204", 3204]},
            **{"level": "hard", "paragraphs": [{"title": "Fenn", "paragraph_text": "3,204 live."}]},
        },
        True,
    ),
    (
        {
            **{"question": "When did Ida die?", "answers": {"text": ["1,5", "a\u00a0day"]}},
            **{"level": 5, "title": "Ida", "context": "Nobody knows when Ida died."},
        },
        True,
    ),
    ({"question": "Is the Ober deep?", "answer": "Yes.", "level": 1}, False),
    ({"question": "Which is older, the Ull or Fenn?", "answer": "the Ull", "level": 1}, False),
    ({"question": "What is nothing?", "answer": ["The!"], "level": 1}, False),
    ({"question": " When did Ida die? ", "answer": ["a\u00a0day", "1,5"], "level": 1}, False),
    (
        {"question": "Who is a mason?", "answer": "Ida", "level": "Level 1", "text": "Ida, Ida."},
        True,
    ),
)
_QUERIES = [
    *("Ober", "lake ober", "FENN town", "ida of moor", "Ida ida IDA", "who built a town", "river"),
    *("x1", "x 1", "X-1", "\u00e9mile", "na ve", "caf", "\U0001f600", "zebra", "zebra lake", ""),
    *("the", "im_end", "3,204", "3 204", " ".join(["lake"] * 64), " ".join(["lake"] * 65)),
    *("lake" + " " * 1_020, "lake" + " " * 1_021, "\u00e9" * 1_019 + " lake"),
]
_PLAIN = [
    *("The  Ull.", "An a the", "U.S.A.", "1.5", ".5", "-5", "5.", "1,000", "1,0000", "1,5", "a,b"),
    *(
        "12:30",
        "ratio: 2",
        "(x) [y] {z}",
        "`*_\"'",
        "caf\u00c9",
        "C++",
        "well-known",
        "x\u00a0the y",
    ),
    *("10,000,000", "theatre", "a\r\nthe\tb", "\u0660,\u0661"),
]


def make_search() -> Json:
    lines = [json.dumps(row) for row, _ in ROWS]
    data = "".join(line + "\n" for line in lines).encode()
    name = f"search:{sha256(data).hexdigest()}"
    settings: list[dict[str, int]] = [
        {},
        {"passages": 1, "characters": 100, "answer_form": 2, "call_form": 1},
        *({"call_form": form} for form in (2, 3, 4)),
    ]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_bytes(data)
        add_problem_files([file])
        made = [make_environment(name, params) for params in settings]
    rows = SearchRows()
    rows.add_all(lines=[line.encode() for line in lines])
    problems, results, episodes = [], [], []
    for number, environment in enumerate(made[:2]):
        assert isinstance(environment, ToolEnvironment)
        for query in _QUERIES:
            result, _ = environment.tool.call(query, 0)
            results.append({"environment": number, "query": query, "result": result})
        for levels in ([1], [2, 3], [1, 2, 3, 5]):
            for i in range(3):
                seed = digest(f"problem {i}")
                problem = environment.make_problem(seed, levels)
                problems.append(
                    {
                        "environment": number,
                        "levels": levels,
                        "seed": seed.hex(),
                        "level": problem.level,
                        "prompt": problem.prompt,
                        "answers": list(problem.answer.row.answers),  # type: ignore[attr-defined]
                    }
                )
    seed, levels = digest("scored"), [2]
    for number, environment in enumerate(made):
        assert isinstance(environment, ToolEnvironment)
        state = environment.open(environment.make_problem(seed, levels))
        turns = []
        for said in _list_turns(environment):
            state, reply = state.step(said, is_ended=True)
            turns.append({"turn": said, "reply": reply} | asdict(state.score()))
        episodes.append({"environment": number, "turns": turns})
    problem = made[0].make_problem(seed, levels)
    return {
        "lines": lines,
        "name": name,
        "asked": [number for number, (_, asked) in enumerate(ROWS, 1) if asked],
        "documents": [[one.title, one.text] for one in rows.documents],
        "environments": [
            {"settings": dict(one.params), "digest": one.digest.hex()} for one in made
        ],
        "results": results,
        "plain": [[text, write_plainly(text)] for text in _PLAIN],
        "problems": problems,
        "seed": seed.hex(),
        "levels": levels,
        "episodes": episodes,
        "completions": [
            {"about": about, "completion": text} | asdict(made[0].score(problem, text))
            for about, text in _COMPLETIONS
        ],
    }


def _list_turns(environment: ToolEnvironment) -> list[str]:
    """Searches, a call that cannot be read, and an answer in the environment's form."""
    queries = "lake ober", "Where does the river Ull end?", "", "zebra"
    calls = [write_call(query, environment.form, environment.tool) for query in queries]
    faulty = '<tool_call>{"name": "search", "arguments": {"query": 1}}</tool_call>'
    answer = "<answer>Glass Sea</answer>" if environment.params["answer_form"] else "#### Glass Sea"
    return [*calls, "I search.\nsearch: FENN", faulty, answer]


#: Of the question about the river.
_COMPLETIONS = [
    ("the answer", "#### the Sea of Glass"),
    ("an alias", "It is so.\n#### Glass Sea"),
    ("in capitals, with a point", "#### SEA OF GLASS."),
    ("other blanks", "####  sea\tof\r\nglass\n"),
    ("in quotes", '#### "Sea of Glass"'),
    ("a part", "#### Glass"),
    ("two answers", "#### Sea of Glass or Glass Sea"),
    ("a sentence", "#### It ends in the Sea of Glass"),
    ("a no-break space", "#### Sea\u00a0of Glass"),
    ("articles alone", "#### the a an"),
    ("signs alone", "#### ..."),
    ("nothing", "#### "),
    ("without the mark", "the Sea of Glass"),
    ("twice", "#### Sea of Glass\n#### Sea of Glass"),
    ("no text", ""),
]
