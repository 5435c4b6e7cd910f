"""Files of problems are vetted: what their right answers, a hedge, a constant and a guess earn."""

import json

import pytest

from assay.environments import problem_vetting
from assay.environments.kind import FromFile
from assay.environments.letters_file import LettersFile
from assay.environments.problem_file import ProblemFileError
from assay.environments.problem_vetting import vet_problem_file
from assay.sandbox.guest import running
from tests.absent import has_sandbox

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
    "programs of which a constant is one": (
        [
            {"question": "?", "input_output": json.dumps({"inputs": ["1", "2"], "outputs": due})}
            for due in (["1", "2"], ["3", "3"])
        ],
        ("rows",),
    ),
}


def make_texts(count, levels=5):
    rows = [{"question": f"Who is {i}?", "answer": f"Ada {i}"} for i in range(count)]
    return [row | {"level": 1 + i % levels} for i, row in enumerate(rows)]


#: Files of few rows → what is said of constant answers.
FEW = {
    "boxes": (
        [{"problem": "23/2?", "answer": r"\boxed{\frac{23}{2}}"}] * 2,
        "problems are too few",
    ),
    "three rows": (make_texts(3), "its 3 problems are too few to tell: 4 or more are needed"),
    "four rows": (make_texts(4), "solves 1 of 4 problems of levels 1, 2, 3, 4"),
    "nine rows": (make_texts(9), "solves 1 of 9 problems of levels 1, 2, 3, 4, 5"),
    "a small level": (make_texts(3)[1:] + make_texts(90, 1), "of level 1"),
}


@pytest.mark.parametrize("name", FEW)
def test_levels_of_few_problems_are_tried_together(tmp_path, name):
    rows, said = FEW[name]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = vet_problem_file(file)
    (check,) = (one for one in report.checks if one.name == "constant answers")
    assert said in check.detail
    assert report.failed == (() if check.passed else ("constant answers",))
    assert check.passed == ("too few" not in said)


@pytest.mark.parametrize("family", ["math", "text"])
def test_a_file_whose_answers_have_the_form_of_answers_is_fit(tmp_path, family):
    """A right answer that is bare in the file is no hostile one, whatever is around it."""
    box = "\\boxed{{{}}}".format
    answers = {"math": r"\frac{{{}}}{{7}}".format, "text": "Ada {}".format}[family]
    rows = [{"question": f"{i}?", "answer": f"So {box(answers(i))}."} for i in range(1, 41)]
    rows[0]["answer"] = box(answers(1))
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = vet_problem_file(file)
    assert report.subject.partition(":")[0] == family
    assert report.is_fit, report


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
    files = {"letters": FromFile(lambda digest, _: LettersFile(digest, {"odds": 4}))}
    monkeypatch.setattr(problem_vetting, "list_files", lambda: files)
    report = vet_problem_file(file)
    assert "guesses" in report.failed
    assert "once in 4; two differ in 37.5 %" in report.checks[-1].detail


def test_what_cannot_be_vetted_is_no_finding(tmp_path, monkeypatch):
    """A file that is none, and programs without a sandbox: nobody knows whether it is fit."""
    file = tmp_path / "rows.jsonl"
    file.write_text('"text"\n')
    with pytest.raises(ProblemFileError, match="row 1: it is not an object"):
        vet_problem_file(file)
    row = {"question": "Add.", "input_output": '{"inputs": ["1", "2"], "outputs": ["1", "3"]}'}
    file.write_text(json.dumps(row))
    monkeypatch.setattr(running, "is_prepared", lambda _: False)
    running.require_prepared.cache_clear()
    with pytest.raises(ProblemFileError, match="`assay sandbox prepare` makes it"):
        vet_problem_file(file)


@pytest.mark.skipif(not has_sandbox(), reason="no sandbox: assay sandbox prepare")
def test_one_of_a_row_s_own_programs_has_to_earn(tmp_path, monkeypatch):
    """As APPS has them: a list as JSON."""
    monkeypatch.setattr(problem_vetting, "CONSTANTS", 2)
    file, right = tmp_path / "rows.jsonl", "print(int(input()) + 1)"
    for programs, passes in ((["print 1", right], True), (["print 1"], False)):
        tests = {"inputs": ["1", "2"], "outputs": ["2", "3"]}
        row = {"question": "Count.", "input_output": json.dumps(tests)}
        file.write_text(json.dumps(row | {"solutions": json.dumps(programs)}))
        (check,) = (one for one in vet_problem_file(file).checks if one.name == "right answers")
        assert check.passed == passes
