"""A program that begins an index again and again, each time killed a little later: for a test.

    python -m tests.explorer.killed_index FOLDER INDEX STEP

Prints how often it was killed before the index was whole.
"""

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path

from assay.explorer import Index
from assay.explorer.indexing import Indexer
from assay.explorer.ports import ShownRecord
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import Parameters
from assay.protocol.ss58 import decode_ss58

_CONNECT = sqlite3.connect


def kill_at(count):
    """Has SQLite end this process at its statement of that number."""
    left = [count]

    def look(statement):
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(*arguments, **options):
        connection = _CONNECT(*arguments, **options)
        connection.set_trace_callback(look)
        return connection

    sqlite3.connect = connect


def fill(subject, path):
    index = Index(path, subject.validator, subject.history.first.digest)
    Indexer(subject, index, lambda: None).step()
    index.close()


class Files:
    """A store's objects, read without its client, whose threads no fork survives."""

    def __init__(self, root):
        self._root = root

    def get(self, name, limit):
        path = self._root / name
        return path.read_bytes() if path.is_file() else None


def main():
    folder, path, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    (rules,) = (folder / "store" / "parameters").glob("*.json")
    (validator,) = (place.name for place in (folder / "record").iterdir())
    subject = ShownRecord(
        decode_ss58(validator),
        ParameterHistory(Parameters.from_json(json.loads(rules.read_text()))),
        Files(folder / "record"),
        "here",
    )
    kills, count = 0, 1
    while True:
        child = os.fork()
        if child == 0:
            kill_at(count)
            fill(subject, path)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0, status
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        kills += 1
        count += 1 if count < 24 else step  # every statement that makes the tables, then fewer
    print(kills)


if __name__ == "__main__":
    main()
