"""A fork of the test's own process, as another thread of a program would make one."""

import os
import select
import signal
from collections.abc import Callable


def read_in_fork(make: Callable[[], bytes]) -> bytes:
    """What `make` gives in a fork of this process; nothing if it raises, or takes a minute."""
    reading, writing = os.pipe()
    if (fork := os.fork()) == 0:
        try:
            os.write(writing, make())
        finally:
            os._exit(0)
    os.close(writing)
    told, _, _ = select.select([reading], [], [], 60)
    if not told:
        os.kill(fork, signal.SIGKILL)
    os.waitpid(fork, 0)
    with open(reading, "rb") as pipe:
        return pipe.read()
