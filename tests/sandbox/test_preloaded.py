"""A child that is forked is like one that is executed, whatever it may ask of its owner."""

import ctypes
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from assay.sandbox import PreloadedPython
from assay.sandbox import preloaded as module
from assay.sandbox.preloaded import share_preloaded, start_python
from tests.sandbox.forked import read_in_fork

#: A module that nothing imports by itself: a child that has it is a fork.
MARK = "colorsys"
LOOK = """
import json, os, resource, sys
status = open("/proc/thread-self/status").read().splitlines()
print(json.dumps({
    "fork": "colorsys" in sys.modules, "argv": sys.argv, "folder": os.getcwd(),
    "parent": os.getppid(), "pid": os.getpid(), "input": sys.stdin.read(),
    "group": os.getpgrp() == os.getpid(), "session": os.getsid(0) == os.getpid(),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "path": sys.path, "flags": list(sys.flags), "name": __name__,
    "open": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    "status": [s for s in status if s.split(":")[0] in (
        "SigBlk", "SigCgt", "SigIgn", "SigPnd", "Umask", "Cpus_allowed", "Threads",
    )],
    "environment": dict(os.environ),
}))
"""


@pytest.fixture(scope="module")
def preloaded():
    made = PreloadedPython([MARK])
    yield made
    made.close()


def look(start, arguments=(), **options):
    """What a child sees of itself."""
    pipe = subprocess.PIPE
    # readline's library has its own variables behind Python's back
    options.setdefault("env", dict(os.environ))  # noqa: TID251 - a child's
    with start(LOOK, arguments, stdin=pipe, stdout=pipe, text=True, **options) as child:
        seen = json.loads(child.communicate("äöü\n", timeout=60)[0])
    assert child.returncode == 0
    assert seen["pid"] == child.pid
    assert seen["parent"] == os.getpid()
    return seen


@pytest.mark.parametrize(
    "options",
    [{}, {"start_new_session": True}, {"process_group": 0}, {"cwd": "/"}],
    ids=["plain", "session", "group", "folder"],
)
def test_a_fork_sees_what_an_executed_child_sees(preloaded, options):
    _compare(preloaded, options)


def test_its_environment_may_hold_any_bytes(preloaded):
    environment = {**os.environ, "ASSAY_X": "a\udcffb"}  # noqa: TID251 - a child's
    assert _compare(preloaded, {"env": environment})["ASSAY_X"] == "a\udcffb"


def _compare(preloaded, options):
    forked = look(preloaded.popen, ["a", "ß"], **options)
    executed = look(start_python, ["a", "ß"], **options)
    assert (forked.pop("fork"), executed.pop("fork")) == (True, False)
    assert forked.pop("pid") != executed.pop("pid")
    assert forked == executed
    return forked["environment"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; sys.exit(7)", 7),
        ("import os; os._exit(9)", 9),
        ("1 / 0", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.abort()", -6),
        ("import resource as r; r.setrlimit(r.RLIMIT_CPU, (1, 2))\nwhile True: pass", -24),
    ],
)
def test_it_ends_as_an_executed_child_does(preloaded, code, status):
    ends = []
    for start in (preloaded.popen, start_python):
        child = start(f"import atexit; atexit.register(print, 'end')\n{code}", stdout=-1, stderr=-1)
        out, errors = child.communicate(timeout=60)
        ends.append((child.returncode, out, errors.splitlines()[-1:]))
    assert ends[0] == ends[1]
    assert ends[0][0] == status


def test_it_takes_signals_as_an_executed_child_does(preloaded):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        ends = []
        for start in (preloaded.popen, start_python):
            code = "import time; print(1, flush=True); time.sleep(600)"
            with start(code, stdout=-1, stderr=-1) as child:
                assert child.poll() is None
                child.stdout.readline()
                child.send_signal(number)
                ends.append((child.wait(60), b"KeyboardInterrupt" in child.stderr.read()))
        assert ends[0] == ends[1]


