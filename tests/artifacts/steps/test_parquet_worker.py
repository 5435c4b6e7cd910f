"""The sandbox: its child may be killed, stall, lie or not start, and the parent continues."""

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.sandbox import Budget, WorkerError, child, parent, share_preloaded
from assay.sandbox.preloaded import PreloadedPython
from tests.artifacts.steps.parquet_files import make_taken, read, write_step

#: A child that answers each request by running one line of Python.
SERVE = "from assay.artifacts.steps.parquet_worker import serve;serve(lambda request: {})"

Ask = Callable[[], None]


#: Children start as in a program, and not as forks.
COLD = pytest.mark.parametrize("loaded", [None])


@pytest.fixture
def loaded() -> PreloadedPython | None:
    """A process that has loaded what children load, whose forks they are: to load takes longer than
    all that most of them do."""
    return share_preloaded("assay.artifacts.steps.parser", "pyarrow.parquet")


@pytest.fixture
def own(loaded: PreloadedPython | None) -> Iterator[ParquetWorker]:
    """A worker like that of steps, with its usual patience."""
    with ParquetWorker("parser", open_step_parser().boot, preloaded=loaded) as worker:
        yield worker


@pytest.fixture
def ask(own: ParquetWorker, tmp_path: Path) -> Ask:
    """Has an honest file read."""
    honest = write_step(tmp_path)

    def ask() -> None:
        assert read(honest, tmp_path, own) == make_taken()

    return ask


