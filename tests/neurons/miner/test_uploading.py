"""A file on its way: told while it goes, counted when it breaks off, written to status.json."""

import json
import threading

import pytest

from assay.cli.program_view import render_upload
from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.neurons.miner import uploads
from assay.neurons.miner.miner import MinerConfig
from assay.neurons.program.counters import LoopHooks
from assay.neurons.program.loop import ProgramLoop
from assay.protocol.commitment import make_object_name
from assay.protocol.ss58 import encode_ss58
from tests.neurons.miner_bench import ALICE


class Breaking:
    """A store that breaks off after its first part, a number of times."""

    def __init__(self, store, times):
        self.store, self.left = store, times

    def put_parts(self, name, parts):
        if self.left:
            self.left -= 1
            parts = iter(parts)
            next(parts), next(parts)
            raise StoreError("the wire is cut")
        self.store.put_parts(name, parts)


def test_an_upload_tells_how_far_it_is(make_subnet, quick_miner, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "_PART_BYTES", 10)
    monkeypatch.setattr("assay.neurons.program.loop.STATUS_S", 0.0)
    subnet = make_subnet(MinerConfig(1, 1))
    store = open_folder(tmp_path / "store")
    miner = subnet.start(quick_miner, store=Breaking(store, 1))
    seen, watch = [], LoopHooks()

    def describe(loop):
        up = miner.uploads.newest
        return {"upload": up and [up.window, up.bytes, up.of, up.tries, up.done]} | loop()

    ProgramLoop(miner, tmp_path, threading.Event(), describe, lambda: None, watch)

    def beat():
        watch.beat()
        seen.append(json.loads((tmp_path / "status.json").read_text())["upload"])

    miner.uploads.beat = beat
    with pytest.raises(StoreError):
        miner.upload(3, bytes(25))
    assert seen == [[3, 0, 25, 1, False], [3, 10, 25, 1, False]]
    seen.clear()
    miner.upload(3, bytes(25))
    assert seen == [[3, sent, 25, 2, False] for sent in (0, 10, 20, 25)]
    assert miner.uploads.newest.done
    assert store.get(make_object_name(encode_ss58(ALICE), 3), 25) == bytes(25)
    miner.upload(4, bytes(25))
    assert miner.uploads.newest.tries == 1


class Hanging:
    """A store that takes nothing until it is let go."""

    def __init__(self):
        self.gone_on = threading.Event()

    def put(self, name, data):
        assert self.gone_on.wait(60)


def test_a_store_that_hangs_is_told_while_it_does(
    make_subnet, quick_miner, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(uploads, "_BEAT_S", 0.01)
    monkeypatch.setattr(uploads, "_SLOW_S", 0.05)
    monkeypatch.setattr("assay.neurons.program.loop.STATUS_S", 0.0)
    store, watch = Hanging(), LoopHooks()
    miner = make_subnet(MinerConfig(1, 1)).start(quick_miner, store=store)
    ProgramLoop(miner, tmp_path, threading.Event(), lambda loop: loop(), lambda: None, watch)
    told = set()

    def beat():
        watch.beat()
        told.add(json.loads((tmp_path / "status.json").read_text())["trouble"])
        if miner.trouble is not None:
            store.gone_on.set()

    miner.uploads.beat = beat
    miner.upload(3, bytes(25))
    name = make_object_name(encode_ss58(ALICE), 3)
    assert told == {None, f"the store has accepted no byte of {name} for more than 0.05 s"}
    assert caplog.text.count("has accepted no byte") == 1
    assert miner.trouble is None
    assert miner.uploads.newest.done


def test_an_upload_on_the_terminal():
    up = {"window": 3, "bytes": 8 << 20, "of": 19_000_000, "tries": 2, "done": False}
    (line,) = render_upload(up)
    assert str(line) == "uploading window 3: 8.4 of 19.0 MB, attempt 2"
    assert render_upload(up | {"done": True}) == render_upload(None) == []
