"""Twenty windows in bad weather; `make bench` plays five hundred."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.soak.gauge import look
from tests.soak.weather import KINDS
from tests.soak.world import World


@pytest.mark.slow
def test_twenty_windows_in_bad_weather(monkeypatch):
    """Nothing that was done in time is lost, and nothing is left open; what a fault has cost, the
    protocol says it may."""
    with TemporaryDirectory(prefix="assay-") as root:
        world, looks = World(Path(root), 20, 35, monkeypatch.setattr), {}

        def after(window):
            if window in (8, 20):
                looks[window] = look()

        try:
            world.play(after)
        finally:
            world.close()
    check = world.check
    assert not check.findings
    assert not world.log.defects
    assert check.compared >= 8
    assert check.equal + sum(check.excused.values()) == check.compared + 2 * 20
    met = {kind for program in world.programs for kind in program.weather.counts}
    assert met == set(KINDS)
    assert any(fault.long for program in world.programs for fault in program.weather.faults)
    assert sum(program.lives for program in world.programs) > len(world.programs)
    for name in ("threads", "descriptors", "children", "tasks"):
        assert getattr(looks[20], name) <= getattr(looks[8], name), name


def test_a_finding_is_found(monkeypatch):
    """The soak's own eyes: a miner whose commitments arrive without a group is noticed."""
    with TemporaryDirectory(prefix="assay-") as root:
        world = World(Path(root), 4, 3, monkeypatch.setattr, calm=True)
        alice = world.programs[0]
        alice._groups = 1
        try:
            world.play(lambda window: None)
        finally:
            world.close()
    assert any("alice has not committed all" in finding for finding in world.check.findings)
