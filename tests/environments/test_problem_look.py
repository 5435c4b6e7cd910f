"""Files of problems as people have them: small made ones, in the shapes that data sets publish."""

import base64
import io
import json
import pickle
import subprocess
import sys
import uuid
import zlib
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.environments import problem_file, problem_shards, problem_table
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.problem_look import look_at_file
from assay.environments.problem_report import write_rows
from assay.environments.problem_shards import join_files
from assay.environments.programs.code_file import CONSTANT, EVALUATED, NAMELESS
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from tests.environments.conftest import make_seed


def pack_pickle(value):
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def pack_tests(cases):
    """Test cases as LiveCodeBench packs them."""
    return pack_pickle(json.dumps(cases))


#: Data set → a made row in its shape, and the right answer; nothing of the data is here.
SHAPES = {
    "GSM8K": ({"question": "2+3?", "answer": "2+3=<<2+3=5>>5\n#### 5"}, "5"),
    "MATH": (
        {"problem": "2+3?", "solution": r"$\boxed{5}$", "level": "Level 2", "type": "Algebra"},
        "5",
    ),
    "MATH-500": (
        {
            **{"problem": "2+3?", "solution": r"$\boxed{5}$", "answer": "5", "subject": "Algebra"},
            **{"level": 2, "unique_id": "test/1.json"},
        },
        "5",
    ),
    "DAPO-Math-17k": (
        {
            "data_source": "math_dapo",
            "prompt": [
                {
                    "content": "Solve the following math problem step by step. The last line of "
                    "your response should be of the form Answer: $Answer (without quotes) where "
                    "$Answer is the answer to the problem.\n\n2+3?\n\nRemember to put your answer "
                    'on its own line after "Answer:".',
                    "role": "user",
                }
            ],
            "ability": "MATH",
            "reward_model": {"ground_truth": "5", "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": "1"},
        },
        "5",
    ),
    "DeepScaleR": ({"problem": "2+3?", "answer": "5", "solution": "It is 5."}, "5"),
    "OpenR1-Math": (
        {
            **{"problem": "2+3?", "solution": r"\boxed{5}", "answer": "5", "source": "x"},
            **{"generations": ["so"], "messages": [{"content": "2+3?", "role": "user"}]},
        },
        "5",
    ),
    "Big-Math": ({"problem": "2+3?", "answer": "5", "source": "x", "llama8b_solve_rate": 0.5}, "5"),
    "NuminaMath": (
        {
            **{"source": "x", "problem": "2+3?", "solution": r"\boxed{5}"},
            "messages": [
                {"content": "2+3?", "role": "user"},
                {"content": "5", "role": "assistant"},
            ],
        },
        "5",
    ),
    "Omni-MATH": (
        {
            "domain": ["Algebra"],
            "difficulty": 4.5,
            "problem": "2+3?",
            "solution": "x",
            "answer": "5",
        },
        "5",
    ),
    "AIME": ({"ID": "2024-I-1", "Problem": "2+3?", "Solution": "so", "Answer": 5}, "5"),
    "AIME with zeros": ({"question": "2+3?", "answer": "005"}, "5"),
    "verl": (
        {
            "data_source": "openai/gsm8k",
            "prompt": [
                {"role": "system", "content": "You are kind."},
                {
                    "role": "user",
                    "content": "2+3? Let's think step by step and output the final answer after "
                    '"####".',
                },
            ],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "5"},
            "extra_info": {"split": "train", "index": 0, "answer": "2+3\n#### 5"},
        },
        "5",
    ),
    "ShareGPT": (
        {
            "conversations": [
                {"from": "human", "value": "2+3?"},
                {"from": "gpt", "value": "It is 6."},
            ],
            "answer": "5",
        },
        "5",
    ),
    "a chat as text": ({"prompt": '[{"role": "user", "content": "2+3?"}]', "answer": "5"}, "5"),
    "DeepMath": ({"question": "2+3?", "final_answer": "5", "difficulty": 3.0}, "5"),
    "a number as answer": ({"question": "2+3?", "answer": 5}, "5"),
    "prime-rl": (
        {
            **{"problem_id": "1", "task_type": "verifiable_math", "prompt": "2+3?"},
            "verification_info": json.dumps({"ground_truth": "5"}),
        },
        "5",
    ),
}
#: Data set → a made row in its shape whose tests are all calls, and the arguments and values of
#: these in the order in which they count; None: of a whole program.
PROGRAMS = {
    "APPS": (
        {
            **{"problem_id": 1, "question": "Add.", "solutions": "[]", "difficulty": "interview"},
            "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}),
        },
        (None, ["1 2\n"], ["3\n"]),
    ),
    "TACO": (
        {
            **{"question": "Add.", "starter_code": "def add(a, b):", "difficulty": "MEDIUM"},
            "input_output": json.dumps({"inputs": [[1, 2]], "outputs": [3], "fn_name": "add"}),
        },
        ("add", [[1, 2]], [3]),
    ),
    "CodeContests": (
        {
            **{"name": "1_A", "description": "Add.", "difficulty": 7},
            "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
            "private_tests": {"input": ["4 5\n"], "output": ["9\n"]},
            "generated_tests": {"input": [], "output": []},
        },
        (None, ["4 5\n", "1 2\n"], ["9\n", "3\n"]),
    ),
    "KodCode": (
        {
            **{"question": "Add.", "solution": "def add(a, b): ...", "gpt_difficulty": "easy"},
            "test": "from solution import add\n\ndef test_add():\n    assert add(1, 2) == 3\n",
            "test_info": [{"function_name": "add"}],
        },
        ("add", [[1, 2]], [3]),
    ),
    "MBPP": (
        {
            **{"task_id": 2, "text": "Add.", "code": "def add...", "test_setup_code": ""},
            "test_list": ["assert add(1, -2) == -1", "assert add([1], [2]) == [1, 2]"],
            "challenge_test_list": [],
        },
        ("add", [[1, -2], [[1], [2]]], [-1, [1, 2]]),
    ),
    "MBPP, sanitized": (
        {"prompt": "Add.", "code": "def...", "test_list": ["assert add(1)==1"], "test_imports": []},
        ("add", [[1]], [1]),
    ),
    "HumanEval": (
        {
            **{"task_id": "HumanEval/0", "prompt": "def add(a, b):", "entry_point": "add"},
            "test": "METADATA = {'author': 'x'}\n\n\ndef check(candidate):\n"
            "    assert candidate(1, 2.5) == 3.5\n    assert candidate('a', None) == {'a': True}\n",
        },
        ("add", [[1, 2.5], ["a", None]], [3.5, {"a": True}]),
    ),
    "LiveCodeBench": (
        {
            **{"question_content": "Add.", "starter_code": "", "difficulty": "hard"},
            "public_test_cases": json.dumps(
                [{"input": "1 2\n", "output": "3", "testtype": "stdin"}]
            ),
            "private_test_cases": pack_tests(
                [{"input": "4 5\n", "output": "9", "testtype": "stdin"}]
            ),
            "metadata": "{}",
        },
        (None, ["4 5\n", "1 2\n"], ["9", "3"]),
    ),
    "LiveCodeBench, a function": (
        {
            **{"question_content": "Add.", "starter_code": "class Solution:", "difficulty": "easy"},
            "public_test_cases": "[]",
            "private_test_cases": json.dumps(
                [{"input": "[1]\n2", "output": "[1, 2]", "testtype": "functional"}]
            ),
            "metadata": json.dumps({"func_name": "add"}),
        },
        ("add", [[[1], 2]], [[1, 2]]),
    ),
    "prime-rl": (
        {
            "prompt": "Add.",
            "verification_info": json.dumps(
                {"test_cases": [{"type": "stdin_stdout", "input": "1 2\n", "output": "3\n"}]}
            ),
        },
        (None, ["1 2\n"], ["3\n"]),
    ),
    "verl": (
        {
            "prompt": [{"role": "user", "content": "Add."}],
            "reward_model": {"ground_truth": json.dumps({"inputs": ["1\n"], "outputs": ["1\n"]})},
        },
        (None, ["1\n"], ["1\n"]),
    ),
}
#: Test cases that are not asked, as columns of a row, and what is said.
UNSCORED = (
    ({"text": "Add.", "test_list": ["assert add(1) == sub(1)"]}, "that call several functions"),
    ({"text": "Add.", "test_list": ["assert 1 < 2"]}, "that call no function"),
    ({"text": "Add.", "test_list": ["add(1)"]}, "tests without asserts"),
    ({"text": "Add.", "test_list": ["assert add(" + "(" * 500]}, "that are no Python"),
    ({"text": "Add.", "test_list": ["assert eval(add(1)) == {2}"]}, EVALUATED),
    ({"text": "Add.", "test_list": ["assert add('\u00e9eval') == {2}"]}, EVALUATED),
    (
        {"question": "Add.", "solution": "", "test": "def test_x(tmp):\n    assert add(tmp)"},
        "tests with fixtures of pytest",
    ),
    (
        {
            **{"question": "Add.", "solution": ""},
            "test": "import pytest\n@pytest.mark.slow\ndef test_x():\n    assert not add(1)",
        },
        "tests that need pytest.mark",
    ),
    *(
        (
            {
                "question": "Add.",
                "solution": "",
                "test": f"{line}\ndef test_x():\n    assert add(1)",
            },
            f"tests that need {module}",
        )
        for line, module in (
            ("import re, pytest.mark", "pytest.mark"),
            ("from pytest.raises import x", "pytest.raises"),
            ("import numpy.linalg as la", "numpy.linalg"),
        )
    ),
    ({"question": "Add.", "input_output": '{"asserts": ["assert f(1)"]}'}, NAMELESS),
    ({"text": "Add.", "test_list": []}, "no test cases"),
    ({"question": "Add.", "input_output": ""}, "no test cases"),
    ({"question_content": "Add.", "public_test_cases": "[{}]"}, "only test cases that its"),
    (
        {
            **{"question_content": "Add.", "public_test_cases": "[]"},
            "private_test_cases": pack_pickle(print),
        },
        "packed test cases that cannot be read",
    ),
    (
        {
            **{"question_content": "Add.", "public_test_cases": "[]"},
            "private_test_cases": base64.b64encode(
                zlib.compress(b"\x80\x04" + b"\x94" * 99)
            ).decode(),
        },
        "packed test cases that cannot be read",
    ),
    *(
        ({"question_content": "Add.", "public_test_cases": "[]"} | more, "an unknown shape")
        for more in (
            {"public_test_cases": "5", "private_test_cases": "[{}]"},
            {"private_test_cases": '[{"testtype": ["x"]}]'},
            {"private_test_cases": '[{"testtype": {"x": 1}}]'},
        )
    ),
)
ROWS = [{"problem": f"What is {i}+1?", "answer": str(i + 1)} for i in range(20)]


