"""Answers one request in a forked copy of the process, which ends with the request.

Changes by a stranger's code stay in the copy: no later request finds them in its modules, in
Python's or in memory. The process that forks runs none of that code. This module is also loaded by
its path, and imports only the standard library.
"""

import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn

#: Most seconds of a copy, asleep or at work. Longer than any request of a sandbox, whose parent
#: ends this process earlier: it applies if the parent is gone.
COPY_SECONDS = 600.0
_PIECE = 1 << 16
#: Answers a request; what it is given besides ends the copy at once with the answer that it takes.
Answers = Callable[[bytes, Callable[[bytes], NoReturn]], bytes]


def answer_in_copy(answer: Answers, request: bytes) -> bytes:
    """The answer of a copy. A copy that dies takes this process with it, in the same way: the
    parent sees the same as without a copy.

    Where no copy can be made, for want of memory or of processes, this process ends as if killed
    from outside: nothing follows about the request.
    """
    reader, writer = os.pipe()
    spent = int(time.process_time())
    try:
        pid = os.fork()
    except OSError:
        _end_like(signal.SIGKILL)
    if pid == 0:
        _answer_and_end(answer, request, writer, spent)
    os.close(writer)
    reply = _read_until_closed(reader, time.monotonic() + COPY_SECONDS)
    if reply is None:
        os.kill(pid, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if status or not reply:
        _end_like(status)
    return reply


def _answer_and_end(answer: Answers, request: bytes, writer: int, spent: int) -> NoReturn:
    """Run the copy. It has no pipe but its own, and a limit of CPU time that its parent's past does
    not extend."""
    write, end = os.write, os._exit  # `answer` may leave nothing of `os` for a stranger to find

    def end_with(reply: bytes) -> NoReturn:
        status = 1
        try:
            left = memoryview(reply)
            while left:
                left = left[write(writer, left[:_PIECE]) :]
            status = 0
        finally:
            end(status)

    try:
        os.closerange(3, writer)
        os.closerange(writer + 1, writer + 64)
        soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
        if soft != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_CPU, (max(1, soft - spent), hard))
        end_with(answer(request, end_with))
    finally:
        end(1)


def _read_until_closed(reader: int, deadline: float) -> bytes | None:
    """Read everything. None: the deadline has passed."""
    data = bytearray()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
        piece = os.read(reader, _PIECE)
        if not piece:
            return bytes(data)
        data += piece
    return None


def _end_like(status: int) -> NoReturn:
    """End this process in the same way as its copy."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(0)
