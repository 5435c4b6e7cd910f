"""Suites: the rows that are asked, their prompts, and the scores of answers."""

import json

import pytest

from assay.cli.eval_request import read_words
from assay.environments.problem_file import ProblemFileError
from assay.evaluation.conventions import BOXED, GSM8K
from assay.evaluation.conventions import PROGRAMS as PROGRAMS_CONVENTION
from assay.evaluation.request import EvaluationRequest, EvaluationRules, read_suites
from assay.evaluation.suite import EvaluationError, read_shots, read_suite, require_apart
from assay.settings.loading import ConfigError
from tests.absent import has_sandbox

WORDS = [
    {"question": "How many are 3 and 4?", "answer": "3+4=7\n#### 7"},
    {"question": "How many are 1,000 and 200?", "answer": "#### 1,200"},
    {"question": " How many\n are 3  and 4?\n", "answer": "Seven.\n#### 7"},
]
SUMS = [
    {"problem": r"What is $\frac12+\frac14$?", "answer": r"\frac34", "level": 1},
    {"problem": "Name the matrix.", "answer": r"\begin{pmatrix}1\end{pmatrix}", "level": 1},
    {"problem": "Compute $2+2$.", "answer": "4", "level": 1},
]


def read_with_words(suite, words):
    rules = EvaluationRules(samples=1, temperature=0, max_tokens=8, seed=0)
    return read_suites(EvaluationRequest(suite, [suite], rules, words=read_words(words)))[0]


def write(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def judge(convention, row, text):
    return [scorer.judge(text, row).is_right for scorer in convention.scorers]


def test_a_doubled_row_is_asked_once_and_named(tmp_path):
    suite = read_suite(write(tmp_path / "words.jsonl", WORDS))
    assert [row.number for row in suite.rows] == [1, 2]
    assert suite.describe()["left_out"] == {"asked already": {"rows": 1, "first": [3]}}
    assert suite.convention is GSM8K
    shown = GSM8K.put(suite.rows[1], [suite.rows[0]])
    assert shown.text == (
        "Question: How many are 3 and 4?\nAnswer: 3+4=7\n#### 7\n\n"
        "Question: How many are 1,000 and 200?\nAnswer:"
    )
    with pytest.raises(EvaluationError, match="row 1: it is one of the examples"):
        require_apart(suite, read_shots(tmp_path / "words.jsonl", 1))
    with pytest.raises(EvaluationError, match="has 2 rows for --shots 3"):
        read_shots(tmp_path / "words.jsonl", 3)


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("It is 1200.\n#### 1200", True, True),
        ("#### 1,200 of them, not 7", True, False),
        ("So 7. The answer is $1,200.", False, True),
        ("#### 1200.", True, True),
        ("#### 1200.0", False, False),
        ("####1200", False, True),
        ("#### 7\n#### 1200", False, True),
        ("nothing", False, False),
        ("#### -1200", False, False),
    ],
)
def test_word_problems_are_scored_as_lm_eval_scores_them(tmp_path, text, strict, flexible):
    row = read_suite(write(tmp_path / "words.jsonl", WORDS)).rows[1]
    assert judge(GSM8K, row, text) == [strict, flexible]


def test_a_text_ends_at_its_first_stop():
    assert GSM8K.cut("7\n\nQuestion: How</s>") == "7\n\n"
    assert GSM8K.cut("7<|im_end|>") == "7"
    assert GSM8K.cut("7") is None


def test_boxed_answers_are_compared_by_value(tmp_path):
    suite = read_suite(write(tmp_path / "sums.jsonl", SUMS))
    assert [row.number for row in suite.rows] == [1, 3]
    assert suite.describe()["left_out"] == {"matrices": {"rows": 1, "first": [2]}}
    row = suite.rows[0]
    assert BOXED.put(row).text.endswith("final answer within \\boxed{}.")
    judged = [BOXED.scorers[0].judge(text, row) for text in (
        r"\boxed{3/4}", r"\boxed{1} no, \boxed{0.75}", r"\boxed{\frac{3}{4}", "3/4",
        r"\boxed{2/4}", r"\boxed{0.5}", r"\boxed{\frac34} or \boxed{what}",
        r"\boxed{ }",
    )]  # fmt: skip
    assert [each.is_right for each in judged] == [True, True, *[False] * 6]
    assert judged[0].answer == judged[1].answer  # they vote together, and so do wrong ones
    assert judged[4].answer == judged[5].answer
    assert judged[2].answer is judged[3].answer is judged[7].answer is None


