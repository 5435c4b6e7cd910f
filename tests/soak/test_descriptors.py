"""No file can be opened any more, for two blocks at a time, in the phases of a window."""

import os
import resource
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from assay.protocol.parameters import DEMO_TIMING
from tests.soak.world import World

#: Window of the first shortage, and blocks that one lasts. By then all that is imported late is.
FIRST, BLOCKS = 3, 2
#: Descriptors beyond the open ones.
_ROOM = 64


@contextmanager
def limit_descriptors():
    """Set a limit near the present number of open ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + _ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def use_up_descriptors():
    """None is left meanwhile."""
    taken = []
    with limit_descriptors():
        try:
            while True:
                try:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    break
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)


def play(monkeypatch, offsets):
    length = DEMO_TIMING.window_blocks
    short = {
        (FIRST + n) * length + at + more for n, at in enumerate(offsets) for more in range(BLOCKS)
    }
    with TemporaryDirectory(prefix="assay-") as root:
        world = World(Path(root), FIRST + len(offsets) + 4, 6, monkeypatch.setattr, calm=True)
        said = set()

        def around(program):
            said.update(world.log.last)
            head = world.chain.get_head()
            return use_up_descriptors() if head in short else nullcontext()

        world.around_turn = around
        try:
            world.play(lambda window: None)
        finally:
            world.close()
    assert not world.check.findings
    assert not world.check.excused
    assert not world.log.defects
    assert all(program.lives == 1 for program in world.programs)
    assert any("Too many open files" in text or "unable to open" in text for text in said), said


def test_none_left_as_a_window_begins_is_committed_and_is_audited(monkeypatch):
    play(monkeypatch, (3, 5, 0))


@pytest.mark.nightly
def test_none_left_in_every_block_of_a_window(monkeypatch):
    play(monkeypatch, range(DEMO_TIMING.window_blocks))
