"""`assay env`: its output on problems for a person, and for a script."""

import json
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.arithmetic import write_solution
from assay.environments.dealing import make_miner_problem
from assay.environments.foreign import vetting
from assay.environments.foreign.vetting import vet_package
from assay.environments.registry import make_environment
from assay.protocol.manifest import start_levels
from assay.protocol.seeds import compute_problem_seed
from assay.subnet import vetting as own_files
from tests.absent import has_sandbox
from tests.commands import Done, run_command, run_program
from tests.environments.conftest import thin_texts

SEED = "ab" * 32


def run(*arguments: str, given: str = "", env: dict[str, str] | None = None) -> Done:
    return run_command("env", *arguments, given=given, env=env)


def read(*arguments: str, given: str = "") -> object:
    done = run(*arguments, "--json", given=given)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_sample_gives_the_problems_that_a_miner_is_asked() -> None:
    found = read("sample", "arithmetic", "--seed", SEED, "--n", "3", "--level", "5", "--level", "6")
    environment = make_environment("arithmetic", {})
    levels = start_levels([5, 6])
    for index, entry in enumerate(found):  # type: ignore[arg-type, var-annotated]
        problem = make_miner_problem(environment, bytes.fromhex(SEED), bytes(32), index, levels)
        messages = [{"role": "user", "content": problem.prompt}]
        asked = {"prompt": problem.prompt, "messages": messages}
        assert entry == {"index": index, "level": problem.level, **asked}


def test_score_of_right_and_wrong_answers() -> None:
    seed = compute_problem_seed(bytes.fromhex(SEED), bytes(32), 7)
    problem = make_environment("arithmetic", {}).make_problem(seed, [5])
    right = write_solution(problem, range(3))
    where = ("score", "arithmetic", "--seed", SEED, "--index", "7", "--level", "5", "--answer")
    full = {"reward": 10**6, "correctness": 10**6, "quality": 10**6}
    full |= {"satisfaction": 10**6, "format": 10**6}
    assert read(*where, right) == full
    assert read(*where, "-", given=right) == full
    assert read(*where, right + "\n") == dict.fromkeys(full, 0)
    assert read(*where, "") == dict.fromkeys(full, 0)
    shown = run(*where, right)
    assert shown.returncode == 0
    assert "1,000,000" in shown.stdout
    program = run_program("env", *where, "-", "--json", given=right)
    assert (program.returncode, json.loads(program.stdout), program.stderr) == (0, full, "")


def test_list_and_show() -> None:
    listed = {entry["name"]: entry for entry in read("list")}  # type: ignore[attr-defined]
    assert {"arithmetic", "gsm", "mix", "sat", "reasoning_gym:chain_sum"} <= set(listed)
    assert listed["sat"]["settings"]["k"]["default"] == 3
    assert not listed["reasoning_gym:puzzle24"]["usable"]
    assert "refused" in listed["reasoning_gym:puzzle24"]["about"]
    shown = read("show", "mix,arithmetic=3,sat=1,sat.k=4")
    expected = make_environment("mix", {"arithmetic": 3, "sat": 1, "sat.k": 4})
    assert shown["digest"] == expected.digest.hex()  # type: ignore[index]
    assert shown["settings"]["sat.density"] == 426  # type: ignore[index]
    assert "1001 … 1012, 2005 … 2200" in run("show", "mix,arithmetic=3,sat=1").stdout
    assert "chain_sum" in run("list").stdout


def test_a_file_is_named_found_and_asked(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "How\\tmany\u200b?", "answer": "#### 12"}\n')
    name = f"gsm:{sha256(file.read_bytes()).hexdigest()}"
    assert name in {entry["name"] for entry in read("list", "--file", str(file))}  # type: ignore[attr-defined]
    shown = run("sample", name, "--file", str(file), "--n", "1")
    assert "How?many??" in shown.stdout  # nothing steers the terminal
    variable = {"ASSAY_ENVIRONMENTS__FILES": json.dumps([str(file)])}
    scored = run("score", name, "--answer", "#### 12", "--json", env=variable)
    assert json.loads(scored.stdout)["correctness"] == 10**6
    config = tmp_path / "assay.toml"
    config.write_text(f"[environments]\nfiles = [{str(file)!r}]\n")
    assert run("show", name, "--config", str(config)).returncode == 0
    file.write_text('{"question": "How many?", "answer": "12"}\n')
    broken = f"gsm:{sha256(file.read_bytes()).hexdigest()}"
    refused = run("show", broken, "--file", str(file))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "row 1: its answer has no ####" in refused.stderr