def test_choices_are_dealt_once_and_a_letter_is_read(tmp_path):
    row = {"question": "Which is a fruit?", "options": ["tin", "pear", "sea"], "answer": "B"}
    suite = read_suite(write(tmp_path / "letters.jsonl", [row]))
    assert suite == read_suite(tmp_path / "letters.jsonl")
    (asked,) = suite.rows
    assert f"{asked.solution}) pear" in asked.problem
    prompt = suite.convention.put(asked).text
    assert "where LETTER is one of ABC." in prompt
    assert prompt.endswith(asked.problem)
    right, (wrong, _) = asked.solution, sorted({*"ABC"} - {asked.solution})
    for text, is_right in (
        (f"I think.\nAnswer: {right}", True),
        (f"**answer: ${right}**", True),
        (f"Answer: {wrong}, or Answer: {right}", False),
        (f"Answer: D\n{right}", False),
    ):
        assert judge(suite.convention, asked, text) == [is_right], text


def test_a_short_answer_in_words_is_compared_whole(tmp_path):
    row = {"question": "Who digs?", "answer": ["a fox", "Vulpes"], "passage": "A fox digs."}
    suite = read_suite(write(tmp_path / "words.jsonl", [row]))
    (asked,) = suite.rows
    prompt = suite.convention.put(asked).text
    assert prompt.startswith("A fox digs.\n\nWho digs?\n\nThe last line of your response should be")
    for text, is_right in (
        ("So.\nAnswer: The FOX.", True),
        ("Answer: hen\nAnswer: vulpes", True),
        ("Answer: fox\nAnswer: hen", False),
        ("Answer: fox or vulpes", False),
        ("The fox.", False),
    ):
        assert judge(suite.convention, asked, text) == [is_right], text
    judged = [
        suite.convention.scorers[0].judge(f"Answer: {text}", asked)
        for text in ("The fox", "fox.", "?")
    ]
    assert [each.answer for each in judged] == ["fox", "fox", None]


def test_instructions_are_met_or_not(tmp_path):
    row = {
        "prompt": "Write in lowercase.",
        "instruction_id_list": ["change_case:english_lowercase"],
        "kwargs": [{}],
    }
    suite = read_suite(write(tmp_path / "ifeval.jsonl", [row]))
    assert suite.convention.put(suite.rows[0]).text == "Write in lowercase."
    assert judge(suite.convention, suite.rows[0], "quietly done") == [True]
    assert judge(suite.convention, suite.rows[0], "LOUD") == [False]


def test_a_suite_is_the_same_wherever_its_files_lie(tmp_path):
    """What an evaluation is known by: no path, and no name of a file."""
    found = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        trained = write(folder / f"{name}-train.jsonl", WORDS[:1])
        found.append(read_suite(write(folder / f"{name}.jsonl", WORDS), [trained]))
    assert found[0].identify() == found[1].identify()
    untrained = read_suite(tmp_path / "here" / "here.jsonl")
    assert untrained.identify() != found[0].identify()


def test_rows_that_are_trained_on_are_named_and_not_asked(tmp_path):
    trained = write(tmp_path / "train.jsonl", [WORDS[0], {"question": "9?", "answer": "#### 9"}])
    suite = read_suite(write(tmp_path / "words.jsonl", WORDS), [trained])
    assert [row.number for row in suite.rows] == [2]
    assert suite.left_out == {f"in the training file {trained}": [1, 3]}
    with pytest.raises(EvaluationError, match="none of its 2 rows can be asked: 2 in the training"):
        read_suite(trained, [trained])


PROGRAMS = [
    {"question": "Add.", "input_output": '{"inputs": ["1 2", "3 4"], "outputs": ["3", "7"]}'},
    {  # as HumanEval has it
        "task_id": "X/0",
        "prompt": 'def double(x):\n    """Twice x."""\n',
        "entry_point": "double",
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0",
    },
    {  # as MBPP has it
        "task_id": 2,
        "text": "Write a function that reverses a text.",
        "code": "x",
        "test_list": ["assert back('ab') == 'ba'"],
    },
    {  # whose asserts are no plain calls
        "task_id": 3,
        "text": "Write a function that doubles.",
        "test_list": ["assert set(twice([1, 2])) == {2, 4}", "assert not twice([])"],
    },
]


