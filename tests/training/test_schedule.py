"""The course of the learning rate against transformers', and its continuation."""

import pytest
import torch
from transformers import get_scheduler

from assay.training import Schedule

#: Our settings → transformers' name and arguments.
COURSES = {
    "constant": (Schedule(), "constant", {}),
    "constant, warm-up": (Schedule(warmup_steps=7), "constant_with_warmup", {}),
    "linear": (
        Schedule("linear", 5, 40, final_share=0.25),
        "polynomial",
        {"lr_end": 0.25, "power": 1.0},
    ),
    "cosine": (
        Schedule("cosine", 6, 37, final_share=0.1),
        "cosine_with_min_lr",
        {"min_lr_rate": 0.1},
    ),
    "cosine at once": (
        Schedule("cosine", 0, 20, final_share=1e-12),
        "cosine_with_min_lr",
        {"min_lr_rate": 1e-12},
    ),
    "wsd": (
        Schedule("wsd", 0, 40, decay_steps=12, final_share=0.05),
        "warmup_stable_decay",
        {"num_decay_steps": 12, "decay_type": "linear", "min_lr_ratio": 0.05},
    ),
}


def list_theirs(schedule, name, arguments, steps):
    """Their factors at the positions 1 to `steps`. Their position 0 is before the first step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=schedule.warmup_steps,
        num_training_steps=schedule.schedule_steps,
        scheduler_specific_kwargs=arguments,
    )
    factors = []
    for _ in range(steps):
        optimizer.step()
        theirs.step()
        factors.append(theirs.get_last_lr()[0])
    return factors


@pytest.mark.parametrize("course", COURSES)
def test_every_step_has_their_rate(course):
    schedule, name, arguments = COURSES[course]
    length = schedule.schedule_steps or 60
    theirs = list_theirs(schedule, name, arguments, length)
    ours = [schedule.compute_share(step) for step in range(length)]
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    later = {schedule.compute_share(step) for step in range(length, 3 * length)}
    assert later == {ours[-1]}  # their cosine rises again
    assert min(ours) > 0


def test_wsd_with_a_warm_up():
    """transformers' wsd begins its warm-up at the final share; ours begins at 0, as all others."""
    schedule = Schedule("wsd", 10, 40, decay_steps=12, final_share=0.05)
    rising = list_theirs(schedule, "constant_with_warmup", {}, 10)
    later = list_theirs(schedule, *COURSES["wsd"][1:], 60)[10:]
    ours = [schedule.compute_share(step) for step in range(60)]
    assert ours == pytest.approx([*rising, *later], rel=1e-12)


def test_phases():
    schedule = Schedule("wsd", 3, 10, decay_steps=4, schedule_begin=100)
    phases = [schedule.get_phase(step) for step in range(98, 112)]
    assert phases == ["warm-up"] * 4 + ["peak"] * 4 + ["decay"] * 4 + ["over"] * 2
    assert [schedule.get_position(step) for step in (0, 100, 101)] == [1, 1, 2]
    assert Schedule().get_phase(1 << 20) == "peak"
