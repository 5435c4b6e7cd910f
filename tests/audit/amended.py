"""A network whose parameters change while it lives, as `audited.py` plays it.

From window 3 on other groups are valued, a prompt pays less, the owner burns more, and the audit is
drawn a block later; from window 5 on verdicts are final four blocks later. A third amendment is
announced and taken back before it is decided.
"""

from dataclasses import replace

from assay.protocol.parameters import DEMO_TIMING
from tests.amended_parameters import amend
from tests.audit.audited import FEW, play_network

#: Two windows from decision to start: by the slot's content at blocks 12 and 36.
TIMING = replace(DEMO_TIMING, notice_windows=2)
FIRST, SECOND, NEVER = 3, 5, 8
#: Settlements: of windows 0 and 1, 2 and 3, 4, 5.
EPOCHS = (48, 73, 98, 123)


def announce(first):
    """Block → the slot's content from then on."""
    valued = first.work.valued_groups - 1
    one = amend(
        first,
        FIRST,
        identity=replace(first.identity, burn_share=300_000),
        work=replace(first.work, valued_groups=valued, prompt_share=50_000),
        timing=replace(TIMING, audit_offset=18, sample_offset=20),
    )
    two = amend(one, SECOND, timing=replace(one.timing, verdict_end=40))
    never = amend(two, NEVER, work=replace(two.work, prompt_share=1))
    # in the slot at the commitment block of window 3, and not at block 72
    return {5: one, 20: two, 45: never, 60: two}


def play_amended(folder):
    return play_network(folder, timing=TIMING, announce=announce, epochs=EPOCHS, work=FEW)
