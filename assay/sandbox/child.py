"""The child's half: limits its own memory and CPU time, answers framed requests.

It writes nothing but framed answers, cannot write files, and runs no destructors at its end.
"""

import math
import os
import resource
import signal
import struct
import time
from collections.abc import Callable
from typing import NoReturn

#: Bytes of address space that a child may add after its imports. Tuning.
MEMORY_BYTES = 512 << 20
#: The file in which a process reads its memory use.
STATM = "/proc/self/statm"
#: A child's message once its imports are done.
READY = b"the sandboxed child is ready"
#: A request's head: its length, and the CPU time that it may take in ms. An answer's: its length.
HEAD, LENGTH = struct.Struct(">II"), struct.Struct(">I")
#: Characters of a detail.
DETAIL_MAX = 300


def clean(text: str) -> str:
    """One printable line. Parts of the text may come from strangers."""
    line = text.strip().partition("\n")[0][:DETAIL_MAX]
    return "".join(c if c.isprintable() else "?" for c in line)


def serve(
    answer: Callable[[bytes], bytes], memory: int | None = MEMORY_BYTES, statm: int | str = STATM
) -> NoReturn:
    """Run the child: answer requests until its standard input closes.

    Call it once the imports are done. An answer has at least one byte. An exception of `answer`,
    above all lack of memory, ends the process, and the parent draws its conclusion.

    Args:
        memory: bytes of address space that it may add; None: it is trusted, has no limits, and
            keeps its standard error.
        statm: `STATM`, or a file descriptor of it if it can no longer be opened.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever native code prints must not look like an answer, nor fill the parent's disk.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for stream in range(2 if memory is None else 3):
            os.dup2(nothing.fileno(), stream)
    if memory is not None:
        _limit_memory(memory, statm)
    replies.write(READY)
    replies.flush()
    try:
        while len(head := requests.read(HEAD.size)) == HEAD.size:
            size, milliseconds = HEAD.unpack(head)
            request = requests.read(size)
            if memory is not None:
                _renew_processor_time(milliseconds / 1_000)
            try:
                reply = answer(request)
            except MemoryError:
                break
            replies.write(LENGTH.pack(len(reply)) + reply)
            replies.flush()
    finally:
        os._exit(0)  # never run native destructors after garbage: they abort or hang


def _limit_memory(more: int, statm: int | str) -> None:
    with open(statm) as opened:
        used = int(opened.read().split()[0]) * resource.getpagesize()
    _lower_limit(resource.RLIMIT_AS, used + more)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _renew_processor_time(seconds: float) -> None:
    """Move the limit on with each request: it counts from the child's start, in whole seconds."""
    _lower_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds), soft=True)


def _lower_limit(kind: int, value: int, soft: bool = False) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, hard if soft else value))
