"""`assay eval`: its output, its files, its refusals, and its stop by a signal."""

import json
import signal
import subprocess
from collections import Counter

import pytest

from assay.environments import gsm
from assay.environments.registry import make_environment
from assay.protocol.hashing import Domain, hash_fields
from assay.training import GENESIS
from assay.training.held_out import make_held_out_seed
from tests.commands import run_command, run_program, start_program


def write_suite(path, count):
    environment = make_environment(gsm.NAME, {})
    rows = {}
    for number in range(2 * count):
        seed = hash_fields(Domain.HELD_OUT, number.to_bytes(4, "big"))
        row = environment.make_problem(seed, [4]).answer.row
        rows[row.question] = {"question": row.question, "answer": row.solution}
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows.values()][:count]))
    return path


def test_figures_are_told_to_people_and_to_programs(tmp_path):
    suite, out = write_suite(tmp_path / "words.jsonl", 4), tmp_path / "e"
    words = ("eval", GENESIS, "--suite", suite, "--out", out, "--max-tokens", 8, "--samples", 2)
    done = run_command(*words, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "words.jsonl: 4 of 4 problems, asked as gsm8k, plain prompt, 0 examples" in done.stdout
    for told in ("strict-match", "flexible-extract", "pass@2", "maj@2", "wilson", "0 right"):
        assert told in done.stdout
    assert "assay: loading the model" in done.stderr
    again = run_command(*words, "--device", "cpu", "--json", "--quiet")
    assert again.stderr == ""
    document = json.loads(again.stdout)
    assert document.pop("out") == str(out)
    assert document == json.loads((out / "results.json").read_text())
    assert [document[name] for name in ("name", "samples", "temperature", "drawn_by")] == [
        "genesis", 2, 1.0, "assay"
    ]  # fmt: skip


def test_an_environment_is_asked_as_in_a_network(tmp_path):
    """Its held-out problems, those of a trainer, of the levels that are named."""
    suite, out = write_suite(tmp_path / "words.jsonl", 2), tmp_path / "e"
    words = ["eval", GENESIS, "--suite", suite, "--environment", "arithmetic,level=5,level=6"]
    words += ["--out", out, "--max-tokens", 64, "--samples", 2, "--problems", 8, "--device", "cpu"]
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    assert "arithmetic,level=5,level=6: 8 of 8 problems, asked as environment, plain" in done.stdout
    documents = json.loads((out / "results.json").read_text())["suites"]
    assert [document["convention"] for document in documents] == ["gsm8k", "environment"]
    environment = make_environment("arithmetic", {})
    assert documents[1]["sha256"] == environment.digest.hex()
    kept = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    right = Counter()
    for completion in (each for each in kept if each["suite"] == 1):
        seed = make_held_out_seed(environment, completion["row"] - 1)
        problem = environment.make_problem(seed, [5, 6])
        assert problem.level in (5, 6)
        right[completion["row"]] += environment.score(problem, completion["text"]).is_right
    assert sorted(right) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert dict(documents[1]["scorers"][0]["right"]) == right
    assert right.total() > 0
    other = run_command(*words[:4], "--environment", "arithmetic,level=5", *words[6:])
    assert "is of an evaluation with other" in other.stderr


def test_what_cannot_be_evaluated_is_reported_in_one_line(tmp_path):
    suite, other = write_suite(tmp_path / "words.jsonl", 2), tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    for words, said in (
        (("--suite", suite, "--suite", suite), "--suite names a file twice"),
        (("--suite", suite, "--shots", 1), "--shots-from FILE: give both"),
        (("--suite", suite, "--shots", 1, "--shots-from", suite), "row 1: it is one of the ex"),
        (("--suite", suite, "--trained", suite), "none of its 2 rows can be asked"),
        (("--suite", suite, "--max-tokens", 99_999), "or less"),
        (("--suite", suite, "--engine", "nonsense"), "is not an engine"),
        ((), "name files with --suite, or an --environment"),
        (("--environment", "gsm,level=9"), "level 9 is none of 1, 2, "),
        (("--environment", "gms"), "--environment gms: "),
        (("--environment", "gsm,levl=4"), "levl"),
        (("--environment", "guess"), "it replies between turns"),
        (("--environment", "gsm", "--shots", 1, "--shots-from", suite), "takes no examples"),
        (
            ("--suite", suite, "--out", other),
            "has 'thesis.tex', and no evaluation leaves that there",
        ),
    ):
        out = () if "--out" in words else ("--out", tmp_path / "e")
        done = run_command("eval", GENESIS, *words, *out, "--quiet", "--device", "cpu")
        assert done.returncode == 2, words
        assert said in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1
    assert [*(tmp_path / "e").iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_an_evaluation_that_was_stopped_goes_on(tmp_path, stop):
    suite, out = write_suite(tmp_path / "words.jsonl", 400), tmp_path / "e"
    words = ["eval", GENESIS, "--suite", suite, "--out", out, "--max-tokens", 16]
    words += ["--device", "cpu", "--threads", "1", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start_program(*words, **pipes) as running:
        assert running.stderr is not None
        while " of 400 completions" not in running.stderr.readline():
            pass
        running.send_signal(stop)
        running.communicate(timeout=120)
    assert running.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    assert not (out / "results.json").exists()
    kept = (out / "completions.jsonl").read_bytes()
    done = run_program(*words)
    assert done.returncode == 0, done.stderr
    drawn = (out / "completions.jsonl").read_bytes()
    assert drawn.startswith(kept.rpartition(b"\n")[0])
    assert drawn.count(b"\n") == json.loads(done.stdout)["suites"][0]["asked"] == 400
