"""`letters:SHA256`: the right choice of every shape, deals, guesses, and answers that are none."""

import json
from collections import Counter
from hashlib import sha256
from itertools import product

import pytest

from assay.environments.letters_file import read_letters_row
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.problem_look import look_at_file
from assay.environments.problem_report import write_rows
from assay.environments.problem_vetting import vet_problem_file
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from tests.environments.conftest import TRICKS, make_seed

WRONG = "a hen", "a cow", "a pig"
#: Data set → a made row in its shape whose right choice is `a fox`; nothing of the data is here.
SHAPES = {
    "GPQA": {
        **{"Question": "Who?", "Correct Answer": "a fox\n", "Subdomain": "x"},
        **{f"Incorrect Answer {number}": text for number, text in enumerate(WRONG, 1)},
    },
    "MMLU-Pro": {
        **{"question_id": 1, "question": "Who?", "options": ["a hen", "a cow", "a fox", "a pig"]},
        **{"answer": "C", "answer_index": 2, "cot_content": "", "category": "law", "src": "x"},
    },
    "MMLU": {"question": "Who?", "subject": "x", "choices": ["a fox", *WRONG], "answer": 0},
    "ARC": {
        **{"id": "1", "question": "Who?", "answerKey": "2"},
        "choices": {"text": ["a hen", "a fox", "a cow", "a pig"], "label": ["1", "2", "3", "4"]},
    },
    "ARC as its authors write it": {
        **{"id": "1", "answerKey": "2"},
        "question": {
            "stem": "Who?",
            "choices": [
                {"text": text, "label": f"{number}"}
                for number, text in enumerate(["a hen", "a fox", "a cow", "a pig"], 1)
            ],
        },
    },
    "CommonsenseQA as its authors write it": {
        **{"answerKey": "A", "id": "1"},
        "question": {
            "question_concept": "x",
            "choices": [
                {"label": label, "text": text}
                for label, text in zip("ABCD", ["a fox", *WRONG], strict=True)
            ],
            "stem": "Who?",
        },
    },
    "OpenBookQA": {
        **{"question_stem": "Who?", "answerKey": "B"},
        "choices": {"text": ["a hen", "a fox", "a cow", "a pig"], "label": ["A", "B", "C", "D"]},
    },
    "MedQA": {
        **{"question": "Who?", "answer": "a fox", "answer_idx": "D"},
        "options": {"A": "a hen", "B": "a cow", "C": "a pig", "D": "a fox"},
    },
    "MMLU as CSV": {
        **{"question": "Who?", "A": "a hen", "B": "a cow", "C": "a pig", "D": "a fox"},
        **{"answer": "D"},
    },
}


def write(tmp_path, *rows):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_problem_files([file])
    return file, f"letters:{sha256(file.read_bytes()).hexdigest()}"


#: Row without a list of choices → its two and the right one; None: it is not asked.
FOXES = [["Red Fox", ["It", " digs."]], ["The Hen", ["It runs."]], ["Cow", ["Moo."]]]
IMPLIED = (
    ({"question": "Is it so?", "answer": "Yes."}, (("yes", "no"), "yes")),
    (
        {"question": "is it so", "answer": False, "passage": "It is not."},
        (("true", "false"), "false"),
    ),
    ({"question": "Is it so?", "golden_answers": ["True"]}, (("true", "false"), "true")),
    (
        {"question": "Who is older, a Red Fox or the Hen?", "answer": "hen", "context": FOXES},
        (("Red Fox", "The Hen"), "The Hen"),
    ),
    ({"question": "Is it so?", "answer": "yes", "is_impossible": True}, None),
    ({"question": "Is it so?", "answer": ["yes", "no"]}, None),
    ({"question": "Is it so?", "answer": "maybe"}, None),
    ({"question": "Is the red fox a hen or a cow?", "answer": "hen", "context": FOXES}, None),
    ({"question": "Is it a red fox or a hen?", "answer": "cow", "context": FOXES}, None),
    ({"question": "Does the passage say so?", "answer": "yes"}, None),
    ({"question": "Is it so?", "answer": "yes", "context": {"a": 1}}, None),
    ({"question": "Is it so?", "answer": "yes", "passage": "x" * 8_193}, None),
)


@pytest.mark.parametrize(("row", "due"), IMPLIED)
def test_choices_that_a_row_implies(row, due):
    read = read_letters_row(json.dumps(row).encode())
    assert (read.fault is None) == (due is not None), read.fault
    if due is not None:
        assert (read.choices, read.choices[read.right]) == due
        assert read.question.endswith(row["question"])


