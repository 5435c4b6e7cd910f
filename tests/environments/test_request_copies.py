"""A request is answered by a copy: what one changes, keeps or starts, the next does not find."""

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from assay.cage import Budget, Cage, Lost, request_copy
from assay.environments.foreign import kernel_fence, pack_folder
from assay.environments.foreign.package_environment import PackageChild

#: What a request runs in a process behind the kernel's fence; PLACE is a folder.
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
from assay.cage import child, request_copy
json.x, calls, PLACE = 1, 0, {str(place)!r}
def greet():
 return b'first'
def do(request):
 {text}
 return b'done'
def answer(request):
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


def ask_twice(cage: Cage) -> list[bytes]:
    replies = [cage.ask(b"x", 99, Budget(10.0)) for _ in range(2)]
    assert not any(isinstance(reply, Lost) for reply in replies), replies
    return [bytes(reply) for reply in replies if not isinstance(reply, Lost)]


@pytest.mark.parametrize("name", KEEPERS)
def test_the_second_answer_is_the_first(name: str, tmp_path: Path) -> None:
    with Cage("keeper", write_boot(KEEPERS[name], tmp_path)) as cage:
        first, second = ask_twice(cage)
    assert first == second
    assert list(tmp_path.iterdir()) == []
    if os.uname().machine in ("x86_64", "aarch64") and name in REFUSED:
        assert first in (b"OSError", b"PermissionError", b"RuntimeError")


#: What ends a copy, and what its parent says of it.
ENDS = {
    "CPU time without end": ("while True: pass", True, False),
    "memory without end": ("x = [0]\n while True: x += x", False, False),
    "a sudden end": ("os._exit(0)", False, False),
    "sleep": ("time.sleep(60)", False, True),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_copy_that_dies_is_told_as_its_parent(name: str, tmp_path: Path) -> None:
    text, spent, slow = ENDS[name]
    with Cage("keeper", write_boot(text, tmp_path), seconds=10.0) as cage:
        found = cage.ask(b"x", 99, Budget(1.0), seconds=0.5 if slow else 60.0, tries=1)
        pid = cage.pid
    assert isinstance(found, Lost)
    assert (found.spent, found.slow) == (spent, slow)
    assert pid is None


def test_nobody_is_left_of_a_cage_that_is_closed(tmp_path: Path) -> None:
    """The process, the copy that is asleep, and the watcher of its fence."""
    with Cage("keeper", write_boot("time.sleep(60)", tmp_path)) as cage:
        assert isinstance(cage.ask(b"x", 99, Budget(9.0), seconds=0.5, tries=1), Lost)
        ask = cage.ask(b"x", 99, Budget(9.0), seconds=0.5, tries=1)
        assert isinstance(ask, Lost)
    deadline = time.monotonic() + 30
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


def test_a_copy_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_copy, "COPY_SECONDS", 0.2)
    pid = os.fork()
    if pid == 0:
        request_copy.answer_in_copy(lambda _: time.sleep(60) or b"", b"")  # type: ignore[func-returns-value]
        os._exit(7)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 9


def test_a_package_is_answered_by_copies(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").write_text(
        "LEVELS = (1,)\ndef make_problem(draw, level):\n    return 'one?', 1\n"
    )
    file = tmp_path / "pack.zip"
    file.write_bytes(pack_folder(tmp_path / "pack"))
    digest = sha256(file.read_bytes()).hexdigest()
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
    assert said[0] == said[1]
    assert said[0][0] == said[0][1]