def write_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_parquet(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def write_commas(rows):
    lines = [",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in rows)]
    return "\n".join(lines).encode()


FORMATS = {
    "JSON Lines": write_lines,
    "JSON": lambda rows: json.dumps(rows, indent=1).encode(),
    "JSON, an object": lambda rows: json.dumps({"data": rows}, indent=1).encode(),
    "JSON, columns": lambda rows: json.dumps({k: [r[k] for r in rows] for k in rows[0]}).encode(),
    "JSON of pandas": lambda rows: json.dumps(
        {k: {str(i): r[k] for i, r in enumerate(rows)} for k in rows[0]}
    ).encode(),
    "with blank lines": lambda rows: write_lines(rows).replace(b"\n", b"\n \r\n\n"),
    "with a BOM": lambda rows: b"\xef\xbb\xbf" + write_lines(rows),
    "CSV": write_commas,
    "Parquet": write_parquet,
}


def ask(file, name):
    add_problem_files([file])
    environment = make_environment(name, {})
    return environment, environment.make_problem(make_seed(1), environment.levels)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        *((name, write_lines) for name in SHAPES),
        *((name, write_parquet) for name in ("DAPO-Math-17k", "Omni-MATH")),
    ],
)
def test_shapes_are_read_as_they_are(tmp_path, name, write):
    row, right = SHAPES[name]
    file = tmp_path / "rows"
    file.write_bytes(write([row]))
    look, _ = look_at_file(file)
    assert (look.asked, look.left_out, look.damaged) == (1, {}, {})
    environment, problem = ask(file, look.environment)
    assert problem.question == "2+3?"
    assert environment.score(problem, environment.write_answer(right)).correctness == MILLION
    assert environment.score(problem, environment.write_answer("6")).correctness == 0
    assert list(environment.levels) == list(look.per_level)
    assert (look.samples[0].problem, look.samples[0].level) == ("2+3?", problem.level)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        *((name, write_lines) for name in PROGRAMS),
        *((name, write_parquet) for name in ("CodeContests", "MBPP")),
    ],
)
def test_shapes_of_programs_become_the_one_that_is_scored(tmp_path, name, write):
    row, (function, inputs, outputs) = PROGRAMS[name]
    file, written = tmp_path / "rows", tmp_path / "written"
    file.write_bytes(write([row]))
    look, rows = look_at_file(file, is_suite=True)
    assert (look.asked, look.left_out, look.damaged) == (1, {}, {})
    written.write_bytes(write_rows(rows))
    again, rows = look_at_file(written, is_suite=True)
    assert (again.asked, again.is_usable, again.format) == (1, True, "JSON Lines")
    assert write_rows(rows) == written.read_bytes()
    assert look.is_usable == (name in ("APPS", "TACO"))
    assert sum(look.per_level) == {"APPS": 2, "TACO": 2, "LiveCodeBench": 3}.get(name, 1)
    row = json.loads(written.read_bytes())
    tests = json.loads(row["input_output"])
    assert (row["question"][:3], tests.get("fn_name")) in ((("Add"), function), ("def", function))
    assert (tests["inputs"], tests["outputs"]) == (inputs, outputs)


