"""A request is answered by a copy: what one changes, keeps or starts, the next does not find."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.foreign import pack_folder
from assay.environments.foreign.package_environment import PackageChild
from assay.sandbox import Budget, Lost, Sandbox, kernel_fence, request_copy

#: Code of a request in a process behind the kernel's fence; PLACE is a folder.
KEEPERS = {
    "a global": "global calls\n calls += 1\n return b'%d' % calls",
    "a file": "open(PLACE + '/kept', 'w').write('1')",
    "a patched function": "global greet\n said = greet()\n greet = lambda: b'other'\n return said",
    "Python's own module": "said = b'%d' % json.x\n json.x += 1\n return said",
    "a thread": "threading.Thread(target=time.sleep, args=(60,)).start()",
    "a process": "os.fork() or time.sleep(60)",
    "the end of its parent": "os.kill(os.getppid(), 9)",
    "a group of its own": "os.setsid()",
}
REFUSED = {"a file", "a thread", "a process", "the end of its parent", "a group of its own"}


def write_boot(text: str, place: Path) -> str:
    """Python that shuts the fence around itself and answers each request by a copy."""
    inner = f"""
import json, os, threading, time
from assay.sandbox import child, request_copy
json.x, calls, PLACE = 1, 0, {str(place)!r}
def greet():
 return b'first'
def is_open(number):
 try:
  return os.fstat(number) is not None
 except OSError:
  return False
def do(request):
 {text}
 return b'done'
def answer(request, end_with):
 try:
  return do(request)
 except (OSError, RuntimeError) as error:
  return type(error).__name__.encode()
child.serve(lambda request: request_copy.answer_in_copy(answer, request))
"""
    return (
        f"import os, runpy, sys; runpy.run_path({kernel_fence.__file__!r})['shut_around'](); "
        f"os.execv(sys.executable, [sys.executable, '-P', '-c', {inner!r}])"
    )


def ask_twice(sandbox: Sandbox) -> list[bytes]:
    replies = [sandbox.ask(b"x", 99, Budget(10.0)) for _ in range(2)]
    assert not any(isinstance(reply, Lost) for reply in replies), replies
    return [bytes(reply) for reply in replies if not isinstance(reply, Lost)]


@pytest.mark.parametrize("name", KEEPERS)
def test_the_second_answer_is_the_first(name: str, tmp_path: Path) -> None:
    with Sandbox("keeper", write_boot(KEEPERS[name], tmp_path)) as sandbox:
        first, second = ask_twice(sandbox)
    assert first == second
    assert list(tmp_path.iterdir()) == []
    if os.uname().machine in ("x86_64", "aarch64") and name in REFUSED:
        assert first in (b"OSError", b"PermissionError", b"RuntimeError")


#: Ends of a copy → its parent's message.
ENDS = {
    "CPU time without end": ("while True: pass", True, False),
    "memory without end": ("x = [0]\n while True: x += x", False, False),
    "a sudden end": ("os._exit(0)", False, False),
    "sleep": ("time.sleep(60)", False, True),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_copy_that_dies_is_told_as_its_parent(name: str, tmp_path: Path) -> None:
    text, spent, slow = ENDS[name]
    with Sandbox("keeper", write_boot(text, tmp_path), seconds=10.0) as sandbox:
        budget = Budget(0.2 if spent else 1.0)
        found = sandbox.ask(b"x", 99, budget, seconds=0.5 if slow else 60.0, tries=1)
        pid = sandbox.pid
    assert isinstance(found, Lost)
    assert (found.spent, found.slow) == (spent, slow)
    assert pid is None


def test_nobody_is_left_of_a_sandbox_that_is_closed(tmp_path: Path) -> None:
    """The process, the copy that is asleep, and the watcher of its fence."""
    with Sandbox("keeper", write_boot("time.sleep(60)", tmp_path)) as sandbox:
        assert isinstance(sandbox.ask(b"x", 99, Budget(9.0), seconds=0.5, tries=1), Lost)
        ask = sandbox.ask(b"x", 99, Budget(9.0), seconds=0.5, tries=1)
        assert isinstance(ask, Lost)
    deadline = time.monotonic() + 60
    while alive := [pid for pid in list_python() if str(tmp_path) in read_command(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def list_python() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdecimal())


def read_command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_copy_has_no_pipe_but_its_own(tmp_path: Path) -> None:
    """Nothing to read another request from, nor to write another answer to."""
    listed = "os.readlink('/proc/self/fd/%d' % n).encode() for n in range(99) if is_open(n)"
    text = f"return b' '.join({listed})"
    with Sandbox("keeper", write_boot(text, tmp_path)) as sandbox:
        for said in ask_twice(sandbox):
            places = said.split()
            assert places[:3] == [b"/dev/null"] * 3
            assert [place.partition(b":")[0] for place in places[3:]] == [b"pipe"]


def test_a_copy_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_copy, "COPY_SECONDS", 0.2)
    pid = os.fork()
    if pid == 0:
        request_copy.answer_in_copy(lambda *_: time.sleep(60) or b"", b"")  # type: ignore[func-returns-value]
        os._exit(7)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 9


def test_without_memory_for_a_copy_nothing_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, and not ended by itself: `Sandbox` takes the first for the machine's fault."""
    pid = os.fork()
    if pid == 0:

        def refuse() -> int:
            raise BlockingIOError(errno.EAGAIN, "no more processes")

        monkeypatch.setattr(os, "fork", refuse)
        request_copy.answer_in_copy(lambda *_: b"said", b"")
        os._exit(7)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 9


