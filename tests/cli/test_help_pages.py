"""The pages of `--help` and the answers to wrong uses, as they were published.

`python -m tests.cli.test_help_pages` writes both again, after a change that is meant.
"""

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from assay.cli.app import app
from tests.commands import invoke

PAGES, ANSWERS = (Path(__file__).with_name(name) for name in ("help_pages.txt", "wrong_uses.json"))
WIDTHS = 80, 200
#: Each is wrong in one way.
WRONG_USES = (
    "nonsense",
    "audit nonsense",
    "demo --nonsense",
    "demo --fastt",
    "demo --no-fast",
    "demo --windows 1",
    "demo --windows many",
    "demo surplus",
    "verify",
    "verify FILE --context FILE",
    "convert FILE --to csv",
    "contest",
    "contest NONE --env sat",
    "contest FILE --env sat --problems 0",
    "contest FILE --env sat --problems many",
    "contest FILE --env sat --temperature 0",
    "eval NONE --suite FILE",
    "eval FOLDER --suite FILE --samples 0",
    "eval FOLDER --suite FILE --shots 2 --out NEW",
    "eval FOLDER --suite FILE --suite FILE --out NEW",
    "env sample sat --n 0",
    "env sample sat --file NONE",
    "env vet NONE",
    "env new Bad-Name",
    "plan nonsense",
    "adopt NONE --out NEW",
    "adopt FOLDER",
    "adopt FOLDER --out FILE",
    "adopt --out NEW",
    "adopt --export FOLDER --base FOLDER --out NEW",
    "calibrate",
    "calibrate --model FOLDER --a split3 --b split3",
    "status --dir NONE",
    "status --watch --json --dir NONE",
    "localnet --dir FILE",
    "localnet --block-time 0",
    "faucet --wallet //Alice",
    "doctor baker",
    "mine",
    "mine --wallet //Alice",
    "mine --netuid 70000",
    "mine --netuid 3 --wallet //Alice",
    "mine --netuid 3 --wallet nosuch --wallet-path FOLDER",
    "mine --no-dry-run",
    "mine --no-exact",
    "mine --config NONE",
    "mine --log-format loud --netuid 3 --wallet //Alice",
    "validate --netuid 3 --wallet //Alice --threads 0",
    "train --recipe nonsense",
    "train nonsense",
    "train --netuid 3 --wallet //Alice --store file://FOLDER --dir FILE",
    "train verify-step NONE",
    "train verify-step FILE --validator 5abc",
    "train bisect FILE",
    "train trace-step NONE",
    "stake",
    "stake 1 --wallet //Alice",
    "subnet publish --netuid 3 --wallet //Alice --store file://FOLDER",
    "subnet publish --netuid 3 --wallet //Alice --store file://FOLDER --trainer 5abc",
    "subnet amend --netuid 3 --wallet //Alice --store file://FOLDER",
    "ledger show 5abc 1 --netuid 3",
    "ledger show 5abc -1 --netuid 3",
    "ledger verify-score NONE --miner 5abc --netuid 3",
    "explain --window 3",
    "explain --window 3 --hotkey 5abc --netuid 3",
    "explain --window 3 --dir NONE",
    "audit",
    "audit --windows 7..3 --netuid 3",
    "audit --worker cpu --workers 2",
    "audit --offline NONE",
    "audit --offline FOLDER",
    "audit export --netuid 3",
    "audit compare --model NONE --netuid 3",
    "audit round --steps -1",
    "export",
    "export --out NEW --push http://127.0.0.1:9",
    "export --out NEW --dir FOLDER",
    "export --push http://127.0.0.1:9 --columns trl",
)


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


@cache
def render_page(path: tuple[str, ...], width: int) -> str:
    """A command's page of help on a terminal of so many columns."""
    env = {"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)}
    done = invoke([*path, "--help"], env=env)
    assert done.returncode == 0, path
    return done.stdout


def render_pages() -> str:
    """Every page of help, narrow and wide."""
    return "\n".join(
        f"=== {width} columns: assay {' '.join([*path, '--help'])}\n{render_page(path, width)}"
        for path in walk(typer.main.get_command(app))
        for width in WIDTHS
    )


def answer(words: str, folder: Path) -> list[Any]:
    """The exit code, standard output and standard error of a command."""
    (folder / "FOLDER").mkdir(exist_ok=True)
    (folder / "FILE").touch()
    before, env = Path.cwd(), {"COLUMNS": "80", "HOME": str(folder)}
    os.chdir(folder)
    try:
        line = words.replace("file://", f"file://{folder}/").split()
        done = invoke(line, env=env)
    finally:
        os.chdir(before)
    texts = (text.replace(str(folder), "HERE") for text in (done.stdout, done.stderr))
    return [done.returncode, *texts]


def test_a_command_that_is_asked_alone_keeps_both_names_of_help() -> None:
    root = typer.main.get_command(app)
    for path in walk(root):
        command: Any = root
        for name in path:
            command = command.commands[name]
        assert set(command.get_help_option(typer.Context(command)).opts) == {"--help", "-h"}, path


def test_help_pages_are_as_published() -> None:
    assert render_pages().splitlines() == PAGES.read_text().splitlines()


@pytest.mark.parametrize("words", WRONG_USES)
def test_a_wrong_use_is_answered_as_published(words: str, short_folder: Path) -> None:
    published = json.loads(ANSWERS.read_text())
    short_folder.mkdir()
    assert answer(words, short_folder) == published[words]


def test_every_published_answer_is_compared() -> None:
    assert json.loads(ANSWERS.read_text()).keys() == set(WRONG_USES)


def main() -> None:
    from tempfile import TemporaryDirectory

    PAGES.write_text(render_pages())
    answers = {}
    for words in WRONG_USES:
        with TemporaryDirectory() as folder:
            answers[words] = answer(words, Path(folder))
    ANSWERS.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
