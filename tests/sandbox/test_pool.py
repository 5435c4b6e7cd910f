"""Children that are alike: requests at once, each with a child to itself."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assay.sandbox import Budget, SandboxPool, WorkerError
from tests.sandbox.forked import read_in_fork

#: A child that answers its number. Asked to wait, it does so until a file is there.
BOOT = """
import os, time
from assay.sandbox.child import serve
def answer(request):
    if request.startswith(b"wait "):
        while not os.path.exists(request[5:]):
            time.sleep(0.01)
    if request.startswith(b"make "):
        open(request[5:], "x").close()
    return str(os.getpid()).encode()
serve(answer, None)
"""


@pytest.fixture
def pool() -> Iterator[SandboxPool]:
    with SandboxPool("child", BOOT, 60.0, 2) as opened:
        yield opened


def ask(pool: SandboxPool, request: str) -> int:
    reply = pool.ask(request.encode(), 64, Budget(60.0), 60.0)
    assert isinstance(reply, bytes)
    return int(reply)


def test_a_request_does_not_wait_for_another(pool: SandboxPool, tmp_path: Path) -> None:
    """The first ends only because the second is answered meanwhile."""
    file = tmp_path / "there"
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(ask, pool, f"wait {file}")
        while not pool.pids:
            pass
        second = ask(pool, f"make {file}")
        assert {first.result(), second} == set(pool.pids)
        assert len(pool.pids) == 2


def test_a_child_is_started_only_where_all_others_are_busy(pool: SandboxPool) -> None:
    assert ask(pool, "") == ask(pool, "") == ask(pool, "")
    assert len(pool.pids) == 1
    before = pool.pids
    pool.renew()
    assert [ask(pool, "")] != before


def test_more_requests_than_children_take_turns(pool: SandboxPool) -> None:
    with ThreadPoolExecutor(6) as executor:
        answered = list(executor.map(lambda n: ask(pool, str(n)), range(12)))
    assert set(answered) <= set(pool.pids)


def test_a_fork_of_the_program_has_children_of_its_own(pool: SandboxPool) -> None:
    """On shared pipes it would read the replies to others' requests."""
    before = ask(pool, "")
    assert ask_in_fork(pool) != before == ask(pool, "")


def test_a_fork_asks_whatever_other_threads_held(pool: SandboxPool, tmp_path: Path) -> None:
    """Its children are all free, and no thread is left in it that would give the lock back."""
    file = tmp_path / "there"
    with ThreadPoolExecutor(2) as executor:
        waiting = [executor.submit(ask, pool, f"wait {file}") for _ in range(2)]
        while len(pool.pids) < 2 and not any(one.done() for one in waiting):
            time.sleep(0.01)
        with pool._changed:  # noqa: SLF001
            assert ask_in_fork(pool) not in pool.pids
        file.touch()
        assert {one.result() for one in waiting} == set(pool.pids)


def ask_in_fork(pool: SandboxPool) -> int:
    def ask_there() -> bytes:
        with pool:
            return b"%d" % ask(pool, "")

    return int(read_in_fork(ask_there))


def test_a_closed_pool_asks_nobody(pool: SandboxPool) -> None:
    pool.close()
    with pytest.raises(WorkerError, match="closed"):
        ask(pool, "")