@pytest.fixture
def boot(own: ParquetWorker, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setattr(parent, "START_PAUSES", ())
    return lambda code: monkeypatch.setattr(own, "boot", code)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_end(pid: int) -> bool:
    end = time.monotonic() + 60
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_running(pid)


def expect_given_up(own: ParquetWorker, words: str) -> None:
    with pytest.raises(ValueError, match=f"gave up on this file: .*{words}"):
        own.parse(b"request", 100, Budget(1))


@COLD
def test_one_child_serves_many_requests(own: ParquetWorker, ask: Ask, tmp_path: Path) -> None:
    assert own.pid is None
    ask()
    first = own.pid
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read(b"PAR1" + bytes(9) + b"PAR1", tmp_path, own)
    ask()
    assert own.pid == first


def test_child_killed_between_requests(own: ParquetWorker, ask: Ask) -> None:
    ask()
    first = own.pid
    assert first
    os.kill(first, signal.SIGKILL)
    ask()
    assert own.pid != first


def test_child_killed_in_a_request(own: ParquetWorker, ask: Ask) -> None:
    ask()
    first = own.pid
    assert first
    os.kill(first, signal.SIGSTOP)  # so that the request is surely in its hands
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        time.sleep(0.2)
        assert not asked.done()
        os.kill(first, signal.SIGKILL)
        asked.result(30)
    ask()


def test_child_that_stalls(own: ParquetWorker, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "REQUEST_SECONDS", 2.0)
    ask()
    first = own.pid
    assert first
    os.kill(first, signal.SIGSTOP)
    ask()
    assert not is_running(first)


DEATHS = {
    "crash": ("__import__('os').abort()", "it died"),
    "exit": ("__import__('os')._exit(0)", "it died"),
    "own exception": ("1 // 0", "it died"),
    "out of memory": ("bytes(1 << 30)", "it died"),
    "parser out of memory": (
        "(_ for _ in ()).throw(__import__('pyarrow').lib.ArrowMemoryError('all of it'))",
        "it died",
    ),
    "sleep": ("__import__('time').sleep(60)", "more than 0.5 s"),
    "endless answer": ("bytes(1 << 24)", "it answered"),
}


@pytest.mark.parametrize("name", DEATHS)
def test_file_that_ends_every_child(
    own: ParquetWorker, boot: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    code, words = DEATHS[name]
    boot(SERVE.format(code))
    if name == "sleep":
        monkeypatch.setattr(parent, "REQUEST_SECONDS", 0.5)
    expect_given_up(own, words)
    boot(SERVE.format("request"))
    assert own.parse(b"request", 100, Budget(1)) == b"request"


def test_file_that_burns_processor_time(own: ParquetWorker, boot: Callable[[str], None]) -> None:
    boot(SERVE.format("sum(iter(int, 1))"))
    with pytest.raises(ValueError, match="CPU time"):
        own.parse(b"request", 100, Budget(0.1))


def test_file_that_burns_a_little_at_each_request(
    own: ParquetWorker, boot: Callable[[str], None]
) -> None:
    """Its budget is one for all requests; another file's is untouched."""
    boot(SERVE.format("str(sum(range(3_000_000))).encode()"))
    budget = Budget(0.2)
    assert own.parse(b"request", 100, budget)
    with pytest.raises(ValueError, match="CPU time"):
        all(own.parse(b"request", 100, budget) for _ in range(40))
    pid = own.pid
    assert own.parse(b"request", 100, Budget(1))
    assert own.pid == pid  # nobody was killed for it


def test_crashes_are_paid_from_the_same_budget(
    own: ParquetWorker, boot: Callable[[str], None]
) -> None:
    boot(SERVE.format("sum(range(3_000_000)) and __import__('os').abort()"))
    budget = Budget(1)
    with pytest.raises(ValueError, match="it died"):
        own.parse(b"request", 100, budget)
    assert budget.left < 1


NONSENSE = {
    "huge frame": b"\xff\xff\xff\xff" + bytes(100),
    "empty frame": bytes(4),
    "unknown status": b"\0\0\0\2\7a",
    "cut off": b"\0\0\0\x09\0a",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_child_that_talks_nonsense(
    own: ParquetWorker, boot: Callable[[str], None], name: str
) -> None:
    ready = child.READY
    boot(f"import os; os.write(1, {ready!r}); os.read(0, 99); os.write(1, {NONSENSE[name]!r})")
    expect_given_up(own, "it ")


def test_child_whose_reasons_are_unprintable(
    own: ParquetWorker, boot: Callable[[str], None]
) -> None:
    ready, reply = child.READY, b"\0\0\0\x09\1\x1b[31m\xff\0\n"
    boot(
        f"import os; os.write(1, {ready!r}); os.read(0, 99); os.write(1, {reply!r}); os.read(0, 99)"
    )
    with pytest.raises(ValueError, match=r"\[31m") as found:
        own.parse(b"request", 100, Budget(1))
    assert str(found.value).isprintable()


@COLD
def test_a_child_that_ends_runs_no_destructors(
    own: ParquetWorker, boot: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After garbage, those of native code abort or wait for ever."""
    started: list[Any] = []
    start: Any = subprocess.Popen

    def note(*arguments: Any, **options: Any) -> Any:
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", note)
    boot("import atexit, time; atexit.register(time.sleep, 60)\n" + SERVE.format("request"))
    assert own.parse(b"request", 100, Budget(1)) == b"request"
    (process,) = started
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0


def test_output_of_native_code_is_no_answer(
    own: ParquetWorker, boot: Callable[[str], None]
) -> None:
    boot(SERVE.format("b'x' * __import__('os').write(1, bytes(5)) + request"))
    for _ in range(2):
        assert own.parse(b"request", 100, Budget(1)) == b"xxxxxrequest"


def test_requests_and_answers_larger_than_a_pipe(
    own: ParquetWorker, boot: Callable[[str], None]
) -> None:
    boot(SERVE.format("request"))
    request = os.urandom(1 << 22)
    assert own.parse(request, len(request), Budget(1)) == request


@pytest.mark.parametrize("code", ["raise SystemExit('no such library')", "print('hello')", ""])
def test_child_that_cannot_start(
    own: ParquetWorker, boot: Callable[[str], None], code: str
) -> None:
    boot(code)
    with pytest.raises(WorkerError, match="no such library" if "raise" in code else "nothing"):
        own.parse(b"request", 100, Budget(1))
    assert own.pid is None


def test_child_killed_while_it_starts(
    own: ParquetWorker, boot: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Short of memory just now: it is started again after a pause, and again."""
    monkeypatch.setattr(parent, "START_PAUSES", (0.0, 0.0))
    log = tmp_path / "starts"
    dies = f"import os; f = open({str(log)!r}, 'a+'); f.write('x'); f.flush(); f.seek(0); "
    dies += "len(f.read()) > {} or os.kill(os.getpid(), 9)\n"
    boot(dies.format(2) + SERVE.format("request"))
    assert own.parse(b"request", 100, Budget(1)) == b"request"
    assert log.read_text() == "xxx"
    own.renew()
    boot(dies.format(9))
    with pytest.raises(WorkerError, match="does not start"):
        own.parse(b"request", 100, Budget(1))
    assert log.read_text() == "x" * 6
    boot(SERVE.format("request"))  # that file's bad luck is no other's
    assert own.parse(b"request", 100, Budget(1)) == b"request"


def test_a_renewed_worker_answers_from_another_process(own: ParquetWorker, ask: Ask) -> None:
    ask()
    first = own.pid
    assert first
    own.renew()
    assert own.pid is None
    assert not is_running(first)
    ask()
    assert own.pid != first


@COLD
def test_no_python_to_start(own: ParquetWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "START_PAUSES", ())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerError, match="cannot be started"):
        own.parse(b"request", 100, Budget(1))


def test_threads_take_turns(own: ParquetWorker, boot: Callable[[str], None]) -> None:
    boot(SERVE.format("request"))
    requests = [bytes([i]) * 100_000 for i in range(32)]
    before = threading.active_count()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda r: own.parse(r, 1 << 20, Budget(1)), requests)) == requests
    assert threading.active_count() <= before


def test_close_leaves_no_process(own: ParquetWorker, ask: Ask) -> None:
    ask()
    pid = own.pid
    assert pid
    own.close()
    assert not Path(f"/proc/{pid}").exists()
    assert own.pid is None
    own.close()
    with pytest.raises(WorkerError, match="closed"):
        ask()


def test_interrupt_does_not_reach_the_child(own: ParquetWorker, ask: Ask) -> None:
    ask()
    pid = own.pid
    assert pid
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, signal.SIGINT)
    ask()
    assert own.pid == pid


