"""Runs a command, and ends it with all its children when standard input closes. That happens when
the program that started this ends, even by `kill -9`.

    python process_guard.py SECONDS COMMAND...

It needs only the standard library. The command leads a process group, which is ended however the
command ends. If this program is killed itself, Linux asks the command to stop. It ends with the
command's exit status.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

#: Linux's prctl: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Wait for either end. SECONDS is the time that the command has once it was asked to stop."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM):  # it ends with its input
        signal.signal(number, lambda *_: None)
    libc = ctypes.CDLL(None)
    tell = getattr(libc, "prctl", None)

    def prepare() -> None:
        if tell is not None:
            tell(_PR_SET_PDEATHSIG, signal.SIGTERM)

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=prepare)
    is_over = threading.Event()

    def wait_for_input() -> None:
        while os.read(0, 1):  # not through sys.stdin, whose lock would be held at the end
            pass
        is_over.set()

    def wait_for_child() -> None:
        child.wait()
        is_over.set()

    for wait in (wait_for_input, wait_for_child):
        threading.Thread(target=wait, daemon=True).start()
    is_over.wait()
    if child.poll() is None:
        _signal(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(grace)
    _signal(child.pid, signal.SIGKILL)  # any rest of the group
    return child.wait()


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