#: Its steps hang on what Python keeps: compiled patterns, results, garbage.
KEEPING = """
import functools, re
LEVELS = (1,)

class Node:
    def __init__(self):
        self.own = self

@functools.lru_cache(maxsize=None)
def count(text):
    return sum(1 for one in text if one.isdigit())

def make_problem(draw, level):
    return 'one?', draw(9)

def solve(task):
    return str(task)

def score(task, answer):
    nodes = [Node() for _ in range(1000)]
    found = re.fullmatch('(?:a|b' + '|c' * len(answer) + ')*([0-9]+)', answer)
    return count(answer) > 0 and found is not None and found.group(1) == str(task)

def list_wrong(task):
    return ['x']
"""


def write_package(folder: Path, text: str) -> tuple[Path, str]:
    """The archive of a package, and its SHA-256."""
    (folder / "pack").mkdir()
    (folder / "pack/__init__.py").write_text(text)
    file = folder / "pack.zip"
    file.write_bytes(pack_folder(folder / "pack"))
    return file, sha256(file.read_bytes()).hexdigest()


def test_steps_hang_on_no_earlier_request(tmp_path: Path) -> None:
    """An answer near the limit earns everywhere or nowhere, whatever was asked before it."""
    file, digest = write_package(tmp_path, KEEPING)
    answers = [f"{'a' * length}{number}" for length in (0, 3, 40) for number in range(4)]
    steps = []
    for order in (answers, answers[::-1], answers[5:6]):
        child = PackageChild(file, digest)
        try:
            steps.append({text: child.ask("score", 1, 0, text)["steps"] for text in order})
        finally:
            child.close()
    assert steps[0] == steps[1]
    assert steps[2].items() <= steps[0].items()


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="no fence")
def test_without_the_watcher_no_package_is_opened(tmp_path: Path) -> None:
    """A process that is watched by somebody else can have no watcher of its own, like one on an
    older kernel."""
    file, digest = write_package(tmp_path, KEEPING)
    script = f"""
import os, pathlib, runpy
fence = runpy.run_path({kernel_fence.__file__!r})
machine = os.uname().machine
known = fence["_MACHINES"][machine]
asked = fence["_list_numbers"](known[1], ["bpf"])
filter = fence["_write_filter"](*known, asked, fence["_ASK"])
assert fence["_renounce"]()
assert fence["_set_asking_filter"](fence["_SECCOMP"][machine], filter) >= 0
from assay.sandbox import parent
from assay.environments.foreign.package_environment import PackageChild
parent.START_PAUSES = (0.0,)
PackageChild(pathlib.Path({str(file)!r}), {digest!r}).decide("describe")
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "WorkerError: the package pack.zip does not start: " in last
    assert "need Linux 5.5 or later" in last


def test_a_package_is_answered_by_copies(tmp_path: Path) -> None:
    file, digest = write_package(tmp_path, KEEPING)
    said = []
    for copies in (True, False):
        child = PackageChild(file, digest, copies=copies)
        try:
            said.append([child.ask("make", 1, 0) for _ in range(2)])
            status = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            ended = int(status[8])  # pages that copies that ended have touched
            assert (ended > 0) == copies
        finally:
            child.close()
    assert said[0][0] == said[0][1]
    assert {one["prompt"] for answers in said for one in answers} == {"one?"}