@pytest.mark.parametrize(("row", "said"), UNSCORED)
def test_tests_that_nothing_scores_are_counted(tmp_path, row, said):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(write_lines([row]))
    look, rows = look_at_file(file)
    assert (look.asked, rows) == (0, [])
    assert [reason for reason in look.left_out if said in reason]


def test_a_row_of_many_tests_keeps_those_that_fit(tmp_path):
    many = [f"{'9' * 1_000} {number}\n" for number in range(200)]
    row = {"description": "Echo.", "public_tests": {"input": many, "output": many}}
    file, written = tmp_path / "rows.jsonl", tmp_path / "written.jsonl"
    file.write_bytes(write_lines([row]))
    _, rows = look_at_file(file)
    written.write_bytes(write_rows(rows))
    assert problem_file.ROW_MAX // 4 < written.stat().st_size <= problem_file.ROW_MAX
    look, _ = look_at_file(written)
    assert (look.asked, look.samples[0].answer) == (1, "25 test cases of a program")


def test_rows_of_no_shape_are_refused_with_what_to_do(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(write_lines([{"problem": "2+3?", "more": 1}]))
    with pytest.raises(ProblemFileError, match="--column answer=NAME"):
        look_at_file(file)
    file.write_bytes(write_lines([{"aufgabe": "2+3?", "mehr": "1"}]))
    with pytest.raises(ProblemFileError, match="--column problem=NAME --column answer=NAME"):
        look_at_file(file)
    file.write_bytes(write_lines([{"question": "2+3?", "answer": ""}]))
    with pytest.raises(ProblemFileError, match="its column answer is empty"):
        look_at_file(file)
    file.write_bytes("question,answer\nWie groß?,3\n".encode("latin-1"))
    with pytest.raises(ProblemFileError, match="no text in UTF-8: save it as UTF-8"):
        look_at_file(file)
    row, _ = PROGRAMS["HumanEval"]
    file.write_bytes(write_lines([row]))
    add_problem_files([file])
    with pytest.raises(ProblemFileError, match="`code:SHA256` takes them"):
        make_environment(f"math:{sha256(file.read_bytes()).hexdigest()}", {})


@pytest.mark.parametrize("name", FORMATS)
def test_one_table_in_every_format(tmp_path, name):
    file = tmp_path / "rows"
    file.write_bytes(FORMATS[name](ROWS))
    look, _ = look_at_file(file)
    assert (look.rows, look.asked, look.left_out) == (20, 20, {})
    assert look.per_level == {1: 4, 2: 4, 3: 4, 4: 4, 5: 4}
    environment, problem = ask(file, look.environment)
    number = int(problem.prompt.split("+")[0].split()[-1])
    right = environment.write_answer(str(number + 1))
    assert environment.score(problem, right).correctness == MILLION


def test_a_suite_is_compared_whatever_its_shape_is_or_said_not_to_be(tmp_path):
    """What could not be compared is named: silence would say that nothing is shared."""
    said, asked = ROWS[5]["problem"], ROWS[7]["problem"]
    chat = [{"from": "human", "value": said}, {"from": "gpt", "value": "6"}]
    shapes = {
        "instruction": [
            {"instruction": said, "output": "6"},
            {"instruction": "Do", "input": asked},
        ],
        "conversations": [{"conversations": chat}, {"conversations": [*chat, chat[0], chat[1]]}],
        "query": [{"query": said.upper()}],
        "prompt": [{"prompt": json.dumps([{"role": "user", "content": said}])}],
        "code": [{"question_content": said, "public_test_cases": "[]"}],
        "choices": [{"Question": said, "Correct Answer": "6", "Incorrect Answer 1": "7"}],
        "wish": [{"wish": said}],
    }
    gaps = {
        "lines": write_lines([{"problem": said}, {"note": 1}, [2]]),
        "unknown": write_lines([{"id": 1, "body": said}]),
        "archive": b"PK\x03\x04" + bytes(30),
    }
    file = tmp_path / "rows.jsonl"
    file.write_bytes(write_lines(ROWS))
    suites = {name: tmp_path / name for name in (*shapes, *gaps)}
    for name, suite in suites.items():
        suite.write_bytes(gaps[name] if name in gaps else write_lines(shapes[name]))
    look, _ = look_at_file(file, {}, list(suites.values()))
    found = {name: look.suites[str(suite)] for name, suite in suites.items()}
    assert found.pop("instruction") == [6, 8]
    assert (found.pop("unknown"), found.pop("archive"), found.pop("wish")) == ([], [], [])
    assert set(map(tuple, found.values())) == {(6,)}
    assert look.uncompared == {
        str(suites["wish"]): "none of its columns wish is known for the problem: name it with "
        "--column problem=NAME, or rename it",
        str(suites["lines"]): "2 of its rows show no problem (row 2, 3)",
        str(suites["unknown"]): "none of its columns id, body is known for the problem: name it "
        "with --column problem=NAME, or rename it",
        str(suites["archive"]): "it is an archive, whose program makes the problems",
    }
    file.write_bytes(write_lines([{"wish": row["problem"], **row} for row in ROWS]))
    look, _ = look_at_file(file, {"problem": "wish"}, [suites["wish"]])
    assert (look.suites[str(suites["wish"])], look.uncompared) == ([6], {})


def test_a_program_is_compared_without_the_code_that_it_gives(tmp_path):
    row, _ = PROGRAMS["TACO"]
    file, suite = tmp_path / "rows.jsonl", tmp_path / "suite.jsonl"
    file.write_bytes(write_lines([row]))
    suite.write_bytes(write_lines([{"prompt": "Add.", "test": "x", "entry_point": "add"}]))
    look, _ = look_at_file(file, {}, [suite], is_suite=True)
    assert look.suites == {str(suite): [1]}
    assert look.samples[0].problem == "Add.\ndef add(a, b):"


def test_an_instruction_with_an_input_is_no_whole_problem(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [{"instruction": "Add one.", "input": "4", "answer": "5"}]
    rows += [{"instruction": "What is 4+1?", "input": "", "answer": "5"}]
    file.write_bytes(write_lines(rows))
    look, _ = look_at_file(file)
    assert (look.asked, look.left_out) == (1, {"an instruction with an input": [1]})


def test_rows_that_are_not_asked_refused_or_in_a_suite(tmp_path):
    more = [
        {"problem": "Which word?", "answer": r"\text{even}"},
        {"problem": "Which number?", "answer": [1, 2]},
        {"problem": "What is 3+1?", "answer": "5"},
        {"problem": "What is 4+1?", "answer": "5"},
        {"problem": "", "answer": "5"},
        {"problem": "What is 144/12?", "answer": 12.0},
        {"problem": "A page", "answer": "9" * 5_000},
    ]
    file, suite = tmp_path / "rows.jsonl", tmp_path / "suite.jsonl"
    file.write_bytes(write_lines([*ROWS, *more]))
    suite.write_bytes(
        write_lines([{"Problem": "what is\n5 + 1?", "Answer": "6"}, {"Problem": "?"}])
    )
    look, rows = look_at_file(file, {}, [suite])
    left_out = {
        "words": [21],
        "several answers": [22],
        "asked already": [24],
        "longer than 512 characters": [27],
    }
    assert look.left_out == left_out
    assert sorted(look.damaged.values()) == [[4], [23], [25]]
    assert any("it asks what row 4 asks" in fault for fault in look.damaged)
    assert (look.shown, look.suites) == ([26], {str(suite): [6]})
    assert (look.asked, look.is_usable) == (20, False)
    clean = tmp_path / "clean.jsonl"
    clean.write_bytes(write_rows(rows))
    again, _ = look_at_file(clean)
    assert (again.asked, again.is_usable) == (20, True)
    assert ask(clean, again.environment)[0].levels == [1, 2, 3, 4, 5]


def test_columns_that_a_person_names(tmp_path):
    file, written = tmp_path / "rows.jsonl", tmp_path / "written.jsonl"
    file.write_bytes(write_lines([{"task": "2+3?", "gold_text": "5", "hardness": "4"}]))
    with pytest.raises(ProblemFileError, match="no column 'gone' for the problem"):
        look_at_file(file, {"problem": "gone"})
    named = {"problem": "task", "answer": "gold_text", "level": "hardness"}
    look, rows = look_at_file(file, named)
    assert (look.asked, look.per_level, look.is_usable) == (1, {4: 1}, False)
    written.write_bytes(write_rows(rows))
    look, _ = look_at_file(written)
    assert (look.asked, look.per_level, look.is_usable) == (1, {4: 1}, True)


def test_a_number_in_parquet_is_the_answer_or_none(tmp_path):
    """A column of doubles or of lists is no reason to take the last box of the solution."""
    file = tmp_path / "rows.parquet"
    solution = r"First \boxed{7}."
    for kind, values in (
        *((pa.float64(), [3.5, 1 / 3]), (pa.float32(), [3.5, 0.1]), (pa.int16(), [35, None])),
        (pa.list_(pa.string()), [["35"], ["1", "2"]]),
    ):
        columns = {
            "problem": ["a?", "b?"],
            "solution": ["so", solution],
            "answer": pa.array(values, kind),
        }
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        file.write_bytes(buffer.getvalue())
        look, _ = look_at_file(file)
        answers = {sample.row: sample.answer for sample in look.samples}
        assert answers.get(2) == ("7" if values[1] is None else None), kind
        assert answers.get(1) in (None, "3.5", "35")


VIEWS = {
    "text": lambda texts: pa.array(texts, pa.string_view()),
    "JSON": lambda texts: pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts)),
    "a list": lambda texts: pa.array([[one] for one in texts], pa.list_view(pa.string_view())),
    "a long list": lambda texts: pa.array([[one] for one in texts], pa.large_list_view(pa.utf8())),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_parquet_has_texts_and_lists_of_every_kind_of_arrow(tmp_path, kind):
    file = tmp_path / "rows.parquet"
    answers = VIEWS[kind](["5", "7"])
    pq.write_table(pa.table({"problem": VIEWS["text"](["2+3?", "3+4?"]), "answer": answers}), file)
    assert pq.read_schema(file).field("answer").type == answers.type
    look, _ = look_at_file(file)
    assert [sample.answer for sample in look.samples] == ["5", "7"]


@pytest.mark.parametrize("has_schema", [True, False], ids=["Arrow's", "Parquet's own"])
def test_a_uuid_in_parquet_is_its_text(tmp_path, has_schema):
    file, number = tmp_path / "rows.parquet", uuid.UUID(int=7)
    held = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([number.bytes], pa.binary(16)))
    inner = pa.StructArray.from_arrays([held, pa.array([None])], ["id", "x"])
    table = pa.table({"problem": ["2+3?"], "answer": ["5"], "metadata": inner})
    pq.write_table(table, file, store_schema=has_schema)
    _, lines = problem_file.read_table(file.read_bytes(), file)
    assert json.loads(lines[0])["metadata"] == {"id": str(number), "x": None}


