"""The table of a trainer's stages."""

import pytest

from assay.neurons.trainer.stages import (
    AT_ONCE,
    IDLE,
    STAGE_TASKS,
    TRAINER_STAGES,
    Stage,
    TrainerEvent,
)


def find_reached(first: Stage) -> set[Stage]:
    """The stages that can follow one, with it."""
    reached, new = {first}, [first]
    while new:
        following = set(TRAINER_STAGES[new.pop()].values()) - reached
        reached |= following
        new += following
    return reached


@pytest.mark.parametrize("stage", Stage)
def test_from_every_stage_all_others_are_reached(stage: Stage) -> None:
    assert find_reached(stage) == set(Stage) == STAGE_TASKS.keys()


def test_every_event_can_happen() -> None:
    assert {event for row in TRAINER_STAGES.values() for event in row} == set(TrainerEvent)


def test_a_failure_changes_no_stage() -> None:
    assert all(row[TrainerEvent.FAILED] is stage for stage, row in TRAINER_STAGES.items())


def test_no_course_of_events_that_take_no_time_goes_in_a_circle() -> None:
    for first in Stage:
        stages, count = {first}, 0
        while stages:
            rows = [TRAINER_STAGES[stage] for stage in stages]
            stages = {after for row in rows for event, after in row.items() if event in AT_ONCE}
            count += 1
            assert count <= len(Stage), first
    assert not AT_ONCE & IDLE
