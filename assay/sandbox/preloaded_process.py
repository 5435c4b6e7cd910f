"""The half of `assay.sandbox.preloaded` that imports and forks: one thread, one connection, no GPU.

A request is a JSON list with the descriptors of the three standard streams beside it: arguments
(the code first), folder, environment, process group. The answer is the child's number, or why
there is none.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

#: The answer once imports are done, and the beginning of the answer to a request.
READY, FORKED = b"ready", b"forked "
MESSAGE_MAX = 1 << 20
#: Seconds between two checks that the owner lives, should a copy of it keep the connection open.
_LOOK_S = 1.0


def serve_forks(descriptor: int, modules: Sequence[str]) -> str:
    """Import the modules and serve forks until the owner ends. Return only in a child: the code
    that it is to run, as `python -c` would."""
    owner = os.getppid()
    connection = socket.socket(fileno=descriptor)
    gc.disable()  # what is imported stays: to search it for garbage is a tenth of the work
    for module in modules:
        import_module(module)
    connection.send(_find_obstacle().encode() or READY)
    gc.collect()
    gc.freeze()  # children neither visit nor copy what was imported
    gc.enable()
    while True:
        request, streams = _receive(connection, owner)
        code = _fork(connection, owner, request, streams)
        if code is not None:
            return code
        for stream in streams:
            os.close(stream)


def _find_obstacle() -> str:
    """The reason why this process must not fork; empty: none."""
    trial = os.fork()  # libraries that can end their threads for a fork do so here
    if trial == 0:
        os._exit(0)
    os.waitpid(trial, 0)
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"its imports started {threads - 1} threads"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "its imports opened a GPU"
    return ""


def _receive(connection: socket.socket, owner: int) -> tuple[bytes, list[int]]:
    """The next request. Ends the process with its owner."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while not poll.poll(_LOOK_S * 1_000):
        if os.getppid() != owner:
            os._exit(0)
    request, streams, _, _ = socket.recv_fds(connection, MESSAGE_MAX, 3)
    if not request:
        os._exit(0)
    return request, streams


def _fork(
    connection: socket.socket, owner: int, request: bytes, streams: Sequence[int]
) -> str | None:
    """Fork a child of the owner's and answer. Return the child's code in the child, else None."""
    reading, tell = os.pipe()
    held, let = os.pipe()
    middle = os.fork()
    if middle == 0:
        for end in (reading, let):
            os.close(end)
        connection.close()
        return _fork_orphan(tell, held, request, streams)
    os.close(tell)
    os.close(held)
    os.waitpid(middle, 0)
    number = os.read(reading, 16)
    refusal = _find_refusal(number, owner)
    if not refusal:
        os.write(let, b"!")
    for end in (reading, let):
        os.close(end)
    connection.send(refusal.encode() or FORKED + number)
    return None


def _find_refusal(number: bytes, owner: int) -> str:
    if not number:
        return "it cannot be forked"
    with open(f"/proc/{int(number)}/stat") as stat:
        parent = int(stat.read().rpartition(")")[2].split()[1])
    return "" if parent == owner else "its owner cannot adopt it"


def _fork_orphan(tell: int, held: int, request: bytes, streams: Sequence[int]) -> str:
    """Fork once more and end. The child waits until it has its new parent."""
    code = None
    try:
        if os.fork():
            os._exit(0)
        code = _become(request, streams)
        os.write(tell, str(os.getpid()).encode())
        os.close(tell)
        is_adopted = os.read(held, 1)
        os.close(held)
    finally:
        if code is None:  # it cannot be what was asked for: a cold start says why
            _leave()
    if not is_adopted:
        _leave()
    return code


def _become(request: bytes, streams: Sequence[int]) -> str:
    """Become the child. Raises OSError: it cannot."""
    arguments, folder, environment, group = json.loads(request)
    if group is None:
        os.setsid()
    else:
        os.setpgid(0, group)
    os.chdir(folder)
    for stream, descriptor in enumerate(streams):
        os.dup2(descriptor, stream)
    for descriptor in streams:
        os.close(descriptor)
    os.environ.clear()  # noqa: TID251 - the child's own
    os.environ.update(environment)  # noqa: TID251 - the same
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)  # as Python does at its start
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()  # Python's own generators are seeded anew by themselves
    # other files than those that these streams were opened on: a pipe cannot seek
    own = sys.stdout.encoding
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, own, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, own, "backslashreplace", closefd=False)
    sys.argv = ["-c", *arguments[1:]]
    return str(arguments[0])


def _leave() -> NoReturn:
    os._exit(1)