def test_files_that_no_table_is_in(tmp_path, monkeypatch):
    file = tmp_path / "rows"
    for data, said in (
        *(
            (b"", "is empty"),
            (b"[]", "has no rows"),
            (b"[1", "is not JSON"),
            (b"{}\n", "is known for the problem"),
        ),
        *(
            (b'{"a": [1], "b": []}', "different lengths"),
            (b'{"a":\n1}', "is known for the problem"),
        ),
        *(
            (b"a,b\n1,2,3\n", "row 1 has 3 cells"),
            (b"a,a\n1,2\n", "does not name each column once"),
        ),
        *((b'a,b\n"1,2\n', "cannot be read as CSV"), (b"PAR1 no", "cannot be read as Parquet")),
        (b"\xff,\xfe\n1,2\n", "no text in UTF-8"),
        *((b"a;b\n1;2\n", "CSV with commas"), (b"a\tb\n1\t2\n", "CSV with commas")),
        (b"\xef\xbb\xbf" * 2 + b'{"a": 1}\n', "two byte order marks"),
        *(('{"a": 1}\n'.encode(code), "save it as UTF-8") for code in ("utf-16", "utf-16-be")),
        *((b"PK\x03\x04" + bytes(9), "by zip: unpack"), (b"\x1f\x8b\x08\0", "by gzip: unpack")),
        *((b"\n\n", "has no rows"), (b'{"a": {"0": 1}, "b": {"1": 2}}', "name different rows")),
        (b'{"\\u001b[2J": 1}\n', r"columns \?\[2J is known"),
        *((b"# Read me\n", "row 1: it is not JSON"), (b'{"a": "\xe9"}\n', "row 1: it is not JSON")),
    ):
        file.write_bytes(data)
        with pytest.raises(ProblemFileError, match=said):
            look_at_file(file)
    monkeypatch.setattr(problem_file, "FILE_MAX", 1 << 20)
    with file.open("wb") as opened:
        opened.truncate(5 << 30)
    with pytest.raises(ProblemFileError, match="larger than 1 MiB"):
        look_at_file(file)