def test_without_its_folder_nothing_starts(preloaded, tmp_path):
    with pytest.raises(FileNotFoundError):
        preloaded.popen("pass", cwd=tmp_path / "nowhere")
    assert look(preloaded.popen)["fork"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_NUM_THREADS", "7"),
        ("MKL_NUM_THREADS", "7"),
        ("ATEN_CPU_CAPABILITY", "default"),
        ("NUMBA_CPU_NAME", "generic"),
        ("PYTHONHASHSEED", "7"),
        ("CUDA_VISIBLE_DEVICES", "7"),
        ("LD_LIBRARY_PATH", "/lib/other"),
    ],
)
def test_what_imports_have_read_cannot_differ(preloaded, name, value):
    assert look(preloaded.popen)["fork"]
    seen = look(preloaded.popen, env={**os.environ, name: value})  # noqa: TID251 - a child's
    assert not seen["fork"]
    assert seen["environment"][name] == value


def test_what_is_read_after_imports_may_differ(preloaded):
    assert look(preloaded.popen)["fork"]
    told = {
        "TORCHELASTIC_RUN_ID": "7",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":16:8",
        "BITTENSOR_RUNTIME_CACHE_DIR": "/elsewhere",
    }
    seen = look(preloaded.popen, env={**os.environ, **told})  # noqa: TID251 - a child's
    assert seen["fork"]
    assert seen["environment"].items() >= told.items()


def _set_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _set_umask():
    old = os.umask(0o077)
    return lambda: os.umask(old)


def _set_cores():
    old = os.sched_getaffinity(0)
    if len(old) == 1:
        pytest.skip("one core")
    os.sched_setaffinity(0, {min(old)})
    return lambda: os.sched_setaffinity(0, old)


@pytest.mark.parametrize("change", [_set_limit, _set_umask, _set_cores])
def test_what_a_child_inherits_is_its_owners_of_now(preloaded, change):
    assert look(preloaded.popen)["fork"]
    undo = change()
    try:
        forked, executed = look(preloaded.popen), look(start_python)
    finally:
        undo()
    for seen in (forked, executed):
        seen.pop("pid")
    assert forked == executed
    assert look(preloaded.popen)["fork"]


def test_the_process_holds_nothing(monkeypatch):
    """One thread, no file but its streams and its one connection, and nobody's secret."""
    monkeypatch.setenv("ASSAY_WALLET__PASSWORD", "secret-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-2")
    monkeypatch.setenv("BT_WALLET_PASSWORD", "secret-3")
    with open(__file__), _open() as preloaded:
        seen = look(preloaded.popen)
        folder = Path("/proc", str(preloaded.pid))
        assert len(os.listdir(folder / "task")) == 1
        links = [os.readlink(path) for path in (folder / "fd").iterdir()]
        assert len(links) == 4
        assert sum(link.startswith("socket:") for link in links) == 1
        assert b"secret" not in (folder / "environ").read_bytes()
    assert seen["fork"]
    assert seen["environment"]["ASSAY_WALLET__PASSWORD"] == "secret-1"


@contextmanager
def _open(*modules):
    made = PreloadedPython([MARK, *modules])
    try:
        yield made
    finally:
        made.close()


