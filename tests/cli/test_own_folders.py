"""A folder of --out is one run's: a command clears what is there, goes on with it, or refuses."""

import json
import shutil
from pathlib import Path

import pytest

from assay.artifacts.database import VALIDATOR_FILE
from assay.audit.provenance.hub_content import WORK
from assay.cli.own_folder import DEMO, OWN_FOLDERS
from assay.settings.loading import ConfigError
from assay.training import GENESIS
from tests.commands import run_command

OPTIONS: dict[str, str] = json.loads((Path(__file__).with_name("options.json")).read_text())
#: Commands whose --out is new or empty, or, of an explanation, named after window and miner.
OTHERS = {"adopt", "audit export", "explain", "export", "subnet amend", "subnet publish"}
#: Commands whose --out is one file.
OF_A_FILE = {"convert", "recipe new"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text("{}\n")
    return path


def write_words(command: str, file: Path) -> list[object]:
    """As short a line as there is of a command, but for its --out."""
    model, recipe = GENESIS, ("--recipe", "genesis-arithmetic")
    words: dict[str, tuple[object, ...]] = {
        "demo": ("--fast",),
        "calibrate": ("--model", model),
        "gauntlet": ("--fast", "--only", "nothing of this name"),
        "contest": (model, model, "--env", "arithmetic"),
        "eval": (model, "--suite", file),
        "train warm-start": (model, *recipe),
        "train dpo": (model, file, *recipe),
        "train distill": (model, model, *recipe),
        "train trace-step": (file,),
    }
    return [*command.split(), *words[command]]


def list_tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_every_command_with_a_folder_says_what_it_leaves_there():
    options = {name.removeprefix("assay "): said.split() for name, said in OPTIONS.items()}
    found = {name for name, said in options.items() if {"--out", "--out!"} & {*said}}
    assert found - OF_A_FILE == OWN_FOLDERS.keys() | OTHERS


@pytest.mark.parametrize("command", OWN_FOLDERS)
def test_a_folder_with_a_stranger_s_file_is_refused_by_its_name(command, file, tmp_path):
    """Also beside the command's own files, and in a demo's folder, beside its marker."""
    own, out = OWN_FOLDERS[command], tmp_path / "out"
    out.mkdir()
    names = [own.marker or own.names[0].replace("*", "1"), "thesis.txt", ".git"]
    for name in names:
        (out / name).write_text("years of work")
    done = run_command(*write_words(command, file), "--out", out)
    assert done.returncode == 2
    assert f"--out {out} has '.git', 'thesis.txt', and no {own.whose} leaves that" in done.stderr
    assert list_tree(out) == set(names)
    assert {(out / name).read_text() for name in names} == {"years of work"}


@pytest.mark.parametrize("command", OWN_FOLDERS)
def test_no_command_takes_the_folder_of_another(command, tmp_path):
    """A warm start in a folder of preferences would go on with its learner."""
    for other, own in OWN_FOLDERS.items():
        if other == command:
            continue
        folder = tmp_path / other
        folder.mkdir()
        for name in (*own.names, *([own.marker] if own.marker else [])):
            (folder / name.replace("*", "1")).touch()
        with pytest.raises(ConfigError, match="name an empty folder"):
            OWN_FOLDERS[command].require(folder)


def test_a_demo_leaves_nothing_that_its_table_lacks(played):
    """What the table lacks would stay for the next demo, whose steps were once mixed with it."""
    names = {path.name for path in played[0].iterdir()}
    assert {name for name in names if not DEMO.owns(name)} == set()
    assert {"steps", "models", "store", "record", "bundle", "chain", VALIDATOR_FILE} <= names
    assert DEMO.owns(WORK)


def test_a_demo_begins_with_nothing_of_the_one_before(played, tmp_path):
    """Also what other commands have put there."""
    old = tmp_path / "run"
    shutil.copytree(played[0], old)
    (old / "push" / "0").mkdir(parents=True)
    (old / ".status.json.tmp").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    shutil.rmtree(old / "store")
    (old / "store").symlink_to(tmp_path / "elsewhere")  # on another disk, for its space
    DEMO.clear(old)
    assert list_tree(old) == {DEMO.marker}
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_many_strangers_are_counted(tmp_path):
    for number in range(5):
        (tmp_path / f"chapter-{number}").touch()
    with pytest.raises(
        ConfigError, match=r"has 'chapter-0', .*'chapter-2' and 2 more, and no demo"
    ):
        DEMO.require(tmp_path)
