"""What a person types for an environment of a file, in each command that takes one."""

import json
import re

import pytest

from assay.environments import problem_file
from assay.environments.listing import complete_name
from assay.environments.problem_file import add_problem_files, compute_file_digest
from assay.judge.command import run as judge
from assay.settings.loading import open_named_environment
from assay.training import GENESIS
from tests.commands import run_command


@pytest.fixture(autouse=True)
def no_other_files(monkeypatch):
    monkeypatch.setattr(problem_file, "_known", {})


@pytest.fixture
def problems(tmp_path):
    rows = [{"problem": f"What is {n} + 1?", "answer": str(n + 1), "level": 1} for n in range(8)]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


@pytest.fixture
def words(tmp_path):
    rows = [{"question": f"Capital {n}?", "answer": f"Paris {n}"} for n in range(8)]
    file = tmp_path / "words.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def test_one_file_needs_no_digest(problems):
    add_problem_files([problems])
    digest = compute_file_digest(problems)
    for typed in ("math:SHA256", f"math:{digest[:4]}", f"math:{digest[:63]}", str(problems)):
        assert complete_name(typed) == f"math:{digest}"
    assert complete_name("math:SHA256,answer_form=line") == f"math:{digest},answer_form=line"
    mixed = "mix,math:SHA256=2,arithmetic=1,math:SHA256.answer_form=3"
    assert complete_name(mixed) == mixed.replace("SHA256", digest)
    assert (
        open_named_environment(mixed).digest
        == open_named_environment(mixed.replace("SHA256", digest[:6])).digest
    )
    for whole in ("gsm", "sat,k=4", "reasoning_gym:abcd", f"math:{digest}", "math:" + "0" * 64):
        assert complete_name(whole) == whole


def test_the_format_chooses_between_files_and_digits_between_equal_formats(
    problems, words, tmp_path
):
    add_problem_files([problems, words])
    assert complete_name("math:SHA256") == f"math:{compute_file_digest(problems)}"
    assert complete_name("text:SHA256") == f"text:{compute_file_digest(words)}"
    other = tmp_path / "other.jsonl"
    other.write_text(problems.read_text().partition("\n")[2])
    add_problem_files([other])
    digests = [compute_file_digest(file) for file in (problems, other)]
    with pytest.raises(ValueError, match=rf"2 such files are named; .*{digests[1][:12]}"):
        complete_name("math:SHA256")
    assert complete_name(f"math:{digests[1][:12]}") == f"math:{digests[1]}"
    with pytest.raises(ValueError, match="none is named; type the first digits"):
        complete_name("math:" + "0123456789" * 3)


def test_a_name_of_nothing_is_refused_in_a_sentence(tmp_path):
    for typed, said in (
        ("math:SHA256", "none is named: name it with --file FILE"),
        ("math:12ab", "none is named: name it with --file FILE"),
        ("nowhere.jsonl", "nowhere.jsonl: there is no such file"),
        (f"{tmp_path}/gsm", "there is no such file"),
        ("nonsense", "there is no environment 'nonsense'"),
    ):
        done = run_command("env", "show", typed, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


def test_every_command_takes_what_a_person_types(problems, tmp_path, capsys):
    """The README's own line, a path, and the same for a score, an export, an evaluation."""
    digest = compute_file_digest(problems)
    given = ("--file", problems)
    same = set()
    for typed in (("math:SHA256", *given), (f"math:{digest[:8]}", *given), (problems,)):
        done = run_command("env", "sample", *typed, "--json")
        assert done.returncode == 0, done.stderr
        same.add(done.stdout)
        shown = run_command("env", "show", *typed)
        assert f"math:{digest}" in shown.stdout
        assert run_command("env", "score", *typed, "--answer", "3").returncode == 0
    assert len(same) == 1
    readme = run_command("env", "sample", "math:SHA256", *given, "--model", GENESIS)
    assert readme.returncode == 0, readme.stderr
    (tmp_path / "gsm").write_text("a file, and yet the environment is meant")
    assert run_command("env", "show", "gsm", cwd=tmp_path).returncode == 0
    as_text = run_command("env", "show", f"text:{problems}")
    assert f"text:{digest}" in as_text.stdout, as_text.stderr
    asked = ("--environment", f"math:{digest[:8]}", "--problems", 2, "--max-tokens", 4)
    out = tmp_path / "e"
    done = run_command("eval", GENESIS, *asked, *given, "--device", "cpu", "--out", out)
    assert done.returncode == 0, done.stderr
    assert re.search("math:[0-9a-f]{8}: 2 of 2", done.stdout)
    exported = ("--verifiers", tmp_path / "wheel")
    assert run_command("env", "export", "math:SHA256", *given, *exported).returncode == 0
    judged = ["problem", "math:SHA256", "--problems", str(problems)]
    assert judge([*judged, "--seed", "00" * 32]) == 0
    assert "+ 1?" in capsys.readouterr().out