def test_questions_that_yes_or_no_answers_are_asked_several_at_a_time(tmp_path):
    rows = [
        {"question": f"Is {i} so?", "answer": bool(i % 2), "passage": f"Of {i}.", "pad": "x"}
        for i in range(40)
    ]
    file, name = write(tmp_path, *rows)
    look, asked = look_at_file(file)
    assert (look.environment, look.asked, look.odds) == (name, 40, 2.0)
    problem = make_environment(name, {}).make_problem(make_seed(0), [1])
    assert len(problem.answer.asked) == 4
    assert "Question 1\nOf " in problem.prompt
    written = tmp_path / "written.jsonl"
    written.write_bytes(write_rows(asked))
    _, again = look_at_file(written)
    assert [row.shown for row in again] == [row.shown for row in asked]
    assert not vet_problem_file(file).failed


def test_a_question_without_the_passage_that_others_have_is_not_asked(tmp_path):
    rows = [
        {"question": f"{i}?", "options": ["x", "y"], "answer": "A", "article": "It."}
        for i in range(3)
    ]
    file, _ = write(tmp_path, *rows, {"question": "4?", "options": ["x", "y"], "answer": "A"})
    look, _ = look_at_file(file)
    assert look.left_out == {"without the passage that others have": [4]}


def make_rows(count, choices=4):
    """The right choice of row i is the one that ends in i."""
    return [
        {"question": f"{i}?", "options": [f"{k} {(i + k) % 50}" for k in range(choices)]}
        | {"answer": "A"}
        for i in range(count)
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_has_its_right_choice(tmp_path, name):
    file, environment_name = write(tmp_path, SHAPES[name])
    look, _ = look_at_file(file)
    assert (look.asked, look.is_usable, look.environment) == (1, True, environment_name)
    assert (look.samples[0].answer, look.odds, look.odds_max) == ("a fox", 4.0, 4)
    environment = make_environment(environment_name, {"odds": 2})
    for number in range(8):
        problem = environment.make_problem(make_seed(number), environment.levels)
        lines = problem.prompt.split("\n")
        right = lines.index(next(line for line in lines if line.endswith(". a fox")))
        assert lines[0] == "Who?"
        for place, letter in enumerate("ABCD", 1):
            score = environment.score(problem, f"so it is:\n#### {letter}")
            assert score.correctness == (MILLION if place == right else 0)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"options": ["x", "y"], "answer": "C"}, "unknown right choice"),
        ({"options": ["x", "y"], "answer": "z"}, "unknown right choice"),
        ({"options": ["x", "y"], "answer": True}, "unknown right choice"),
        ({"options": ["x", "y"]}, "no right choice"),
        ({"options": ["x", "y"], "answer": "A", "answer_index": 1}, "several right choices"),
        ({"options": ["B", "A"], "answer": "A"}, "several right choices"),  # a letter, or a choice
        ({"options": ["1", "2", "3"], "answer": "2"}, "several right choices"),  # a place, or one
        ({"options": [1, 2, 3], "answer": 2}, "several right choices"),
        ({"options": ["2", "3", "4"], "answer": "1"}, "a place from 0 or from 1"),
        ({"options": ["x", "y"], "answer": 1}, "a place from 0 or from 1"),
        ({"options": ["x"], "answer": "A"}, "not 2 to 26 choices"),
        ({"options": ["x", "X "], "answer": "A"}, "choices that are alike"),
        ({"options": ["x", None], "answer": "A"}, "choices that are no text"),
        ({"options": ["x", "y\nC. z"], "answer": "A"}, "choices that hold several"),
        ({"options": ["x", "y", "both A and B"], "answer": "A"}, "choices that name others"),
        ({"options": ["all of the above", "y"], "answer": "A"}, "choices that name others"),
        ({"options": ["x", "$x$."], "answer": "A"}, "choices that are alike"),
        ({"options": ["1/2", "3", "0.50"], "answer": "B"}, "choices of one value"),
        (
            {"question": r"So? $\textbf{(A)}\ 1 \qquad\textbf{(B)}\ 2$", "options": ["1", "2"]},
            "choices that the question lists",
        ),
    ],
)
def test_rows_without_one_right_choice_are_not_asked(tmp_path, row, reason):
    good = {"question": "Good?", "options": ["x", "y"], "answer": "A"}
    file, name = write(tmp_path, {"question": "Which?"} | row, good)
    look, _ = look_at_file(file)
    assert (look.asked, look.left_out) == (1, {reason: [1]})
    assert make_environment(name, {"odds": 2}).skipped == {reason: [1]}


