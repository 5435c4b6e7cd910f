"""The command line: in the test's own process, or as the program that a person starts.

A process of its own loads torch and the SDK again, which takes seconds. What only the real program
shows, streams and exit codes as the system sees them, takes one such process of each kind.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

import torch
from typer.testing import CliRunner

from assay.cli.app import app

ASSAY = str(Path(sys.executable).with_name("assay"))

Done = subprocess.CompletedProcess[str]


def run_program(
    *arguments: object,
    given: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Done:
    """`assay …` in a process of its own, with `given` as its standard input."""
    return subprocess.run(
        [ASSAY, *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=cwd,
        env={**os.environ, **(env or {})},  # noqa: TID251 - a child needs a whole environment
        check=False,
    )


def run_command(
    *arguments: object,
    given: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Run a command in this process. Raises the error that would have ended the command."""
    words, threads = [*map(str, arguments)], torch.get_num_threads()
    try:
        with chdir(cwd or Path.cwd()):
            done = CliRunner().invoke(app, words, input=given, env=env, prog_name="assay")
    finally:
        torch.set_num_threads(threads)  # some commands set it
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)