def test_a_look_at_a_file_says_how_it_is_read(tmp_path: Path) -> None:
    file, written = tmp_path / "rows.csv", tmp_path / "rows.jsonl"
    file.write_text('task,answer,level\n"What is 2+3?",5,1\n"And 144/12?",12,2\nWho?,Ada,1\n')
    refused = run("look", str(file))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--column problem=NAME" in refused.stderr
    looked = run("look", str(file), "--column", "problem=task", "--write", str(written), "--json")
    assert looked.returncode == 0
    found = json.loads(looked.stdout)
    digest = sha256(written.read_bytes()).hexdigest()
    assert (found["format"], found["asked"], found["usable"]) == ("CSV", 2, False)
    assert found["written"] == f"math:{digest}"
    assert found["left_out"] == {"words": {"rows": 1, "first": [3]}}
    assert found["shown"] == {"rows": 1, "first": [2]}
    shown = run("look", str(written), "--suite", str(written))
    assert shown.returncode == 0
    for words in (f"math:{digest}", "2 rows are in", "What is 2+3?", "right: 12"):
        assert words in " ".join(shown.stdout.split())
    for place, why in ((file, "there already"), (tmp_path / "no" / "x.jsonl", "no folder")):
        before = file.read_bytes()
        refused = run("look", str(file), "--column", "problem=task", "--write", str(place))
        assert (refused.returncode, file.read_bytes()) == (2, before)
        assert why in " ".join(refused.stderr.split())
    twice = run("look", str(file), "--column", "problem=task", "--column", "problem=task")
    assert (twice.returncode, twice.stdout) == (2, "")


def test_a_file_is_read_as_a_person_says(tmp_path: Path) -> None:
    file, written = tmp_path / "rows.csv", tmp_path / "words.jsonl"
    rows = [f"Who is {i}?,{i} Ada" if i % 3 else f"{i}+1?,{i + 1}" for i in range(40)]
    file.write_text("\n".join(["question,answer", *rows]) + "\n")
    shown = run("look", str(file), "--as", "math", env={"COLUMNS": "400"})
    assert shown.returncode == 0
    assert "26 in words: text that has no value to compare" in shown.stdout
    assert "--as text: text:SHA256 asks 26 rows with short answers in words" in shown.stdout
    assert "A network may ask one file by several environments, such as mix,math:" in shown.stdout
    looked = run("look", str(file), "--as", "text", "--write", str(written), "--json")
    found = json.loads(looked.stdout)
    assert (found["asked"], found["fits"]["math"]["rows"]) == (40, 14)
    assert found["written"] == f"text:{sha256(written.read_bytes()).hexdigest()}"
    vetted = run("vet", str(file), "--as", "text", "--quiet")
    assert (vetted.returncode, "fit for a subnet" in vetted.stdout) == (0, True)
    for path in (tmp_path, file.with_suffix(".whl")):
        refused = run("vet", str(path), "--as", "text")
        assert refused.returncode == 2
    unknown = run("look", str(file), "--as", "sat")
    assert unknown.stderr.startswith("assay: --as sat: code, gsm, instructions, letters, math, ")