@pytest.mark.parametrize(
    ("choice", "is_asked"),
    [
        *((placed, False) for placed in ("Both a and b", "Both (a) and (b)", "a and c", "A/B")),
        *((placed, False) for placed in ("(A) and (B)", "Either (A) or (B)", "A + B", "a or b")),
        *((placed, False) for placed in ("All except B", "All but A", "Choice (a)", "1 and 2")),
        *((placed, False) for placed in ("All of the previous", "Options 1 and 2", "Not A")),
        *((placed, False) for placed in ("same as A", "See (b)", "A B", "AB", "a b", "A to B")),
        *((placed, False) for placed in ("B only", "A is correct", "the first option", "'A'/'B'")),
        *((other, False) for other in ("all three", "both", "All are correct", "either of these")),
        *((other, False) for other in ("None correct", "two of them", "no right answer", "none")),
        *((last, True) for last in ("None of these", "all of the other options are correct.")),
        *((plain, True) for plain in ("CA", "two", "It is the same as a fox", "all three foxes")),
        *((plain, True) for plain in ("Both a fox and a hen", "1/2", "2 + 3", "It is not a fox")),
        *((plain, True) for plain in ("between 2 and 3", "a dog and a cat", "f(a, b)", "only 2")),
    ],
)
def test_choices_that_name_others_by_place(choice, is_asked):
    row = {"question": "Which?", "options": ["x", "y", choice], "answer": "C"}
    fault = read_letters_row(json.dumps(row).encode()).fault
    assert fault == (None if is_asked else "choices that name others")


@pytest.mark.parametrize("choice", ["All of these", "None of the above", "any of them is right"])
def test_a_choice_about_all_others_is_asked_last_alone(choice):
    row = {"question": "Which?", "options": ["x", "y", choice], "answer": "C"}
    asked = read_letters_row(json.dumps(row).encode())
    assert (asked.fault, asked.last_stays) == (None, True)
    row = {"question": "Which?", "options": [choice, "x", "y"], "answer": "A"}
    fault = read_letters_row(json.dumps(row).encode()).fault
    assert fault == "choices that name others"


def test_letters_that_all_choices_are_made_of_are_the_questions_own():
    row = {"question": "Which side?", "options": ["AB", "BC", "AC"], "answer": "C"}
    assert read_letters_row(json.dumps(row).encode()).fault is None


@pytest.mark.parametrize("label", ["{}. ", "{}) ", "({}) ", "({})", "{}: "])
def test_letters_of_the_file_are_not_asked_twice(label):
    for letters, right in ("ABC", "B"), ("abc", "B"), ("ABC", f"{label.format('B')}fox"):
        marked = [
            label.format(x) + text for x, text in zip(letters, ("hen", "fox", "cow"), strict=True)
        ]
        row = {"question": "Which?", "options": marked, "answer": right}
        read = read_letters_row(json.dumps(row).encode())
        assert (read.fault, read.choices, read.right) == (None, ("hen", "fox", "cow"), 1)
    row["options"] = marked[::-1]
    assert read_letters_row(json.dumps(row).encode()).fault is not None


def test_a_number_is_a_label_where_labels_are_numbers():
    row = {"question": "Which?", "options": {"text": ["x", "y"], "label": ["1", "2"]}, "answer": 1}
    assert read_letters_row(json.dumps(row).encode()).right == 0


def test_places_count_from_0_where_one_is_0(tmp_path):
    rows = [
        {"question": f"{number}?", "choices": ["x", "y", "z"], "answer": place}
        for number, place in enumerate((1, 0, 2))
    ]
    file, _ = write(tmp_path, *rows)
    look, _ = look_at_file(file)
    assert [sample.answer for sample in look.samples] == ["y", "x", "z"]


def test_rows_that_contradict_each_other_damage_the_file(tmp_path):
    rows = [{"question": "Who?", "options": ["x", "y"], "answer": letter} for letter in "AAB"]
    file, name = write(tmp_path, *rows)
    look, _ = look_at_file(file)
    assert look.left_out == {"asked already": [2]}
    assert [*look.damaged.values()] == [[3], [1]]
    with pytest.raises(ProblemFileError, match="row 3: it asks what row 1 asks"):
        make_environment(name, {})


def test_a_letter_s_place_says_nothing(tmp_path):
    _, name = write(tmp_path, *make_rows(1))
    environment = make_environment(name, {"odds": 4})
    problems = [environment.make_problem(make_seed(number), [1]) for number in range(200)]
    counts = Counter(problem.answer.letters for problem in problems)
    assert set(counts) == set("ABCD")
    assert max(counts.values()) < 80


