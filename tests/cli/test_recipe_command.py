"""`assay recipe new`: its file, its refusals, and the commands that it names."""

import json
from pathlib import Path

import pytest

from assay.environments import problem_file
from assay.subnet.recipe import read_recipe
from tests.commands import run_command
from tests.subnet.test_new_recipe import write_sums


@pytest.fixture(autouse=True)
def forget_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem_file, "_known", {})


def test_a_file_becomes_a_recipe_and_is_replaced_only_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = write_sums(tmp_path).name
    few = ("--problems", "8", "--max-tokens", "16", "--level", "1", "--seed", "7")
    few += ("--miners", "3")
    done = run_command("recipe", "new", asked, *few, "--json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["recipe"] == "sums.toml"
    assert told["levels"] == [1]
    assert told["trial"]["problems"] == 8
    recipe = read_recipe("sums.toml")
    assert recipe.environment == told["environment"]
    first = Path("sums.toml").read_text()
    assert (
        "`assay recipe new sums.csv --miners 3 --level 1 --problems 8 --max-tokens 16 --seed 7`"
        in (first.replace("\n# ", " "))
    )
    assert told["next"][0] == "assay plan sums.toml"
    assert run_command(*told["next"][0].split()[1:]).returncode == 0
    again = run_command("recipe", "new", asked, *few)
    assert (again.returncode, again.stdout) == (2, "")
    assert "--out sums.toml already exists: name a new file, or add --force" in again.stderr
    assert run_command("recipe", "new", asked, *few, "--force", "--quiet").returncode == 0
    assert Path("sums.toml").read_text() == first
    # a folder of an environment's name does not hide it
    Path("arithmetic").mkdir()
    made = run_command("recipe", "new", "arithmetic", *few, "--quiet", "--json")
    assert json.loads(made.stdout)["environment"] == "arithmetic"
    # a vetted file's last words are the command
    vetted = run_command("env", "vet", asked)
    assert vetted.stdout.rstrip().endswith("Next: assay recipe new sums.csv --model MODEL")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nix.csv",), "nix.csv"),
        (("arithmetic", "--out", "."), "--out . is a folder: name a file"),
        (("arithmetic", "--out", "no/own.toml"), "there is no folder"),
        (("arithmetic", "--out", "own.json"), "a recipe is TOML"),
        (("arithmetic", "--model", "nowhere"), "nowhere"),
        (("arithmetic", "--card", "H900"), "'H900' is not a GPU that assay knows"),
        (("arithmetic", "--level", "99"), "--level 99: arithmetic has the levels 1, 2, 3"),
        (
            ("no/nix.csv", "--model", "./nowhere", "--out", "."),
            "no/nix.csv: there is no such file or folder\n"
            "assay: nowhere: there is no such file or folder\n"
            "assay: --out . is a folder",
        ),
        (("math:SHA256",), "none is named: name it with --file FILE"),
        (("arithmetic", "--as", "text"), "--data and --as are for files"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_command("recipe", "new", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
