"""Miner, validator and trainer on a disk that is really full, in every phase of a window.

The programs run as their commands run them, on a virtual clock, each in a small tmpfs. Full for two
blocks at a time, they lose nothing: the result of every window and settlement is that of an
undisturbed validator. Nothing half written is left behind.
"""

import json
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from assay.artifacts.checkpoints import download as checkpoint_download
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import DEMO_TIMING
from tests.soak.disk import mount_disk
from tests.soak.world import World

#: Window in which the first disk is full, and blocks that it is.
FIRST, BLOCKS = 2, 2
_MIB = 48


def mount(stack, world):
    try:
        return {p.name: stack.enter_context(mount_disk(p.folder, _MIB)) for p in world.programs}
    except (PermissionError, FileNotFoundError) as error:
        pytest.skip(f"mounting a tmpfs takes root or CAP_SYS_ADMIN, and `mount`: {error}")


def require_whole_files(folder):
    """Every file is what its name says, from its first byte to its last."""
    kinds = set()
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        assert not path.name.endswith(".tmp"), path
        kinds.add(path.suffix)
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".parquet":
            pq.read_metadata(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                list(file.keys())
        elif path.suffix == ".sqlite":
            database = sqlite3.connect(path)
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
            database.close()
    return kinds


def play(monkeypatch, offsets):
    """A window for each of these blocks of one at which every program's disk gets full."""
    monkeypatch.setattr(checkpoint_download, "DISK_MARGIN", 0)
    length = DEMO_TIMING.window_blocks
    begins = {(FIRST + n) * length + at: n for n, at in enumerate(offsets)}
    with TemporaryDirectory(prefix="assay-") as root, ExitStack() as stack:
        world = World(Path(root), FIRST + len(offsets) + 4, 5, monkeypatch.setattr, calm=True)
        disks = mount(stack, world)
        said = set()

        def pass_block(block):
            said.update(world.log.last)
            for disk in disks.values():
                if block in begins:
                    disk.fill()
                if block - BLOCKS in begins:
                    disk.clear()

        world.before_block = pass_block
        try:
            world.play(lambda window: None)
            files = {p.name: require_whole_files(p.folder) for p in world.programs}
        finally:
            world.close()
    return world, said, files


def require_nothing_lost(world, said, files):
    check = world.check
    assert not check.findings
    assert not check.excused
    assert not world.log.defects
    assert all(program.lives == 1 for program in world.programs)
    assert {".sqlite", ".json"} <= files["validator"]
    assert {".safetensors", ".json"} <= files["trainer"]
    text = "\n".join(said)
    assert "No space left" in text or "disk is full" in text


def test_full_as_a_window_begins_is_committed_and_is_audited(monkeypatch):
    """The blocks in which the miner opens its window, commits, the trainer learns, the validator
    judges and settles."""
    require_nothing_lost(*play(monkeypatch, (3, 5, 0)))


@pytest.mark.nightly
def test_full_in_every_block_of_a_window(monkeypatch):
    require_nothing_lost(*play(monkeypatch, range(DEMO_TIMING.window_blocks)))


def test_started_on_a_full_disk(monkeypatch, caplog):
    """A sentence that names the folder, and no traceback; with room again, it runs."""
    with TemporaryDirectory(prefix="assay-") as root, ExitStack() as stack:
        world = World(Path(root), 4, 5, monkeypatch.setattr, calm=True)
        disks = mount(stack, world)
        world.chain.mint()
        for program in world.programs:
            disks[program.name].fill()
            caplog.clear()
            program.turn()
            said = caplog.text + str(program.failure)
            assert program.failure is None or isinstance(program.failure, OperatorError)
            assert str(program.folder) in said
            assert "No space left" in said or "disk is full" in said
            assert "a defect" not in said
            disks[program.name].clear()
            program.revive()
        monkeypatch.setattr(checkpoint_download, "DISK_MARGIN", 0)
        try:
            world.play(lambda window: None)
        finally:
            world.close()
    assert not world.log.defects
    assert not [f for f in world.check.findings if "window 0" not in f]