def test_a_folder_of_a_split_is_looked_at_and_written_as_one_file(tmp_path: Path) -> None:
    folder, written = tmp_path / "data", tmp_path / "rows.jsonl"
    folder.mkdir()
    for number in (1, 0):
        row = {"problem": f"What is {number}+1?", "answer": str(number + 1)}
        (folder / f"train-0000{number}-of-00002.jsonl").write_text(json.dumps(row) + "\n")
    looked = run("look", str(tmp_path / "data" / "train"), "--write", str(written), "--json")
    found = json.loads(looked.stdout)
    assert (looked.returncode, found["rows"], found["usable"]) == (0, 2, False)
    assert [json.loads(line)["answer"] for line in written.read_text().splitlines()] == ["1", "2"]
    assert run("look", str(written)).returncode == 0
    assert run("list", "--file", str(written)).returncode == 0
    (folder / "test-00000-of-00001.jsonl").write_text("{}\n")
    refused = run("look", str(folder))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "name one of its 2 files or splits: test, train" in " ".join(refused.stderr.split())
    (folder / "train-00000-of-00002.jsonl").unlink()
    assert "file 0 of its split is not there" in run("look", str(folder / "train")).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "chess"), "there is no environment 'chess'"),
        (("show", "sat,k=9"), "k = 9 must be an integer from 3 to 5"),
        (("show", "sat,k"), "write each setting once"),
        (("show", "mix"), "name 2 to 16 environments"),
        (("show", "gsm:" + "0" * 64), "no file with SHA-256"),
        (("show", "reasoning_gym:chess"), "no dataset 'chess'"),
        (("sample", "sat", "--seed", "00"), "--seed has 2 hex digits: write 64 of them"),
        (("sample", "sat", "--seed", "no"), "--seed 'no' is not hex"),
        (("sample", "sat", "--hotkey", "5Fno"), "--hotkey: '5Fno'"),
        (("sample", "sat", "--level", "4"), "are not legal: 5 to 200 are"),
        (("sample", "sat", "--n", "0"), "--n"),
        (("list", "--file", "nowhere.jsonl"), "nowhere.jsonl: there is no such file"),
        (("list", "--file", "."), "assay env look . --write NEW.jsonl` makes one"),
        (("score", "sat"), "--answer"),
        (("vet", "pyproject.toml", "--units", "9"), "--units: environment 'package': units = 9"),
        (("vet", "pyproject.toml", "--units", "300"), "only a package or a taskset has units"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments, "--json") if arguments[0] == "show" else run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_environment_of_ones_own_is_laid_down_vetted_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vetting tries one problem of each level, and few texts: more takes seconds."""
    if not has_sandbox():
        pytest.skip("no sandbox: assay sandbox prepare")
    thin_texts(monkeypatch)
    monkeypatch.setattr(own_files, "vet_package", partial(vet_package, problems=1))
    monkeypatch.setattr(vetting, "CONSTANTS", 8)
    folder = tmp_path / "mine"
    laid = read("new", "letters", "--dir", str(folder))
    assert len(laid["files"]) == 3  # type: ignore[index]
    assert run("new", "letters", "--dir", str(folder)).returncode == 2  # nothing is written over
    assert "not a name of a package" in run("new", "Letters").stderr
    vetted = read("vet", str(folder / "letters"), "--quiet")
    assert vetted["fit"], vetted  # type: ignore[index]
    file = vetted["file"]  # type: ignore[index]
    assert vetted["name"] == f"package:{sha256(Path(file).read_bytes()).hexdigest()}"  # type: ignore[index]
    listed = {entry["name"] for entry in read("list", "--file", file)}  # type: ignore[attr-defined]
    assert vetted["name"] in listed  # type: ignore[index]
    assert "How often does" in run("sample", vetted["name"], "--file", file).stdout  # type: ignore[index]
    source = folder / "letters" / "__init__.py"
    spoilt = source.read_text().replace("answer == solve(task)", "solve(task) in answer")
    source.write_text(spoilt.replace("LEVELS = tuple(SIZES)", "LEVELS = tuple(SIZES)[:1]"))
    done = run("vet", str(folder / "letters"), "--units", "400")
    assert f"vetting {folder / 'letters'}" in done.stderr
    assert done.returncode == 1
    assert ",units=400" in done.stdout
    assert "not fit for a subnet: adversarial answers" in done.stdout.replace("wrong answers, ", "")


def test_list_fails_for_a_named_file_that_cannot_be_used(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text("{\n")
    done = run("list", "--file", str(damaged), "--json")
    assert done.returncode == 1
    (entry,) = (entry for entry in json.loads(done.stdout) if entry["file"] == str(damaged))
    assert not entry["usable"]
    assert "damaged.jsonl: it is not JSON" in entry["about"]
    assert run("list").returncode == 0
