"""The kernel's fence around the sandbox: actions that a process behind it cannot take, whatever
program it became."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.sandbox import kernel_fence
from assay.sandbox.guest import INTERPRETER, Budget, Request, run, running
from tests.absent import has_sandbox

needs_fence = pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="no fence")

#: Python code that is tried behind the fence. FILE exists, NEW does not.
TRIED = {
    "a socket": "__import__('socket').socket()",
    "a pair of sockets": "__import__('socket').socketpair()",
    "a process": "os.fork()",
    "a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "a signal": "os.kill(os.getppid(), 0)",
    "a signal by a pipe": "__import__('fcntl').fcntl(os.pipe()[0], 8, os.getppid())",
    "another signal of a pipe": "__import__('fcntl').fcntl(os.pipe()[0], 10, 9)",
    "another's limits": "__import__('resource').prlimit(os.getppid(), 0)",
    "another's priority": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 5)",
    "another's processors": "os.sched_setaffinity(os.getppid(), {0})",
    "the clock": "__import__('time').clock_settime(0, 0)",
    "a new file": "os.open(NEW, os.O_WRONLY | os.O_CREAT)",
    "a file without a name": "os.open(os.path.dirname(NEW), os.O_RDWR | os.O_TMPFILE)",
    "an emptied file": "os.open(FILE, os.O_WRONLY | os.O_TRUNC)",
    "a shorter file": "os.truncate(FILE, 0)",
    "a file removed": "os.unlink(FILE)",
    "a file renamed": "os.rename(FILE, NEW)",
    "a folder": "os.mkdir(NEW)",
    "a link": "os.symlink(FILE, NEW)",
    "a pipe with a name": "os.mkfifo(NEW)",
    "rights": "os.chmod(FILE, 0o777)",
    "times": "os.utime(FILE)",
    "memory as a file": "os.memfd_create('x')",
}


def run_behind(tmp_path: Path, tried: str) -> str:
    """The output of a second Python that was started behind the fence."""
    file = tmp_path / "file"
    file.write_text("there")
    places = f"FILE, NEW = {str(file)!r}, {str(tmp_path / 'new')!r}"
    inner = (
        f"import os\n{places}\ntry:\n    print('done', {tried})\n"
        "except OSError as error:\n    print('refused', error.errno)"
    )
    outer = (
        f"import os, runpy, sys; print(runpy.run_path({kernel_fence.__file__!r})['shut'](), "
        f"flush=True); os.execv(sys.executable, [sys.executable, '-S', '-c', {inner!r}])"
    )
    command = [sys.executable, "-S", "-c", outer]  # site, which imports, is not tried
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert file.read_text() == "there"
    assert not (tmp_path / "new").exists()
    return done.stdout + done.stderr


@needs_fence
@pytest.mark.parametrize("name", TRIED)
def test_refused_by_the_kernel(name: str, tmp_path: Path) -> None:
    assert run_behind(tmp_path, TRIED[name]) == "True\nrefused 1\n"


@needs_fence
def test_reading_goes_on(tmp_path: Path) -> None:
    assert run_behind(tmp_path, "open(FILE).read()") == "True\ndone there\n"


@needs_fence
@pytest.mark.parametrize(
    "own", ["__import__('resource').setrlimit(0, (9, 9))", "__import__('fcntl').fcntl(0, 1)"]
)
def test_calls_on_the_process_itself_are_allowed(own: str, tmp_path: Path) -> None:
    assert run_behind(tmp_path, own).startswith("True\ndone ")


@needs_fence
@pytest.mark.skipif(not has_sandbox(), reason="no sandbox: assay sandbox prepare")
def test_the_process_of_the_sandbox_is_behind_the_fence() -> None:
    run(Request(b"pass"), Budget(10**9))
    for pid in running._get_children(INTERPRETER).pids:  # noqa: SLF001 - they have no other name
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        assert {"Seccomp:\t2", "NoNewPrivs:\t1"} <= set(status)
