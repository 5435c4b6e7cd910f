"""The table of a trainer's course through its rounds, and the place that its folder keeps."""

import pytest
import torch

from assay.protocol.hashing import ZERO_DIGEST
from assay.rounds.course import (
    ROUND_COURSE,
    Learning,
    Merging,
    Named,
    Published,
    RoundEvent,
    RoundPlace,
)
from assay.rounds.folder import MadeStep, RoundState, TrueCheckpoint
from assay.rounds.outer_step import OuterState

ONE, TWO, THREE = b"1" * 32, b"2" * 32, b"3" * 32
STEPS, TRUE = (MadeStep(ONE, TWO),), (TrueCheckpoint(THREE, 4),)
OUTER = OuterState({"w": torch.ones(2)}, {"w": torch.zeros(2)})


def test_every_event_happens_and_every_state_is_reached_and_left():
    assert {event for row in ROUND_COURSE.values() for event in row} == set(RoundEvent)
    reached, last = {Learning}, set()
    while reached != last:
        last = set(reached)
        reached |= {follows for state in last for follows in ROUND_COURSE[state].values()}
    assert reached == set(ROUND_COURSE) == {Learning, Named, Merging, Published}
    for row in ROUND_COURSE.values():  # no trainer is caught in a round
        assert Learning in row.values()


@pytest.mark.parametrize(
    ("steps", "child", "residual", "stage"),
    [
        ((), ZERO_DIGEST, ZERO_DIGEST, Learning()),
        (STEPS, ZERO_DIGEST, ONE, Learning()),
        (STEPS, TWO, ONE, Named(TWO)),
    ],
)
def test_what_a_folder_keeps_is_the_same_place(steps, child, residual, stage):
    state = RoundState(ONE, 8, THREE, TWO, steps, child, residual, TRUE)
    place = RoundPlace.from_state(state, OUTER)
    assert place.stage == stage
    assert place.residual == (None if residual == ZERO_DIGEST else residual)
    assert place.last == (TWO if steps else THREE)
    assert place.to_state() == state
    dropped = place.beginning.to_state()
    assert (dropped.steps, dropped.child, dropped.residual) == ((), ZERO_DIGEST, residual)
