"""Files of problems are vetted: what their right answers, a hedge, a constant and a guess earn."""

import json

import pytest

from assay.environments import problem_vetting
from assay.environments.problem_vetting import vet_problem_file

FOUR = ["a hen", "a fox", "a cow", "a pig"]
#: Rows of a file → the checks that it fails.
FILES = {
    "gsm": ([{"question": f"{i}+1?", "answer": f"#### {i + 1}"} for i in range(40)], ()),
    "math": ([{"problem": f"{i}/7?", "answer": rf"\frac{{{i}}}{{7}}"} for i in range(1, 41)], ()),
    "letters": (
        [{"question": f"{i}?", "options": FOUR, "answer": "ABCD"[i % 4]} for i in range(40)],
        (),
    ),
    "instructions": (
        [
            {
                "prompt": f"Write {i}.",
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": 100 + i, "relation": "at least"}],
            }
            for i in range(40)
        ],
        (),
    ),
    "instructions that any text meets": (
        [{"prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}],
        ("constant answers",),
    ),
    "prompts that meet their own instructions, above the lowest level": (
        [
            {
                "prompt": f"Name hen {count}{i}.",
                "instruction_id_list": ["startend:end_checker", "punctuation:no_comma"][:count],
                "kwargs": [{"end_phrase": f"hen {count}{i}{'.' * (count - 1)}"}, {}][:count],
            }
            for i in range(20)
            for count in (1, 2)
        ],
        ("constant answers",),
    ),
    "one answer": (
        [{"problem": f"{i}?", "answer": str(i % 2)} for i in range(40)],
        ("constant answers",),
    ),
    "a damaged row": ([{"problem": "1?", "answer": "{"}], ("rows",)),
    "rows that must be written anew": (
        [{"text": "?", "test_list": ["assert f(1) == 1"]}],
        ("rows",),
    ),
    "no rows": (["text"], ("rows",)),
}


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_fails(tmp_path, monkeypatch, name):
    monkeypatch.setattr(problem_vetting, "CONSTANTS", 20)
    rows, failed = FILES[name]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = vet_problem_file(file)
    assert report.failed == failed, report
    names = [check.name for check in report.checks]
    assert ("right answers" in names) == (name in ("gsm", "math", "letters", "one answer"))
    assert ("guesses" in names) == (name == "letters")


def test_a_guess_that_looks_like_learning_is_a_finding(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    rows, _ = FILES["letters"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    make = problem_vetting.make_environment
    monkeypatch.setattr(
        problem_vetting, "make_environment", lambda name, _: make(name, {"odds": 4})
    )
    report = vet_problem_file(file)
    assert "guesses" in report.failed
    assert "once in 4; two differ in 37.5 %" in report.checks[-1].detail
