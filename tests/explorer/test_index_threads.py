"""A server's threads come and go with its load, and what they held open goes with them."""

import os
from threading import Thread

from assay.explorer.index import Index


def count_open(path):
    """File descriptors of this process on the index."""
    names = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(os.path.islink(name) and os.readlink(name) == str(path) for name in names)


def test_what_ended_threads_held_open_is_closed(tmp_path):
    path = tmp_path.resolve() / "index.sqlite"
    index = Index(path, bytes(32), bytes(32))
    for _ in range(6):
        reader = Thread(target=index.read, args=("SELECT 1",))
        reader.start()
        reader.join()
    assert (
        0 < count_open(path) <= 3
    )  # this thread's, the last one's, and what SQLite keeps to use again
    index.close()
    assert count_open(path) == 0
