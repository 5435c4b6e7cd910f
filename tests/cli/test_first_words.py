"""What people type first: `-h`, `--version`, an example that they copy, the key for completion."""

import os
import pty
import re
import resource
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from assay.cli.app import GROUPS, app
from assay.cli.help_pages import PANELS, find_panel
from tests.cli.test_help_pages import render_page, walk
from tests.commands import run_command

START = "from assay.cli.entry import main; main()"
COMMAND = typer.main.get_command(app)
PATHS = list(walk(COMMAND))


def find(path):
    command = COMMAND
    for name in path:
        command = command.commands[name]
    return command


def start(*words, **env):
    """`assay …` in a Python of its own."""
    whole = {**os.environ, **env}  # noqa: TID251 - a child needs a whole environment
    return subprocess.run(
        [sys.executable, "-c", START, *words], env=whole, capture_output=True, text=True, timeout=60
    )


def test_the_version_is_the_packages():
    done = run_command("--version")
    assert (done.returncode, done.stdout) == (0, f"assay {version('assay')}\n")


@pytest.mark.parametrize("path", [(), ("mine",), ("audit",), ("env", "sample"), ("wallet",)])
def test_h_is_help(path):
    assert run_command(*path, "-h").stdout == run_command(*path, "--help").stdout


def test_each_command_is_in_one_group():
    named = [name for names in GROUPS.values() for name in names]
    assert len(named) == len({*named})
    assert {*named} == {*COMMAND.commands}


def list_words(line):
    """The words of an example after `assay`, its lines joined."""
    name, *words = shlex.split(line.replace("\\\n", " "))
    assert name == "assay"
    return words


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_the_example_of_a_page_is_a_use_of_the_command(path, tmp_path, monkeypatch):
    """Its words name the command, or one below a group; they are parsed, and nothing is missing."""
    monkeypatch.chdir(tmp_path)
    Path("window-8.rollouts").touch()  # `verify` looks for it while it parses
    example = find(path).epilog
    assert f"Example:\n  {example.splitlines()[0]}" in render_page(path, 80)
    words, command, found = list_words(example), COMMAND, ()
    context = typer.Context(COMMAND, info_name="assay")
    while words and words[0] in getattr(command, "commands", {}):
        found, command, words = (*found, words[0]), command.commands[words[0]], words[1:]
    assert found[: len(path)] == path
    context = command.make_context(found[-1], [*words], parent=context)
    assert not context.args


def test_options_stand_in_panels_and_the_common_ones_come_first():
    page = render_page(("mine",), 80)
    shown = re.findall(r"^(\w[\w ,]*):$", page, re.MULTILINE)
    assert shown == [*PANELS[1:], "Example"]
    first = page.partition("Options:")[0]
    assert all(f"  {name} " in first for name in ("--netuid", "--wallet", "--hotkey", "--store"))
    for path in PATHS:
        command = find(path)
        panels = [find_panel(each) for each in command.get_params(typer.Context(command))]
        assert {*panels} <= {*PANELS}


@pytest.mark.parametrize(
    ("shell", "env", "words"),
    [
        ("bash", {"COMP_WORDS": "assay mi", "COMP_CWORD": "1"}, ["mine"]),
        ("bash", {"COMP_WORDS": "assay mine --net", "COMP_CWORD": "2"}, ["--network", "--netuid"]),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "assay env sa"}, ["sample"]),
        (
            "fish",
            {"_TYPER_COMPLETE_ARGS": "assay env sa", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
            ["sample"],
        ),
    ],
)
def test_shells_complete(shell, env, words):
    script = start(_ASSAY_COMPLETE=f"source_{shell}")
    assert f"complete_{shell}" in script.stdout
    done = start(_ASSAY_COMPLETE=f"complete_{shell}", **env)
    assert all(word in done.stdout for word in words), done


def test_bash_completes_with_the_script(tmp_path):
    """A bash that has read the script asks the program, as at the press of a key."""
    program = tmp_path / "assay"
    program.write_text(f"#!{sys.executable}\n{START}\n")
    program.chmod(0o700)
    script = start(_ASSAY_COMPLETE="source_bash").stdout
    asked = (
        'COMP_WORDS=(assay env sa); COMP_CWORD=2; _assay_completion assay; echo "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}  # noqa: TID251 - a child's
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "sample\n", done


@pytest.mark.parametrize(("env", "has_colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_help_has_colours_on_a_terminal(env, has_colours):
    ours, theirs = pty.openpty()
    whole = {**os.environ, **env}  # noqa: TID251 - a child needs a whole environment
    with subprocess.Popen([sys.executable, "-c", START, "-h"], env=whole, stdout=theirs) as program:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 1 << 16):
                shown += data
        except OSError:  # the terminal's other end is closed
            pass
        assert program.wait(60) == 0
    os.close(ours)
    assert b"Own a subnet" in shown
    assert (b"\x1b[" in shown) is has_colours
    assert "\x1b[" not in start("-h").stdout


def measure(run):
    """Processor seconds of the fastest of three, which a busy machine lengthens least."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run().returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("mine", "--help")])
def test_help_is_quick(words):
    """Beside what its libraries take to load: machines differ."""
    libraries = [sys.executable, "-c", "import typer, pydantic_settings"]
    least = measure(lambda: subprocess.run(libraries, check=False))
    assert measure(lambda: start(*words)) < 2 * least