def test_two_columns_with_two_answers(tmp_path):
    """One that lacks the file's column of answers has no other one's answer, and not the box's."""
    file = tmp_path / "rows.jsonl"
    rows = [
        {"problem": "a?", "answer": "1", "final_answer": "1.0", "solution": ""},
        {"problem": "b?", "answer": "1", "final_answer": "2", "solution": ""},
        {"problem": "c?", "answer": "the first", "final_answer": "2", "solution": ""},
        {"problem": "d?", "answer": "1", "final_answer": None, "solution": r"\boxed{7}"},
    ]
    file.write_bytes(write_lines(rows))
    look, _ = look_at_file(file)
    assert look.columns["answer"] == "final_answer"
    assert (look.asked, look.left_out) == (2, {"answer and answer differ": [2, 4]})


def test_chats_of_several_turns(tmp_path):
    """What was said before a question is its context; the answer that a data set shows is not."""
    system, user, other, said = (
        {"role": role, "content": text}
        for role, text in (
            *(("system", "Be kind."), ("user", "2+3?"), ("user", "And 4+4?")),
            ("assistant", "5"),
        )
    )
    parts = {"role": "user", "content": [{"type": "text", "text": "2+"}, {"text": "7?"}]}
    chats = (
        *([user], [system, user, said], [system, user, said, other], [user, said, other]),
        *([user, other], [said, user], [user, system], [system], [], ["2+3?"], [parts]),
    )
    right = "5", "5", "8", "8", "8", "5", "5", "5", "5", "5", "9"
    rows = [{"prompt": chat, "answer": answer} for chat, answer in zip(chats, right, strict=True)]
    file, written = tmp_path / "rows.jsonl", tmp_path / "written.jsonl"
    file.write_bytes(write_lines(rows))
    look, rows = look_at_file(file)
    assert look.left_out == {
        "chats that do not alternate and end with a question": [5, 6, 7, 8, 9, 10]
    }
    written.write_bytes(write_rows(rows))
    for each in (file, written):
        look, _ = look_at_file(each)
        environment, _ = ask(each, look.environment)
        problems = [
            environment.make_problem(make_seed(number), environment.levels) for number in range(60)
        ]
        asked = {
            tuple((message.role, message.content.split("\n")[0]) for message in each.messages)
            for each in (problem.conversation for problem in problems)
        }
        assert asked == {
            (("user", "2+3?"),),
            (("system", "Be kind."), ("user", "2+3?")),
            (("user", "2+3?"), ("assistant", "5"), ("user", "And 4+4?")),
            (
                *(("system", "Be kind."), ("user", "2+3?")),
                *(("assistant", "5"), ("user", "And 4+4?")),
            ),
            (("user", "2+7?"),),
        }


