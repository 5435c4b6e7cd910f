"""The writer of a validator's mirror: it ends when told, and old copies do not stop it."""

import json
import threading
from pathlib import Path
from queue import Queue

import pytest

from assay.artifacts.submissions import mirror_writer
from assay.artifacts.submissions.mirror_writer import MirrorWriter
from assay.judge.pack import PackedSubmission
from assay.network.store import folder as folder_store
from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.protocol.context import context_from_json

VECTORS = Path(__file__).parents[2] / "vectors" / "context.json"
CONTEXT = context_from_json(json.loads(VECTORS.read_text())["valid"])
(HOTKEY,) = CONTEXT.commitments
PACKED = PackedSubmission(HOTKEY, ())
ROOT = CONTEXT.commitments[HOTKEY].root


class Slow:
    """A store whose first copy waits until the test lets it continue."""

    def __init__(self):
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.names = []

    def list(self, prefix, some):
        return ()

    def put(self, name, data):
        self.names.append(name)
        self.begun.set()
        assert self.go_on.wait(60)


@pytest.mark.parametrize("waiting", [0, 1, 512])
def test_waiting_copies_are_left_when_the_program_ends(waiting, monkeypatch):
    """However full the queue is, and whether or not the writer reaches it meanwhile."""

    class Racing(Queue):
        """The writer takes the waiting copy between a look and the reaction to it."""

        def empty(self):
            store.go_on.set()
            found = super().empty()
            mirror.thread.join(0.2)
            return found

    store = Slow()
    monkeypatch.setattr(mirror_writer, "Queue", Racing)
    monkeypatch.setattr(mirror_writer, "END_S", 0.01)
    mirror = MirrorWriter(store, 2)
    mirror.put(0, ROOT, PACKED, False)
    assert store.begun.wait(60)
    for _ in range(waiting):
        mirror.put(0, ROOT, PACKED, False)
    mirror.close()
    store.go_on.set()
    mirror.thread.join(60)
    assert not mirror.thread.is_alive()
    assert len(store.names) == 1


def write(store, window):
    mirror = MirrorWriter(store, 2)
    mirror.put(window, ROOT, PACKED, False)
    while not mirror.queue.empty():
        threading.Event().wait(0.001)
    mirror.close()


def test_more_old_copies_than_a_store_lists_are_cleared_in_pieces(tmp_path, monkeypatch):
    for owner in (folder_store, mirror_writer):
        monkeypatch.setattr(owner, "LIST_MAX", 40)
    monkeypatch.setattr(mirror_writer, "CLEARED_MAX", 20)
    store = open_folder(tmp_path)
    for window in range(60):
        store.put(f"mirrors/{window}/{ROOT.hex()}", b"old")
    with pytest.raises(StoreError, match="list less"):
        store.list("mirrors")
    left = []
    for window in (100, 101, 102, 103, 104):
        write(store, window)
        left.append(sum(1 for path in tmp_path.rglob("*") if path.is_file()))
    assert left == [41, 22, 3, 2, 2]
    assert store.list("mirrors") == (f"mirrors/103/{ROOT.hex()}", f"mirrors/104/{ROOT.hex()}")


def test_failing_deletion_stops_no_writing(tmp_path):
    class Stuck(type(open_folder(tmp_path))):
        def delete(self, name):
            raise StoreError("it belongs to somebody else")

    store = open_folder(tmp_path)
    store.__class__ = Stuck
    store.put(f"mirrors/0/{ROOT.hex()}", b"old")
    write(store, 9)
    assert f"mirrors/9/{ROOT.hex()}" in store.list("mirrors")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_costs_one_copy_and_neither_the_thread_nor_its_bytes(tmp_path, monkeypatch):
    store = open_folder(tmp_path)
    whole = store.put
    monkeypatch.setattr(store, "put", lambda *_: 1 / 0)
    mirror = MirrorWriter(store, 2)
    mirror.put(0, ROOT, PACKED, False)
    mirror.thread.join(60)
    assert mirror.held_bytes == 0
    monkeypatch.setattr(store, "put", whole)
    mirror.put(0, ROOT, PACKED, False)
    while mirror.held_bytes:
        threading.Event().wait(0.001)
    mirror.close()
    assert sum(1 for path in tmp_path.rglob("*") if path.is_file()) == 1
