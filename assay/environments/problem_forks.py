"""Forks of this process that share its work: for a command that reads many rows at once.

The work is cut into numbered shares, and each process takes the next number from one pipe. So none
waits for a slower one, and nothing that is found depends on how many there are. A fork sends what
it found as one text of `marshal`, when no share is left. It is our own code with our own memory:
what it sends is trusted.
"""

import marshal
import os
import select
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

_R = TypeVar("_R")

#: Most shares, which a byte numbers; most processes: one of them takes what the others found.
_SHARES, _PROCESSES_MAX = 256, 8
#: Seconds without a byte from a fork, after which it is given up.
_PATIENCE_S = 60.0
_LENGTH = struct.Struct(">Q")
_SIGNALS = signal.SIGINT, signal.SIGTERM


def share_work(work: Callable[[range], _R], count: int, processes: int) -> list[_R]:
    """What `work` finds in the shares of the numbers below `count`, in order. The work of a fork
    that is lost is done here.

    Args:
        work: depends on nothing but its numbers, and finds plain values, as `marshal` takes them.
        processes: most that work at a time. The others are forks of this one: where it has several
            threads, or forks may not work, there are none.
    """
    cut = max(1, min(_SHARES, count))
    shares = [range(i * count // cut, (i + 1) * count // cut) for i in range(cut)]
    numbers, written = os.pipe()
    os.write(written, bytes(range(cut)))
    os.close(written)
    forks: list[_Fork[_R]] = []
    try:
        if sys.platform == "linux" and threading.active_count() == 1:
            with suppress(OSError):  # fewer have to do
                for _ in range(min(processes, _PROCESSES_MAX) - 1):
                    _start_fork(work, shares, numbers, forks)
        found = dict(_work(work, shares, numbers))
        for fork in forks:
            found |= fork.receive()
    finally:
        os.close(numbers)
        for fork in forks:
            fork.end()
    return [found[i] if i in found else work(share) for i, share in enumerate(shares)]


def _work(
    work: Callable[[range], _R], shares: Sequence[range], numbers: int
) -> Iterator[tuple[int, _R]]:
    while number := os.read(numbers, 1):
        yield number[0], work(shares[number[0]])


@dataclass(frozen=True, slots=True)
class _Fork(Generic[_R]):
    """A fork, and where what it found is read."""

    pid: int
    found: int

    def receive(self) -> dict[int, _R]:
        """What it found, by the number of the share. Nothing if it is lost."""
        poll, data = select.poll(), bytearray()
        poll.register(self.found, select.POLLIN)
        while poll.poll(_PATIENCE_S * 1_000):
            part = os.read(self.found, 1 << 20)
            data += part
            if not part:
                break
        head = data[: _LENGTH.size]
        if len(head) < _LENGTH.size or _LENGTH.unpack(head)[0] != len(data) - len(head):
            return {}
        found: dict[int, _R] = marshal.loads(memoryview(data)[_LENGTH.size :])
        return found

    def end(self) -> None:
        os.close(self.found)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # this process ignores the ends of its children
            os.waitpid(self.pid, 0)


def _start_fork(
    work: Callable[[range], _R], shares: Sequence[range], numbers: int, forks: list[_Fork[_R]]
) -> None:
    """Add a fork. Raises OSError if there can be none."""
    parent = os.getpid()
    found, sent = os.pipe()
    try:
        with _holding_signals() as held:
            pid = os.fork()
            if pid:
                forks.append(_Fork(pid, found))
            else:
                try:
                    for each in _SIGNALS:
                        if signal.getsignal(each) is not signal.SIG_IGN:
                            signal.signal(each, signal.SIG_DFL)  # it ends without a word
                    signal.pthread_sigmask(signal.SIG_SETMASK, held)
                    for fd in (found, *(fork.found for fork in forks)):
                        os.close(fd)
                    _serve(_work(work, shares, numbers), sent, parent)
                finally:
                    os._exit(1)
    except OSError:
        os.close(found)
        raise
    finally:
        os.close(sent)


@contextmanager
def _holding_signals() -> Iterator[set[int]]:
    """Let no signal in before a fork is known. Yields those that were held before."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield held
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _serve(work: Iterator[tuple[int, _R]], sent: int, parent: int) -> NoReturn:
    """The fork's half. It outlives its parent by a share at most."""
    found = {}
    for number, what in work:
        found[number] = what
        if os.getppid() != parent:
            os._exit(1)
    data = marshal.dumps(found)
    with os.fdopen(sent, "wb") as file:
        file.write(_LENGTH.pack(len(data)))
        file.write(data)
    os._exit(0)
