"""docs/first_hour.md and docs/rounds.md as a newcomer types them: every command, in order, and its
output.

A block's title is its terminal. A program that runs until it is stopped continues once it has
printed the lines below it; `^C` in its terminal stops it. Two things differ from the page: programs
listen on free ports, and the window that a command names is one that was paid, as the page says.
"""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FIRST_HOUR, ROUNDS = "first_hour.md", "rounds.md"
PATIENCE_S = 300
_BLOCK = re.compile(r'^( *)```console title="([^"]+)"\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
#: They end when they are asked to.
_PROGRAM = re.compile(r"assay (localnet|explorer|mine|validate|train)(?: --|$)")
_SERVER = re.compile(r"assay (localnet|explorer)")
_WINDOW = re.compile(r"--window (\d+)")
#: They change nothing: where a program is not so far yet, they are typed again.
_READER = re.compile(r"assay (status|weights show|explain|audit|train verify-(step|round))")


@dataclass
class Typed:
    """A line after a prompt, and lines that must follow in this order."""

    terminal: str
    command: str
    expected: list[str] = field(default_factory=list)


def read_page(page: str) -> Iterator[Typed]:
    for _, terminal, block in _BLOCK.findall((DOCS / page).read_text()):
        typed: Typed | None = None
        for line in textwrap.dedent(block).splitlines():
            if line.startswith("$ ") or line == "^C":
                if typed is not None:
                    yield typed
                typed = Typed(terminal, line.removeprefix("$ "))
            else:
                assert typed is not None, f"a block of {terminal} begins with no prompt"
                typed.expected.append(line)
        assert typed is not None
        yield typed


def find_missing(expected: list[str], printed: str) -> str | None:
    """The first line that does not follow the ones before it."""
    lines = iter(printed.splitlines())
    for wanted in expected:
        pattern = ".*".join(map(re.escape, wanted.strip().split("…")))
        if not any(re.fullmatch(pattern, line.strip()) for line in lines):
            return wanted
    return None


class Desk:
    """Terminals in one folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        scripts = Path(sys.executable).parent
        self._environment = {
            **os.environ,  # noqa: TID251 - a terminal's
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",  # noqa: TID251 - a terminal's
            "COLUMNS": "200",
        }

    def type(self, typed: Typed) -> None:
        if typed.command == "^C":
            self._programs[typed.terminal].send_signal(signal.SIGINT)
            self._wait(typed)
            assert self._programs[typed.terminal].wait(PATIENCE_S) == 0
        elif _PROGRAM.match(typed.command):
            ports = " --port 0" * bool(_SERVER.match(typed.command))
            with self._get_log(typed.terminal).open("wb") as log:
                program = subprocess.Popen(
                    ["bash", "-c", f"exec {typed.command}{ports}"],
                    cwd=self.folder,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                )
            self._programs[typed.terminal] = program
            self._stack.callback(program.kill)
            self._wait(typed)
        else:
            self._run(typed)

    def _choose_window(self, typed: Typed) -> Typed:
        """The same with a window that the miner's status shows with pay."""
        named = _WINDOW.search(typed.command)
        if named is None:
            return typed
        (file,) = self.folder.glob("*/miner/status.json")
        windows = json.loads(file.read_text())["windows"]
        paid = max(w["window"] for w in windows if w["verdict"] and w["verdict"]["score"])
        command = typed.command.replace(named[0], f"--window {paid}")
        expected = [line.replace(f"window {named[1]}", f"window {paid}") for line in typed.expected]
        return Typed(typed.terminal, command, expected)

    def _run(self, typed: Typed) -> None:
        typed = self._choose_window(typed)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(
                ["bash", "-c", typed.command],
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE_S,
                check=False,
            )
            printed = done.stdout.decode()
            missing = find_missing(typed.expected, printed)
            if done.returncode == 0 and missing is None:
                return
            if not _READER.match(typed.command) or time.monotonic() > deadline:
                pytest.fail(
                    f"$ {typed.command}\nends with {done.returncode}, {missing!r}\n{printed}"
                )
            time.sleep(2)

    def _wait(self, typed: Typed) -> None:
        """Wait until a program has printed the page's lines."""
        log, deadline = self._get_log(typed.terminal), time.monotonic() + PATIENCE_S
        program = self._programs[typed.terminal]
        while (missing := find_missing(typed.expected, log.read_text())) is not None:
            if time.monotonic() > deadline or program.poll() not in (None, 0):
                pytest.fail(f"$ {typed.command}\nhas not printed {missing!r}\n{log.read_text()}")
            time.sleep(0.5)

    def _get_log(self, terminal: str) -> Path:
        return self.folder.with_name(f"{terminal}.log")


@pytest.mark.parametrize("page", [FIRST_HOUR, ROUNDS])
def test_every_command_of_the_page_prints_what_it_shows(page):
    with ExitStack() as stack:
        # a store's address is part of a commitment, which has room for 80 bytes
        folder = Path(stack.enter_context(TemporaryDirectory())) / "here"
        folder.mkdir()
        desk = Desk(folder, stack)
        for typed in read_page(page):
            desk.type(typed)


def test_missing_output_is_noticed():
    assert find_missing(["a …, b", "c"], "a 1, b\nx\n  c\n") is None
    assert find_missing(["a …, b", "c"], "c\na 1, b\n") == "c"
    assert find_missing(["a …, b"], "a 1\n") == "a …, b"


def test_the_page_has_every_role():
    commands = [typed.command for typed in read_page(FIRST_HOUR)]
    for word in ("localnet", "train ", "mine", "validate", "audit", "subnet amend", "env new"):
        assert any(command.startswith(f"assay {word}") for command in commands), word
