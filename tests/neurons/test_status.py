"""status.json: what it says of a window that goes on."""

import pytest

from assay.neurons.status import CountdownStatus, describe_countdown
from assay.protocol.parameters import DEMO_TIMING

START = 7 * DEMO_TIMING.window_blocks


@pytest.mark.parametrize(
    ("after", "phase", "due"),
    [
        (0, "CHALLENGE", "COMMIT"),
        (DEMO_TIMING.commit_offset - 1, "CHALLENGE", "COMMIT"),
        (DEMO_TIMING.commit_offset, "COMMIT", "AUDIT"),
        (DEMO_TIMING.audit_offset, "AUDIT", "FETCH_END"),
        (DEMO_TIMING.fetch_end, "FETCH_END", "VERDICT_END"),
        (DEMO_TIMING.verdict_end, "VERDICT_END", None),
    ],
)
def test_a_window_is_between_two_of_its_moments(after: int, phase: str, due: str | None) -> None:
    found = describe_countdown(DEMO_TIMING, 7, START + after)
    assert (found["phase"], found["next"]) == (phase, due)
    if found["block"] is None:
        assert found == CountdownStatus(
            phase=phase, next=None, block=None, blocks=None, seconds=None
        )
    else:
        assert found["blocks"] == found["block"] - START - after > 0
        assert found["seconds"] == found["blocks"] * DEMO_TIMING.slot_ms / 1_000


def test_before_its_first_block_a_window_has_only_its_checkpoint() -> None:
    found = describe_countdown(DEMO_TIMING, 7, START - 1)
    assert (found["phase"], found["next"], found["blocks"]) == ("CHECKPOINT", "CHALLENGE", 1)