@pytest.mark.skipif(not has_sandbox(), reason="no sandbox: assay sandbox prepare")
@pytest.mark.parametrize(
    ("row", "said", "right", "wrong"),
    [
        (0, "reads standard input", "print(sum(map(int, input().split())))", "print(3)"),
        (1, "function double", "def double(x):\n    return 2 * x", "def double(x):\n    return 4"),
        (
            2,
            "function back",
            "def back(t):\n    return ''.join(reversed(t))",
            "def back(t):\n    return t",
        ),
        (
            3,
            "function twice",
            "def twice(n):\n    return [2 * one for one in n]",
            "def twice(n):\n    return n",
        ),
    ],
)
def test_programs_of_all_shapes_are_run(tmp_path, row, said, right, wrong):
    """The last block counts, and must pass all test cases; a class with the method does, too."""
    suite = read_suite(write(tmp_path / "code.jsonl", PROGRAMS[row : row + 1]))
    assert suite.convention is PROGRAMS_CONVENTION
    asked = suite.rows[0]
    assert said in suite.convention.put(asked).text
    fenced = "First:\n```\n{}\n```\nBetter:\n```python\n{}\n```\nDone."
    for text, is_right in (
        (fenced.format(wrong, right), True),
        (fenced.format(right, wrong), False),
        (right, False),
        (fenced.format(right, "while True: pass") if row == 0 else "", False),
    ):
        assert judge(suite.convention, asked, text) == [is_right], text


def test_an_owner_s_words_replace_the_convention_s(tmp_path):
    file = tmp_path / "words.toml"
    file.write_text(
        '[environment.prompts.gsm]\nsystem = "Think."\nafter = "\\nA:"\nshots = [["1?", " 1"]]\n'
        "[environment.prompts.gsm.arguments]\nfast = true\n"
    )
    path = write(tmp_path / "words.jsonl", WORDS)
    (suite,) = read_with_words(path, file)
    asked = suite.put(suite.rows[0], (), bos=True, plain=False)
    question = "How many are 3 and 4?\nA:"
    assert [(one.role, one.content) for one in asked.messages] == [
        ("system", "Think."),
        ("user", "Question: 1?\nA:"),
        ("assistant", " 1"),
        ("user", f"Question: {question}"),
    ]
    assert (asked.arguments, asked.bos, asked.plain) == ((("fast", True),), True, False)
    assert suite.describe() != read_suite(path).describe()
    with pytest.raises(EvaluationError, match="examples are those of --prompts"):
        suite.put(suite.rows[0], suite.rows[1:], bos=False, plain=False)
    sums = write(tmp_path / "sums.jsonl", SUMS)
    with pytest.raises(EvaluationError, match="words for gsm, and the suites are of math"):
        read_with_words(sums, file)
    file.write_text("[environment.prompts.gsm]\nsytem = 'Think.'\n")
    with pytest.raises(ConfigError, match=r"words\.toml: environment\.prompts\.gsm\.sytem is not"):
        read_with_words(path, file)


def test_files_without_a_suite_are_refused_with_a_reason(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(ProblemFileError, match="is empty"):
        read_suite(empty)
    with pytest.raises(EvaluationError, match="none of its 1 rows can be asked: 1 matrices"):
        read_suite(write(tmp_path / "matrix.jsonl", SUMS[1:2]))


def test_a_file_whose_problems_are_episodes_is_no_suite(tmp_path):
    row = {
        "id": "1",
        "question": "Where does the Loire end?",
        "answer": "the Atlantic",
        "context": [["Loire", ["It ends in the Atlantic."]], ["Rhine", ["It ends in the sea."]]],
    }
    with pytest.raises(EvaluationError, match="search:SHA256 replies between turns: a trainer's"):
        read_suite(write(tmp_path / "hops.jsonl", [row]))


def test_other_columns_and_several_messages(tmp_path):
    """A suite that is read by other columns is another one, and no conversation is cut to its
    end."""
    chat = [{"role": r, "content": c} for r, c in (
        ("user", "Let x be 2."), ("assistant", "Noted."), ("user", "What is x + 5?"),
    )]  # fmt: skip
    rows = [
        {"prompt": chat, "answer": "7"},
        {"prompt": [{"role": "user", "content": "What is 3 + 5?"}], "answer": "8"},
    ]
    suite = read_suite(write(tmp_path / "chats.jsonl", rows))
    assert [row.number for row in suite.rows] == [2]
    assert suite.left_out["several messages"] == [1]
    named = read_suite(tmp_path / "chats.jsonl", (), {"answer": "answer"})
    assert named.describe() != suite.describe()
