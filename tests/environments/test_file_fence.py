"""Landlock around the sandbox: files that a process behind it cannot open, and those that it can
still read."""

import subprocess
import sys
from pathlib import Path

import pytest

from assay.sandbox import file_fence

needs_landlock = pytest.mark.skipif(
    file_fence.get_version() == 0, reason="this kernel has no Landlock"
)

#: Python code that is tried behind the fence.
REFUSED = {
    "a file read": "open(FILE)",
    "a system file read": "open('/etc/hostname')",
    "another process": "open(f'/proc/{os.getppid()}/cmdline')",
    "a folder listed": "os.listdir(FOLDER)",
    "a file written": "open(FILE, 'r+')",
    "a file emptied": "open(FILE, 'w')",
    "a new file": "open(FOLDER + '/new', 'x')",
    "a folder": "os.mkdir(FOLDER + '/new')",
    "a file removed": "os.remove(FILE)",
    "a link": "os.symlink(FILE, FOLDER + '/new')",
    "Python's own written": "open(os.__file__, 'a')",
    "another program": "os.execv('/bin/true', ['true'])",
}
ALLOWED = {
    "the standard library": "__import__('fractions').Fraction(1, 2)",
    "nothing": "open(os.devnull, 'r+b', buffering=0).write(b'x')",
}


def run_behind(tmp_path: Path, tried: str) -> str:
    """The output of a second Python that was started behind the fence."""
    file = tmp_path / "file"
    file.write_text("there")
    inner = (
        f"import os\nFOLDER, FILE = {str(tmp_path)!r}, {str(file)!r}\n"
        f"try:\n    {tried}\n    print('done')\n"
        "except OSError as error:\n    print(type(error).__name__)"
    )
    outer = (
        f"import os, runpy, sys; print(runpy.run_path({file_fence.__file__!r})['shut'](), "
        "flush=True); "
        f"os.execv(sys.executable, [sys.executable, '-S', '-s', '-P', '-c', {inner!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", outer], capture_output=True, text=True, timeout=60, check=False
    )
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "there")]
    return done.stdout + done.stderr


@needs_landlock
@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_kernel(name: str, tmp_path: Path) -> None:
    assert run_behind(tmp_path, REFUSED[name]) == "True\nPermissionError\n"


@needs_landlock
@pytest.mark.parametrize("name", ALLOWED)
def test_what_python_needs_is_read(name: str, tmp_path: Path) -> None:
    assert run_behind(tmp_path, ALLOWED[name]) == "True\ndone\n"


def test_a_kernel_without_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_fence, "_call", lambda *_: (-1, 38))
    assert file_fence.get_version() == 0
    assert file_fence.shut() is False


def test_a_refusal_of_the_kernel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fence that is there and does not close is an error: nothing runs without it."""
    monkeypatch.setattr(file_fence, "get_version", lambda: 1)
    monkeypatch.setattr(file_fence, "_call", lambda *_: (-1, 22))
    with pytest.raises(OSError, match="Landlock: EINVAL"):
        file_fence.shut()
