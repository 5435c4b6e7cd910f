"""Vectors of `letters:SHA256`: the rows that are asked, problems, and the scores of answers."""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from subjects import digest

from assay.environments.problem_file import add_problem_files
from assay.environments.registry import make_environment

Json = Any

_FOUR = ["a hen", "a fox", "a cow", "a pig"]
#: Rows of a file, and whether each is asked.
ROWS: tuple[tuple[Json, bool], ...] = (
    ({"question": "Who barks?", "options": ["a dog", *_FOUR], "answer": "A", "level": 1}, True),
    ({"question": "Who crows?", "options": _FOUR, "answer": "a hen", "level": 1}, True),
    (
        {"question": " Who digs? ", "options": _FOUR, "answer_index": 1, "answer": "B", "level": 1},
        True,
    ),
    ({"question": "Who moos?", "options": _FOUR, "answer": "(C)", "level": "Level 1"}, True),
    (
        {
            **{"question": "Who eats?", "answer": "D", "level": 2},
            "options": ["a hen", "a fox", "a cow", "All of the above"],
        },
        True,
    ),
    (
        {"question": "Who runs?", "options": ["both B and C", *_FOUR], "answer": "A", "level": 2},
        False,
    ),
    ({"question": "Who flies?", "options": _FOUR, "answer": "Z", "level": 2}, False),
    ({"question": "Who sings?", "options": ["x", " X"], "answer": "A", "level": 2}, False),
    (
        {"question": "Who swims?", "options": _FOUR, "answer": "A", "answer_index": 1, "level": 2},
        False,
    ),
    ({"question": "Who purrs?", "options": ["a cat", *_FOUR], "answer": "A", "level": 2}, True),
    ({"question": "Is a fox an animal?", "answer": "Yes.", "level": "hard"}, True),
    ({"question": "Is a fox a bird?", "answer": False, "passage": "It\nruns.", "level": 3}, True),
    ({"question": "Is the Ull a river?", "answers": ["true", "True"], "level": 3}, True),
    ({"question": "Is it so?", "answer": "yes", "answers": ["no"], "level": 3}, False),
    ({"question": "Is it?", "answer": "yes", "answerable": False, "level": 3}, False),
    ({"question": "Who digs?", "answer": "a fox", "level": 3}, False),
    (
        {
            **{"question": "Which is longer, the Ull or the Ober?", "answer": "Ober", "level": 3},
            "context": {
                "title": ["The Ull", "Ober", "Fenn"],
                "sentences": [["It is short.", " So."], ["It is long."], []],
            },
        },
        True,
    ),
    (
        {
            **{"question": "Where does the Ull end?", "answer": "Ull", "level": 3},
            "context": [["The Ull", ["It ends here."]]],
        },
        False,
    ),
    ({"question": "Is it true?", "answer": "yes", "context": 7, "level": 3}, False),
    ({"question": "Is the passage long?", "answer": "yes", "level": 3}, False),
    ({"question": "Is it long?", "answer": "no", "article": "x " * 4_097, "level": 3}, False),
    (
        {
            **{"question": "Who in this passage digs?", "options": _FOUR, "answer": "B"},
            **{"passage": "A fox digs.\n\n A hen does not.", "level": 3},
        },
        True,
    ),
    (
        {
            "question": {
                "stem": "Who barks at a fox?",
                "choices": [
                    {"label": f"{number}", "text": text}
                    for number, text in enumerate([*_FOUR, "a dog"], 1)
                ],
            },
            **{"answerKey": "5", "passage": "A dog barks.", "level": 3},
        },
        True,
    ),
    ({"question": {"stem": "Who?", "choices": _FOUR[:1]}, "answerKey": "A", "level": 3}, False),
)


def make_letters() -> Json:
    lines = [json.dumps(row) for row, _ in ROWS]
    data = "".join(line + "\n" for line in lines).encode()
    name = f"letters:{sha256(data).hexdigest()}"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_bytes(data)
        add_problem_files([file])
        made = {odds: make_environment(name, {"odds": odds}) for odds in (2, 10)}
    problems = []
    for odds, environment in made.items():
        for levels in ([1], [2], [3], [1, 2]):
            for i in range(4):
                seed = digest(f"problem {i}")
                problem = environment.make_problem(seed, levels)
                problems.append(
                    {
                        "odds": odds,
                        "levels": levels,
                        "seed": seed.hex(),
                        "level": problem.level,
                        "prompt": problem.prompt,
                        "letters": problem.answer.letters,  # type: ignore[attr-defined]
                    }
                )
    scored = []
    for odds, environment in made.items():
        seed = digest("scored")
        problem = environment.make_problem(seed, [1])
        letters = problem.answer.letters  # type: ignore[attr-defined]
        scored.append(
            {
                "odds": odds,
                "seed": seed.hex(),
                "letters": letters,
                "completions": [
                    {"about": about, "completion": text} | asdict(environment.score(problem, text))
                    for about, text in _iterate_completions(letters)
                ],
            }
        )
    return {
        "lines": lines,
        "name": name,
        "asked": [number for number, (_, asked) in enumerate(ROWS, 1) if asked],
        "digests": [
            {"odds": odds, "digest": environment.digest.hex()} for odds, environment in made.items()
        ],
        "problems": problems,
        "scored": scored,
    }


def _iterate_completions(letters: str) -> list[tuple[str, str]]:
    other = "".join("A" if letter != "A" else "B" for letter in letters)
    return [
        ("the letters alone", f"#### {letters}"),
        ("after prose", f"It must be so.\n\n#### {letters}"),
        ("one by one", f"#### {', '.join(letters)}"),
        ("in brackets", f"#### {' '.join(f'({letter})' for letter in letters)}"),
        ("with a point", f"#### {letters}."),
        ("other letters", f"#### {other}"),
        ("the last one is another", f"#### {letters[:-1]}{other[-1]}"),
        ("one too many", f"#### {letters}{letters[0]}"),
        ("small letters", f"#### {letters.lower()}"),
        ("a slash", f"#### {'/'.join((letters, letters))}"),
        ("twice", f"#### {letters}\n#### {letters}"),
        ("in the middle of a line", f"so #### {letters}"),
        ("no text", ""),
    ]
