"""Word problems: stories that are true, one spelling of the answer, files that lie."""

import io
import json
import re
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments import problem_file
from assay.environments.base import UNREAD, rate_answer
from assay.environments.gsm import LEVELS, THEMES, Task
from assay.environments.problem_file import ProblemFileError, add_problem_files, compute_file_digest
from assay.environments.problem_look import look_at_file
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from assay.sandbox import Sandbox
from tests.environments.conftest import BLANKS_AFTER, NUMBER_TRICKS, TRICKS, make_seed

#: What a wrong answer achieves: it may have been read.
NOTHING = UNREAD, rate_answer(0)

GSM = make_environment("gsm", {})
TRICK_PROBLEM = next(
    problem
    for i in range(999)
    if (problem := GSM.make_problem(make_seed(i), [4])).answer.row.value > 100  # type: ignore[attr-defined]
)
STEP = re.compile(r"(\d+)([-+*/])(\d+)=<<(\d+)\2(\3|\d+)=(\d+)>>(\d+)")


def get_row(problem: object) -> problem_file.Row:
    answer = problem.answer  # type: ignore[attr-defined]
    assert isinstance(answer, Task)
    return answer.row


@given(st.binary(min_size=32, max_size=32), st.sampled_from(LEVELS), st.sampled_from([5, 20, 1000]))
def test_a_story_is_worked_truly_in_as_many_steps_as_its_level(
    seed: bytes, level: int, largest: int
) -> None:
    environment = make_environment("gsm", {"largest": largest})
    problem = environment.make_problem(seed, [level])
    row = get_row(problem)
    *steps, last = row.solution.split("\n")
    assert len(steps) == level
    total = None
    for step in steps:
        match = STEP.fullmatch(step)
        assert match
        a, sign, b, result = int(match[1]), match[2], int(match[3]), int(match[7])
        assert (a, b, result) == (int(match[4]), int(match[5]), int(match[6]))
        assert result == {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign]
        total = result
    assert last == f"#### {total}"
    assert row.value == total
    assert total is not None
    assert total > 0
    assert problem.prompt.isascii()
    assert "{" not in problem.prompt
    assert environment.score(problem, row.solution) == rate_answer(1)
    assert problem == environment.make_problem(seed, [level])


def test_every_sentence_is_told_and_every_start_is_in_the_text() -> None:
    asked = [GSM.make_problem(make_seed(i), [6]).prompt for i in range(400)]
    for _, sentences in THEMES:
        for sentence in sentences:
            words = max(re.split(r"\{\w\}", sentence), key=len).strip()
            assert any(words in prompt for prompt in asked), sentence


@pytest.mark.parametrize("trick", sorted({**TRICKS, **NUMBER_TRICKS}.keys() - BLANKS_AFTER))
def test_adversarial_answer(trick: str) -> None:
    right = str(get_row(TRICK_PROBLEM).value)
    assert GSM.score(TRICK_PROBLEM, f"#### {right}").correctness == MILLION
    make = {**TRICKS, **NUMBER_TRICKS}[trick]
    assert GSM.score(TRICK_PROBLEM, make(right)) in NOTHING


@given(st.text(max_size=4), st.integers(0, 9))
def test_any_insertion_into_the_answer_line_is_refused(junk: str, at: int) -> None:
    line = f"#### {get_row(TRICK_PROBLEM).value}"
    mutated = (line[:at] + junk + line[at:]).rstrip(" \t\r\n")
    if mutated != line and not mutated.endswith("\n" + line):
        assert GSM.score(TRICK_PROBLEM, mutated) in NOTHING


@given(st.text(max_size=200))
def test_no_text_raises(completion: str) -> None:
    assert GSM.score(TRICK_PROBLEM, completion).quality == 0


# --- files

ROWS = [
    {
        "question": f"What is {i} and {i}?",
        "answer": "\n".join(["step"] * (i % 5)) + f"\n#### {i * 2}",
    }
    for i in range(40)
]


def write_jsonl(folder: Path, rows: object = ROWS, name: str = "rows.jsonl") -> Path:
    file = folder / name
    lines = (json.dumps(row) for row in rows)  # type: ignore[attr-defined]
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def make_parquet(rows: object = ROWS, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, **options)
    return buffer.getvalue()


