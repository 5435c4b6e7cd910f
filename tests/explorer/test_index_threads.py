"""Holders of an open index: threads that come and go with the load, and makers that are killed."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

from assay.explorer.index import TABLES, Index
from tests.explorer.inside import look_into

ROOT = Path(__file__).parents[2]


def count_open(path):
    """File descriptors of this process on the index."""
    names = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(os.path.islink(name) and os.readlink(name) == str(path) for name in names)


def test_connections_of_ended_threads_are_closed(tmp_path):
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


def test_an_index_whose_maker_is_killed_is_gone_on_with(demo, tmp_path):
    """At every statement that makes its tables, and at many of those that fill them."""
    path = tmp_path / "killed.sqlite"
    # it holds where PYTHONSAFEPATH keeps the working directory out, too
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child needs a whole environment
    done = subprocess.run(
        [sys.executable, "-m", "tests.explorer.killed_index", demo, path, "9"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30
    with look_into(demo, path) as killed, look_into(demo, tmp_path / "whole.sqlite") as whole:
        for table in TABLES:
            query = f"SELECT * FROM {table}"
            found = [sorted(map(tuple, one.index.read(query)), key=repr) for one in (killed, whole)]
            assert found[0] == found[1] != []