def test_rows_that_take_much_for_few_bytes_end_nobody(tmp_path, monkeypatch):
    """A long name of a column is in every row, a request's words need no search, and a role may be
    anything."""
    monkeypatch.setattr(problem_table, "TEXT_MAX", 1 << 20)
    name = "x" * (1 << 16)
    for text in (f"problem,{name}\n" + "a,b\n" * 32, json.dumps({name: [1] * 32, "a": [2] * 32})):
        file = tmp_path / "wide.txt"
        file.write_text(text)
        with pytest.raises(ProblemFileError, match="as JSON Lines"):
            problem_file.read_table(file.read_bytes(), file)
    asked = problem_table.read_problem_cell
    blanks = " " * 50_000
    request = "Let's think step by step and output the final answer within \\boxed{}."
    assert asked(f"2+3?{blanks}{request}{blanks}") == "2+3?"
    assert asked([{"role": ["user"], "content": "a"}]) is None


def test_a_row_has_as_many_bytes_in_every_format(tmp_path):
    text = "\u6570" * 20_000  # 60,000 bytes, twice that as JSON for ASCII alone
    rows = [{"problem": "1+1?", "answer": "2", "solution": text}]
    for number, data in enumerate((json.dumps(rows), "\n".join(map(json.dumps, rows)))):
        file = tmp_path / f"{number}.json"
        file.write_text(data)
    (_, [as_list]) = problem_file.read_table((tmp_path / "0.json").read_bytes(), tmp_path)
    assert problem_file.read_object(as_list, "math") == rows[0]