def read_rows(file: Path) -> list[problem_file.Row]:
    return [row.source for row in look_at_file(file)[1] if isinstance(row.source, problem_file.Row)]


def open_file(file: Path) -> object:
    add_problem_files([file])
    return make_environment(f"gsm:{compute_file_digest(file)}", {})


def test_jsonl_and_parquet_ask_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by children that start as in a program, and not as forks."""
    monkeypatch.setattr(problem_file, "Sandbox", Sandbox)
    plain = open_file(write_jsonl(tmp_path))
    packed = tmp_path / "rows.parquet"
    packed.write_bytes(make_parquet())
    other = open_file(packed)
    assert read_rows(tmp_path / "rows.jsonl") == read_rows(packed)
    assert plain.digest != other.digest  # type: ignore[attr-defined] # another file, another network


def test_levels_of_a_file_follow_the_length_of_its_solutions(tmp_path: Path) -> None:
    environment = open_file(write_jsonl(tmp_path))
    assert list(environment.levels) == list(range(1, 9))  # type: ignore[attr-defined]
    found = {
        level: {
            get_row(environment.make_problem(make_seed(i), [level])).solution.count("\n")  # type: ignore[attr-defined]
            for i in range(40)
        }
        for level in (1, 8)
    }
    assert max(found[1]) < min(found[8])
    asked = {
        environment.make_problem(make_seed(i), list(range(1, 9))).prompt  # type: ignore[attr-defined]
        for i in range(1_000)
    }
    assert len(asked) == len(ROWS)


def test_a_file_s_own_solution_earns(tmp_path: Path) -> None:
    solution = "3000+4000=<<3000+4000=7000>>7000\n#### 7,000"
    file = write_jsonl(tmp_path, [{"question": "How many?", "answer": solution, "more": 1}])
    environment = open_file(file)
    problem = environment.make_problem(make_seed(0), [1])  # type: ignore[attr-defined]
    for right in (solution, "#### 7000", "#### 7000\n", "#### 7,000 \r\n", "so\n#### 7000\t"):
        assert environment.score(problem, right).correctness == MILLION  # type: ignore[attr-defined]
    wrong = "70,00", "7,00", "7,000.0", "7,000,", "7.000", "7 000", "07,000", "7,000 0", "7, 000"
    for text in (*wrong, "7,000\n7,000", "7,000\u00a0", "7,000 or 8,000", "7,001"):
        assert environment.score(problem, f"#### {text}") in NOTHING  # type: ignore[attr-defined]


#: Rows as GSM8K has them (all 8,792 of its own are read): question, solution, N.
REAL_ROWS = [
    (
        "Ada’s shop sold 48 kites in May and half as many in June.  How many were sold in all?",
        "Ada sold 48/2 = <<48/2=24>>24 kites in June.\nShe sold 48+24 = <<48+24=72>>72 in all."
        "\n#### 72",
        72,
    ),
    (
        "A café pays €2,000 a month – rent alone.\u2028What is that in 12 months?\n",
        "It is 12 × 2,000 = €<<12*2000=24000>>24,000.\n#### 24,000",
        24_000,
    ),
    (
        "How many\xa0grains\u200b are in ¾ of 1,666,666,668?",
        "1,666,666,668*.75=<<1666666668*.75=1250000001>>1,250,000,001\n#### 1,250,000,001",
        1_250_000_001,
    ),
    ("What is 3°C after it falls by 13°C? ", "3 − 13 = <<3-13=-10>>-10\n#### -10", -10),
    ("What is lost of 2,500 and 1,500?\t", "-1*(2500-1000)=-1,500\n#### -1,500", -1_500),
    ("How many are none of 5?", "5-5=<<5-5=0>>0\r\n#### 0", 0),
    ("How many blanks end this?", "Some.\n#### 1,000 ", 1_000),
    ("How many line ends?", "Some.\n#### 7 \t\r\n\n", 7),
]


@pytest.mark.parametrize("escaped", [True, False])
def test_rows_as_gsm8k_writes_them(tmp_path: Path, escaped: bool) -> None:
    file = tmp_path / "train.jsonl"
    rows = [json.dumps({"question": q, "answer": a}, ensure_ascii=escaped) for q, a, _ in REAL_ROWS]
    file.write_bytes("\r\n".join([*rows, ""]).encode())
    packed = tmp_path / "train.parquet"
    packed.write_bytes(make_parquet([{"question": q, "answer": a} for q, a, _ in REAL_ROWS]))
    for each in (file, packed):
        environment, found = open_file(each), {row.question: row.value for row in read_rows(each)}
        assert found == {question: value for question, _, value in REAL_ROWS}
        for level in environment.levels:  # type: ignore[attr-defined]
            problem = environment.make_problem(make_seed(level), [level])  # type: ignore[attr-defined]
            value = get_row(problem).value
            wrong = f"#### {value} 0", f"#### {value}.0", f"#### ${value}"
            solution = get_row(problem).solution
            for right in (solution, f"<<1+1=2>>2\n#### {value}"):
                assert environment.score(problem, right).correctness == MILLION  # type: ignore[attr-defined]
            assert all(environment.score(problem, text) in NOTHING for text in wrong)  # type: ignore[attr-defined]


def test_the_files_digest_is_the_networks(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path)
    digest = sha256(file.read_bytes()).hexdigest()
    assert open_file(file).name == f"gsm:{digest}"  # type: ignore[attr-defined]
    file.write_text(file.read_text().replace("0 and 0", "0 and O"))  # somebody edits it afterwards
    with pytest.raises(ProblemFileError, match=rf"no file with SHA-256 {digest}.*has SHA-256"):
        make_environment(f"gsm:{digest}", {})


@pytest.mark.parametrize("name", ["gsm:", "gsm:12", "gsm:" + "G" * 64, "gsm:../../etc/passwd"])
def test_a_file_is_never_named_by_anything_but_a_digest(name: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        make_environment(name, {})


def test_a_file_that_is_not_here() -> None:
    with pytest.raises(ProblemFileError, match="none is named"):
        make_environment("gsm:" + "0" * 64, {})
    add_problem_files([Path("nowhere.jsonl"), Path("/proc/self/mem")])
    with pytest.raises(ProblemFileError, match=r"nowhere.jsonl: No such file"):
        make_environment("gsm:" + "0" * 64, {})


def test_a_file_has_no_settings(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path)
    open_file(file)
    with pytest.raises(ValueError, match="no parameter 'largest'"):
        make_environment(f"gsm:{compute_file_digest(file)}", {"largest": 9})


GOOD = '{"question": "How many?", "answer": "#### 1"}'
BAD_ROWS = {
    "not JSON": ("how many?", "is not JSON"),
    "not an object": ("[1]", "not an object"),
    "no answer": ('{"question": "How many?"}', "it has question: gsm:SHA256 takes question and"),
    "answer is a number": (
        '{"question": "How many?", "answer": 5}',
        "its answer is 5, and gsm:SHA256 takes text: .* ends in a line `#### N`",
    ),
    "question is null": ('{"question": null, "answer": "#### 1"}', "its question is null, and"),
    "a row of math": (
        '{"problem": "How many?", "solution": "x", "answer": "1"}',
        "it has problem and solution, not question and answer: math:SHA256 takes such files",
    ),
    "a name twice": ('{"question": "a", "question": "b", "answer": "#### 1"}', "occurs twice"),
    "nested too deeply": ('{"question": ' + "[" * 30_000, "is not JSON"),
    "blank question": ('{"question": " \\t\\r\\n", "answer": "#### 1"}', "question has 4 char"),
    "empty question": ('{"question": " ", "answer": "#### 1"}', "question has 1 characters"),
    "long question": (json.dumps({"question": "a" * 9_000, "answer": "#### 1"}), "has 9000"),
    "terminal escapes": ('{"question": "\\u001b[2J", "answer": "#### 1"}', r"U\+001B"),
    "NUL": ('{"question": "a\\u0000", "answer": "#### 1"}', r"U\+0000"),
    "half a character": ('{"question": "\\ud800", "answer": "#### 1"}', r"U\+D800"),
    "no mark": ('{"question": "How many?", "answer": "1"}', "does not end"),
    "two marks": ('{"question": "How many?", "answer": "#### 1\\n#### 2"}', "does not end"),
    "no number": ('{"question": "How many?", "answer": "#### one"}', "does not end"),
    "decimals": ('{"question": "How many?", "answer": "#### 1.5"}', "does not end"),
    "odd commas": ('{"question": "How many?", "answer": "#### 1,23"}', "does not end"),
    "leading zero": ('{"question": "How many?", "answer": "#### 01"}', "not a whole number"),
    "huge number": (
        json.dumps({"question": "How many?", "answer": "#### " + "9" * 5_000}),
        "not a whole number",
    ),
    "full-width digit": ('{"question": "How many?", "answer": "#### \\uff11"}', "does not end"),
    "answer of 10 MB": (
        json.dumps({"question": "How many?", "answer": "9" * 10**7 + "\n#### 1"}),
        "more than 65536",
    ),
}


def test_two_answers_to_one_question_are_told(tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": "#### 1,234"}
    same, other = row | {"answer": "They are\n#### 1234"}, row | {"answer": "#### 1235"}
    doubled = open_file(write_jsonl(tmp_path, [row, same]))
    assert doubled.skipped == {"asked already": [2]}  # type: ignore[attr-defined]
    with pytest.raises(ProblemFileError, match=r"rows\.jsonl, row 3: it asks what row 1 asks"):
        open_file(write_jsonl(tmp_path, [row, same, other]))


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_malicious_row_is_named(tmp_path: Path, name: str) -> None:
    line, words = BAD_ROWS[name]
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{GOOD}\n{line}\n{GOOD}\n")
    with pytest.raises(ProblemFileError, match=rf"rows.jsonl, row 2: .*{words}"):
        open_file(file)


def test_bad_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(GOOD.encode().replace(b"How", b"H\xffw"))
    with pytest.raises(ProblemFileError, match="row 1"):
        open_file(file)


def test_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"")
    with pytest.raises(ProblemFileError, match="is empty"):
        open_file(file)


def test_files_beyond_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_jsonl(tmp_path)
    monkeypatch.setattr(problem_file, "ROWS_MAX", 39)
    with pytest.raises(ProblemFileError, match="more than 39 rows"):
        open_file(file)
    monkeypatch.setattr(problem_file, "FILE_MAX", 1 << 20)
    file.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ProblemFileError, match="larger than 1 MiB"):
        open_file(file)


def write_bomb() -> bytes:
    """Two thousand rows of 1 MB each in a few kilobytes."""
    many = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), ["a" * 10**6])
    buffer = io.BytesIO()
    table = pa.table({"question": many, "answer": many})
    pq.write_table(table, buffer, compression="zstd", store_schema=False)  # text for who reads it
    return buffer.getvalue()


BAD_PARQUET = {
    "cut off": lambda: make_parquet()[:-50],
    "garbage": lambda: b"PAR1" + bytes(range(256)) * 40 + b"PAR1",
    "no column": lambda: make_parquet([{"question": "a"}]),
    "numbers": lambda: make_parquet([{"question": "a", "answer": 1}]),
    "lists": lambda: make_parquet([{"question": ["a"], "answer": "#### 1"}]),
    "no rows": lambda: make_parquet(ROWS[:1]) and _write_empty(),
    "bomb": write_bomb,
}


def _write_empty() -> bytes:
    buffer = io.BytesIO()
    schema = pa.schema([("question", pa.string()), ("answer", pa.string())])
    pq.write_table(schema.empty_table(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", BAD_PARQUET)
def test_parquet_that_lies(tmp_path: Path, name: str) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(BAD_PARQUET[name]())
    with pytest.raises(ProblemFileError, match=r"rows\.parquet"):
        open_file(file)


def test_a_malicious_row_of_parquet_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(make_parquet([*ROWS[:2], {"question": None, "answer": "#### 1"}]))
    with pytest.raises(ProblemFileError, match=r"row 3: its question is null"):
        open_file(file)
