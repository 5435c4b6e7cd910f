"""Runs a command, and ends it with all its children when standard input closes: as it does when
the program that started this ends, even by `kill -9`.

    python process_guard.py SECONDS COMMAND...

It needs the standard library alone, leads a process group in which the command and its children
are, and ends with the command's exit status.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def main() -> int:
    """Waits for either end. SECONDS: that the command may take once it was asked to stop."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM):  # these are the command's; it ends by its input
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
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
    status = child.poll()
    if status is not None:
        return status
    os.killpg(0, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace)
    os.killpg(0, signal.SIGKILL)  # whatever is left of the group, and this program
    return 1


if __name__ == "__main__":
    sys.exit(main())
