"""The command line: in the test's own process, or as the program that a person starts.

A program loads torch and the SDK, which takes seconds. So a program of a test is a fork of a
process that has loaded them, one for each process of the test run. It has its own streams, signals
and exit code all the same. Some start as in a shell, one of each kind: the demo that all tests
share, neurons on a chain, `assay demo` that is stopped at once.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

import torch
import typer
from typer.testing import CliRunner

from assay.cli.app import app
from assay.sandbox import share_preloaded
from assay.sandbox.preloaded import start_python
from tests.preloading import MODULES
from tests.tree import ROOT

#: The script, for what executes it in another way than these functions.
ASSAY = str(Path(sys.executable).with_name("assay"))

Done = subprocess.CompletedProcess[str]

#: The workers of forward passes are forks of it, too.
PRELOADED = share_preloaded(*MODULES)
#: Python 3.11 keeps the half of a module's bytecode that a full disk (`tests.disks`) has taken.
_PROGRAM = """
import resource, sys
if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
    sys.dont_write_bytecode = True
from assay.cli.entry import main
main()
"""


def start_program(*arguments: object, **options: Any) -> "subprocess.Popen[Any]":
    """`assay …` in a process of its own, with the options of `subprocess.Popen`."""
    return PRELOADED.popen(_PROGRAM, [*map(str, arguments)], **options)


def start_cold_program(*arguments: object, **options: Any) -> "subprocess.Popen[Any]":
    """The same in a process that has loaded nothing."""
    return start_python(_PROGRAM, [*map(str, arguments)], **options)


def start_code(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[Any]":
    """`python -c code …` in a process of its own that has loaded torch, as `start_program`. It
    finds these tests' modules, even if it is no fork."""
    found = f"import sys; {str(ROOT)!r} in sys.path or sys.path.append({str(ROOT)!r})\n"
    return PRELOADED.popen(found + code, [*map(str, arguments)], **options)


def run_code(code: str, given: str = "", cwd: Path | None = None, timeout: float = 300) -> str:
    """The output of `python -c code`, a fork that has loaded torch; it succeeds."""
    pipe = subprocess.PIPE
    with start_code(code, cwd=cwd, stdin=pipe, stdout=pipe, text=True) as program:
        try:
            said, _ = program.communicate(given, timeout)
        finally:
            program.kill()
    assert program.returncode == 0, said
    return str(said)


def run_program(
    *arguments: object,
    given: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 240,
) -> Done:
    """`assay …` in a process of its own to its end, with `given` as its standard input."""
    pipe = subprocess.PIPE
    whole = {**os.environ, **(env or {})}  # noqa: TID251 - a child needs a whole environment
    pipes = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True}
    with start_program(*arguments, **pipes, cwd=cwd, env=whole) as program:
        try:
            output, errors = program.communicate(given, timeout)
        finally:
            program.kill()
    return subprocess.CompletedProcess([*map(str, arguments)], program.returncode, output, errors)


def run_command(
    *arguments: object,
    given: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Run a command in this process. Raises the error that would have ended the command."""
    threads = torch.get_num_threads()
    try:
        with chdir(cwd or Path.cwd()):
            return invoke([*map(str, arguments)], given, env)
    finally:
        torch.set_num_threads(threads)  # some commands set it


def invoke(words: list[str], given: str = "", env: Mapping[str, str] | None = None) -> Done:
    """The same as typer's own runner, which makes all commands anew for each line: that takes
    longer than most of them do."""
    with CliRunner().isolation(given, env) as (*streams, _):
        try:
            _make_commands().main(words, prog_name="assay")
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        output, errors = (stream.getvalue().decode() for stream in streams)
    assert isinstance(code, int), code
    return subprocess.CompletedProcess(words, code, output, errors)


@cache
def _make_commands() -> Any:
    return typer.main.get_command(app)