def test_imports_that_start_a_thread_are_not_forked(tmp_path, monkeypatch):
    text = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    (tmp_path / "assay_threaded.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with _open("assay_threaded") as preloaded:
        for _ in range(2):
            assert not look(preloaded.popen)["fork"]
        assert preloaded.refusal == "its imports started 1 threads"
        assert preloaded.pid is None


def test_a_module_that_is_missing_costs_a_cold_start(capfd):
    with _open("assay_nothing") as preloaded:
        assert not look(preloaded.popen)["fork"]
    assert "assay_nothing" in capfd.readouterr().err


def test_a_process_that_was_killed_is_started_again():
    with _open() as preloaded:
        assert look(preloaded.popen)["fork"]
        os.kill(preloaded.pid, signal.SIGKILL)
        assert look(preloaded.popen)["parent"] == os.getpid()
        assert look(preloaded.popen)["fork"]


def test_no_two_children_draw_alike():
    code = "import random, sys; print(random.random(), sys.modules['numpy'].random.random())"
    with _open("numpy") as preloaded:
        drawn = set()
        for _ in range(3):
            with preloaded.popen(code, stdout=subprocess.PIPE) as child:
                drawn.update(child.stdout.read().split())
        assert preloaded.refusal == ""
    assert len(drawn) == 6


def test_orphans_are_adopted_for_a_moment_only(preloaded):
    assert look(preloaded.popen)["fork"]
    adopts = ctypes.c_int()
    ctypes.CDLL(None).prctl(37, ctypes.byref(adopts), 0, 0, 0)
    assert adopts.value == 0


OWNER = f"""
import subprocess, sys, time
from assay.sandbox import PreloadedPython
preloaded = PreloadedPython(["{MARK}"])
{{begin}}
code = "import sys, time; 'colorsys' in sys.modules and print(1, flush=True); sys.stdin.read()"
child = preloaded.popen(code, stdin=-1, stdout=-1)
child.stdout.readline()
print(preloaded.pid, child.pid, preloaded.refusal, flush=True)
{{then}}
"""


ITSELF = f"""
import sys
from assay.sandbox import share_preloaded
from assay.sandbox.preloaded import start_python
preloaded = share_preloaded("{MARK}")
preloaded.start_as_fork()
assert share_preloaded("{MARK}") is preloaded and preloaded.pid
code = "import sys; print(__name__, sys.argv, sys.stdin.read(), 'colorsys' in sys.modules); 1 / 0"
for start in (preloaded.popen, start_python):
    child = start(code, ["a"], stdin=-1, stdout=-1, stderr=-1, text=True)
    out, errors = child.communicate("b")
    print(child.returncode, out.split(), errors.splitlines()[-1:], preloaded.refusal)
print(sys.stdin.read())
"""


def test_a_program_that_has_imported_all_forks_the_process_itself():
    """Its children are those of any such process, and the program keeps its streams."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", ITSELF], input="c", capture_output=True, text=True, timeout=60
    )
    said = (
        "1 ['__main__', \"['-c',\", \"'a']\", 'b', '{}'] ['ZeroDivisionError: division by zero'] "
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [said.format(True), said.format(False), "c"]


@pytest.mark.parametrize("begin", ["", "preloaded.start_as_fork()"], ids=["executed", "forked"])
@pytest.mark.parametrize("then", ["time.sleep(600)", "", "1 / 0", "import os; os._exit(3)"])
def test_the_process_ends_with_its_owner(then, begin):
    """However the owner ends."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    code = OWNER.format(then=then, begin=begin)
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as owner:
        numbers = [int(word) for word in owner.stdout.readline().split()]
        assert len(numbers) == 2
        if "sleep" in then:
            owner.kill()
    deadline = time.monotonic() + 60
    while any(map(_is_running, numbers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_running(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_children_of_many_threads_are_each_its_own(preloaded):
    def start(number):
        with preloaded.popen("import sys; print(sys.argv[1])", [str(number)], stdout=-1) as child:
            return int(child.stdout.read())

    numbers = random.sample(range(1_000), 16)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(start, numbers)) == numbers


@pytest.mark.parametrize("held", ["what is shared", "the shared process", "the own process"])
def test_a_fork_starts_children_whatever_lock_was_held(held, preloaded):
    """No thread is left in it that would ever give the lock back."""
    used = preloaded if held == "the own process" else share_preloaded(MARK)
    lock = module._sharing if held == "what is shared" else used._lock  # noqa: SLF001
    before = used.pid

    def start() -> bytes:
        if used is not preloaded:
            assert share_preloaded(MARK) is used
        child = used.popen("print(1)", stdout=subprocess.PIPE)
        said = child.communicate()[0] + used.refusal.encode()
        used.close()
        return said

    with lock:
        said = read_in_fork(start)
    assert said == b"1\n", "a fork of a process of its own"
    if before is not None:
        os.kill(before, 0)  # that of the first program goes on