def test_interrupted_request_leaves_no_answer_behind(
    own: ParquetWorker, boot: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(SERVE.format("request"))
    assert own.parse(b"first", 100, Budget(1)) == b"first"
    pid = own.pid
    assert pid

    def interrupt(pipe: object, event: int, deadline: float, seconds: float) -> None:
        if event == selectors.EVENT_READ:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parent, "_wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            own.parse(b"second", 100, Budget(1))
    assert not is_running(pid)
    assert own.parse(b"third", 100, Budget(1)) == b"third"


def test_the_parsing_child_loads_nothing_else() -> None:
    """A child has pyarrow and the rules, no way to the network."""
    code = f"""
import sys
from assay.sandbox import child
child.serve = lambda *_: None
{open_step_parser().boot}
heavy = {{"anyio", "assay.network", "httpx2", "pydantic", "torch"}}
print(sorted(heavy & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], timeout=60, check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"


def test_reasons_are_one_short_printable_line() -> None:
    assert child.clean(" a\x1b[31m\nb") == "a?[31m"
    assert len(child.clean("x" * 9_000)) == child.DETAIL_MAX


PARENT = """
import os, threading
from assay.sandbox import Budget
from assay.artifacts.steps.parquet_worker import ParquetWorker
worker = ParquetWorker("parser", {!r})
asked = threading.Thread(target=worker.parse, args=(bytes(100), 100, Budget(1)))
asked.start(); asked.join()
print(worker.pid, flush=True)
{}
"""


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "1 // 0", ""])
def test_child_ends_with_its_parent(end: str) -> None:
    """Started from a thread of a program that has no main module to import again."""
    command = [sys.executable, "-P", "-c", PARENT.format(open_step_parser().boot, end)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert await_end(int(done.stdout))
