"""Twenty windows in bad weather; `make bench` plays five hundred."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.soak.gauge import look
from tests.soak.weather import KINDS, Fault, Weather
from tests.soak.world import World


@pytest.mark.slow
def test_twenty_windows_in_bad_weather(monkeypatch):
    """Nothing that was done in time is lost, and nothing is left open. Each fault costs no more
    than the protocol says."""
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


@pytest.mark.parametrize(
    ("fault", "met", "last"),
    [
        (Fault("store away", 10, 30), 18, 29),
        (Fault("store away", 10, 12, waits=12), 18, 19),
        (Fault("store away", 10, 12, waits=12), 23, 23),
    ],
)
def test_a_fault_lasts_no_longer_than_it_is_excused_for(fault, met, last):
    """A long one ends where `spoils` says, however late somebody meets it; a short one waits."""
    heads = iter(range(met, 60))
    weather = Weather("", [], lambda: next(heads))
    weather.faults = [fault]
    on = [head for head in range(met, 60) if weather.find("store away")]
    assert on == list(range(met, last + 1))


def test_a_finding_is_found(monkeypatch):
    """The soak's own eyes: a miner whose commitments arrive without a group is noticed."""
    with TemporaryDirectory(prefix="assay-") as root:
        world = World(Path(root), 4, 3, monkeypatch.setattr, calm=True)
        alice = world.programs[0]
        alice.groups = 1
        try:
            world.play(lambda window: None)
        finally:
            world.close()
    assert any("alice has not committed all" in finding for finding in world.check.findings)
