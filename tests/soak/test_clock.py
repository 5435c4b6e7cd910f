"""The machine's clock is stepped by an hour, back and ahead, under programs that run.

Time comes from the chain, and pauses from a clock that nobody sets. What asks the machine's clock
is the source of beacons: here it is the real one, over HTTP, from a relay on the chain's time.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from assay.network.beacon.relay_race import RelayTimeouts
from assay.network.beacon.server import BeaconServer
from assay.protocol.parameters import DEMO_TIMING
from tests.soak.world import World

HOUR_MS = 3_600_000
#: Window → offset of the machine's clock from its first block on.
STEPS = {2: HOUR_MS, 4: -HOUR_MS, 6: HOUR_MS, 7: 0}
#: Pauses go by a clock of real seconds, and a block is here within milliseconds.
_PATIENCE = RelayTimeouts(pause_s=0.001, longest_pause_s=0.001)


def test_stepped_by_an_hour_both_ways(monkeypatch, caplog):
    with TemporaryDirectory(prefix="assay-") as root:
        world = World(Path(root), 9, 7, monkeypatch.setattr, calm=True)
        server = BeaconServer(world.beacons)
        world.relay, world.patience = server.url, _PATIENCE

        def step(block):
            window, offset = divmod(block, DEMO_TIMING.window_blocks)
            if offset == 0 and window in STEPS:
                world.clock_offset_ms = STEPS[window]

        world.before_block = step
        try:
            world.play(lambda window: None)
        finally:
            world.close()
            server.close()
    assert not world.check.findings
    assert not world.check.excused
    assert not world.log.defects
    assert world.check.equal == world.check.compared + 2 * 9
    said = "\n".join(world.log.last)
    assert "check the clock" in said
    assert "clock is right again" in said