def test_times_in_parquet_are_no_text_of_a_machine(tmp_path):
    file = tmp_path / "times.parquet"
    pq.write_table(
        pa.table({"problem": ["1+1?"], "answer": pa.array([1], pa.timestamp("ns"))}), file
    )
    with pytest.raises(ProblemFileError, match="answer holds timestamp"):
        problem_file.read_table(file.read_bytes(), file)


def test_a_look_imports_no_torch(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(write_lines(ROWS))
    program = (
        "import sys; from assay.cli.app import app; "
        f"sys.argv = ['assay', 'env', 'look', {str(file)!r}, '--json']\n"
        "try: app()\n"
        "finally: print(sorted({'torch', 'transformers', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    document, imported = done.stdout.strip().split("\n")
    assert imported == "[]"
    found = json.loads(document)
    assert (found["asked"], found["usable"], found["columns"]["problem"]) == (20, True, "problem")


@pytest.mark.parametrize("write", [str, "#### {}".format])
def test_of_rows_that_contradict_each_other_none_is_written(tmp_path, write):
    asked = ("1+1?", "2"), ("2+1?", "3"), ("1+1?", "3"), ("1+1?", "2")
    name = "question" if write("x") != "x" else "problem"
    file = tmp_path / "rows.jsonl"
    file.write_bytes(write_lines([{name: one, "answer": write(right)} for one, right in asked]))
    look, rows = look_at_file(file)
    assert (look.asked, [json.loads(row.write())[name] for row in rows]) == (1, ["2+1?"])
    assert {1, 3} <= {number for rows in look.damaged.values() for number in rows}


@pytest.mark.parametrize("chosen", [None, {"problem": "problem"}])
def test_a_first_row_beyond_the_limit_is_named(tmp_path, chosen):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(write_lines([{"problem": "1?", "answer": "2", "page": "x" * (1 << 16)}]))
    with pytest.raises(ProblemFileError, match=r"row 1: it has \d+ bytes, more than 65536"):
        look_at_file(file, chosen)


def test_programs_that_one_output_solves_are_left_out(tmp_path):
    """Whatever a row's later test cases are: the first eight count by default."""
    outputs = {1: ["4"] * 8 + ["5"], 2: ["YES", "YES "], 3: ["0.5", "0.5000001"], 4: ["4", "5"]}
    tests = [
        {"inputs": [str(n) for n in range(len(due))], "outputs": due} for due in outputs.values()
    ]
    tests.append({"fn_name": "f", "inputs": [[1], [2]], "outputs": [[[1]], [[1]]]})
    tests.append({"fn_name": "f", "inputs": [[1], [2]], "outputs": [1, True]})
    file = tmp_path / "rows.jsonl"
    file.write_bytes(
        write_lines([{"question": "?", "input_output": json.dumps(one)} for one in tests])
    )
    assert look_at_file(file, is_suite=True)[0].is_usable
    look, rows = look_at_file(file)
    assert [row.number for row in rows] == [4, 6]
    assert (look.left_out, look.is_usable) == ({CONSTANT: [1, 2, 3, 5]}, False)
    assert look.columns == {"problem": "question", "test cases": "input_output"}
    file.write_bytes(write_rows(rows))
    assert look_at_file(file)[0].is_usable


def test_files_of_a_split_are_looked_at_as_one(tmp_path, monkeypatch):
    writers = write_parquet, write_lines, write_commas
    files = [tmp_path / f"train-{number}" for number in range(3)]
    for number, (file, write) in enumerate(zip(files, writers, strict=True)):
        file.write_bytes(write(ROWS[6 * number : 6 * number + 6]).replace(b"}\n", b"}\r\n"))
    said = []
    joined = join_files(files, said.append)
    assert said[2] == "reading train-2, 3 of 3 files"
    look, rows = look_at_file(tmp_path, {}, (), joined)
    assert (look.rows, look.asked, look.is_usable, look.format) == (
        18, 18, False, "3 files of Parquet, JSON Lines, CSV",
    )  # fmt: skip
    assert [json.loads(row.write())["problem"] for row in rows] == [
        row["problem"] for row in ROWS[:18]
    ]
    monkeypatch.setattr(problem_shards, "FILE_MAX", 500)
    with pytest.raises(ProblemFileError, match="the first 2 of 3 files have more than"):
        join_files(files, said.append)


def test_what_is_read_as_one_has_a_lower_limit(tmp_path, monkeypatch):
    """A document of JSON takes many times its bytes of memory, and Parquet unpacks."""
    monkeypatch.setattr(problem_table, "DOCUMENT_MAX", 100)
    monkeypatch.setattr(problem_file, "DOCUMENT_MAX", 100)
    file = tmp_path / "rows"
    file.write_bytes(json.dumps(ROWS).encode())
    with pytest.raises(ProblemFileError, match="one document of JSON of more than 0 MiB: write it"):
        look_at_file(file)
    file.write_bytes(write_parquet(ROWS))
    with pytest.raises(ProblemFileError, match="is Parquet of more than 0 MiB"):
        look_at_file(file)
    file.write_bytes(write_lines(ROWS))
    assert look_at_file(file)[0].is_usable


def test_a_first_row_with_an_open_brace_in_its_text_is_a_row(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(write_lines([{"problem": "Is {1 a set?", "answer": "5"}, *ROWS]))
    look, _ = look_at_file(file)
    assert (look.format, look.rows, look.asked) == ("JSON Lines", 21, 21)


def test_words_beside_a_question_are_not_said_to_be_what_gsm_takes(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(write_lines([{"question": "Who?", "answer": "Bob"}]))
    may = "math:SHA256 or text:SHA256 may take such files"
    with pytest.raises(ProblemFileError, match=may):
        look_at_file(file, family="letters")
    file.write_bytes(write_lines([{"question": "1+1?", "answer": "#### 2"}]))
    with pytest.raises(ProblemFileError, match="gsm:SHA256 takes such files"):
        look_at_file(file, family="letters")


def test_a_suite_of_questions_that_are_objects_is_compared(tmp_path):
    asked = {"stem": "Who barks?", "choices": [{"label": "A", "text": "a dog"}]}
    suite, file = tmp_path / "suite.jsonl", tmp_path / "rows.jsonl"
    suite.write_bytes(write_lines([{"question": asked, "answerKey": "A"}]))
    file.write_bytes(write_lines([{"question": "Who barks?", "answer": "a dog"}]))
    look, _ = look_at_file(file, suites=[suite], family="text")
    assert look.suites == {str(suite): [1]}
