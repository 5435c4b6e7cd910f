"""A clock that is set an hour back or ahead is said, by how much and which way."""

import pytest

from assay.cli.preflight.checks import CheckState, check_clock
from assay.devnet import SimulatedChain
from assay.protocol.parameters import MAIN_TIMING

HOUR_MS = 3_600_000
SLOW = "set the clock: it is slow"
FAST = "set the clock: it is fast"


@pytest.mark.parametrize(
    ("off_ms", "state", "said", "remedy"),
    [
        (HOUR_MS, CheckState.FAIL, "is 3600.0 s old", FAST),
        (-HOUR_MS, CheckState.FAIL, "is 3600.0 s ahead by this machine's clock", SLOW),
        (2_000, CheckState.OK, "is 2.0 s old", ""),
    ],
)
def test_a_clock_an_hour_off(off_ms, state, said, remedy):
    chain = SimulatedChain(b"clock", 1, 1_700_000_000_000, MAIN_TIMING.slot_ms, 360, ())
    now_ms = chain.get_block(chain.get_head()).timestamp_ms + off_ms
    found = check_clock(chain, MAIN_TIMING, now_ms)
    assert found.state is state
    assert said in found.detail
    assert remedy in found.remedy