def test_all_of_the_above_stays_last(tmp_path):
    row = {"question": "Which?", "options": ["x", "y", "z", "All of the above"], "answer": "D"}
    _, name = write(tmp_path, row)
    environment = make_environment(name, {"odds": 2})
    for number in range(20):
        problem = environment.make_problem(make_seed(number), [1])
        assert problem.answer.letters == "D"


@pytest.mark.parametrize(
    ("choices", "odds", "asked"), [(4, 4, 1), (4, 5, 2), (10, 10, 1), (4, 100, 4)]
)
def test_a_guess_earns_at_most_once_in_odds(tmp_path, choices, odds, asked):
    _, name = write(tmp_path, *make_rows(30, choices))
    environment = make_environment(name, {"odds": odds})
    problem = environment.make_problem(make_seed(7), environment.levels)
    assert len({one.question for one in problem.answer.asked}) == asked
    guesses = list(product("ABCDEFGHIJ"[:choices], repeat=asked))
    earned = [environment.score(problem, f"#### {''.join(guess)}") for guess in guesses]
    assert sum(score.correctness for score in earned) == MILLION
    assert len(guesses) >= odds
    mean = sum(score.satisfaction for score in earned) / len(earned)
    assert abs(mean - MILLION / choices) < 2


def test_a_level_of_too_few_rows_is_refused(tmp_path):
    _, name = write(tmp_path, *make_rows(5, 2))
    with pytest.raises(ProblemFileError, match="lower `odds`, or add rows"):
        make_environment(name, {})


def test_spellings_of_letters(tmp_path):
    _, name = write(tmp_path, *make_rows(30))
    environment = make_environment(name, {"odds": 4})
    problem = environment.make_problem(make_seed(1), [1])
    (one,) = problem.answer.asked
    right, text = one.letter, one.choices["ABCD".index(one.letter)]
    other = next(letter for letter in "ABCD" if letter != right)
    for answer in (right, f"({right})", f"{right}.", f"**{right}**", rf"\text{{{right}}}"):
        assert environment.score(problem, f"#### {answer}").correctness == MILLION, answer
    for answer in (f"{right}. {text}", f"({right}) {text}", f"{right} {text}"):
        assert environment.score(problem, f"#### {answer}").correctness == MILLION, answer
    for answer in (
        other,
        text,
        right.lower(),
        f"{right}{right}",
        f"{right} or {other}",
        "",
        "####",
    ):
        assert environment.score(problem, f"#### {answer}").correctness == 0, answer
    for answer in (f"{other}. {text}", f"{right}. {text} {other}", f"{right}, {other}", "ABCD"):
        assert environment.score(problem, f"#### {answer}").correctness == 0, answer
    spelled = {"blank at the end", "newline at the end", "10 MB after it", "braces"}
    for trick, make in TRICKS.items():
        score = environment.score(problem, make(right)).correctness
        allowed = trick in spelled or (trick in ("two spaces", "NaN"))
        assert score == 0 or allowed, trick


def test_several_letters_are_spelled_in_order(tmp_path):
    _, name = write(tmp_path, *make_rows(30))
    environment = make_environment(name, {"odds": 16})
    problem = environment.make_problem(make_seed(1), [1])
    first, second = problem.answer.letters
    for answer in (
        first + second,
        f"{first}, {second}",
        f"({first}) ({second})",
        f"{first} {second}",
    ):
        assert environment.score(problem, f"#### {answer}").correctness == MILLION
    half = environment.score(problem, f"#### {first}{'A' if second != 'A' else 'B'}")
    assert (half.correctness, half.satisfaction) == (0, MILLION // 2)
    for answer in (first, first + second + first, f"{first}/{second}", f"{first}-{second}"):
        assert environment.score(problem, f"#### {answer}").satisfaction == 0


def test_what_is_read_is_bounded():
    row = {"question": "Who?", "options": ["x"] * 30_000, "answer": "A"}
    with pytest.raises(ValueError, match="more than 65536"):
        read_letters_row(json.dumps(row).encode())


def test_what_a_choice_means_is_the_same_for_every_python():
    """U+31350 is a letter to 3.12 and none to 3.11."""
    row = {"question": "Which?", "choices": ["tin", "option a \U00031350", "sea"], "answer": 0}
    assert read_letters_row(json.dumps(row).encode()).fault is not None
