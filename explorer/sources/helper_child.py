"""The child's half of a helper: what needs torch, Parquet or the chain's SDK runs in a process of
its own, which the explorer starts when it is asked for and ends when it idles.

It is trusted code over verified bytes, not a cage: miners' Parquet files are parsed in a cage of
their own below it.
"""

import os
import signal
from collections.abc import Callable
from typing import NoReturn

from assay.cage.child import HEAD, LENGTH, READY


def serve(answer: Callable[[bytes], bytes]) -> NoReturn:
    """Answers framed requests until standard input closes; what `answer` raises ends the process,
    and its standard error says what it was. To be called once the imports are done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for stream in (0, 1):  # whatever a library prints must not look like an answer
            os.dup2(nothing.fileno(), stream)
    replies.write(READY)
    replies.flush()
    try:
        while len(head := requests.read(HEAD.size)) == HEAD.size:
            size, _ = HEAD.unpack(head)
            reply = answer(requests.read(size))
            replies.write(LENGTH.pack(len(reply)) + reply)
            replies.flush()
    finally:
        os._exit(0)
